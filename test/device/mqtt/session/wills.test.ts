import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createBase, type Base } from '../../../../device/mqtt/base.ts';
import { NEVER_EXPIRES, type Will } from '../../../../device/mqtt/session/types.ts';
import { willKey } from '../../../../device/mqtt/session/will-row.ts';
import { RESTART_GRACE_MS, Wills } from '../../../../device/mqtt/session/wills.ts';
import type { Settled } from '../../../../device/mqtt/tables.ts';
import { Broker } from '../../../../src/broker.ts';
import { PublishError } from '../../../../src/message.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { MemoryStore } from '../../../support/mqtt-store.ts';

const SESSION = { clientId: 'meter-1' };

/** Wills over tables in memory; `published` are those that the disk has taken, `tried` all that were routed. */
class Rig {
  readonly clock: FakeClock;
  readonly store: MemoryStore;
  readonly base: Base;
  readonly wills: Wills;
  readonly tried: string[] = [];
  readonly published: string[] = [];
  readonly publishedWills: [Will, string][] = [];
  answered = 0;
  /** What the publisher says at once. */
  refusal: Error | undefined;

  constructor(clock = new FakeClock(), store = new MemoryStore(clock)) {
    this.clock = clock;
    this.store = store;
    this.base = createBase({ broker: new Broker(), clock, log: pino({ level: 'silent' }), store });
    this.wills = new Wills(this.base, this);
  }

  publishWill(will: Will, clientId: string, settled: Settled): void {
    const data = String(will.message.data);
    this.tried.push(data);
    this.publishedWills.push([will, clientId]);
    if (this.refusal !== undefined) return settled(this.refusal);
    this.store.queueMessage();
    this.store.whenDurable((error) => {
      if (error === null) this.published.push(data);
      settled(error);
    });
  }

  open(wanted: Will | undefined = will(), expirySeconds = 3600, session = SESSION): boolean {
    return this.wills.opened(session, wanted, expirySeconds, () => this.answered++);
  }

  close(wanted: Will | undefined = will(), expirySeconds = 3600, session = SESSION): void {
    this.wills.closed(session, wanted, expirySeconds);
    this.clock.turn();
  }

  get rows(): number {
    return this.store.wills.range('', '\u{10ffff}', 100_000).length;
  }

  killed(): Rig {
    const next = new Rig(this.clock, this.store.afterKill());
    next.wills.load();
    this.clock.turn();
    return next;
  }
}

function will(options: Partial<Will> & { data?: string } = {}): Will {
  const { data = 'offline', ...rest } = options;
  const message = { subject: 'status.meter', data: Buffer.from(data) };
  return { message, qos: 1, retain: false, delaySeconds: 0, ...rest };
}

test('without a delay it is published when the connection is closed', () => {
  const rig = new Rig();
  rig.open();
  rig.close();
  expect(rig.published).toEqual(['offline']);
  expect(rig.base.counters.wills).toBe(1);
  expect(rig.publishedWills[0]?.[1]).toBe('meter-1');
  expect([rig.rows, rig.wills.waiting, rig.wills.bytes]).toEqual([0, 0, 0]);
});

test('DISCONNECT takes it back', () => {
  const rig = new Rig();
  rig.open();
  rig.clock.turn();
  expect(rig.rows).toBe(1);
  rig.wills.closed(SESSION, undefined, 3600);
  rig.clock.advance(10_000);
  expect([rig.tried, rig.rows]).toEqual([[], 0]);
});

test.each([
  ['the delay, when it is shorter', 10, 60, 10_000],
  ['the end of the session, when that is sooner', 60, 10, 10_000],
  ['the delay, when the session never ends', 4, NEVER_EXPIRES, 4000],
])('it waits for %s', (_, delaySeconds, expirySeconds, dueMs) => {
  const rig = new Rig();
  rig.open(will({ delaySeconds }), expirySeconds);
  rig.close(will({ delaySeconds }), expirySeconds);
  rig.clock.advance(dueMs - 1000);
  expect([rig.tried, rig.wills.waiting]).toEqual([[], 1]);
  rig.clock.advance(1100);
  expect([rig.published, rig.wills.waiting, rig.rows]).toEqual([['offline'], 0, 0]);
});

