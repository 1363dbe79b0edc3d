import { expect, test } from 'vitest';
import { framingFor, type Framing } from '../../../device/serial/framing.ts';
import type { FramingConfig } from '../../../device/serial/serial-config.ts';
import { randomBytes, randomInt, seededRandom } from '../../support/random.ts';
import { cut, recordings } from '../../support/recordings.ts';

const LINE: FramingConfig = { type: 'line' };

function delimiter(bytes: string): FramingConfig {
  return { type: 'delimiter', delimiter: Buffer.from(bytes, 'latin1') };
}

/** Feeds the chunks, and returns the frames as strings of one character a byte. */
function feed(framing: Framing, chunks: Iterable<Buffer | string>): string[] {
  const frames: string[] = [];
  for (const chunk of chunks) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, 'latin1') : chunk;
    framing.push(bytes, (frame) => frames.push(frame.toString('latin1')));
  }
  return frames;
}

function byByte(bytes: Buffer): Buffer[] {
  return Array.from(bytes, (byte) => Buffer.from([byte]));
}

const REAL = recordings();

test('the recordings are of every kind', () => {
  const folders = new Set(REAL.map(({ name }) => name.split('/')[0]));
  expect(folders).toEqual(
    new Set(['nmea0183', 'dsmr-p1', 'vedirect', 'gnss-binary', 'particulate']),
  );
  for (const { name, frames } of REAL) expect(frames.length, name).toBeGreaterThan(0);
});

test.each(REAL)('$name comes out the same whole, in bytes and in random pieces', (real) => {
  const wanted = real.frames.map((frame) => frame.toString('latin1'));
  const random = seededRandom(1);
  const pieces: Buffer[] = [];
  for (let at = 0; at < real.bytes.length;) {
    const length = 1 + randomInt(random, 300);
    pieces.push(real.bytes.subarray(at, at + length));
    at += length;
  }
  for (const chunks of [[real.bytes], byByte(real.bytes), pieces])
    expect(feed(framingFor(real.framing, 4096), chunks)).toEqual(wanted);
});

test.each(REAL)('$name comes out the same split at every index', ({ bytes, framing }) => {
  const head = bytes.subarray(0, 1500);
  const wanted = cut(head, framing).map((frame) => frame.toString('latin1'));
  for (let at = 0; at <= head.length; at++) {
    const chunks = [head.subarray(0, at), head.subarray(at)];
    expect(feed(framingFor(framing, 4096), chunks), `split at ${at}`).toEqual(wanted);
  }
});

test('lines lose LF and one CR, and empty ones are no frames', () => {
  expect(feed(framingFor(LINE, 100), ['a\r\nb\n\n\r\n\r\r\nc\rd\n'])).toEqual([
    'a',
    'b',
    '\r',
    'c\rd',
  ]);
});

test('binary data with NUL and 0xFF passes every framing', () => {
  const bytes = '\x00\xff\x00\x00\xff\xfe\x80';
  expect(feed(framingFor(LINE, 100), [`${bytes}\n`])).toEqual([bytes]);
  expect(feed(framingFor(delimiter('\xff\xff'), 100), [`${bytes}\xff\xff`])).toEqual([bytes]);
  expect(feed(framingFor({ type: 'fixed', length: 7 }, 100), [bytes])).toEqual([bytes]);
  expect(feed(framingFor(delimiter('\x00'), 100), [bytes])).toEqual(['\xff']);
});

test('a delimiter that begins within itself is found', () => {
  expect(feed(framingFor(delimiter('aab'), 100), ['xaaabyaab'])).toEqual(['xa', 'y']);
  expect(
    feed(framingFor(delimiter('\r\n\r\n'), 100), byByte(Buffer.from('1\r\n\r\r\n\r\n2\r\n\r\n'))),
  ).toEqual(['1\r\n\r', '2']);
});

test('a frame of exactly the limit passes, one byte more is dropped whole and counted', () => {
  for (const [config, end] of [
    [LINE, '\r\n'],
    [LINE, '\n'],
    [delimiter('\n'), '\n'],
    [delimiter('\r\n'), '\r\n'],
  ] as const) {
    const framing = framingFor(config, 5);
    expect(feed(framing, [`12345${end}123456${end}ok${end}`])).toEqual(['12345', 'ok']);
    expect(framing.counters).toMatchObject({ frames: 2, droppedOversize: 1 });
  }
});

test('a port that never sends a delimiter holds no more than the limit and recovers at the first one', () => {
  const framing = framingFor(delimiter('END'), 4096);
  const noise = Buffer.alloc(64 * 1024, 'E');
  const sent = 160 * noise.length;
  expect(
    feed(
      framing,
      Array.from({ length: 160 }, () => noise),
    ),
  ).toEqual([]);
  expect(framing.counters.droppedOversize).toBe(1);
  expect(sent - framing.counters.droppedBytes).toBeLessThanOrEqual(4096 + 3);
  expect(feed(framing, ['ENDgoodEND'])).toEqual(['good']);
  expect(framing.counters).toEqual({ frames: 1, droppedOversize: 1, droppedBytes: sent });
});

