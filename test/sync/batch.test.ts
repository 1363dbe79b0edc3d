import { describe, expect, test } from 'vitest';
import { takeBatch, type BatchLimits } from '../../sync/batch.ts';
import { BATCH_BYTES_MAX, BatchSize, START_BYTES } from '../../sync/batch-size.ts';
import type { Entry } from '../../src/jetstream/stream-types.ts';

const ORIGIN = { prefix: 'edge', gateway: 'gw7', stream: 'telemetry' };
const LIMITS: BatchLimits = {
  messages: 1000,
  bytes: 65_536,
  messageBytesMax: 1024 * 1024,
  fenceBytes: 40,
};

function entry(seq: number, bytes: number, headers?: string): Entry {
  return {
    kind: 'message',
    message: {
      subject: 'a',
      data: Buffer.alloc(bytes),
      seq,
      epoch: 'e',
      timeMs: 0,
      timeSynced: true,
      ...(headers === undefined ? {} : { headers: Buffer.from(headers) }),
    },
  };
}

function entries(count: number, bytes: number): Entry[] {
  return Array.from({ length: count }, (_, i) => entry(i + 1, bytes));
}

function take(list: Entry[], limits: Partial<BatchLimits> = {}): number | string {
  const batch = takeBatch(ORIGIN, list, { ...LIMITS, ...limits });
  return 'tooLarge' in batch ? batch.tooLarge.reason : batch.entries.length;
}

describe('a batch', () => {
  test('ends at the number of messages and at the bytes', () => {
    expect(take(entries(2000, 1))).toBeLessThanOrEqual(1000);
    expect(take(entries(10, 1), { messages: 3 })).toBe(3);
    const fit = take(entries(100, 10_000));
    expect(fit).toBe(6);
  });

  test('holds at least one message, however small the limit', () => {
    expect(take(entries(5, 50_000), { bytes: 1024 })).toBe(1);
  });

  test('ends before a message that no publish can carry, which then is named', () => {
    const list = [entry(1, 10), entry(2, 3_000_000), entry(3, 10)];
    expect(take(list)).toBe(1);
    expect(take(list.slice(1))).toMatch(/^it is 30\d{5} bytes at the hub, which takes 1048576$/);
  });

  test('is the message alone where the headers of a batch would make it too large', () => {
    const list = [entry(1, 1000), entry(2, 1000)];
    const { length } = 'x'.repeat(1000);
    let alone = 0;
    for (let max = length; max < length + 600; max++) {
      const batch = takeBatch(ORIGIN, list, { ...LIMITS, messageBytesMax: max });
      if (!('tooLarge' in batch) && batch.single) {
        expect(batch.entries.length).toBe(1);
        alone++;
      }
    }
    expect(alone).toBe(96);
  });

  test('refuses headers that the hub would not store', () => {
    const headers = `NATS/1.0\r\nX: ${'x'.repeat(65_400)}\r\n\r\n`;
    expect(take([entry(1, 1, headers)])).toMatch(/^its headers are 65\d{3} bytes/);
  });
});

describe('the size of batches', () => {
  test('grows while the hub acknowledges quickly, to a named maximum', () => {
    const size = new BatchSize();
    expect(size.bytes).toBe(START_BYTES);
    for (let i = 0; i < 10; i++) size.acknowledged(size.bytes, 100);
    expect(size.bytes).toBe(BATCH_BYTES_MAX);
    expect(size.messages).toBe(1000);
  });

  test('does not grow on batches that did not fill it', () => {
    const size = new BatchSize();
    for (let i = 0; i < 10; i++) size.acknowledged(200, 5);
    expect(size.bytes).toBe(START_BYTES);
  });

  test('shrinks to what passes in a second where acknowledgements take longer', () => {
    const size = new BatchSize();
    size.acknowledged(64_000, 16_000);
    expect(size.bytes).toBe(4_000);
    size.acknowledged(4_000, 1_500);
    expect(size.bytes).toBe(4_000);
  });

  test('converges on a line of 1 kB/s on which the first batches die', () => {
    const size = new BatchSize();
    let dead = 0;
    while (size.bytes > 15_000) {
      size.unanswered(100);
      dead++;
    }
    expect(dead).toBe(3);
    size.acknowledged(size.bytes, size.bytes);
    expect(size.bytes).toBeLessThanOrEqual(1024);
    expect(size.bytes).toBeGreaterThanOrEqual(1000);
  });

  test('halves to one message when the hub refuses, and doubles again', () => {
    const size = new BatchSize();
    let messages = 1000;
    for (let i = 0; i < 10; i++) {
      size.refused(messages);
      ({ messages } = size);
    }
    expect(messages).toBe(1);
    for (let i = 0; i < 10; i++) size.acknowledged(100, 5);
    expect(size.messages).toBe(1000);
  });

  test('has patience for one large message only, and more after each failure', () => {
    const size = new BatchSize();
    expect(size.patienceMs(1000, 2_000_000)).toBe(0);
    expect(size.patienceMs(1, 1000)).toBe(0);
    expect(size.patienceMs(1, 1_048_576)).toBe(131_072);
    size.unanswered(1);
    expect(size.patienceMs(1, 1_048_576)).toBe(262_144);
    expect(size.patienceMs(1, 8_000)).toBe(2_000);
    for (let i = 0; i < 50; i++) size.unanswered(1);
    expect(size.patienceMs(1, 1_048_576)).toBe(600_000);
    size.acknowledged(1_048_576, 100_000);
    expect(size.patienceMs(1, 8_000)).toBe(0);
  });
});
