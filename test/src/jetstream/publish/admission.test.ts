import { expect, test } from 'vitest';
import { PublishError } from '../../../../src/message.ts';
import {
  examine,
  examineRepeat,
  type Admitted,
} from '../../../../src/jetstream/publish/admission.ts';
import { readControl } from '../../../../src/jetstream/publish/control.ts';
import type { StreamConfig } from '../../../../src/jetstream/stream-types.ts';
import { block, streamConfig } from '../../../support/stream-configs.ts';

const LAST = new Map([
  ['orders.new', 7],
  ['orders.>', 9],
]);

/** What a stream says to a message with these headers; it is at 9, its last message had the ID `i9`. */
function say(lines: string[] | Buffer, change: Partial<StreamConfig> = {}): string | Admitted {
  const verdict = examine(
    {
      subject: 'orders.new',
      data: Buffer.from('data'),
      headers: Buffer.isBuffer(lines) ? lines : block(...lines),
    },
    {
      config: streamConfig(change),
      lastSeq: 9,
      lastMsgId: 'i9',
      lastSeqOf: (filter) => LAST.get(filter) ?? 0,
    },
  );
  return verdict instanceof PublishError
    ? `${verdict.code} ${verdict.errCode} ${verdict.message}`
    : verdict;
}

test('a message that is too large is so whatever it expects', () => {
  const limits = { maxMsgBytes: 3 };
  const tooLarge = '400 10054 message size exceeds maximum allowed';
  for (const line of [
    'Nats-Expected-Stream: X',
    'Nats-Expected-Last-Sequence: 1',
    'Nats-Expected-Last-Msg-Id: i1',
    'Nats-Rollup: sub',
  ])
    expect(say([line], limits), line).toBe(tooLarge);
});

test('a message that comes again is refused for what it says of itself, not for what it expects', () => {
  const again = (line: string, change: Partial<StreamConfig> = {}): number | undefined => {
    const lines = { ...readControl(block(line)) };
    const message = { subject: 'orders.new', data: Buffer.from('data'), headers: block(line) };
    return examineRepeat(message, streamConfig(change), lines)?.errCode;
  };
  expect(again('Nats-Expected-Last-Sequence: 1')).toBeUndefined();
  expect(again('Nats-Expected-Last-Msg-Id: other')).toBeUndefined();
  expect(again('Nats-Expected-Stream: OTHER')).toBe(10060);
  expect(again('Nats-Stream-Source: other 1 > >')).toBe(10227);
  expect(again('Nats-TTL: 1h')).toBe(10166);
  expect(again('Nats-TTL: 1h', { allowMsgTtl: true })).toBeUndefined();
  expect(again('X: y', { maxMsgBytes: 1 })).toBe(10054);
  expect(again('X: y', { sealed: true })).toBe(10109);
});

const OPEN: Partial<StreamConfig> = { allowRollup: true, allowMsgTtl: true };
const TAKEN = expect.objectContaining({ subject: 'orders.new' });
const wrong = (seq: number): string => `400 10071 wrong last sequence: ${seq}`;

