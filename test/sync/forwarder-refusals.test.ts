// What the forwarder does when the hub refuses: a message, or everything.

import { afterEach, describe, expect, test } from 'vitest';
import { jetStreamError, localError } from '../../sync/hub-error.ts';
import { MemoryStream } from '../support/memory-stream.ts';
import { FILTER, ids, setup, tearDown, texts, watch } from './forward-bench.ts';

afterEach(tearDown);

describe('a message that the hub will never take', () => {
  test('is found by halving, set aside, and a gap record takes its place', async () => {
    const at = setup();
    const stream = new MemoryStream('telemetry');
    for (let seq = 1; seq <= 300; seq++)
      stream.publish({ data: Buffer.from(seq === 77 ? 'poison' : `${seq}`) });
    at.hub.refuse = (messages) =>
      texts(messages).includes('poison') ? jetStreamError(400, 10111, 'rollup') : undefined;
    const forwarder = at.start(stream);
    await at.run(30_000);
    expect(stream.deadLetters).toEqual([{ seq: 77, reason: 'rollup (10111)' }]);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 300));
    const record = at.hub.model.under(FILTER)[76];
    expect(record?.subject).toBe('edge.gw7.telemetry._gap');
    expect(JSON.parse(record?.data.toString() ?? '')).toMatchObject({
      first_seq: 77,
      last_seq: 77,
      reason: 'dead_letter',
    });
    expect(forwarder.status()).toMatchObject({ rejected: 1, gaps: 1, pending: 0 });
    expect(at.logged('will never take')[0]?.hint).toContain('stream dead_letter');
  });

  test('is not sent at all when it is larger than the hub allows', async () => {
    const at = setup({ maxMsgSize: 5_000 });
    const stream = new MemoryStream('telemetry');
    const refused: number[] = [];
    at.hub.refuse = (messages) => {
      for (const { data } of messages) if (data.length > 5_000) refused.push(data.length);
      return undefined;
    };
    stream.publishMany(3);
    stream.publish({ data: Buffer.alloc(6_000) });
    stream.publishMany(3);
    at.start(stream);
    await at.run(5_000);
    expect(stream.deadLetters[0]?.reason).toMatch(
      /^it is 6\d{3} bytes at the hub, which takes 5000$/,
    );
    expect(refused).toEqual([]);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 7));
  });

  test('for a reason that nobody knows is tried three times alone before it is set aside', async () => {
    const at = setup();
    const seen = watch(at);
    const stream = new MemoryStream('telemetry');
    stream.publish({ data: Buffer.from('odd') });
    stream.publishMany(2);
    at.hub.refuse = (messages) =>
      texts(messages).includes('odd') ? jetStreamError(400, 10999, 'something new') : undefined;
    at.start(stream);
    await at.run(60_000);
    expect(stream.deadLetters).toHaveLength(1);
    const alone = seen.calls.slice(0, seen.calls.indexOf('publish 3') + 20);
    expect(alone.filter((call) => call === 'publish 1').length).toBeGreaterThanOrEqual(3);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 3));
  });

  test('waits for room among the dead letters, and is not lost', async () => {
    const at = setup({ maxMsgSize: 500 });
    const stream = new MemoryStream('telemetry');
    stream.publish({ data: Buffer.alloc(600) });
    stream.publish();
    stream.noRoom = 3;
    const forwarder = at.start(stream);
    await at.run(100);
    expect(forwarder.status()).toMatchObject({ state: 'backing off', rejected: 0 });
    expect(at.ids).toEqual([]);
    await at.run(30_000);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 2));
    expect(at.logged('no room for a dead letter')).toHaveLength(1);
  });

  test('is found where the hub does not say that a batch was incomplete for it', async () => {
    const at = setup();
    const stream = new MemoryStream('telemetry');
    stream.publishMany(200);
    at.hub.refuse = (messages) =>
      messages.length > 10 ? jetStreamError(400, 10176, 'batch is incomplete') : undefined;
    at.start(stream);
    await at.run(120_000);
    expect(stream.deadLetters).toEqual([]);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 200));
  });

  test('is never set aside for what is the hub’s own trouble', async () => {
    const at = setup();
    const stream = new MemoryStream('telemetry');
    stream.publish();
    at.hub.refuse = () => jetStreamError(500, 10998, 'internal');
    at.start(stream);
    await at.run(3_600_000);
    expect(stream.deadLetters).toEqual([]);
    at.hub.refuse = () => undefined;
    await at.run(30_000);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 1));
  });
});

