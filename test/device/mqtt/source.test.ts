import { expect, test } from 'vitest';
import { IN_FLIGHT_MAX } from '../../../device/mqtt/source/source-config.ts';
import { PublishError } from '../../../src/message.ts';
import { SourceRig } from '../../support/mqtt-broker.ts';

test('a PUBACK goes to the broker only when the disk has the message, many wait at once, and they leave in order', async () => {
  await using rig = new SourceRig();
  const end = await rig.ready();
  rig.stream.mode = 'wait';
  for (let id = 1; id <= 5; id++) end.publish(`plant1/t${id}`, `m${id}`, id);
  await rig.settle();
  expect(rig.stream.inFlight.map(({ message }) => message.subject)).toEqual(
    [1, 2, 3, 4, 5].map((id) => `plant1.t${id}`),
  );
  expect(end.takePubacks()).toEqual([]);
  expect(rig.source.stats()).toMatchObject({ received: 5, stored: 0, acked: 0, unacked: 5 });
  // The third and fourth are on a quicker disk: their answers wait for the first two.
  rig.stream.inFlight.splice(2, 2).forEach(({ receipt }) => receipt?.(null, null));
  await rig.settle();
  expect(end.takePubacks()).toEqual([]);
  rig.stream.commit(1);
  await rig.settle();
  expect(end.takePubacks()).toEqual([1]);
  rig.stream.commit();
  await rig.settle();
  expect(end.takePubacks()).toEqual([2, 3, 4, 5]);
  expect(rig.source.stats()).toMatchObject({ stored: 5, acked: 5, unacked: 0 });
});

test('what the stream refuses stays without a PUBACK, is not lost, and is stored in order when there is room', async () => {
  await using rig = new SourceRig();
  const end = await rig.ready();
  rig.stream.mode = 'refuse';
  for (let id = 1; id <= 4; id++) end.publish('plant1/a', `m${id}`, id);
  await rig.settle();
  rig.clock.advance(5000);
  await rig.settle();
  expect(end.takePubacks()).toEqual([]);
  expect(rig.source.stats()).toMatchObject({ unacked: 4, stored: 0 });
  expect(rig.source.stats().refused).toBeGreaterThan(3);
  rig.stream.mode = 'store';
  rig.clock.advance(1000);
  await rig.settle();
  expect(rig.stream.stored).toEqual(['m1', 'm2', 'm3', 'm4']);
  expect(end.takePubacks()).toEqual([1, 2, 3, 4]);
  expect(end.closed).toBe(false);
});

test('a message that no stream takes, or ever will, is acknowledged in its turn and counted', async () => {
  await using rig = new SourceRig({}, 'plant1.kept.>');
  const end = await rig.ready();
  end.publish('plant1/other', 'x', 1);
  await rig.settle();
  expect(end.takePubacks()).toEqual([1]);
  rig.stream.mode = 'refuse';
  rig.stream.refusal = new PublishError(400, 10054, 'message size exceeds maximum allowed');
  end.publish('plant1/kept/a', 'too much', 2);
  await rig.settle();
  expect(end.takePubacks()).toEqual([2]);
  expect(rig.source.stats()).toMatchObject({ unrouted: 1, rejected: 1, stored: 0, acked: 2 });
});

test('a broker that knows no limit is read no further than the window, and read on when there is room', async () => {
  await using rig = new SourceRig();
  const end = await rig.ready();
  rig.stream.mode = 'wait';
  const sent = 5000;
  for (let id = 1; id <= sent; id++) end.publish('plant1/a', `m${id}`, id);
  await rig.settle();
  expect(rig.stream.inFlight).toHaveLength(IN_FLIGHT_MAX);
  expect(rig.source.stats()).toMatchObject({ unacked: IN_FLIGHT_MAX, paused: true });
  rig.stream.mode = 'store';
  rig.stream.commit();
  for (let round = 0; round < 20; round++) await rig.settle();
  expect(end.takePubacks()).toEqual(Array.from({ length: sent }, (_, i) => i + 1));
  expect(rig.stream.stored).toEqual(Array.from({ length: sent }, (_, i) => `m${i + 1}`));
  expect(rig.source.stats().paused).toBe(false);
});

test('messages without acknowledgement are held back by the same window', async () => {
  await using rig = new SourceRig();
  const end = await rig.ready();
  rig.stream.mode = 'wait';
  for (let i = 1; i <= 3000; i++) end.publish('plant1/a', `m${i}`, 0);
  await rig.settle();
  expect(rig.stream.inFlight).toHaveLength(IN_FLIGHT_MAX);
  rig.stream.mode = 'store';
  rig.stream.commit();
  for (let round = 0; round < 20; round++) await rig.settle();
  expect(rig.stream.stored).toHaveLength(3000);
  expect(end.takePubacks()).toEqual([]);
});

