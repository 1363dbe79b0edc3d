import { expect, test } from 'vitest';
import { FrameReader, type FrameTaker } from '../../../device/mqtt/wire/frames.ts';
import { Budget } from '../../../device/mqtt/limits.ts';
import { ProtocolError } from '../../../device/mqtt/wire/protocol-error.ts';
import { randomInt, seededRandom } from '../../support/random.ts';

/** A packet of PUBLISH's type with `length` bytes behind its fixed header. */
function packet(length: number, fill = 0x55): Buffer {
  const header = [0x30];
  let rest = length;
  do {
    header.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest >>>= 7;
  } while (rest > 0);
  return Buffer.concat([Buffer.from(header), Buffer.alloc(length, fill)]);
}

function setup(max = 1024 * 1024, budget = new Budget(16 * 1024 * 1024)) {
  const taken: { frame: Buffer; start: number }[] = [];
  /** What else happens with each packet. */
  const each = { also: (): void => undefined };
  const taker: FrameTaker = {
    remainingMax: () => max,
    take: (frame, start) => {
      taken.push({ frame: Buffer.from(frame), start });
      each.also();
    },
  };
  return { reader: new FrameReader(taker, budget), taken, each, budget };
}

const packets = [0, 1, 2, 126, 127, 128, 129, 300, 16_383, 16_384].map((length) => packet(length));
const whole = Buffer.concat(packets);

function assertTaken(taken: { frame: Buffer; start: number }[]): void {
  expect(taken.map(({ frame }) => frame.length)).toEqual(packets.map(({ length }) => length));
  taken.forEach(({ frame }, i) => expect(frame.equals(packets[i]!)).toBe(true));
  expect(taken.map(({ start }) => start)).toEqual([2, 2, 2, 2, 2, 3, 3, 3, 3, 4]);
}

test('packets are cut from one chunk', () => {
  const { reader, taken } = setup();
  reader.read(whole);
  assertTaken(taken);
});

test('packets are cut from single bytes', () => {
  const { reader, taken, budget } = setup();
  for (let i = 0; i < whole.length; i++) reader.read(whole.subarray(i, i + 1));
  assertTaken(taken);
  expect(budget.used).toBe(0);
});

test('packets are cut wherever the stream is split', () => {
  const short = Buffer.concat(packets.slice(0, 8));
  for (let at = 0; at <= short.length; at++) {
    const { reader, taken } = setup();
    reader.read(short.subarray(0, at));
    reader.read(short.subarray(at));
    expect(taken.map(({ frame }) => frame.length)).toEqual(
      packets.slice(0, 8).map((p) => p.length),
    );
  }
});

test('packets are cut from random pieces, with pauses in between', () => {
  const random = seededRandom(3);
  for (let round = 0; round < 50; round++) {
    const { reader, taken, each } = setup();
    each.also = () => {
      if (randomInt(random, 3) === 0) reader.pause();
    };
    for (let at = 0; at < whole.length;) {
      const length = 1 + randomInt(random, 2000);
      reader.read(whole.subarray(at, at + length));
      at += length;
      if (randomInt(random, 2) === 0) reader.resume();
    }
    while (taken.length < packets.length) reader.resume();
    assertTaken(taken);
  }
});

test('nothing is taken while paused, and nothing is lost', () => {
  const { reader, taken, each } = setup();
  each.also = () => reader.pause();
  reader.read(Buffer.concat([packet(1), packet(2), packet(3)]));
  expect(taken.length).toBe(1);
  reader.resume();
  expect(taken.length).toBe(2);
  reader.resume();
  expect(taken.length).toBe(3);
});

test('resuming from within a packet goes on in order, not deeper', () => {
  const { reader, taken, each } = setup();
  let depth = 0;
  each.also = () => {
    expect(depth++).toBe(0);
    reader.pause();
    reader.resume();
    depth--;
  };
  reader.read(Buffer.concat([packet(1), packet(2), packet(3)]));
  expect(taken.map(({ frame }) => frame.length)).toEqual([3, 4, 5]);
});

test('a packet over the limit is refused by its header alone', () => {
  const { reader, taken } = setup(1000);
  expect(() => reader.read(packet(1001).subarray(0, 3))).toThrow(ProtocolError);
  expect(() => setup(1000).reader.read(packet(1001))).toThrow(
    expect.objectContaining({ reasonCode: 0x95 }), // Packet too large [MQTT-3.1.2-24].
  );
  const other = setup(1000);
  other.reader.read(packet(1000));
  expect([taken.length, other.taken.length]).toEqual([0, 1]);
});

