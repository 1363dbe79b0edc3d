// The forwarder on its usual way, when an answer is missing, and when it is told to stop.

import { afterEach, describe, expect, test } from 'vitest';
import { delay } from '../../src/clock.ts';
import { MemoryStream } from '../support/memory-stream.ts';
import { FILTER, ids, setup, tearDown, watch } from './forward-bench.ts';

afterEach(tearDown);

test('what is stored arrives at the hub once and in order, and is confirmed', async () => {
  const at = setup();
  const stream = new MemoryStream('telemetry');
  stream.publishMany(2_500);
  const forwarder = at.start(stream);
  await at.run(2_000);
  expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 2_500));
  expect(stream.mark).toMatchObject({
    seq: 2_500,
    hubSeq: 2_500,
    hubCreated: at.hub.model.created,
  });
  expect(forwarder.status()).toMatchObject({ state: 'caught up', pending: 0, sentMsgs: 2_500 });
});

test('what comes later follows at once, one publish at a time', async () => {
  const at = setup();
  const seen = watch(at);
  const stream = new MemoryStream('telemetry');
  const forwarder = at.start(stream);
  await at.run(100);
  expect(forwarder.status().state).toBe('caught up');
  for (let i = 0; i < 50; i++) {
    stream.publishMany(3);
    await at.run(3);
  }
  await at.run(100);
  expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 150));
  expect(seen.most).toBe(1);
  expect(seen.calls.filter((call) => call === 'read back')).toHaveLength(1);
});

test('what accumulates while the link is slow goes in one batch', async () => {
  const at = setup();
  const seen = watch(at);
  const stream = new MemoryStream('telemetry');
  at.start(stream);
  await at.run(100);
  stream.publish();
  await at.run(1);
  stream.publishMany(200);
  await at.run(100);
  expect(seen.calls.slice(1)).toEqual(['publish 1', 'publish 200']);
});

describe('an attempt whose outcome is unknown', () => {
  test('is followed by a reading, and what the hub has is not sent again', async () => {
    const at = setup();
    const seen = watch(at);
    const stream = new MemoryStream('telemetry');
    const forwarder = at.start(stream);
    await at.run(100);
    at.hub.faults.lostAck = 1;
    stream.publishMany(10);
    await at.run(100);
    at.hub.faults.lostAck = 0;
    expect(forwarder.status()).toMatchObject({ pending: 10 });
    await at.run(60_000);
    expect(seen.calls).toEqual(['read back', 'publish 10', 'read back']);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 10));
    expect(forwarder.status()).toMatchObject({ pending: 0, retries: 1 });
  });

  test('is read back before every further try', async () => {
    const at = setup();
    const seen = watch(at);
    const stream = new MemoryStream('telemetry');
    at.start(stream);
    await at.run(100);
    at.hub.faults.lostRequest = 1;
    stream.publishMany(10);
    await at.run(40_000);
    at.hub.faults.lostRequest = 0;
    await at.run(120_000);
    for (const [i, call] of seen.calls.entries())
      if (call.startsWith('publish')) expect(seen.calls[i - 1]).toBe('read back');
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 10));
  });

  test('that takes effect after a reconnect is found, or refused by its fence', async () => {
    const at = setup({ duplicateWindowMs: 100 });
    const stream = new MemoryStream('telemetry');
    at.start(stream);
    await at.run(100);
    at.hub.faults.zombie = 1;
    stream.publishMany(10);
    await at.run(1);
    at.hub.faults.zombie = 0;
    at.hub.reconnect('as the keep-alive would');
    await at.run(1_000);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 10));
    await at.run(20_000);
    expect(at.hub.counters).toMatchObject({ zombies: 1, refusedByFence: 1 });
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 10));
  });

  test('over a link that was lost and back within one turn is read back as well', async () => {
    const at = setup();
    const seen = watch(at);
    at.start(new MemoryStream('telemetry'));
    await at.run(100);
    at.hub.blink();
    await at.run(1_000);
    expect(seen.calls.filter((call) => call === 'read back')).toHaveLength(2);
  });
});

