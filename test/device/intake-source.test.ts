// What the intake does for a source that can take its messages back: a subject for each, its fate told, and a parting
// that loses nothing.

import { expect, test } from 'vitest';
import { Intake, type Outcome } from '../../device/intake.ts';
import { PublishError } from '../../src/message.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { readLog, scriptedBroker } from './serial/setup.ts';

function setup() {
  const clock = new FakeClock();
  const { log, warnings } = readLog();
  const { broker, stream } = scriptedBroker();
  const state = { rooms: 0 };
  const limits = { heldFrames: 4, heldBytes: 100, overrunFrames: 6, overrunBytes: 200 };
  const intake = new Intake(undefined, { broker, clock, log }, () => state.rooms++, limits);
  const outcomes: string[] = [];
  const accept = (subject: string, data: string): void =>
    intake.accept(Buffer.from(data), {
      subject,
      settled: (outcome: Outcome) => outcomes.push(`${data} ${outcome}`),
    });
  return { accept, broker, clock, intake, outcomes, state, stream, warnings };
}

test('each message goes to its own subject, and its source hears of its fate once', () => {
  const { accept, intake, outcomes, stream } = setup();
  stream.mode = 'wait';
  accept('serial.a', 'one');
  accept('elsewhere', 'two');
  accept('serial.b', 'three');
  expect(outcomes).toEqual(['two unrouted']);
  expect(stream.inFlight.map(({ message }) => message.subject)).toEqual(['serial.a', 'serial.b']);
  stream.commit(1);
  stream.refuse(1, new PublishError(400, 10054, 'message size exceeds maximum allowed'));
  expect(outcomes).toEqual(['two unrouted', 'one stored', 'three rejected']);
  expect(intake.heldFrames).toBe(0);
});

test('a message without a subject is a bug', () => {
  const { intake } = setup();
  expect(() => intake.accept(Buffer.from('x'))).toThrow('a frame without a subject');
});

test('the limits are those of the source', () => {
  const { accept, intake, outcomes, state, stream } = setup();
  stream.mode = 'wait';
  for (let i = 1; i <= 3; i++) accept('serial.a', `m${i}`);
  expect(intake.full).toBe(false);
  accept('serial.a', 'm4');
  expect(intake.full).toBe(true);
  for (let i = 5; i <= 7; i++) accept('serial.a', `m${i}`);
  expect(outcomes).toEqual(['m7 dropped']);
  stream.commit();
  expect([intake.full, state.rooms]).toEqual([false, 1]);
});

test('who leaves lets go of what waits, hears of what is under way, and warns of no loss', () => {
  const { accept, clock, intake, outcomes, stream, warnings } = setup();
  stream.mode = 'wait';
  accept('serial.a', 'm1');
  accept('serial.a', 'm2');
  stream.refuse(1);
  accept('serial.a', 'm3');
  intake.leave();
  expect(outcomes).toEqual(['m1 dropped', 'm3 dropped']);
  stream.refuse(1);
  expect(outcomes).toEqual(['m1 dropped', 'm3 dropped', 'm2 dropped']);
  accept('serial.a', 'm4');
  expect(outcomes.at(-1)).toBe('m4 dropped');
  clock.advance(5000);
  expect(stream.inFlight).toEqual([]);
  expect(warnings().filter((text) => text.startsWith('Frames dropped'))).toEqual([]);
  expect([intake.heldFrames, intake.heldBytes]).toEqual([0, 0]);
});