test('a delay of a session that ends with its connection is none', () => {
  const rig = new Rig();
  rig.open(will({ delaySeconds: 60 }), 0);
  rig.close(will({ delaySeconds: 60 }), 0);
  expect(rig.published).toEqual(['offline']);
});

test('killed while a clean client was connected: its Will is published after the grace, whatever its delay', () => {
  const rig = new Rig();
  expect(rig.open(will({ delaySeconds: 600 }), 0)).toBe(true);
  rig.clock.turn();
  expect(rig.answered).toBe(1);
  const next = rig.killed();
  next.clock.advance(RESTART_GRACE_MS - 100);
  expect(next.tried).toEqual([]);
  next.clock.advance(200);
  expect([next.published, next.rows, next.wills.bytes]).toEqual([['offline'], 0, 0]);
});

test('killed after a clean client took its Will back: nothing is published', () => {
  const rig = new Rig();
  rig.open(will(), 0);
  rig.clock.turn();
  rig.wills.closed(SESSION, undefined, 0);
  rig.clock.turn();
  const next = rig.killed();
  next.clock.advance(2 * RESTART_GRACE_MS);
  expect([next.tried, next.rows]).toEqual([[], 0]);
});

test('open connections share the memory for Wills, and give it back', () => {
  const rig = new Rig();
  const large = (i: number): Will => will({ data: String(i).padEnd(65_000) });
  let open = 0;
  while (rig.wills.fits(large(open)) && open < 1000) {
    rig.open(large(open), 0, { clientId: `m${open}` });
    open++;
  }
  rig.clock.turn();
  expect(open).toBe(Math.floor((16 * 1024 * 1024) / 65_012));
  expect(rig.wills.bytes).toBe(open * 65_012);
  for (let i = 0; i < open; i++) rig.wills.closed({ clientId: `m${i}` }, undefined, 0);
  rig.clock.turn();
  expect([rig.wills.bytes, rig.rows, rig.wills.fits(large(0))]).toEqual([0, 0, true]);
});

test('a client that is back in time takes it with it', () => {
  const rig = new Rig();
  rig.close(will({ delaySeconds: 10 }));
  rig.clock.advance(9000);
  rig.wills.cancel('meter-1');
  rig.open(will({ delaySeconds: 10, data: 'second' }));
  rig.clock.advance(60_000);
  expect([rig.tried, rig.wills.waiting]).toEqual([[], 0]);
  rig.close(will({ delaySeconds: 10, data: 'second' }));
  rig.clock.advance(10_100);
  expect(rig.published).toEqual(['second']);
});

test('a session that ends earlier publishes it then, once', () => {
  const rig = new Rig();
  rig.close(will({ delaySeconds: 100 }));
  rig.clock.advance(1000);
  rig.wills.ended('meter-1');
  rig.clock.turn();
  expect(rig.published).toEqual(['offline']);
  rig.clock.advance(200_000);
  rig.wills.ended('meter-1');
  expect(rig.tried).toEqual(['offline']);
});

test('one client being back leaves the Wills of others alone; they come when each is due', () => {
  const rig = new Rig();
  for (const [i, delaySeconds] of [30, 10, 20].entries())
    rig.close(will({ delaySeconds, data: String(i) }), 3600, { clientId: `c${i}` });
  rig.wills.cancel('c2');
  rig.clock.advance(15_000);
  expect(rig.published).toEqual(['1']);
  rig.clock.advance(30_000);
  expect(rig.published).toEqual(['1', '0']);
});

test('the row of an open connection is on the disk before CONNACK may leave', () => {
  const rig = new Rig();
  rig.store.auto = false;
  expect(rig.open()).toBe(true);
  rig.clock.turn();
  expect(rig.answered).toBe(0);
  rig.store.sync();
  expect(rig.answered).toBe(1);
  expect(rig.wills.opened(SESSION, undefined, 3600, () => undefined)).toBe(false);
});

