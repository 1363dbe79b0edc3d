// systemd's watchdog is fed by progress: what stops the feeding, and what must not.

import { pino } from 'pino';
import { afterEach, describe, expect, test } from 'vitest';
import { startHeartbeat, type Progressing } from '../../src/heartbeat.ts';
import { Notifier } from '../../src/notify.ts';
import type { ForwarderView } from '../../src/status.ts';
import { Watchdog, type Watched } from '../../src/watchdog.ts';
import type { Forwarder } from '../../sync/forwarder.ts';
import type { FakeClock } from '../support/fake-clock.ts';
import { GatewayStore } from '../support/gateway-store.ts';
import { MemoryStream } from '../support/memory-stream.ts';
import { setup, tearDown, type Bench } from '../sync/forward-bench.ts';

afterEach(tearDown);

/** As in the unit. */
const WATCHDOG_MS = 60_000;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const IDLE_DISK = { store: { busy: false, steps: 0 } };

/** systemd: how often it was told that all is well, and the longest it had to wait. */
class Systemd {
  pings = 0;
  longestMs = 0;
  status = '';
  readonly errors: string[] = [];
  #lastMs: number;
  readonly #clock: FakeClock;

  constructor(clock: FakeClock, parts: () => Progressing) {
    this.#clock = clock;
    this.#lastMs = clock.monotonicMs();
    const log = pino(
      { level: 'error' },
      { write: (line: string) => void this.errors.push((JSON.parse(line) as { msg: string }).msg) },
    );
    const notifier = new Notifier({ clock, log }, (assignments, done) => {
      this.#hear(assignments);
      done(null);
      return () => undefined;
    });
    startHeartbeat(
      { clock, log, notifier },
      { parts, status: () => 'well', watchdogMs: WATCHDOG_MS },
    );
  }

  #hear(assignments: readonly string[]): void {
    for (const assignment of assignments)
      if (assignment.startsWith('STATUS=')) this.status = assignment.slice(7);
    if (!assignments.includes('WATCHDOG=1')) return;
    this.pings++;
    this.longestMs = this.silentMs;
    this.#lastMs = this.#clock.monotonicMs();
  }

  get silentMs(): number {
    return Math.max(this.longestMs, this.#clock.monotonicMs() - this.#lastMs);
  }

  /** It would have killed the agent by now. */
  get killed(): boolean {
    return this.silentMs > WATCHDOG_MS;
  }
}

describe('the disk', () => {
  async function store(): Promise<{ at: GatewayStore; systemd: Systemd }> {
    const at = await new GatewayStore().open();
    const systemd = new Systemd(at.clock, () => ({
      jetstream: at.jetstream,
      forwarders: [],
      hub: undefined,
      leaf: undefined,
      config: { hub: undefined, leaf: undefined },
    }));
    return { at, systemd };
  }

  test('an idle one is no reason, however long', async () => {
    const { at, systemd } = await store();
    await using _ = at;
    for (let i = 0; i < 3_600; i++) {
      at.clock.advance(1_000);
      at.settle();
    }
    expect(systemd.pings).toBe(180);
    expect(systemd.killed).toBe(false);
  });

  test.each([20, 10_000, 30_000])(
    'one that takes %i ms for each sync under load is no reason',
    async (syncMs) => {
      const { at, systemd } = await store();
      await using _ = at;
      for (let i = 0; i < Math.ceil(HOUR / syncMs) && i < 1_000; i++) {
        at.publish('data.a', 'x');
        at.clock.advance(syncMs);
        at.disk?.finish();
      }
      expect(systemd.killed).toBe(false);
      at.settle();
    },
  );

  test('one that is stuck in a sync is, after two minutes', async () => {
    const { at, systemd } = await store();
    await using _ = at;
    at.publish('data.a', 'x');
    at.clock.advance(2 * MINUTE);
    expect(systemd.killed).toBe(false);
    at.clock.advance(2 * MINUTE);
    expect(systemd.killed).toBe(true);
    expect(systemd.errors).toContain('a part makes no progress: the watchdog is not fed');
    expect(systemd.status).toBe('stuck: disk; systemd will restart the agent');
    at.settle();
  });

  test('one that comes back in time is fed for again', async () => {
    const { at, systemd } = await store();
    await using _ = at;
    at.publish('data.a', 'x');
    at.clock.advance(2 * MINUTE + 50_000);
    at.settle();
    const { pings } = systemd;
    at.clock.advance(MINUTE);
    expect(systemd.pings).toBe(pings + 3);
    expect(systemd.status).toBe('well');
  });

  test('a full one is no reason', async () => {
    const { at, systemd } = await store();
    await using _ = at;
    const { db } = at.jetstream.store;
    const stop = at.clock.monotonicMs() + 10 * MINUTE;
    while (at.clock.monotonicMs() < stop) {
      // Every second the room is looked at again: there is none.
      if (at.disk !== undefined) at.disk.roomNow = { availableBytes: 0, totalBytes: 1e9 };
      db.pragma(`max_page_count = ${Number(db.pragma('page_count', { simple: true }))}`);
      at.publish('data.a', Buffer.alloc(100_000));
      at.clock.advance(500);
      at.settle();
    }
    expect(at.jetstream.store.full).not.toBeNull();
    expect(systemd.killed).toBe(false);
    if (at.disk !== undefined) at.disk.roomNow = undefined;
  });
});

