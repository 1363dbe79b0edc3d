// What the forwarder makes of a hub and of a store that remember other things than it: copies, losses, removals.

import { afterEach, describe, expect, test } from 'vitest';
import { jetStreamError } from '../../sync/hub-error.ts';
import { MemoryStream } from '../support/memory-stream.ts';
import { CHECKPOINT, FILTER, ids, setup, tearDown } from './forward-bench.ts';

afterEach(tearDown);

describe('identity', () => {
  test('a second machine of our name stops the forwarding, not the storing', async () => {
    const at = setup();
    const stream = new MemoryStream('telemetry');
    stream.publishMany(5);
    const forwarder = at.start(stream);
    await at.run(1_000);
    at.hub.storeForeign('edge.gw7.telemetry.x', 'gw7:telemetry:clone:1');
    stream.publishMany(5);
    await at.run(60_000);
    expect(forwarder.status()).toMatchObject({ state: 'conflict', pending: 5 });
    expect(at.logged('under our name')).toHaveLength(1);
    expect(at.ids).toHaveLength(6);
    stream.publish();
    await at.run(60_000);
    expect(forwarder.status()).toMatchObject({ state: 'conflict', pending: 6 });
    expect(at.ids).toHaveLength(6);
  });

  test('two machines from one copied card: one of them goes on, nothing is lost or doubled', async () => {
    const at = setup();
    const original = new MemoryStream('telemetry');
    original.publishMany(20);
    const first = at.start(original);
    await at.run(1_000);
    original.publishMany(3);
    const clone = new MemoryStream('telemetry', original.image());
    const second = at.start(clone);
    for (let i = 0; i < 20; i++) {
      original.publish();
      clone.publish();
      await at.run(500);
    }
    await at.run(60_000);
    const states = [first.status().state, second.status().state].toSorted();
    expect(states).toEqual(['caught up', 'conflict']);
    expect(new Set(at.ids).size).toBe(at.ids.length);
    expect(at.ids.slice(0, 23)).toEqual(ids(original.currentEpoch, 1, 23));
  });

  test('a store put back from an older image goes on with a warning, without a duplicate', async () => {
    const at = setup();
    const before = new MemoryStream('telemetry');
    before.publishMany(50);
    const old = at.start(before);
    await at.run(1_000);
    const image = before.image();
    before.publishMany(50);
    await at.run(1_000);
    await at.kill(old);
    const after = new MemoryStream('telemetry', image);
    after.publishMany(30);
    const forwarder = at.start(after);
    await at.run(5_000);
    expect(at.ids).toEqual([
      ...ids(before.currentEpoch, 1, 100),
      ...ids(after.currentEpoch, 51, 80),
    ]);
    expect(forwarder.status()).toMatchObject({ state: 'caught up', pending: 0 });
    expect(at.logged('later messages of this gateway')).toHaveLength(1);
  });

  test('a replaced card starts anew behind what its predecessor sent', async () => {
    const at = setup();
    const before = new MemoryStream('telemetry');
    before.publishMany(50);
    const old = at.start(before);
    await at.run(1_000);
    await at.kill(old);
    const after = new MemoryStream('telemetry');
    after.publishMany(10);
    at.start(after);
    await at.run(5_000);
    expect(at.ids).toEqual([...ids(before.currentEpoch, 1, 50), ...ids(after.currentEpoch, 1, 10)]);
    expect(at.logged('this store never had')[0]?.hint).toMatch(
      /older image.*card replaced.*same name/,
    );
  });

  test('a stream deleted and created anew starts again without alarm', async () => {
    const at = setup();
    const before = new MemoryStream('telemetry');
    before.publishMany(50);
    const old = at.start(before);
    await at.run(1_000);
    await at.kill(old);
    const after = MemoryStream.recreated(before);
    after.publishMany(10);
    at.start(after);
    await at.run(5_000);
    expect(at.ids).toEqual([...ids(before.currentEpoch, 1, 50), ...ids(after.currentEpoch, 1, 10)]);
    expect(at.lines.filter(({ level }) => level >= 40)).toEqual([]);
  });

  test('a message published there by hand is stepped over', async () => {
    const at = setup();
    const stream = new MemoryStream('telemetry');
    stream.publishMany(5);
    at.start(stream);
    await at.run(1_000);
    for (let i = 0; i < 3; i++) {
      at.hub.storeForeign('edge.gw7.telemetry.by.hand');
      stream.publish();
      await at.run(10_000);
    }
    expect(at.ids.filter((id) => id !== undefined)).toEqual(ids(stream.currentEpoch, 1, 8));
    expect(at.logged('is not ours')).toHaveLength(1);
  });
});