test('killed while the connection was open: published after the grace, whole', () => {
  const rig = new Rig();
  const message = {
    subject: 'status.meter',
    reply: 'answers.here',
    headers: Buffer.from('NATS/1.0\r\nunit: m\r\n\r\n'),
    data: Buffer.from([0, 255, 13, 10]),
  };
  const wanted: Will = { message, qos: 2, retain: true, delaySeconds: 0 };
  rig.open(wanted);
  const next = rig.killed();
  next.clock.advance(RESTART_GRACE_MS - 100);
  expect(next.tried).toEqual([]);
  next.clock.advance(200);
  expect(next.publishedWills).toEqual([[wanted, 'meter-1']]);
  expect([next.rows, next.wills.waiting]).toEqual([0, 0]);
  expect(next.killed().wills.waiting).toBe(0);
});

test('killed while it was open: a client that is back within the grace, or within its delay, takes it with it', () => {
  const rig = new Rig();
  rig.open();
  rig.open(will({ delaySeconds: 60 }), 3600, { clientId: 'late' });
  const next = rig.killed();
  next.clock.advance(4000);
  next.wills.cancel('meter-1');
  next.clock.advance(50_000);
  next.wills.cancel('late');
  next.clock.advance(100_000);
  expect([next.tried, next.rows]).toEqual([[], 0]);
});

test('killed while it waited: it keeps its time, and the client gets the grace at least', () => {
  const rig = new Rig();
  rig.open(will({ delaySeconds: 60 }));
  rig.close(will({ delaySeconds: 60 }));
  rig.open(will({ delaySeconds: 20, data: 'soon' }), 3600, { clientId: 'soon' });
  rig.close(will({ delaySeconds: 20, data: 'soon' }), 3600, { clientId: 'soon' });
  rig.clock.advance(19_000);
  const next = rig.killed();
  next.clock.advance(4800);
  expect(next.tried).toEqual([]);
  next.clock.advance(300);
  expect(next.published).toEqual(['soon']);
  next.clock.advance(35_000);
  expect(next.published).toEqual(['soon']);
  next.clock.advance(1100);
  expect(next.published).toEqual(['soon', 'offline']);
});

test('killed right after it was published: it is not published again', () => {
  const rig = new Rig();
  rig.open();
  rig.clock.turn();
  rig.store.auto = false;
  rig.wills.closed(SESSION, will(), 3600);
  rig.store.commit();
  expect(rig.published).toEqual([]);
  const next = rig.killed();
  next.clock.advance(100_000);
  expect([next.tried, next.rows]).toEqual([[], 0]);
});

test('the power goes before the disk had it: published after the restart', () => {
  const rig = new Rig();
  rig.open();
  rig.clock.turn();
  rig.store.auto = false;
  rig.wills.closed(SESSION, will(), 3600);
  rig.store.commit();
  const next = new Rig(rig.clock, rig.store.afterPowerCut());
  next.wills.load();
  next.clock.advance(10_000);
  expect(next.published).toEqual(['offline']);
});

test('a full disk: it is tried again when there is room, and counted', () => {
  const rig = new Rig();
  rig.open();
  rig.clock.turn();
  rig.store.full = true;
  rig.close();
  expect([rig.tried, rig.published, rig.wills.waiting]).toEqual([['offline'], [], 1]);
  expect(rig.base.counters.refusedMsgs).toBe(1);
  rig.clock.advance(60_000);
  expect(rig.tried).toEqual(['offline']);
  rig.store.full = false;
  rig.clock.advance(6000);
  expect([rig.published, rig.wills.waiting, rig.rows, rig.wills.bytes]).toEqual([
    ['offline'],
    0,
    0,
    0,
  ]);
});

test('a full disk, and the process is killed: it is published after the restart', () => {
  const rig = new Rig();
  rig.open();
  rig.clock.turn();
  rig.store.full = true;
  rig.close();
  const next = rig.killed();
  next.clock.advance(RESTART_GRACE_MS + 100);
  expect(next.published).toEqual(['offline']);
});

test('a full disk does not keep a client out, and its Will lives with the process', () => {
  const rig = new Rig();
  rig.store.full = true;
  expect(rig.open()).toBe(true);
  rig.clock.turn();
  expect([rig.answered, rig.rows]).toEqual([1, 0]);
  rig.close(will({ delaySeconds: 10 }));
  rig.store.full = false;
  rig.clock.advance(10_100);
  expect(rig.published).toEqual(['offline']);
});