test('messages that a limit dropped before the hub had them are told of before newer ones', async () => {
  const at = setup();
  const stream = new MemoryStream('telemetry');
  at.hub.cut();
  at.start(stream);
  stream.publishMany(30);
  stream.trim(10, 'max_age');
  stream.trim(5, 'max_bytes');
  at.hub.heal();
  await at.run(5_000);
  const stored = at.hub.model.under(FILTER);
  expect(stored.slice(0, 3).map(({ subject }) => subject)).toEqual([
    'edge.gw7.telemetry._gap',
    'edge.gw7.telemetry._gap',
    'edge.gw7.telemetry.plant1.temp',
  ]);
  expect(at.ids).toEqual([
    ...ids(stream.currentEpoch, 10, 10),
    ...ids(stream.currentEpoch, 15, 30),
  ]);
  expect(JSON.parse(stored[1]?.data.toString() ?? '')).toMatchObject({
    first_seq: 11,
    last_seq: 15,
    count: 5,
    reason: 'max_bytes',
  });
});

describe('stop()', () => {
  test('lets the publish in flight end', async () => {
    const at = setup();
    const stream = new MemoryStream('telemetry');
    const forwarder = at.start(stream);
    await at.run(100);
    stream.publishMany(20);
    await at.run(1);
    await Promise.all([forwarder.stop(), at.run(1_000)]);
    expect(forwarder.status().state).toBe('stopped');
    expect(stream.mark).toMatchObject({ seq: 20 });
    stream.publish();
    await at.run(10_000);
    expect(at.ids).toHaveLength(20);
  });

  test('ends within two seconds although the hub never answers, and confirms nothing after that', async () => {
    const at = setup();
    const stream = new MemoryStream('telemetry');
    const forwarder = at.start(stream);
    await at.run(100);
    at.hub.blackHole();
    stream.publishMany(20);
    await at.run(10);
    let stoppedMs = 0;
    const stopping = forwarder.stop().then(() => (stoppedMs = at.clock.monotonicMs()));
    const begunMs = at.clock.monotonicMs();
    await at.run(60_000);
    await stopping;
    expect(stoppedMs - begunMs).toBeLessThanOrEqual(2_000);
    expect(stream.confirmed).toEqual([]);
  });

  test('leaves an acknowledgement that comes later to the next start', async () => {
    const at = setup();
    const publish = at.hub.publish.bind(at.hub);
    at.hub.publish = async (messages, options) => {
      const ack = await publish(messages, options);
      await delay(at.clock, 10_000);
      return ack;
    };
    const stream = new MemoryStream('telemetry');
    const forwarder = at.start(stream);
    await at.run(100);
    stream.publishMany(20);
    await at.run(1_000);
    await Promise.all([forwarder.stop(), at.run(60_000)]);
    expect(at.ids).toHaveLength(20);
    expect(stream.confirmed).toEqual([]);
  });

  test('ends at once in any other state', async () => {
    for (const script of ['cut', 'misconfigured', 'caught up'] as const) {
      const at = setup(script === 'misconfigured' ? { subjects: ['x'] } : {});
      if (script === 'cut') at.hub.cut();
      const forwarder = at.start(new MemoryStream('telemetry'));
      await at.run(10_000);
      await forwarder.stop();
      expect(forwarder.status().state).toBe('stopped');
    }
  });
});

test('an error that is not the hub’s is ours, and ends the process', async () => {
  const at = setup();
  const stream = new MemoryStream('telemetry');
  stream.publish();
  stream.read = () => {
    throw new TypeError('a bug');
  };
  const crashed = new Promise((resolve) => process.once('unhandledRejection', resolve));
  const others = process.listeners('unhandledRejection').slice(0, -1);
  for (const other of others) process.off('unhandledRejection', other);
  const forwarder = at.start(stream);
  await at.run(1_000);
  expect(await crashed).toBeInstanceOf(TypeError);
  for (const other of others) process.on('unhandledRejection', other);
  await expect(forwarder.stop()).rejects.toThrow('a bug');
  at.forwarders.length = 0;
});