test('a Remaining Length of more than four bytes is malformed', () => {
  const { reader } = setup(Infinity);
  expect(() => reader.read(Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80]))).toThrow(
    'Remaining Length',
  );
  const slow = setup(Infinity).reader;
  for (const byte of [0x30, 0xff, 0xff, 0xff]) slow.read(Buffer.from([byte]));
  expect(() => slow.read(Buffer.from([0xff]))).toThrow('Remaining Length');
});

test('a Remaining Length with a byte too many is malformed where the peer speaks 5.0 [MQTT-1.5.5-1]', () => {
  for (const version of [undefined, 3, 4, 5] as const) {
    const taken: number[] = [];
    const reader = new FrameReader(
      {
        version,
        remainingMax: () => 10,
        take: (frame, start) => void taken.push(frame.length - start),
      },
      new Budget(1000),
    );
    for (const stream of ['30 8000', '30 808000', '30 818000 55']) {
      const read = (): void => reader.read(Buffer.from(stream.replaceAll(' ', ''), 'hex'));
      if (version !== 5) read();
      else expect(read).toThrow(expect.objectContaining({ reasonCode: 0x81 }));
      reader.read(Buffer.alloc(0));
    }
    expect(taken).toEqual(version === 5 ? [] : [0, 0, 1]);
  }
});

test('the largest Remaining Length of the standard is understood', () => {
  const { reader } = setup(268_435_455);
  reader.read(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]));
  expect(() => setup(268_435_454).reader.read(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]))).toThrow(
    'a packet of 268435455 bytes',
  );
});

test('an announced length costs nothing until its bytes come', () => {
  const { reader, budget } = setup();
  reader.read(packet(1_000_000).subarray(0, 4));
  expect(budget.used).toBe(0);
  reader.read(Buffer.alloc(100_000));
  expect(budget.used).toBeGreaterThan(90_000);
  expect(budget.used).toBeLessThan(200_000);
  reader.close();
  expect(budget.used).toBe(0);
});

test('the bytes of all begun packets together are bounded', () => {
  const budget = new Budget(150_000);
  const first = setup(1_000_000, budget);
  const second = setup(1_000_000, budget);
  first.reader.read(packet(200_000).subarray(0, 100_000));
  expect(() => second.reader.read(packet(200_000).subarray(0, 100_000))).toThrow(
    expect.objectContaining({ reasonCode: 0x97 }),
  );
  second.reader.close();
  first.reader.close();
  expect(budget.used).toBe(0);
});

test('where it is wished, a packet over the limit is passed over, wherever the stream is split, and the next ones come', () => {
  const max = 100;
  const stream = Buffer.concat([packet(100, 1), packet(300, 2), packet(101, 3), packet(5, 4)]);
  for (let at = 0; at <= stream.length; at++) {
    const budget = new Budget(1000);
    const taken: string[] = [];
    const note =
      (kind: string) =>
      (frame: Buffer, start: number): void =>
        void taken.push(`${kind} ${frame.length - start} of ${frame[start]}`);
    const reader = new FrameReader(
      { remainingMax: () => max, take: note('whole'), takeOversized: note('head') },
      budget,
    );
    reader.read(stream.subarray(0, at));
    reader.read(stream.subarray(at));
    expect(taken, `split at ${at}`).toEqual([
      'whole 100 of 1',
      'head 100 of 2',
      'head 100 of 3',
      'whole 5 of 4',
    ]);
    expect(budget.used).toBe(0);
  }
});

test('of a packet of 200 MB that is passed over, only its head is ever held', () => {
  const budget = new Budget(128 * 1024);
  const heads: number[] = [];
  const reader = new FrameReader(
    {
      remainingMax: () => 1024 * 1024,
      take: () => undefined,
      takeOversized: (head) => void heads.push(head.length),
    },
    budget,
  );
  reader.read(Buffer.from('30ffffff7f', 'hex'));
  const chunk = Buffer.alloc(64 * 1024);
  for (let sent = 0; sent < 268_435_455; sent += chunk.length) {
    reader.read(chunk.subarray(0, Math.min(chunk.length, 268_435_455 - sent)));
    if (budget.used > 80 * 1024) throw new Error(`${budget.used} bytes held`);
  }
  expect(heads).toHaveLength(1);
  expect(heads[0]).toBeLessThan(66_000);
});
