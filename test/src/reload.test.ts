// A configuration that is read again while the agent runs: the real parts, real sockets, a real hub.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { MqttListener } from '../../device/mqtt/listener.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config.ts';
import { inForce } from '../../src/config/in-force.ts';
import { startAgent, type Agent } from '../../src/main.ts';
import { Reload } from '../../src/reload.ts';
import { HubAdmin } from '../hub/hub-admin.ts';
import { startNatsServer } from '../support/nats-server.ts';
import { Pty } from '../support/pty.ts';
import { until } from '../support/until.ts';

const STREAM = '[[stream]]\nname = "A"\nsubjects = ["a.>"]\n';

/** An agent whose configuration file can be written again. */
class Reloaded implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'mangrove-reload-'));
  readonly file = join(this.dir, 'agent.toml');
  readonly log: { level: number; msg: string }[] = [];
  #agent: Agent | undefined;

  write(tables: string, gateway = ''): this {
    const text = `[gateway]\nname = "gw7"\ndata_dir = "${this.dir}/data"\n${gateway}\n${tables}`;
    writeFileSync(this.file, text, { mode: 0o600 });
    return this;
  }

  async start(tables: string): Promise<this> {
    this.write(tables);
    const config = loadConfig(this.file, {});
    const log = pino(
      { level: config.log.level },
      { write: (line: string) => void this.log.push(JSON.parse(line)) },
    );
    const onFatal = (error: Error): void => {
      throw error;
    };
    this.#agent = await startAgent(config, { clock: systemClock, log, onFatal });
    return this;
  }

  get agent(): Agent {
    if (this.#agent === undefined) throw new Error('it was not started');
    return this.#agent;
  }

  /** Writes the file and puts it in force. */
  async reload(tables: string, gateway?: string) {
    this.write(tables, gateway);
    const { needRestart, apply } = await this.agent.prepare(loadConfig(this.file, {}));
    return { needRestart, changed: await apply() };
  }

  connect(options: object = {}): Promise<MqttClient> {
    const { mqtt } = this.agent.parts;
    const port = mqtt instanceof MqttListener ? mqtt.address?.port : undefined;
    return connectAsync(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0, ...options });
  }

  /** Messages in each stream. */
  stored(): Record<string, number> {
    const { streams } = this.agent.parts.jetstream;
    return Object.fromEntries(streams.map((stream) => [stream.name, stream.state().messages]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent?.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

test('a file that says the same changes nothing', async () => {
  await using at = new Reloaded();
  const tables = `[mqtt]\nlisten = "127.0.0.1:0"\n${STREAM}[hub]\nservers = ["127.0.0.1:1"]\n[[forward]]\nstream = "A"\n`;
  await at.start(tables);
  const [forwarder] = at.agent.parts.forwarders;
  const { hub } = at.agent.parts;
  const { commits } = at.agent.parts.jetstream.store.counters;
  expect(await at.reload(tables)).toEqual({ needRestart: [], changed: [] });
  expect(at.agent.parts.forwarders[0]).toBe(forwarder);
  expect(at.agent.parts.hub).toBe(hub);
  expect(at.agent.parts.jetstream.store.counters.commits - commits).toBeLessThan(2);
});

test('MQTT clients publish through a reload of streams, and every message is in one stream once', async () => {
  await using at = new Reloaded();
  const mqtt = '[mqtt]\nlisten = "127.0.0.1:0"\n';
  await at.start(`${mqtt}${STREAM}[[stream]]\nname = "B"\nsubjects = ["b.>"]\n`);
  const client = await at.connect();
  let closed = 0;
  client.on('close', () => closed++);
  const published: Promise<unknown>[] = [];
  let going = true;
  const publishing = (async () => {
    while (going) {
      published.push(client.publishAsync('a/x', 'data', { qos: 1 }));
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  for (const subject of ['"a.x", "b.>"', '"b.>"', '"a.x", "b.>"', '"b.>"']) {
    await until('some messages', () => published.length % 50 === 49);
    const a = subject.includes('a.x') ? 'a.y' : 'a.>';
    const { changed } = await at.reload(
      `${mqtt}[[stream]]\nname = "A"\nsubjects = ["${a}"]\n[[stream]]\nname = "B"\nsubjects = [${subject}]\n`,
    );
    expect(changed.toSorted()).toEqual(['stream A', 'stream B']);
  }
  going = false;
  await publishing;
  await Promise.all(published);
  const { A = 0, B = 0 } = at.stored();
  expect(A + B).toBe(published.length);
  expect(Math.min(A, B)).toBeGreaterThan(0);
  expect(closed).toBe(0);
  await client.endAsync();
});

test('a serial port that is added reads, one that is changed reads anew, one that is taken out is let go', async () => {
  await using at = new Reloaded();
  await at.start(STREAM);
  const ports = [new Pty(join(at.dir, 'one')), new Pty(join(at.dir, 'two'))] as const;
  try {
    for (const port of ports) await port.plug();
    const table = (name: string, path: string, subject = `a.${name}`): string =>
      `[[serial]]\nname = "${name}"\npath = "${path}"\nbaud_rate = 115200\nsubject = "${subject}"\n`;
    const ready = (count: number): Promise<unknown> =>
      until('the ports to be open', () => {
        const stats = at.agent.parts.serial.map((port) => port.stats() as { ready: boolean });
        return stats.filter((port) => port.ready).length === count;
      });
    const both = await at.reload(STREAM + table('s1', ports[0].path) + table('s2', ports[1].path));
    expect(both.changed).toEqual(['serial s1', 'serial s2']);
    await ready(2);
    await ports[0].write('1\n');
    await until('a line', () => at.stored()['A'] === 1);
    // The two change places; each device is free before the other takes it.
    const swapped = await at.reload(
      STREAM + table('s1', ports[1].path) + table('s2', ports[0].path),
    );
    expect(swapped.changed.toSorted()).toEqual(['serial s1', 'serial s2']);
    await ready(2);
    await ports[1].write('2\n');
    await until('a line', () => at.stored()['A'] === 2);
    const [kept] = at.agent.parts.serial;
    const one = await at.reload(STREAM + table('s1', ports[1].path));
    expect(one.changed).toEqual(['serial s2']);
    expect(at.agent.parts.serial).toEqual([kept]);
    await using other = new Reloaded();
    await other.start(STREAM + table('s3', ports[0].path));
    await until('the port that was let go', () =>
      other.agent.parts.serial.some((port) => (port.stats() as { open: boolean }).open),
    );
  } finally {
    for (const port of ports) await port.unplug();
  }
});

test('an MQTT user that is taken out is closed and not let in again; the others notice nothing', async () => {
  await using at = new Reloaded();
  const users = (...names: string[]): string =>
    `[mqtt]\nlisten = "127.0.0.1:0"\nusers = [${names.map((name) => `{ user = "${name}", password = "${name}-1" }`).join(', ')}]\n${STREAM}`;
  await at.start(users('boiler', 'pump'));
  const boiler = await at.connect({ username: 'boiler', password: 'boiler-1' });
  const pump = await at.connect({ username: 'pump', password: 'pump-1' });
  let pumpClosed = 0;
  pump.on('close', () => pumpClosed++);
  const gone = new Promise<void>((resolve) => boiler.once('close', () => resolve()));
  expect(await at.reload(users('pump', 'valve'))).toEqual({
    needRestart: [],
    changed: ['mqtt.users'],
  });
  await gone;
  await expect(at.connect({ username: 'boiler', password: 'boiler-1' })).rejects.toThrow();
  const valve = await at.connect({ username: 'valve', password: 'valve-1' });
  await pump.publishAsync('a/x', 'data', { qos: 1 });
  expect(pumpClosed).toBe(0);
  await Promise.all([valve.endAsync(), pump.endAsync()]);
});

test('another password in its file counts from the next reading', async () => {
  await using at = new Reloaded();
  const secret = join(at.dir, 'secret');
  writeFileSync(secret, 'old\n', { mode: 0o600 });
  const tables = `[mqtt]\nlisten = "127.0.0.1:0"\nusers = [{ user = "u", password_file = "secret" }]\n${STREAM}`;
  await at.start(tables);
  const client = await at.connect({ username: 'u', password: 'old' });
  const gone = new Promise<void>((resolve) => client.once('close', () => resolve()));
  writeFileSync(secret, 'new\n', { mode: 0o600 });
  expect((await at.reload(tables)).changed).toEqual(['mqtt.users']);
  await gone;
  await (await at.connect({ username: 'u', password: 'new' })).endAsync();
});

test('the level of the log changes for every part', async () => {
  await using at = new Reloaded();
  const port = '[[serial]]\nname = "absent"\npath = "/nowhere"\nsubject = "a.b"\n';
  await at.start(`[log]\nlevel = "fatal"\n${STREAM}${port}`);
  expect(at.log).toEqual([]);
  expect((await at.reload(`[log]\nlevel = "warn"\n${STREAM}${port}`)).changed).toEqual([
    'log.level',
  ]);
  // The port's logger was made before.
  await until('the port to complain', () =>
    at.log.some(({ msg }) => msg.startsWith('Cannot open')),
  );
});

test('a hub and a forward that are added get what was stored before, and another hub all that comes', async () => {
  await using at = new Reloaded();
  const servers = [await startNatsServer(), await startNatsServer()] as const;
  try {
    const mqtt = '[mqtt]\nlisten = "127.0.0.1:0"\n';
    await at.start(mqtt + STREAM);
    const client = await at.connect();
    await client.publishAsync('a/x', '1', { qos: 1 });
    const hub = (url: string, stream = 'EDGE'): string =>
      `[hub]\nservers = ["${url}"]\nstream = "${stream}"\ncreate = true\nreconnect_max = "100ms"\n[[forward]]\nstream = "A"\n`;
    const caughtUp = (seq: number): Promise<unknown> =>
      until(
        'the hub to have it',
        () => at.agent.parts.forwarders[0]?.status().confirmedSeq === seq,
      );
    expect((await at.reload(mqtt + STREAM + hub(servers[0].url))).changed.toSorted()).toEqual([
      'forward A',
      'hub link',
      'stream A',
    ]);
    await caughtUp(1);
    expect((await at.reload(mqtt + STREAM + hub(servers[1].url))).changed.toSorted()).toEqual([
      'forward A',
      'hub link',
    ]);
    await client.publishAsync('a/x', '2', { qos: 1 });
    await caughtUp(2);
    // Only the grace is another one: that concerns the stream, and the forwarder goes on.
    const [forwarder] = at.agent.parts.forwarders;
    const longer = `${mqtt}${STREAM}${hub(servers[1].url)}grace = "1h"\n`;
    expect((await at.reload(longer)).changed).toEqual(['stream A']);
    expect(at.agent.parts.forwarders[0]).toBe(forwarder);
    expect((await at.reload(mqtt + STREAM)).changed.toSorted()).toEqual([
      'forward A',
      'hub link',
      'stream A',
    ]);
    expect(at.agent.parts.hub).toBeUndefined();
    await client.publishAsync('a/x', '3', { qos: 1 });
    expect(at.stored()).toEqual({ A: 3 });
    const admin = await HubAdmin.connect(servers[1].url);
    const records = await admin.readAll();
    await admin.close();
    // The second hub was empty: it is filled from the grace.
    expect(records.map(({ data }) => String(data))).toEqual(['1', '2']);
    await client.endAsync();
  } finally {
    for (const server of servers) await server.dispose();
  }
}, 120_000);

describe('what waits for a restart', () => {
  test('is named by its key, and the rest is put in force', async () => {
    await using at = new Reloaded();
    await at.start(`[monitor]\nlisten = "127.0.0.1:0"\n${STREAM}`);
    at.write('');
    writeFileSync(
      at.file,
      `[gateway]\nname = "other"\ndata_dir = "/nowhere"\ncommit_interval = "5ms"\n[mqtt]\n[monitor]\nlisten = "127.0.0.1:1"\n[[stream]]\nname = "A"\nsubjects = ["a.>"]\nmax_msgs = 5\n`,
    );
    const { needRestart, apply } = await at.agent.prepare(loadConfig(at.file, {}));
    expect(needRestart).toEqual([
      'gateway.name',
      'gateway.data_dir',
      'gateway.commit_interval',
      'mqtt',
      'monitor.listen',
    ]);
    expect(await apply()).toEqual(['stream A']);
    const { config } = at.agent.parts;
    expect(config.gateway.name).toBe('gw7');
    expect(config.mqtt).toBeUndefined();
    expect(config.streams[0]?.maxMsgs).toBe(5);
    // It is said again at the next reading, until somebody restarts.
    expect((await at.agent.prepare(loadConfig(at.file, {}))).needRestart).toEqual(needRestart);
  });

  test('a listener that the network reaches is not opened to everybody by users that are right for loopback', async () => {
    await using at = new Reloaded();
    const config = (mqtt: string) => loadConfig(at.write(`${mqtt}\n${STREAM}`).file, {});
    const open = config(
      '[mqtt]\nlisten = "0.0.0.0:1883"\nusers = [{ user = "a", password = "b" }]',
    );
    const { config: now, needRestart } = inForce(open, config('[mqtt]'));
    expect(needRestart).toEqual(['mqtt.listen']);
    expect(now.mqtt).toEqual(open.mqtt);
  });
});

describe('when it is read', () => {
  /** Readings that end when the test says so. */
  function setup() {
    const running: (() => void)[] = [];
    let begun = 0;
    const reload = new Reload(() => {
      begun++;
      return new Promise((resolve) => running.push(resolve));
    });
    const end = async (): Promise<void> => {
      running.shift()?.();
      for (let i = 0; i < 5; i++) await Promise.resolve();
    };
    return { reload, end, begun: () => begun };
  }

  test('a signal during the start counts when the agent is up', () => {
    const { reload, begun } = setup();
    expect(reload.request()).toBe(true);
    reload.request();
    expect(begun()).toBe(0);
    reload.up();
    expect(begun()).toBe(1);
  });

  test('a start without a signal reads nothing again', () => {
    const { reload, begun } = setup();
    reload.up();
    expect(begun()).toBe(0);
  });

  test('signals during a reading bring one more, never two at once', async () => {
    const { reload, end, begun } = setup();
    reload.up();
    for (let i = 0; i < 10; i++) reload.request();
    expect(begun()).toBe(1);
    await end();
    expect(begun()).toBe(2);
    await end();
    expect(begun()).toBe(2);
  });

  test('a stop waits for the reading that runs, and lets none follow', async () => {
    const { reload, end, begun } = setup();
    reload.up();
    reload.request();
    reload.request();
    let stopped = false;
    const stop = reload.stop().then(() => (stopped = true));
    expect(reload.request()).toBe(false);
    await Promise.resolve();
    expect(stopped).toBe(false);
    await end();
    await stop;
    expect(begun()).toBe(1);
  });
});
