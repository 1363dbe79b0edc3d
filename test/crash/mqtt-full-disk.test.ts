// A disk that another program has filled, seen by devices and NATS programs: nothing is acknowledged that is not there,
// nobody is thrown out for it, what is stored can be read, and messages are taken again when there is room.

import { jetstreamManager } from '@nats-io/jetstream';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { expect, test } from 'vitest';
import { canLoop, LoopFs } from '../support/loop-fs.ts';
import { came, held, MqttNatsLab, VERSIONS } from '../support/mqtt-nats-lab.ts';
import { rawAck, rawPublish, rawSubscribe } from '../support/mqtt-raw-encode.ts';
import type { RawClient } from '../support/mqtt-raw.ts';
import { until } from '../support/until.ts';

const possible = canLoop();
const MIB = 1024 * 1024;
const DISK_BYTES = 48 * MIB;

/** Writes until nothing more goes in. */
function fill(file: string): void {
  const fd = openSync(file, 'a');
  try {
    for (const size of [MIB, 4096, 1]) {
      try {
        for (;;) writeSync(fd, Buffer.alloc(size));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    }
  } finally {
    closeSync(fd);
  }
}

test.runIf(possible)(
  'on a full disk 5.0 is told, older devices get no answer and stay, and both are served when there is room',
  async () => {
    await using fs = await LoopFs.create(DISK_BYTES);
    const filler = `${fs.path}/filler`;
    await using lab = await MqttNatsLab.start({ dataDir: `${fs.path}/data` });
    const nats = await lab.nats();
    const manager = await jetstreamManager(nats);
    const seen: string[] = [];
    nats.subscribe('data.>', { callback: (_error, message) => void seen.push(message.string()) });
    await nats.flush();

    // A session with messages that wait for its device.
    const away = { version: 5, clientId: 'away', clean: false } as const;
    const lasting = { ...away, properties: [['sessionExpiryInterval', 3600]] } as const;
    const before = await lab.raw(lasting);
    before.send(rawSubscribe(5, 1, [{ filter: 'data/#', qos: 2 }]));
    await before.expect('suback');
    before.destroy();

    const devices = new Map<string, RawClient>();
    for (const version of VERSIONS)
      for (const qos of [1, 2])
        devices.set(
          `${version}-${qos}`,
          await lab.raw({ version, clientId: `d${version}-${qos}`, clean: version === 5 }),
        );
    const publish = (raw: RawClient, packetId: number, qos: number, data: string): void =>
      raw.send(rawPublish(raw.version, { topic: 'data/x', qos, packetId, data }));
    const each = async (
      act: (raw: RawClient, qos: number, name: string) => unknown,
    ): Promise<void> => {
      for (const [name, raw] of devices) await act(raw, Number(name.at(-1)), name);
    };
    const ackOf = (qos: number): 'puback' | 'pubrec' => (qos === 1 ? 'puback' : 'pubrec');
    await each(async (raw, qos, name) => {
      publish(raw, 1, qos, `before ${name}`);
      expect(await raw.expect(ackOf(qos))).toMatchObject({ packetId: 1, code: 0 });
      if (qos === 2) raw.send(rawAck('pubrel', 1));
      if (qos === 2) expect((await raw.expect('pubcomp')).packetId).toBe(1);
    });

    fill(filler);
    const probe = await lab.raw({ version: 5, clientId: 'probe' });
    let tries = 1;
    let refused = '';
    await until('the disk to be full', async () => {
      fill(filler);
      publish(probe, ++tries, 1, 'p'.repeat(20_000));
      const ack = await probe.expect('puback');
      if (ack.code === 0) return false;
      expect(ack.code).toBe(0x97);
      refused = String(ack.properties.find(([name]) => name === 'reasonString')?.[1]);
      return true;
    });
    expect(refused).toMatch(/full/);
    seen.length = 0;
    await each((raw, qos, name) => {
      for (let i = 0; i < 5; i++) publish(raw, 10 + i, qos, `full ${name} ${i}`);
    });
    // Whoever listens now gets them all the same; nobody may believe that they are stored.
    await came(seen, 30);
    await each(async (raw, qos) => {
      expect(await raw.ping()).toBe(true);
      if (raw.version !== 5) return expect(raw.take()).toEqual([]);
      for (let i = 0; i < 5; i++)
        expect(await raw.expect(ackOf(qos))).toMatchObject({ packetId: 10 + i, code: 0x97 });
    });
    await lab.looked();
    await each(async (raw) => expect(await raw.ping()).toBe(true));

    // What was queued before can be had, and is let go of.
    const back = await lab.raw(lasting);
    const queued: string[] = [];
    let releases = 0;
    for (let i = 0; i < 6; i++) {
      const { packetId, qos, data } = await back.expect('publish');
      queued.push(`${data.toString()} ${qos}`);
      back.send(rawAck(ackOf(qos), packetId));
      if (qos === 2) releases++;
    }
    expect(queued).toEqual([...devices.keys()].map((name) => `before ${name} ${name.at(-1)}`));

    rmSync(filler);
    await until('the disk to take messages', async () => {
      publish(probe, ++tries, 1, 'room');
      return (await probe.expect('puback')).code === 0;
    });
    for (; releases > 0; releases--)
      back.send(rawAck('pubcomp', (await back.expect('pubrel')).packetId));
    // Older devices have to come back to send again what they kept.
    await each(async (raw, qos, name) => {
      if (raw.version === 5) {
        publish(raw, 30, qos, `after ${name}`);
        expect(await raw.expect(ackOf(qos))).toMatchObject({ packetId: 30, code: 0 });
        return;
      }
      await raw.expectClosed();
      const again = await lab.raw({ version: raw.version, clientId: `d${name}`, clean: false });
      for (let i = 0; i < 5; i++) publish(again, 10 + i, qos, `full ${name} ${i}`);
      for (let i = 0; i < 5; i++) expect((await again.expect(ackOf(qos))).packetId).toBe(10 + i);
    });
    const stored = (await held(manager, 'DATA')).map(({ text }) => text);
    for (const [name, { version }] of devices) {
      expect(stored).toContain(`before ${name}`);
      for (let i = 0; i < 5; i++)
        expect(stored.filter((text) => text === `full ${name} ${i}`)).toHaveLength(
          version === 5 ? 0 : 1,
        );
      expect(stored.includes(`after ${name}`)).toBe(version === 5);
    }
  },
  120_000,
);