describe('the forwarder', () => {
  function watched(at: Bench, forwarder: Forwarder): Systemd {
    const view: ForwarderView = { stream: 'S', status: () => forwarder.status() };
    return new Systemd(at.clock, () => ({
      jetstream: IDLE_DISK,
      forwarders: [view],
      hub: { connected: at.hub.connected, answers: 0 },
      leaf: undefined,
      config: { hub: { keepAliveMs: 15_000 }, leaf: undefined },
    }));
  }

  function start(at: Bench): { stream: MemoryStream; systemd: Systemd } {
    const stream = new MemoryStream('telemetry');
    return { stream, systemd: watched(at, at.start(stream)) };
  }

  test('one that has nothing to send is no reason', async () => {
    const at = setup();
    const { stream, systemd } = start(at);
    stream.publishMany(10);
    await at.run(6 * HOUR);
    expect(systemd.killed).toBe(false);
  });

  test('a hub that is away with a backlog waiting is no reason', async () => {
    const at = setup();
    const { stream, systemd } = start(at);
    await at.run(MINUTE);
    at.hub.blackHole();
    stream.publishMany(500);
    await at.run(6 * HOUR);
    expect(stream.mark?.seq ?? 0).toBe(0);
    expect(systemd.killed).toBe(false);
  });

  test('a hub that loses every second answer is no reason', async () => {
    const at = setup();
    const { stream, systemd } = start(at);
    at.hub.faults.lostAck = 0.5;
    for (let i = 0; i < 60; i++) {
      stream.publishMany(3);
      await at.run(MINUTE);
    }
    expect(systemd.killed).toBe(false);
  });

  test('a hub without the stream is no reason', async () => {
    const at = setup({}, 'fail');
    const { stream, systemd } = start(at);
    stream.publishMany(10);
    await at.run(3 * HOUR);
    expect(systemd.killed).toBe(false);
  });

  test('one whose publish never ends is, after some twenty minutes', async () => {
    const at = setup();
    const { stream, systemd } = start(at);
    await at.run(MINUTE);
    at.hub.publish = () => new Promise(() => undefined);
    stream.publishMany(10);
    await at.run(20 * MINUTE);
    expect(systemd.killed).toBe(false);
    await at.run(4 * MINUTE);
    expect(systemd.killed).toBe(true);
    expect(systemd.status).toBe('stuck: forwarder S; systemd will restart the agent');
  });

  test('one that overlooks what waits for it is', async () => {
    const at = setup();
    const forwarder = at.start(new MemoryStream('telemetry'));
    await at.run(MINUTE);
    const view = forwarder.status();
    expect(view.state).toBe('caught up');
    const deaf = new Systemd(at.clock, () => ({
      jetstream: IDLE_DISK,
      forwarders: [{ stream: 'S', status: () => ({ ...view, pending: 5 }) }],
      hub: { connected: true, answers: 0 },
      leaf: undefined,
      config: { hub: { keepAliveMs: 15_000 }, leaf: undefined },
    }));
    await at.run(25 * MINUTE);
    expect(deaf.killed).toBe(true);
  });

  test('a long reading is no reason while the hub answers', async () => {
    const at = setup();
    const view = at.start(new MemoryStream('telemetry')).status();
    let answers = 0;
    const reading = (moving: boolean): Systemd =>
      new Systemd(at.clock, () => ({
        jetstream: IDLE_DISK,
        forwarders: [{ stream: 'S', status: () => ({ ...view, state: 'reading back' }) }],
        hub: { connected: true, answers: moving ? answers++ : 0 },
        leaf: undefined,
        config: { hub: { keepAliveMs: 15_000 }, leaf: undefined },
      }));
    const [moves, stands] = [reading(true), reading(false)];
    await at.run(2 * HOUR);
    expect(moves.killed).toBe(false);
    expect(stands.killed).toBe(true);
  });
});

