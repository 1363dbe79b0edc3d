// A full disk stops the intake, never the draining, and nothing that was acknowledged is lost by it.

import { expect, test } from 'vitest';
import { canLoop } from '../support/loop-fs.ts';
import { until } from '../support/until.ts';
import { FullDisk, RESUME_MS } from './full-disk.ts';

// See power-cut.test.ts.
const possible = canLoop();
const SENSOR = { window: 60_000, bytes: 200, everyMs: 5 };

test.runIf(possible)(
  'while another program fills the disk nothing is acknowledged; the backlog drains, and room is used within 5 s',
  async () => {
    await using disk = await FullDisk.create();
    const sensor = disk.publisher('sensor', SENSOR);
    await until('PUBACKs', () => sensor.acked.length > 50);
    await disk.serialFrame();
    disk.cutWan();
    disk.publisher('bulk', { window: 16, bytes: 8_000, total: 1_000 });
    await until('a backlog', () => disk.publishers[1]?.acked.length === 1_000);
    await disk.untilFull(() => disk.fill());

    // PUBACKs are withheld, the connection is kept, the process lives.
    const { sent, acked } = sensor;
    const ackedWhenFull = acked.length;
    const connections = sensor.localPorts.length;
    await until('100 more messages', () => sensor.sent > sent + 100);
    expect(sensor.acked.length).toBe(ackedWhenFull);
    expect(sensor.localPorts.length).toBe(connections);
    for (let i = 0; i < 20; i++) await disk.serialFrame();

    // The WAN comes back: what is stored goes out although nothing can come in.
    const before = await disk.agent.confirmedSeq();
    await disk.wan.restore();
    await until(
      'the backlog to drain',
      async () => (await disk.agent.confirmedSeq()) > before + 1_000,
    );

    disk.fill();
    disk.empty();
    await until('PUBACKs again', () => sensor.acked.length > ackedWhenFull, RESUME_MS);
    await until('to be healthy again', () => disk.healthy(), RESUME_MS);
    await disk.audit();
  },
  120_000,
);

test.runIf(possible)(
  'a stream that fills the disk by itself refuses, drains when the WAN is back, and takes messages again',
  async () => {
    await using disk = await FullDisk.create(32);
    disk.cutWan();
    const bulk = disk.publisher('bulk', { window: 60_000, bytes: 8_000, everyMs: 1 });
    const sensor = disk.publisher('sensor', SENSOR);
    await disk.untilFull();
    const acked = sensor.acked.length + bulk.acked.length;
    for (let i = 0; i < 20; i++) await disk.serialFrame();
    bulk.stop();
    await disk.wan.restore();
    await until('PUBACKs again', () => sensor.acked.length + bulk.acked.length > acked + 100);
    await until('to be healthy again', () => disk.healthy(), RESUME_MS);
    await disk.audit();
  },
  120_000,
);

test.runIf(possible)(
  'an agent that is stopped or killed while its disk is full comes back with everything it had acknowledged',
  async () => {
    await using disk = await FullDisk.create(32);
    disk.cutWan();
    const sensor = disk.publisher('sensor', { ...SENSOR, bytes: 16_000 });
    await disk.untilFull();
    expect(await disk.agent.stop()).toEqual({ code: 0, signal: null });
    await disk.agent.start();
    await disk.untilFull();
    await disk.agent.kill();
    await disk.agent.start();
    const acked = sensor.acked.length;
    await disk.wan.restore();
    await until('PUBACKs again', () => sensor.acked.length > acked);
    await disk.audit();
  },
  120_000,
);

test.runIf(possible)(
  'an agent killed before others fill its disk starts from the room set aside, and drains',
  async () => {
    await using disk = await FullDisk.create(32);
    disk.cutWan();
    const bulk = disk.publisher('bulk', { window: 64, bytes: 4_000, total: 1_000 });
    await until('PUBACKs', () => bulk.acked.length === 1_000);
    await disk.agent.kill();
    disk.fill();
    await disk.agent.start();
    await disk.wan.restore();
    await until('the backlog to drain', async () => (await disk.agent.confirmedSeq()) >= 1_000);
    disk.empty();
    await disk.audit();
  },
  120_000,
);

test.runIf(possible)(
  'an agent on a disk that others have filled to the last byte says so, and starts when there is room',
  async () => {
    await using disk = await FullDisk.create(32);
    disk.cutWan();
    const sensor = disk.publisher('sensor', SENSOR);
    await until('PUBACKs', () => sensor.acked.length > 50);
    await disk.untilFull(() => disk.fill());
    await disk.agent.kill();
    disk.fill();
    disk.agent.spawn();
    // A write-ahead log that fits into the database's own free pages is room enough to start.
    const up = (): boolean => disk.agent.output.includes('"the agent is running"');
    await until('the agent to start or end', () => up() || !disk.agent.running);
    if (!up()) {
      expect((await disk.agent.exited).code).toBe(71);
      expect(disk.agent.log.at(-1)?.hint).toContain('free space');
    }
    disk.empty();
    if (!disk.agent.running) await disk.agent.start();
    await disk.wan.restore();
    await disk.audit();
  },
  120_000,
);

test.runIf(possible)('a disk of 8 MiB is enough to work on', async () => {
  await using disk = await FullDisk.create(8);
  const sensor = disk.publisher('sensor', { window: 20, bytes: 200, total: 500 });
  await until('PUBACKs', () => sensor.acked.length === 500);
  expect(await disk.healthy()).toBe(true);
  await disk.audit();
});
