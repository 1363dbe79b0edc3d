import { expect, test } from 'vitest';
import {
  HELD_BYTES_MAX,
  HELD_FRAMES_MAX,
  Intake,
  OVERRUN_FRAMES_MAX,
} from '../../device/intake.ts';
import { PublishError, type Message } from '../../src/message.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { randomInt, seededRandom } from '../support/random.ts';
import { readLog, scriptedBroker } from './serial/setup.ts';

function setup(subject = 'serial.meter') {
  const clock = new FakeClock();
  const logged = readLog();
  const scripted = scriptedBroker();
  const state = { rooms: 0 };
  const intake = new Intake(subject, { broker: scripted.broker, clock, log: logged.log }, () => {
    state.rooms++;
  });
  const accept = (...frames: string[]): void => {
    for (const frame of frames) intake.accept(Buffer.from(frame, 'latin1'));
  };
  return { clock, intake, accept, state, ...logged, ...scripted };
}

/** Lets the scripted stream answer. */
const answered = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a frame becomes a message on the subject of its port, byte for byte and without headers', async () => {
  const { broker, intake, stream } = setup();
  const seen: Message[] = [];
  broker.subscribe('serial.meter', { deliver: (message) => seen.push(message) });
  const data = Buffer.from([0, 255, 10, 13, 0]);
  intake.accept(data);
  await answered();
  expect(seen).toEqual([{ subject: 'serial.meter', data }]);
  expect(stream.stored).toEqual(['\x00\xff\n\r\x00']);
  expect(intake.counters).toMatchObject({ stored: 1, unrouted: 0 });
  expect([intake.heldFrames, intake.heldBytes]).toEqual([0, 0]);
});

test('a frame counts as stored only when the stream says so', () => {
  const { accept, intake, stream } = setup();
  stream.mode = 'wait';
  accept('a', 'b');
  expect(intake.counters.stored).toBe(0);
  stream.commit(1);
  expect(intake.counters.stored).toBe(1);
  expect([intake.heldFrames, intake.heldBytes]).toEqual([1, 1]);
});

test('frames that nobody stores are counted and said once, until one is stored', async () => {
  const { accept, broker, intake, warnings, stream, unsubscribe } = setup();
  unsubscribe();
  accept('a', 'b');
  broker.subscribe('serial.>', { deliver: () => {} });
  accept('c'); // A subscriber sees it, but nothing keeps it.
  expect(intake.counters.unrouted).toBe(3);
  expect(warnings()).toEqual(['No stream takes the frames; they are not kept.']);
  const stop = broker.subscribe('serial.>', stream);
  accept('d');
  await answered();
  stop();
  accept('e');
  expect(intake.counters).toMatchObject({ unrouted: 4, stored: 1 });
  expect(warnings()).toHaveLength(2);
  expect([intake.heldFrames, intake.heldBytes]).toEqual([0, 0]);
});

test('refused frames are kept and stored in order when the disk has room again', async () => {
  const { accept, clock, intake, said, stream, warnings } = setup();
  stream.mode = 'refuse';
  accept('1', '2', '3');
  expect(intake.counters.refused).toBe(1); // The others wait behind the first.
  clock.advance(999);
  expect(intake.counters.refused).toBe(1);
  clock.advance(9001);
  expect(intake.counters.refused).toBe(11);
  expect(warnings()).toHaveLength(1);
  accept('4');
  stream.mode = 'store';
  clock.advance(1000);
  await answered();
  expect(stream.stored).toEqual(['1', '2', '3', '4']);
  expect(intake.counters).toMatchObject({ stored: 4, droppedFull: 0, droppedRejected: 0 });
  expect(said.at(-1)?.msg).toBe('The stream takes frames again.');
  accept('5');
  await answered();
  expect(stream.stored.at(-1)).toBe('5');
});

test('a whole commit that is refused goes back in order, before what came later', async () => {
  const { accept, clock, stream } = setup();
  stream.mode = 'wait';
  accept('1', '2', '3', '4');
  stream.commit(1);
  stream.refuse();
  accept('5', '6');
  expect(stream.inFlight).toHaveLength(0);
  clock.advance(1000);
  expect(stream.inFlight.map(({ message }) => message.data.toString())).toEqual(['2']); // Alone.
  stream.mode = 'store';
  stream.commit();
  await answered();
  expect(stream.stored).toEqual(['1', '2', '3', '4', '5', '6']);
});