test('the refused Will of a session that ended with its connection is tried again too', () => {
  const rig = new Rig();
  rig.open(will(), 0);
  rig.store.full = true;
  rig.close(will(), 0);
  expect(rig.wills.waiting).toBe(1);
  rig.store.full = false;
  rig.clock.advance(6000);
  expect([rig.published, rig.wills.waiting, rig.wills.bytes]).toEqual([['offline'], 0, 0]);
});

test('a refused Will survives the next connection of its client, whose own Will is another', () => {
  const rig = new Rig();
  rig.open();
  rig.clock.turn();
  rig.store.full = true;
  rig.close();
  rig.wills.cancel('meter-1');
  rig.open(will({ data: 'second' }));
  rig.clock.turn();
  rig.store.full = false;
  rig.clock.advance(6000);
  expect(rig.published).toEqual(['offline']);
  rig.close(will({ data: 'second' }));
  expect(rig.published).toEqual(['offline', 'second']);
});

test('the store takes nothing more for the moment: the row stays as it was, and it is tried again', () => {
  const rig = new Rig();
  rig.open();
  rig.clock.turn();
  rig.refusal = new PublishError(429, 10167, 'too many requests');
  rig.close();
  expect([rig.published, rig.rows]).toEqual([[], 1]);
  const next = rig.killed();
  next.clock.advance(RESTART_GRACE_MS + 100);
  expect(next.published).toEqual(['offline']);
  rig.refusal = undefined;
  rig.clock.advance(6000);
  expect(rig.published).toEqual(['offline']);
});

test('a stream at its own limit refuses it for good: counted, not repeated to everybody else', () => {
  const rig = new Rig();
  rig.open();
  rig.refusal = new PublishError(400, 10077, 'maximum messages exceeded');
  rig.close();
  rig.clock.advance(60_000);
  expect([rig.tried, rig.wills.waiting, rig.rows]).toEqual([['offline'], 0, 0]);
  expect(rig.base.counters.refusedMsgs).toBe(1);
});

test('beyond the memory for them Wills do not wait: they are published at once', () => {
  const rig = new Rig();
  rig.store.auto = false;
  const data = 'x'.repeat(65_000);
  for (let i = 0; i < 300; i++)
    rig.wills.closed({ clientId: `c${i}` }, will({ data, delaySeconds: 60 }), 3600);
  expect(rig.wills.bytes).toBeLessThanOrEqual(16 * 1024 * 1024);
  expect(rig.wills.waiting).toBe(258);
  expect(rig.tried).toHaveLength(42);
});

test('Wills that wait take no memory once the disk has them', () => {
  const rig = new Rig();
  for (let i = 0; i < 1000; i++)
    rig.close(will({ delaySeconds: 60, data: String(i) }), 3600, { clientId: `c${i}` });
  expect([rig.wills.waiting, rig.wills.bytes]).toEqual([1000, 0]);
  rig.clock.advance(61_000);
  expect(rig.published).toHaveLength(1000);
  expect(new Set(rig.published).size).toBe(1000);
  expect([rig.rows, rig.wills.waiting]).toEqual([0, 0]);
});

test('a row that cannot be read is left out, and the others are published', () => {
  const rig = new Rig();
  rig.open();
  rig.store.wills.put(willKey('bad', 9), Buffer.from('rubbish that is no row'));
  rig.store.wills.put(willKey('worse', 10), Buffer.from([0, 0, 0, 1, 123]));
  const next = rig.killed();
  next.clock.advance(10_000);
  expect([next.published, next.rows]).toEqual([['offline'], 0]);
});

test('after a restart a Will that is refused and the next one of its client do not meet in one row', () => {
  const rig = new Rig();
  rig.open();
  const next = rig.killed();
  next.store.full = true;
  next.clock.advance(RESTART_GRACE_MS + 100);
  expect([next.tried, next.wills.waiting]).toEqual([['offline'], 1]);
  next.store.full = false;
  next.open(will({ data: 'second' }));
  next.clock.turn();
  expect(next.rows).toBe(2);
  const last = next.killed();
  last.clock.advance(20_000);
  expect(last.published.toSorted()).toEqual(['offline', 'second']);
  expect(last.rows).toBe(0);
});