test.each<[string, string[], unknown]>([
  ['no control header', ['Colour: red'], TAKEN],
  ['the right stream', ['Nats-Expected-Stream: ORDERS'], TAKEN],
  ['another stream', ['Nats-Expected-Stream: X'], '400 10060 expected stream does not match'],
  ['a name in another case', ['nats-expected-stream: X'], TAKEN],
  ['an empty expectation', ['Nats-Expected-Stream:'], TAKEN],
  ['the right last sequence', ['Nats-Expected-Last-Sequence: 9'], TAKEN],
  ['another last sequence', ['Nats-Expected-Last-Sequence: 0'], wrong(9)],
  ['no number', ['Nats-Expected-Last-Sequence: 9x'], wrong(9)],
  ['the right one of the subject', ['Nats-Expected-Last-Subject-Sequence: 7'], TAKEN],
  ['another one of the subject', ['Nats-Expected-Last-Subject-Sequence: 0'], wrong(7)],
  [
    'the right one of a filter',
    [
      'Nats-Expected-Last-Subject-Sequence: 9',
      'Nats-Expected-Last-Subject-Sequence-Subject: orders.>',
    ],
    TAKEN,
  ],
  [
    'nothing yet under a filter',
    ['Nats-Expected-Last-Subject-Sequence: 0', 'Nats-Expected-Last-Subject-Sequence-Subject: x.*'],
    TAKEN,
  ],
  [
    'a filter without a sequence',
    ['Nats-Expected-Last-Subject-Sequence-Subject: orders.>'],
    '400 10193 missing sequence for expected last sequence per subject',
  ],
  [
    'both wrong: the subject is named',
    ['Nats-Expected-Last-Sequence: 1', 'Nats-Expected-Last-Subject-Sequence: 1'],
    wrong(7),
  ],
  ['the right last message ID', ['Nats-Expected-Last-Msg-Id: i9'], TAKEN],
  ['another last ID', ['Nats-Expected-Last-Msg-Id: i8'], '400 10070 wrong last msg ID: i9'],
  ['a counter', ['Nats-Incr: +1'], '400 10168 message counters is disabled'],
  ['a broken counter', ['Nats-Incr: one'], '400 10171 message counter increment is invalid'],
  ['a schedule', ['Nats-Schedule: @every 1s'], '400 10188 message schedules is disabled'],
  [
    'the end of a schedule',
    ['Nats-Schedule-Next: purge', 'Nats-Scheduler: orders.plan'],
    '400 10188 message schedules is disabled',
  ],
  ['a scheduler alone', ['Nats-Scheduler: x'], '400 10212 message schedules invalid scheduler'],
  [
    'a scheduler that is the subject',
    ['Nats-Schedule-Next: purge', 'Nats-Scheduler: orders.new'],
    '400 10212 message schedules invalid scheduler',
  ],
  [
    'another word for the end',
    ['Nats-Schedule-Next: now', 'Nats-Scheduler: orders.plan'],
    '400 10212 message schedules invalid scheduler',
  ],
  [
    'a source',
    ['Nats-Stream-Source: X 1'],
    '400 10227 message stream source header is not allowed',
  ],
  ['a rollup that is not allowed', ['Nats-Rollup: sub'], '500 10111 rollup not permitted'],
  ['a TTL that is not allowed', ['Nats-TTL: 5'], '400 10166 per-message TTL is disabled'],
  ['a broken TTL', ['Nats-TTL: soon'], '400 10165 invalid per-message TTL'],
])('a stream is told %s', (_what, lines, expected) => {
  expect(say(lines)).toEqual(expected);
});

test('a sealed stream takes nothing, and says so first', () => {
  const sealed = '400 10109 invalid operation on sealed stream';
  expect(say(['Nats-Expected-Stream: X'], { sealed: true })).toBe(sealed);
});

test('a message rolls up its subject or the stream, where that may lose messages', () => {
  expect(say(['Nats-Rollup: sub'], OPEN)).toMatchObject({ rollup: 'sub' });
  expect(say(['Nats-Rollup: ALL'], OPEN)).toMatchObject({ rollup: 'all' });
  expect(say(['Nats-Rollup: no'], OPEN)).toBe('500 10111 rollup value invalid: "no"');
  const protectedFromPurge = { ...OPEN, denyPurge: true };
  expect(say(['Nats-Rollup: sub'], protectedFromPurge)).toBe('500 10111 rollup not permitted');
});