describe('what only an operator can mend', () => {
  test('a missing hub stream: data waits, and flows when it is there', async () => {
    const at = setup({}, 'fail');
    const stream = new MemoryStream('telemetry');
    stream.publishMany(5);
    const forwarder = at.start(stream);
    await at.run(60_000);
    expect(forwarder.status()).toMatchObject({ state: 'misconfigured', pending: 5 });
    expect(forwarder.status().detail).toContain('stream not found (create it)');
    expect(at.logged('cannot be forwarded to').length).toBeLessThanOrEqual(3);
    at.hub.appear();
    await at.run(31_000);
    expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 5));
  });

  test('a hub stream that takes other subjects', async () => {
    const at = setup({ subjects: ['other.>'] });
    const stream = new MemoryStream('telemetry');
    stream.publish();
    const forwarder = at.start(stream);
    await at.run(1_000);
    expect(forwarder.status()).toMatchObject({ state: 'misconfigured' });
    expect(forwarder.status().detail).toContain('add "edge.gw7.telemetry.>"');
    at.hub.model.config = { ...at.hub.model.config, subjects: ['edge.*.*.>'] };
    await at.run(31_000);
    expect(at.ids).toHaveLength(1);
  });

  test('a sealed hub stream', async () => {
    const at = setup({ unfit: { reason: 'it is sealed', hint: 'name another' } });
    const forwarder = at.start(new MemoryStream('telemetry'));
    await at.run(1_000);
    expect(forwarder.status().detail).toBe(
      'the hub stream EDGE cannot be used: it is sealed (name another)',
    );
  });

  test('a denied subject', async () => {
    const at = setup();
    const stream = new MemoryStream('telemetry');
    stream.publish();
    at.hub.refuse = () => localError('permission', 'denied', { hint: 'allow it' });
    const forwarder = at.start(stream);
    await at.run(1_000);
    expect(forwarder.status()).toMatchObject({
      state: 'misconfigured',
      detail: 'denied (allow it)',
    });
    const states = new Set<string>();
    for (let i = 0; i < 3_000; i++) {
      await at.run(20);
      states.add(forwarder.status().state);
      expect(forwarder.status().problem, 'stands between two looks').toBe('denied (allow it)');
    }
    expect(states.size).toBeGreaterThan(1);
    expect(stream.deadLetters).toEqual([]);
    at.hub.refuse = () => undefined;
    await at.run(31_000);
    expect(at.ids).toHaveLength(1);
    expect(forwarder.status().problem).toBeNull();
  });

  test('a gap record that does not fit', async () => {
    const at = setup({ maxMsgSize: 100 });
    const stream = new MemoryStream('telemetry');
    stream.publishMany(2);
    stream.trim(1);
    const forwarder = at.start(stream);
    await at.run(1_000);
    expect(forwarder.status().state).toBe('misconfigured');
    expect(stream.deadLetters).toEqual([]);
  });
});

test('a hub without atomic batches gets one message at a time, and is told what to set', async () => {
  const at = setup({ atomic: false });
  const seen = watch(at);
  const stream = new MemoryStream('telemetry');
  stream.publishMany(20);
  at.start(stream);
  await at.run(2_000);
  expect(new Set(seen.calls)).toEqual(new Set(['read back', 'publish 1']));
  expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 20));
  expect(at.logged('one message at a time')[0]?.hint).toContain('allow_atomic');
});

test('a hub with too many batches at once still takes single messages', async () => {
  const at = setup();
  const stream = new MemoryStream('telemetry');
  stream.publishMany(30);
  at.hub.refuse = (messages) =>
    messages.length > 1 ? jetStreamError(429, 10210, 'too many inflight') : undefined;
  at.start(stream);
  await at.run(600_000);
  expect(at.ids).toEqual(ids(stream.currentEpoch, 1, 30));
});

test('an outage of a week with a hub that comes and goes fills no log', async () => {
  const at = setup();
  const stream = new MemoryStream('telemetry');
  at.start(stream);
  stream.publishMany(10);
  at.hub.refuse = () => jetStreamError(503, 10008, 'JetStream system temporarily unavailable');
  await at.run(3_600_000);
  const perHour = at.lines.filter(({ level }) => level >= 30).length;
  expect(perHour).toBeLessThanOrEqual(2 + 3_600 / 30);
  at.hub.refuse = () => undefined;
  await at.run(20_000);
  expect(at.logged('everything stored is at the hub')).toHaveLength(1);
});