describe('a hub that lost or removed messages', () => {
  test('created anew: the grace is sent again, and an operator is told', async () => {
    const at = setup();
    const stream = new MemoryStream('telemetry');
    stream.publishMany(100);
    const forwarder = at.start(stream);
    await at.run(1_000);
    stream.graceSeq = 60;
    at.hub.recreate();
    at.hub.reconnect('the hub was away');
    stream.publishMany(5);
    await at.run(5_000);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 61, 105));
    expect(forwarder.status().refills).toBe(1);
    expect(at.logged('the hub lost messages')[0]?.hint).toContain('created anew');
  });

  test('rolled back: from what it still has', async () => {
    const at = setup();
    const stream = new MemoryStream('telemetry');
    stream.publishMany(100);
    at.start(stream);
    await at.run(1_000);
    at.hub.rollBack(30);
    expect(at.ids).toHaveLength(70);
    await at.run(5_000);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 100));
    expect(at.logged('the hub lost messages')[0]?.hint).toContain('sync_interval: always');
  });

  test('rolled back beyond what is kept here: a gap record says so', async () => {
    const at = setup();
    const stream = new MemoryStream('telemetry');
    stream.publishMany(100);
    at.start(stream);
    await at.run(1_000);
    stream.trim(80);
    at.hub.rollBack(50);
    await at.run(5_000);
    expect(at.ids).toEqual([
      ...ids(stream.currentEpoch, 1, 50),
      ...ids(stream.currentEpoch, 80, 100),
    ]);
    const record = at.hub.model.under(FILTER)[50];
    expect(JSON.parse(record?.data.toString() ?? '')).toMatchObject({
      first_seq: 51,
      last_seq: 80,
      reason: 'lost',
    });
  });

  test('purged: nothing is sent again', async () => {
    const at = setup();
    const stream = new MemoryStream('telemetry');
    stream.publishMany(100);
    at.start(stream);
    await at.run(1_000);
    at.hub.model.purge();
    at.hub.reconnect('and the link was lost');
    stream.publishMany(3);
    await at.run(5_000);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 101, 103));
  });

  test('full: it pushes back, and goes on where there is room', async () => {
    const at = setup({ maxMsgs: 50 });
    const stream = new MemoryStream('telemetry');
    stream.publishMany(80);
    const forwarder = at.start(stream);
    await at.run(120_000);
    // Batches are all or nothing: what fits at the end depends on their size.
    expect(at.ids.length).toBeLessThanOrEqual(50);
    expect(forwarder.status().state).toBe('backing off');
    expect(at.logged('a publish to the hub failed')[0]?.hint).toContain('no room');
    expect(stream.deadLetters).toEqual([]);
    at.hub.model.config = { ...at.hub.model.config, maxMsgs: 0 };
    await at.run(20_000);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 80));
  });

  test('that consumes: the moved fence is looked at once, without waiting', async () => {
    const at = setup({ retention: 'workqueue' });
    const stream = new MemoryStream('telemetry');
    const forwarder = at.start(stream);
    await at.run(100);
    for (let i = 0; i < 20; i++) {
      stream.publishMany(3);
      await at.run(100);
      expect(forwarder.status().pending).toBe(0);
      at.hub.model.purge(FILTER);
    }
    expect(at.hub.model.history(FILTER)).toEqual(ids(stream.currentEpoch, 1, 60));
    expect(forwarder.status().retries).toBe(0);
  });
});