test.each<[string, number | undefined]>([
  ['never', Infinity],
  ['NEVER', Infinity],
  ['60', 60_000],
  ['00', undefined],
  ['1m30s', 90_000],
  ['1.9s', 1_000],
  ['1.m', 60_000],
  ['+2s', 2_000],
  ['1500ms', 1_000],
  ['3000000000ns', 3_000],
  ['1h', 3_600_000],
])('a message lives as long as `Nats-TTL: %s` says', (ttl, ttlMs) => {
  const taken = say([`Nats-TTL: ${ttl}`], OPEN);
  expect(taken).toMatchObject({ subject: 'orders.new' });
  expect((taken as Admitted).ttlMs).toBe(ttlMs);
});

test.each(['0', '-5', '999ms', '1 s', '1d', '-3s', 's', '1s x'])(
  '`Nats-TTL: %s` is no time to live',
  (ttl) => {
    expect(say([`Nats-TTL: ${ttl}`], OPEN)).toBe('400 10165 invalid per-message TTL');
  },
);

test('a message lives at least as long as the marker that would take its place', () => {
  const marked = { ...OPEN, markerTtlMs: 10_000 };
  const taken = say(['Nats-TTL: 5', 'Colour: red', 'Nats-TTL: 6'], marked) as Admitted;
  expect(taken.ttlMs).toBe(10_000);
  expect(taken.headers?.toString()).toBe('NATS/1.0\r\nColour: red\r\nNats-TTL: 10\r\n\r\n');
  expect(say(['Nats-TTL: 12'], marked)).toMatchObject({ ttlMs: 12_000 });
  expect(say(['Nats-TTL: never'], marked)).toMatchObject({ ttlMs: Infinity });
  expect(say(['Nats-TTL: 5'], { ...marked, maxMsgsPerSubject: 1 })).toMatchObject({ ttlMs: 5_000 });
});

test('what a stream keeps of the headers: no status, nothing of who asked, all the rest', () => {
  const kept = (headers: Buffer): string | undefined =>
    (say(headers) as Admitted).headers?.toString();
  const expecting = block('Nats-Expected-Last-Sequence: 9', 'A: b');
  expect(kept(expecting)).toBe(expecting.toString());
  expect(kept(Buffer.from('NATS/1.0 503 Bad\r\nA: b\r\n\r\n'))).toBe('NATS/1.0\r\nA: b\r\n\r\n');
  expect(kept(Buffer.from('NATS/1.0 503\r\n\r\n'))).toBeUndefined();
  expect(kept(block('Nats-Request-Info: {}', 'A: b', 'Nats-Request-Info: {}'))).toBe(
    block('A: b').toString(),
  );
  expect(kept(block('Nats-Request-Info: {}'))).toBeUndefined();
  expect(kept(block())).toBe(block().toString());
  const plain = { subject: 'orders.new', data: Buffer.alloc(0) };
  const view = { config: streamConfig(), lastSeq: 0, lastMsgId: undefined, lastSeqOf: () => 0 };
  expect(examine(plain, view)).toEqual({ subject: 'orders.new', headers: null });
});

test('a message is as large as its stream allows, headers included, and headers are at most 64 KiB', () => {
  const large = '400 10054 message size exceeds maximum allowed';
  const headers = block('A: b');
  expect(say(headers, { maxMsgBytes: headers.length + 4 })).toMatchObject({ headers });
  expect(say(headers, { maxMsgBytes: headers.length + 3 })).toBe(large);
  const many = block(`A: ${'x'.repeat(65_536)}`);
  expect(say(many)).toBe('400 10097 header size exceeds maximum allowed of 64k');
});

test('a message is stored, and expected, under the subject that the stream makes of it', () => {
  const subjectTransform = { src: 'orders.*', dest: 'orders.v2.{{wildcard(1)}}' };
  const lines = ['Nats-Expected-Last-Subject-Sequence: 0'];
  expect(say(lines, { subjectTransform })).toMatchObject({ subject: 'orders.v2.new' });
  expect(say([], { subjectTransform: { src: 'other.*', dest: 'x.$1' } })).toMatchObject({
    subject: 'orders.new',
  });
});