test('what comes again after a lost link, before it had a PUBACK, is stored once', async () => {
  await using rig = new SourceRig();
  const first = await rig.ready();
  rig.stream.mode = 'wait';
  for (let id = 1; id <= 4; id++) first.publish('plant1/a', `m${id}`, id);
  await rig.settle();
  const second = await rig.reconnect();
  // Two reach the disk before the broker asks, one between, one after.
  rig.stream.commit(2);
  await rig.settle();
  expect(second.takePubacks()).toEqual([]); // Not before they came on this connection.
  for (let id = 1; id <= 4; id++) second.publish('plant1/a', `m${id}`, id, { dup: true });
  second.publish('plant1/a', 'm5', 5);
  await rig.settle();
  expect(second.takePubacks()).toEqual([1, 2]);
  rig.stream.commit(1);
  await rig.settle();
  expect(second.takePubacks()).toEqual([3]);
  rig.stream.commit();
  await rig.settle();
  expect(second.takePubacks()).toEqual([4, 5]);
  expect(rig.stream.stored).toEqual(['m1', 'm2', 'm3', 'm4', 'm5']);
  expect(rig.source.stats()).toMatchObject({ redelivered: 4, stored: 5 });
});

test('links that break again and again while the stream refuses bring no more than can be held', async () => {
  await using rig = new SourceRig();
  const sent = 1500;
  const data = Array.from({ length: sent }, (_, i) => `m${i + 1}`);
  let end = await rig.ready();
  const send = (dup: boolean): void =>
    data.forEach((text, i) => end.publish('plant1/a', text, i + 1, { dup }));
  rig.stream.mode = 'refuse';
  send(false);
  await rig.settle();
  for (let breaks = 0; breaks < 5; breaks++) {
    end = await rig.reconnect();
    send(true);
    await rig.settle();
    expect(rig.source.stats()).toMatchObject({ connected: true, paused: true, unacked: 0 });
  }
  rig.stream.mode = 'store';
  rig.clock.advance(1000);
  for (let round = 0; round < 10; round++) await rig.settle();
  expect(rig.stream.stored).toEqual(data);
  expect(end.takePubacks()).toEqual(data.map((_, i) => i + 1));
});

test('a broker that never sends again what it must costs no memory without end', async () => {
  await using rig = new SourceRig();
  let end = await rig.ready();
  for (let connection = 0; connection < 4; connection++) {
    rig.stream.mode = 'wait';
    for (let i = 1; i <= 1000; i++) end.publish('plant1/a', 'x', connection * 1000 + i);
    await rig.settle();
    end = await rig.reconnect();
    rig.stream.mode = 'store';
    rig.stream.commit();
    await rig.settle();
  }
  expect(rig.stream.stored).toHaveLength(4000);
  end.publish('plant1/a', 'x', 1, { dup: true }); // Forgotten.
  end.publish('plant1/a', 'x', 4000, { dup: true });
  await rig.settle();
  expect(end.takePubacks()).toEqual([1, 4000]);
  expect(rig.stream.stored).toHaveLength(4001);
});

test('after a PUBACK an identifier may stand for another message, even one with the same words', async () => {
  await using rig = new SourceRig();
  const first = await rig.ready();
  first.publish('plant1/door', 'open', 7);
  await rig.settle();
  expect(first.takePubacks()).toEqual([7]);
  const second = await rig.reconnect();
  second.publish('plant1/door', 'open', 7, { dup: true });
  await rig.settle();
  expect(second.takePubacks()).toEqual([7]);
  expect(rig.stream.stored).toEqual(['open', 'open']);
});

test('a broker that has lost the session begins anew: its identifiers mean other messages', async () => {
  await using rig = new SourceRig();
  const first = await rig.ready();
  rig.stream.mode = 'wait';
  first.publish('plant1/door', 'open', 1);
  await rig.settle();
  const second = await rig.reconnect(false);
  await second.grant();
  second.publish('plant1/door', 'open', 1);
  await rig.settle();
  expect(rig.stream.inFlight).toHaveLength(2);
  rig.stream.commit();
  await rig.settle();
  expect(second.takePubacks()).toEqual([1]);
  expect(rig.logged.warnings()).toContain(
    'the MQTT source has lost our session, and what it had received for it since',
  );
});

