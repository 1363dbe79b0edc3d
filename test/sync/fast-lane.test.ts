// When a backlog goes by fast batches, and what becomes of them when the link, the hub, the disk or a message fails.

import { afterEach, describe, expect, test } from 'vitest';
import { jetStreamError } from '../../sync/hub-error.ts';
import { ForwardState } from '../../sync/forward-state.ts';
import type { FastBatch } from '../../sync/hub.ts';
import { memoryState, type Rows } from '../support/forwarder-options.ts';
import { MemoryStream } from '../support/memory-stream.ts';
import { FILTER, ids, setup, tearDown, type Bench } from './forward-bench.ts';

afterEach(tearDown);

const FAST = { wishes: { mode: 'fast', order: 'strict', onlyForwarder: false } } as const;

function opened({ hub }: Bench): number {
  return hub.batches.counters.batchesOpened;
}

describe('a fast batch is used', () => {
  test('for a backlog, and ended with it', async () => {
    const at = setup({ batched: true });
    const stream = new MemoryStream('telemetry');
    stream.publishMany(5_000);
    const forwarder = at.start(stream);
    await at.run(5_000);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 5_000));
    expect(opened(at)).toBe(1);
    expect(at.hub.batches.size).toBe(0);
    stream.publishMany(100);
    await at.run(1_000);
    expect(at.ids).toHaveLength(5_100);
    expect(opened(at)).toBe(1);
    expect(forwarder.status()).toMatchObject({ acceleration: 'fast', pending: 0, fallBacks: 0 });
  });

  test('for two messages where the operator asks for it, and for one never', async () => {
    const at = setup({ batched: true });
    const stream = new MemoryStream('telemetry');
    at.start(stream, FAST);
    await at.run(1_000);
    stream.publishMany(2);
    await at.run(1_000);
    expect(opened(at)).toBe(1);
    stream.publish();
    await at.run(1_000);
    expect(opened(at)).toBe(1);
    expect(at.ids).toHaveLength(3);
  });

  test('and never where the hub stream takes none', async () => {
    const at = setup({ batched: false });
    const stream = new MemoryStream('telemetry');
    stream.publishMany(5_000);
    at.start(stream, FAST);
    await at.run(10_000);
    expect(at.ids).toHaveLength(5_000);
    expect(opened(at)).toBe(0);
  });

  test('and never before its ID is on the disk: without room there the base goes on', async () => {
    const at = setup({ batched: true });
    const stream = new MemoryStream('telemetry');
    stream.publishMany(3_000);
    const table = { get: () => undefined, put: () => undefined };
    const state = new ForwardState('telemetry', table, (done) => done(new Error('full')));
    at.start(stream, { ...FAST, state });
    await at.run(20_000);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 3_000));
    expect(opened(at)).toBe(0);
  });
});