test('a part is not blamed for time in which the process stood still', () => {
  const watchdog = new Watchdog(20_000);
  const part: Watched = { name: 'disk', limitMs: 120_000, busy: () => true, steps: () => 1 };
  expect(watchdog.look(0, [part])).toEqual([]);
  expect(watchdog.look(20_000, [part])).toEqual([]);
  // Stopped by a debugger, or the machine slept.
  expect(watchdog.look(10_000_000, [part])).toEqual([]);
  expect(watchdog.look(10_020_000, [part])).toEqual([]);
  expect(watchdog.look(10_040_000, [part])).toEqual([]);
  expect(watchdog.look(10_060_000, [part])).toEqual([]);
  expect(watchdog.look(10_080_000, [part])).toEqual([{ part: 'disk', forMs: 140_000 }]);
});

test('a part that is gone is forgotten, and one of its name begins anew', () => {
  const watchdog = new Watchdog(20_000);
  const part: Watched = { name: 'disk', limitMs: 50_000, busy: () => true, steps: () => 1 };
  for (const atMs of [0, 20_000, 40_000]) expect(watchdog.look(atMs, [part])).toEqual([]);
  expect(watchdog.look(60_000, [])).toEqual([]);
  expect(watchdog.look(80_000, [part])).toEqual([]);
});

describe('the leafnode link', () => {
  function link(waitingBytes: () => number | undefined, steps: () => number) {
    const at = setup();
    const systemd = new Systemd(at.clock, () => {
      const bytes = waitingBytes();
      const hub = bytes === undefined ? undefined : { ...HUB, waitingBytes: bytes };
      return {
        jetstream: IDLE_DISK,
        forwarders: [],
        hub: undefined,
        leaf: { status: () => ({ hub, steps: steps() }) },
        config: { hub: undefined, leaf: { keepAliveMs: 15_000 } },
      };
    });
    return { at, systemd };
  }

  const HUB = {
    name: 'hub',
    version: '2.15.1',
    domain: undefined,
    account: 'A',
    ip: '127.0.0.1',
    port: 7422,
    tls: false,
    compression: 'off',
    rttMs: undefined,
    advertised: [],
    wanted: 0,
  };

  test('one without a connection, or with nothing to send, is no reason', async () => {
    for (const bytes of [undefined, 0]) {
      const { at, systemd } = link(
        () => bytes,
        () => 1,
      );
      await at.run(2 * HOUR);
      expect(systemd.killed).toBe(false);
    }
  });

  test('one that is slow is no reason, one that does nothing while bytes wait is', async () => {
    let lines = 0;
    const slow = link(
      () => 2_000_000,
      () => lines++,
    );
    await slow.at.run(2 * HOUR);
    expect(slow.systemd.killed).toBe(false);
    const stuck = link(
      () => 1,
      () => 7,
    );
    await stuck.at.run(25 * MINUTE);
    expect(stuck.systemd.killed).toBe(true);
    expect(stuck.systemd.status).toBe('stuck: leaf; systemd will restart the agent');
  });
});