test('a broker that uses an identifier twice loses no message', async () => {
  await using rig = new SourceRig();
  const first = await rig.ready();
  rig.stream.mode = 'wait';
  first.publish('plant1/a', 'one', 1);
  await rig.settle();
  const second = await rig.reconnect();
  second.publish('plant1/a', 'two', 1, { dup: true });
  await rig.settle();
  rig.stream.commit();
  await rig.settle();
  expect(rig.stream.stored).toEqual(['one', 'two']);
  expect(second.takePubacks()).toEqual([1]);
});

test('a message that comes twice on one connection is stored once and answered once', async () => {
  await using rig = new SourceRig();
  const end = await rig.ready();
  rig.stream.mode = 'wait';
  end.publish('plant1/a', 'one', 1);
  end.publish('plant1/a', 'one', 1, { dup: true });
  await rig.settle();
  rig.stream.commit();
  await rig.settle();
  expect(rig.stream.stored).toEqual(['one']);
  expect(end.takePubacks()).toEqual([1]);
});

test('a message that is larger than a stream takes is passed over, counted, and blocks nothing', async () => {
  await using rig = new SourceRig();
  const end = await rig.ready();
  end.publish('plant1/a', 'before', 1);
  end.publish('plant1/camera', Buffer.alloc(3 * 1024 * 1024, 7), 2);
  end.publish('plant1/a', 'after', 3);
  await rig.settle();
  for (let round = 0; round < 20; round++) await rig.settle();
  expect(rig.stream.stored).toEqual(['before', 'after']);
  expect(end.takePubacks()).toEqual([1, 2, 3]);
  expect(rig.source.stats()).toMatchObject({ received: 3, droppedOversize: 1, stored: 2 });
  expect(rig.logged.said).toContainEqual(
    expect.objectContaining({
      msg: 'a message of the MQTT source is dropped',
      reason: 'it is larger than a stream takes',
      topic: 'plant1/camera',
    }),
  );
});

test('a topic for which no subject stands is acknowledged and counted', async () => {
  await using rig = new SourceRig();
  const end = await rig.ready();
  end.publish('$SYS/broker/uptime', 'x', 1);
  end.publish('_INBOX/a', 'x', 2);
  end.publish(`plant1/${'x'.repeat(1100)}`, 'x', 3);
  await rig.settle();
  expect(end.takePubacks()).toEqual([1, 2, 3]);
  expect(rig.stream.stored).toEqual([]);
  expect(rig.source.stats()).toMatchObject({ droppedTopics: 3 });
});

test('a stop takes nothing more, waits for the disk, acknowledges, and says goodbye', async () => {
  await using rig = new SourceRig();
  const end = await rig.ready();
  rig.stream.mode = 'wait';
  end.publish('plant1/a', 'm1', 1);
  end.publish('plant1/a', 'm2', 2);
  await rig.settle();
  const state = { stopped: false };
  const stopping = rig.source.stop(1000).then(() => (state.stopped = true));
  end.publish('plant1/a', 'm3', 3);
  await rig.settle();
  expect(state.stopped).toBe(false);
  rig.stream.commit();
  await rig.settle();
  await stopping;
  expect(end.pending).toEqual(['puback', 'puback', 'disconnect']);
  expect(rig.stream.stored).toEqual(['m1', 'm2']);
  rig.clock.advance(60_000);
  await rig.settle();
  expect(rig.ends).toHaveLength(1);
});

test('a stop while the stream refuses leaves the messages to the broker, without a PUBACK', async () => {
  await using rig = new SourceRig();
  const end = await rig.ready();
  rig.stream.mode = 'refuse';
  end.publish('plant1/a', 'm1', 1);
  end.publish('plant1/a', 'm2', 2);
  await rig.settle();
  await Promise.all([rig.source.stop(1000), rig.settle()]);
  await rig.settle();
  expect(end.pending).toEqual(['disconnect']);
});

test('a source that is stopped while its broker is away tries nothing more: the broker has it all', async () => {
  await using rig = new SourceRig();
  const end = await rig.ready();
  rig.stream.mode = 'refuse';
  end.publish('plant1/a', 'm1', 1);
  await rig.settle();
  end.stream.destroy();
  await rig.settle();
  await rig.source.stop(1000);
  rig.stream.mode = 'store';
  rig.clock.advance(60_000);
  await rig.settle();
  expect(rig.stream.stored).toEqual([]);
  expect(rig.ends).toHaveLength(1);
});

test('a disk that does not answer does not hold up the stop', async () => {
  await using rig = new SourceRig();
  const end = await rig.ready();
  rig.stream.mode = 'wait';
  end.publish('plant1/a', 'm1', 1);
  await rig.settle();
  const stopping = rig.source.stop(1000);
  await rig.settle();
  rig.clock.advance(1000);
  await stopping;
  await rig.settle();
  expect(end.closed).toBe(true);
  expect(end.pending).toEqual([]);
});