describe('a fast batch that fails', () => {
  test('for a lost link: it is killed, the hub is read, and the next message seals it', async () => {
    const at = setup({ batched: true, replicas: 3 });
    const stream = new MemoryStream('telemetry');
    stream.publishMany(1_000);
    const calls: string[] = [];
    const kill = at.hub.killBatch.bind(at.hub);
    at.hub.killBatch = (...args) => {
      calls.push('kill');
      return kill(...args);
    };
    const last = at.hub.lastBySubject.bind(at.hub);
    at.hub.lastBySubject = (name, filter) => {
      if (filter === FILTER) calls.push('read');
      return last(name, filter);
    };
    const publish = at.hub.publish.bind(at.hub);
    at.hub.publish = (messages, options) => {
      calls.push(options.seal === undefined ? 'publish' : `seal ${messages.length}`);
      return publish(messages, options);
    };
    at.hub.line.onAppend = () => {
      at.hub.line.onAppend = () => undefined;
      at.hub.reconnect('for a test');
    };
    at.start(stream, FAST);
    await at.run(5_000);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 1_000));
    expect(calls).toEqual(['read', 'kill', 'read', 'seal 1']);
    expect(at.hub.batches.counters).toMatchObject({ batchesKilled: 1, batchesSealed: 1 });
  });

  test('with its process: the next process kills and seals it', async () => {
    const at = setup({ batched: true, replicas: 3, duplicateWindowMs: 100 });
    const stream = new MemoryStream('telemetry');
    stream.publishMany(2_000);
    const rows: Rows = new Map();
    const first = at.start(stream, { ...FAST, state: memoryState('telemetry', rows) });
    let appends = 0;
    at.hub.line.onAppend = () => {
      if (++appends < 3) return;
      at.hub.line.onAppend = () => undefined;
      at.hub.faults.zombie = 1;
      void first.stop();
      at.hub.reconnect('the process is gone');
      at.hub.faults.zombie = 0;
    };
    await at.run(100);
    await at.kill(first);
    at.start(new MemoryStream('telemetry', stream.image()), {
      ...FAST,
      state: memoryState('telemetry', rows),
    });
    await at.run(20_000);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 2_000));
    expect(at.hub.batches.counters.batchesSealed).toBe(1);
  });

  test('because there are too many: the base goes on, and a batch is tried again later', async () => {
    const at = setup({ batched: true });
    at.hub.batches.openMax = 0;
    const stream = new MemoryStream('telemetry');
    stream.publishMany(100);
    const forwarder = at.start(stream, FAST);
    await at.run(500);
    expect(at.ids).toHaveLength(100);
    expect(forwarder.status().fallBacks).toBe(1);
    expect(at.logged('without acceleration')).toHaveLength(1);
    at.hub.batches.openMax = 1;
    for (let i = 0; i < 30; i++) {
      stream.publishMany(10);
      await at.run(1_000);
    }
    expect(opened(at)).toBeGreaterThan(0);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 400));
  });

  test('over a message: that one is set aside, those around it arrive', async () => {
    const at = setup({ batched: true });
    const stream = new MemoryStream('telemetry');
    stream.publishMany(600);
    const poison = ids(stream.currentEpoch, 300, 300)[0];
    at.hub.refuse = (messages) =>
      messages.some(({ id, headerLines }) => id === poison && !headerLines.includes('Mangrove-Gap'))
        ? jetStreamError(400, 10111, 'rollup not permitted')
        : undefined;
    const forwarder = at.start(stream, FAST);
    for (let i = 0; i < 20; i++) await at.run(5_000);
    expect(stream.deadLetters).toMatchObject([{ seq: 300 }]);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 600));
    expect(forwarder.status()).toMatchObject({ pending: 0, rejected: 1 });
  });

  test('because the hub ended it with less than was sent: nothing of it counts but what a reading shows', async () => {
    const at = setup({ batched: true });
    const stream = new MemoryStream('telemetry');
    stream.publishMany(50);
    const open = at.hub.openBatch.bind(at.hub);
    let times = 0;
    at.hub.openBatch = async (first, options) => {
      const batch = await open(first, options);
      const commit = batch.commit.bind(batch);
      const less = async (): ReturnType<FastBatch['commit']> => {
        const { seq, count } = await commit();
        return { seq, count: count - 1 };
      };
      return times++ === 0 ? Object.assign(batch, { commit: less }) : batch;
    };
    const forwarder = at.start(stream, FAST);
    await at.run(3_000);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 50));
    expect(forwarder.status()).toMatchObject({ fallBacks: 1, pending: 0, confirmedSeq: 50 });
    expect(at.logged('without acceleration')).toHaveLength(1);
  });

  test('without a word: it is given up after a while, and what it brought is found', async () => {
    const at = setup({ batched: true });
    const stream = new MemoryStream('telemetry');
    stream.publishMany(1_000);
    const open = at.hub.openBatch.bind(at.hub);
    at.hub.openBatch = async (first, options) => {
      const batch = await open(first, options);
      return Object.assign(batch, { commit: () => new Promise<never>(() => undefined) });
    };
    const forwarder = at.start(stream, FAST);
    await at.run(10_000);
    expect(forwarder.status()).toMatchObject({ confirmedSeq: 0, state: 'forwarding' });
    await at.run(20_000);
    expect(forwarder.status()).toMatchObject({ confirmedSeq: 1_000, fallBacks: 1 });
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 1_000));
  });
});

test('stop() lets a batch end, and does not wait for one that does not', async () => {
  for (const silent of [false, true]) {
    const at = setup({ batched: true });
    const stream = new MemoryStream('telemetry');
    stream.publishMany(20_000);
    const forwarder = at.start(stream, FAST);
    await at.run(40);
    if (silent) at.hub.blackHole();
    let stopped = false;
    void forwarder.stop().then(() => (stopped = true));
    await at.run(1_000);
    expect(stopped).toBe(!silent);
    await at.run(1_100);
    expect(stopped).toBe(true);
    const { confirmedSeq } = forwarder.status();
    if (!silent) expect(confirmedSeq).toBe(at.ids.length);
    expect(at.ids.length).toBeLessThan(20_000);
    await at.run(60_000);
    expect(forwarder.status()).toMatchObject({ confirmedSeq, state: 'stopped' });
  }
});