test('a frame that the stream will never take is dropped, and blocks nobody', async () => {
  const { accept, intake, stream, warnings } = setup();
  stream.mode = 'wait';
  accept('too long', 'fine');
  stream.refuse(1, new PublishError(400, 10054, 'message size exceeds maximum allowed'));
  stream.commit();
  expect(stream.stored).toEqual(['fine']);
  expect(intake.counters).toMatchObject({ stored: 1, droppedRejected: 1, refused: 0 });
  expect(warnings()).toEqual(['Frame dropped: the stream will never take it.']);
  expect(intake.heldFrames).toBe(0);
});

test('the source is told to stop at the limit of frames, and to go on at half of it', () => {
  const { accept, intake, state, stream } = setup();
  stream.mode = 'wait';
  for (let i = 1; i < HELD_FRAMES_MAX; i++) accept('x');
  expect(intake.full).toBe(false);
  accept('x');
  expect(intake.full).toBe(true);
  stream.commit(HELD_FRAMES_MAX / 2 - 1);
  expect([intake.full, state.rooms]).toEqual([true, 0]);
  stream.commit(1);
  expect([intake.full, state.rooms]).toEqual([false, 1]);
});

test('the source is told to stop at the limit of bytes', () => {
  const { intake, stream } = setup();
  stream.mode = 'wait';
  const frame = Buffer.alloc(4096);
  for (let i = 1; i < HELD_BYTES_MAX / 4096; i++) intake.accept(frame);
  expect(intake.full).toBe(false);
  intake.accept(frame);
  expect(intake.full).toBe(true);
});

test('a source that does not stop loses the newest frames, counted, and memory stays bounded', async () => {
  const { accept, clock, intake, stream, warnings } = setup();
  stream.mode = 'refuse';
  for (let i = 0; i < OVERRUN_FRAMES_MAX + 7; i++) accept(String(i % 10));
  expect(intake.counters.droppedFull).toBe(7);
  expect(intake.heldFrames).toBe(OVERRUN_FRAMES_MAX);
  expect(warnings()).toContain('Frames dropped: the stream takes none and the memory is full.');
  stream.mode = 'store';
  clock.advance(1000);
  await answered();
  expect(stream.stored).toEqual(
    Array.from({ length: OVERRUN_FRAMES_MAX }, (_, i) => String(i % 10)),
  );
});

test('at stop what waits is tried once more; what is refused then is counted as dropped', () => {
  const { accept, clock, intake, stream } = setup();
  stream.mode = 'refuse';
  accept('a', 'b', 'c');
  stream.mode = 'wait';
  intake.stop();
  expect(stream.inFlight).toHaveLength(3);
  stream.commit(2);
  stream.refuse();
  accept('too late');
  intake.stop();
  clock.advance(10_000);
  expect(stream.stored).toEqual(['a', 'b']);
  expect(intake.counters).toMatchObject({ stored: 2, droppedAtStop: 2 });
  expect(intake.heldFrames).toBe(0);
});

test('under random refusals every frame is stored once and in order', async () => {
  for (let seed = 1; seed <= 100; seed++) {
    const random = seededRandom(seed);
    const { accept, clock, intake, stream } = setup();
    let sent = 0;
    for (let step = 0; step < 200; step++) {
      stream.mode = (['store', 'refuse', 'wait', 'wait'] as const)[randomInt(random, 4)]!;
      // One turn: what is published is committed or refused as a whole at its end, unless refused at once.
      for (let n = randomInt(random, 4); n > 0; n--) accept(String(sent++));
      if (random() < 0.5) clock.advance(randomInt(random, 1500));
      if (stream.mode === 'wait' && random() < 0.5) stream.refuse();
      else stream.commit();
      await Promise.resolve();
    }
    stream.mode = 'store';
    stream.commit();
    for (let i = 0; i < 4; i++) {
      clock.advance(1000);
      await answered();
    }
    expect(stream.stored, `seed ${seed}`).toEqual(
      Array.from({ length: sent }, (_, i) => String(i)),
    );
    expect(intake.counters, `seed ${seed}`).toMatchObject({ stored: sent, droppedFull: 0 });
    expect([intake.heldFrames, intake.heldBytes], `seed ${seed}`).toEqual([0, 0]);
  }
});