test('the half frame before a reset is dropped and counted, never joined to what follows', () => {
  for (const config of [LINE, delimiter('\n'), { type: 'fixed', length: 5 } as const]) {
    const framing = framingFor(config, 100);
    expect(feed(framing, ['abcd\nhal'])).toHaveLength(1);
    expect(framing.reset()).toBe(3);
    expect(framing.reset()).toBe(0);
    expect(feed(framing, ['efgh\n']).map((frame) => frame.trim())).toEqual(['efgh']);
    expect(framing.counters).toEqual({ frames: 2, droppedOversize: 0, droppedBytes: 3 });
  }
});

test('after a late join everything before the first delimiter is dropped, however long it is', () => {
  const framing = framingFor(LINE, 10);
  framing.resync();
  expect(feed(framing, ['rest of a frame that is longer than the limit\r\nnext\n'])).toEqual([
    'next',
  ]);
  expect(framing.counters).toEqual({ frames: 1, droppedOversize: 0, droppedBytes: 46 });
});

test('silence puts a fixed-length framing right, and only with a half frame pending', () => {
  const framing = framingFor({ type: 'fixed', length: 4, idleMs: 50 }, 100);
  const frames: string[] = [];
  const push = (bytes: string, silentMs: number): void =>
    framing.push(Buffer.from(bytes), (frame) => frames.push(frame.toString()), silentMs);
  push('ab', 1000);
  push('cd', 49); // A short pause within a frame is none.
  push('ef', 0);
  push('1234', 50);
  push('5678', 1000);
  expect(frames).toEqual(['abcd', '1234', '5678']);
  expect(framing.counters).toEqual({ frames: 3, droppedOversize: 0, droppedBytes: 2 });
});

test('a frame is a copy and does not hold on to what the driver read', () => {
  const chunk = Buffer.alloc(16 * 1024, 'x');
  chunk.write('frame\n', 0);
  for (const config of [LINE, { type: 'fixed', length: 6 } as const]) {
    const frames: Buffer[] = [];
    framingFor(config, 100).push(chunk.subarray(0, 6), (frame) => frames.push(frame));
    chunk.fill('y', 0, 6);
    expect(frames.map((frame) => frame.toString().trim())).toEqual(['frame']);
    expect(frames[0]!.buffer.byteLength).toBeLessThanOrEqual(Buffer.poolSize);
    chunk.write('frame\n', 0);
  }
});

/** What must come out, computed on the whole. */
function wanted(bytes: Buffer, mark: Buffer, stripCr: boolean, max: number) {
  const frames: string[] = [];
  let oversize = 0;
  let droppedBytes = 0;
  let at = 0;
  for (let end: number; (end = bytes.indexOf(mark, at)) >= 0; at = end + mark.length) {
    const cr = stripCr && end > at && bytes[end - 1] === 0x0d ? 1 : 0;
    const frame = bytes.subarray(at, end - cr);
    if (frame.length > max) {
      oversize++;
      droppedBytes += end - at;
    } else if (frame.length > 0) frames.push(frame.toString('latin1'));
  }
  // An unended frame counts as oversize as soon as it cannot fit any more.
  const left = bytes.length - at;
  if (left >= max + (stripCr ? 1 : 0) + mark.length) oversize++;
  return { frames, oversize, droppedBytes: droppedBytes + left };
}

test('random bytes in random pieces are framed as if they had come at once', () => {
  for (let seed = 1; seed <= 400; seed++) {
    const random = seededRandom(seed);
    const alphabet = randomBytes(random, 1 + randomInt(random, 4));
    const pick = (): number => alphabet[randomInt(random, alphabet.length)]!;
    const bytes = Buffer.from(Array.from({ length: randomInt(random, 600) }, pick));
    const line = random() < 0.3;
    if (line)
      for (let i = 0; i < bytes.length; i++)
        if (random() < 0.2) bytes[i] = random() < 0.5 ? 10 : 13;
    const mark = line
      ? Buffer.from('\n')
      : Buffer.from(Array.from({ length: 1 + randomInt(random, 4) }, pick));
    const max = 1 + randomInt(random, 40);
    const framing = framingFor(line ? LINE : { type: 'delimiter', delimiter: mark }, max);
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length;) {
      const length = 1 + randomInt(random, 1 + randomInt(random, 60));
      chunks.push(bytes.subarray(at, at + length));
      at += length;
    }
    const expected = wanted(bytes, mark, line, max);
    expect(feed(framing, chunks), `seed ${seed}`).toEqual(expected.frames);
    framing.reset();
    expect(framing.counters, `seed ${seed}`).toEqual({
      frames: expected.frames.length,
      droppedOversize: expected.oversize,
      droppedBytes: expected.droppedBytes,
    });
  }
});
