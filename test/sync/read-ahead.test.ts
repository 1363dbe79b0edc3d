import { expect, test } from 'vitest';
import type { BatchLimits } from '../../sync/batch.ts';
import { ReadAhead } from '../../sync/read-ahead.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { MemoryStream } from '../support/memory-stream.ts';

const ORIGIN = { prefix: 'edge', gateway: 'gw7', stream: 'telemetry' };
const LIMITS: BatchLimits = {
  messages: 10,
  bytes: 65_536,
  messageBytesMax: 1024 * 1024,
  fenceBytes: 40,
};

function setup(messages: number) {
  const clock = new FakeClock();
  const stream = new MemoryStream('telemetry');
  stream.publishMany(messages);
  const reads: number[] = [];
  const read = stream.read.bind(stream);
  stream.read = (afterSeq, max, bytesMax) => {
    reads.push(afterSeq);
    return read(afterSeq, max, bytesMax);
  };
  const ahead = new ReadAhead(ORIGIN, stream, clock);
  const take = (afterSeq: number): string[] => {
    const taken = ahead.take(afterSeq, LIMITS);
    return taken === undefined || 'tooLarge' in taken ? [] : taken.messages.map(({ id }) => id);
  };
  return { clock, stream, reads, ahead, take };
}

test('what was read ahead is taken without reading again', () => {
  const { clock, reads, ahead, take } = setup(50);
  expect(take(0)).toHaveLength(10);
  ahead.prepare(10, LIMITS);
  expect(reads).toEqual([0]);
  clock.turn();
  expect(reads).toEqual([0, 10]);
  expect(take(10)[0]).toMatch(/:11$/);
  expect(reads).toEqual([0, 10]);
});

test('it is read for one position only: after a refill another is read', () => {
  const { clock, ahead, take } = setup(50);
  ahead.prepare(10, LIMITS);
  clock.turn();
  expect(take(5)[0]).toMatch(/:6$/);
  expect(take(10)[0]).toMatch(/:11$/);
});

test('it is forgotten when the publish before it fails, also while it is being read', () => {
  const { clock, reads, ahead, take } = setup(50);
  ahead.prepare(10, LIMITS);
  ahead.drop();
  clock.turn();
  expect(reads).toEqual([]);
  ahead.prepare(10, LIMITS);
  clock.turn();
  ahead.drop();
  take(10);
  expect(reads).toEqual([10, 10]);
});

test('a batch that more may join is not kept: the next one would be smaller than it need be', () => {
  const { clock, stream, ahead, take } = setup(13);
  ahead.prepare(10, LIMITS);
  clock.turn();
  stream.publishMany(20);
  expect(take(10)).toHaveLength(10);
});

test('nothing there is nothing', () => {
  const { clock, ahead, take } = setup(0);
  ahead.prepare(0, LIMITS);
  clock.turn();
  expect(take(0)).toEqual([]);
});