describe('a checkpoint', () => {
  test('is kept where the hub removes messages, one at a time, and never where it does not', async () => {
    for (const maxAgeMs of [0, 60_000]) {
      const at = setup({ maxAgeMs });
      const stream = new MemoryStream('telemetry');
      at.start(stream);
      for (let i = 0; i < 10; i++) {
        stream.publishMany(7);
        await at.run(200);
      }
      await at.run(1_000);
      const left = at.hub.model.under(CHECKPOINT);
      expect(left.map(({ id }) => id)).toEqual(
        maxAgeMs === 0 ? [] : [`gw7:telemetry:${stream.currentEpoch}:70:checkpoint`],
      );
      await Promise.all([at.forwarders[0]?.stop(), at.run(3_000)]);
    }
  });

  test('saves from sending twice what was removed before its acknowledgement was heard', async () => {
    const at = setup({ maxAgeMs: 10_000, duplicateWindowMs: 1_000 });
    const stream = new MemoryStream('telemetry');
    at.start(stream);
    await at.run(100);
    stream.publishMany(5);
    await at.run(6);
    at.hub.cut();
    await at.run(3_600_000);
    at.hub.model.expire(at.clock.monotonicMs());
    expect(at.ids).toEqual([]);
    at.hub.heal();
    stream.publish();
    await at.run(5_000);
    expect(at.hub.model.history(FILTER)).toEqual(ids(stream.currentEpoch, 1, 6));
  });

  test('refuses a late copy of what consumers have had and nobody remembers any more', async () => {
    const at = setup({ retention: 'workqueue', duplicateWindowMs: 100 });
    const stream = new MemoryStream('telemetry');
    at.start(stream);
    await at.run(100);
    at.hub.faults.zombie = 1;
    stream.publishMany(5);
    await at.run(1);
    at.hub.faults.zombie = 0;
    at.hub.reconnect('as the keep-alive would');
    await at.run(1_000);
    // The same batch is there by now, is consumed, and its fence (nothing there) would hold again.
    at.hub.model.purge(FILTER);
    await at.run(20_000);
    expect(at.hub.counters).toMatchObject({ zombies: 1, zombiesPassed: 0 });
    expect(at.hub.model.history(FILTER)).toEqual(ids(stream.currentEpoch, 1, 5));
  });

  test('that the hub refuses does not make its message poison', async () => {
    const at = setup({ maxAgeMs: 60_000 });
    at.hub.refuse = (_, { checkpoint }) =>
      checkpoint === undefined ? undefined : jetStreamError(400, 10111, 'no checkpoints');
    const stream = new MemoryStream('telemetry');
    stream.publishMany(3);
    at.start(stream);
    await at.run(10_000);
    expect(stream.deadLetters).toEqual([]);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 3));
  });

  test('that consumers take away is given up, with the remedy', async () => {
    const at = setup({ retention: 'workqueue' });
    const stream = new MemoryStream('telemetry');
    at.start(stream);
    await at.run(100);
    for (let i = 0; i < 5; i++) {
      stream.publishMany(3);
      await at.run(1_000);
      at.hub.model.purge();
    }
    expect(at.hub.model.history(FILTER)).toEqual(ids(stream.currentEpoch, 1, 15));
    expect(at.logged('remove the checkpoints')[0]?.hint).toContain('"edge.gw7.*.>"');
  });

  test('that is impossible is said so once', async () => {
    const at = setup({ maxAgeMs: 60_000, ttl: false });
    const stream = new MemoryStream('telemetry');
    stream.publishMany(3);
    at.start(stream);
    await at.run(1_000);
    at.hub.reconnect('again');
    await at.run(1_000);
    expect(at.ids).toHaveLength(3);
    expect(at.logged('keeps no checkpoint')).toHaveLength(1);
  });

  test('whose hub stream allows no TTL any more does not make a message poison', async () => {
    const at = setup({ maxAgeMs: 60_000 });
    const stream = new MemoryStream('telemetry');
    stream.publish();
    at.start(stream);
    await at.run(1_000);
    at.hub.model.config = { ...at.hub.model.config, ttl: false };
    stream.publishMany(3);
    await at.run(10_000);
    expect(stream.deadLetters).toEqual([]);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 4));
  });
});

test('an ID that the hub still knows is not sent again and again', async () => {
  // Consumers had 1..10 and the IDs are remembered, but the mark was lost with the store's last commit.
  const at = setup({ retention: 'workqueue', ttl: false, replicas: 3 });
  const stream = new MemoryStream('telemetry');
  stream.publishMany(10);
  const image = stream.image();
  const first = at.start(stream);
  await at.run(1_000);
  await at.kill(first);
  at.hub.model.purge();
  const again = new MemoryStream('telemetry', image);
  again.publishMany(5);
  const forwarder = at.start(again);
  await at.run(60_000);
  expect(at.hub.model.history(FILTER)).toEqual([
    ...ids(stream.currentEpoch, 1, 10),
    ...ids(again.currentEpoch, 11, 15),
  ]);
  expect(forwarder.status()).toMatchObject({ pending: 0, duplicates: 10 });
});
