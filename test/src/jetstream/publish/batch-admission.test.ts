import { expect, test } from 'vitest';
import { PublishError } from '../../../../src/message.ts';
import { examineBatch } from '../../../../src/jetstream/publish/batch-admission.ts';
import type { StreamConfig } from '../../../../src/jetstream/stream-types.ts';
import { block, streamConfig } from '../../../support/stream-configs.ts';

type Line = readonly [subject: string, ...headers: string[]];

const OPEN: Partial<StreamConfig> = { allowRollup: true, allowMsgTtl: true };

/** The verdict of a stream at 9, with 7 on `orders.old` and the message ID `known`, on a batch of these messages. */
function judge(lines: readonly Line[], change: Partial<StreamConfig> = OPEN): unknown {
  let asked = 0;
  const verdict = examineBatch(
    lines.map(([subject, ...headers]) => ({
      subject: `orders.${subject}`,
      data: Buffer.alloc(0),
      headers: block(...headers),
    })),
    {
      config: streamConfig(change),
      lastSeq: 9,
      lastMsgId: 'known',
      lastSeqOf: (filter) => (++asked, filter === 'orders.old' ? 7 : 0),
      duplicateOf: (id) => (id === 'known' ? 9 : undefined),
    },
  );
  expect(asked, 'a subject is looked up once').toBeLessThan(2);
  if (verdict instanceof PublishError)
    return `${verdict.code} ${verdict.errCode} ${verdict.message}`;
  return verdict.map((one) => one.subject);
}

const SEQ = 'Nats-Expected-Last-Sequence';
const SUBJECT_SEQ = 'Nats-Expected-Last-Subject-Sequence';
const OVERTAKEN = '400 10164 wrong last sequence';
const DUPLICATE = '400 10201 atomic publish batch contains duplicate message id';

test.each<[string, Line[], unknown]>([
  ['all of it', [['a'], ['b', 'Colour: red']], ['orders.a', 'orders.b']],
  ['the last sequence with the first', [['a', `${SEQ}: 9`], ['b']], ['orders.a', 'orders.b']],
  ['a wrong one with the first', [['a', `${SEQ}: 8`]], '400 10071 wrong last sequence: 9'],
  ['the right one with the second', [['a'], ['b', `${SEQ}: 10`]], OVERTAKEN],
  ['a wrong one with the second', [['a'], ['b', `${SEQ}: 9`]], '400 10071 wrong last sequence: 10'],
  [
    'a subject it has not written',
    [['a'], ['old', `${SUBJECT_SEQ}: 7`]],
    ['orders.a', 'orders.old'],
  ],
  ['a subject it has written', [['a'], ['a', `${SUBJECT_SEQ}: 0`]], OVERTAKEN],
  ['a wrong one of a subject', [['old', `${SUBJECT_SEQ}: 1`]], '400 10071 wrong last sequence: 7'],
  [
    'one of another subject, twice',
    [
      ['a', `${SUBJECT_SEQ}: 7`, `${SUBJECT_SEQ}-Subject: orders.old`],
      ['b', `${SUBJECT_SEQ}: 7`, `${SUBJECT_SEQ}-Subject: orders.old`],
    ],
    ['orders.a', 'orders.b'],
  ],
  [
    'a subject without a sequence',
    [['a', `${SUBJECT_SEQ}-Subject: orders.old`]],
    '400 10193 missing sequence for expected last sequence per subject',
  ],
  [
    'the last message ID',
    [['a', 'Nats-Expected-Last-Msg-Id: known']],
    '400 10177 atomic publish unsupported header used: Nats-Expected-Last-Msg-Id',
  ],
  [
    'an ID twice',
    [
      ['a', 'Nats-Msg-Id: 1'],
      ['b', 'Nats-Msg-Id: 1'],
    ],
    DUPLICATE,
  ],
  [
    'a known ID',
    [
      ['a', 'Nats-Msg-Id: 1'],
      ['b', 'Nats-Msg-Id: known'],
    ],
    DUPLICATE,
  ],
  [
    'two IDs',
    [
      ['a', 'Nats-Msg-Id: 1'],
      ['b', 'Nats-Msg-Id: 2'],
    ],
    ['orders.a', 'orders.b'],
  ],
  [
    'a rollup of each',
    [
      ['a', 'Nats-Rollup: sub'],
      ['b', 'Nats-Rollup: sub'],
    ],
    ['orders.a', 'orders.b'],
  ],
  [
    'a rollup of what it has written',
    [['a'], ['a', 'Nats-Rollup: sub']],
    '500 10111 batch rollup sub invalid',
  ],
  ['a rollup of all, first', [['a', 'Nats-Rollup: all'], ['b']], ['orders.a', 'orders.b']],
  [
    'a rollup of all, later',
    [['a'], ['b', 'Nats-Rollup: all']],
    '500 10111 batch rollup all invalid',
  ],
  ['a broken TTL', [['a', 'Nats-TTL: soon']], '400 10165 invalid per-message TTL'],
  ['a counter', [['a', 'Nats-Incr: 1']], '400 10168 message counters is disabled'],
  ['a schedule', [['a', 'Nats-Schedule: x']], '400 10188 message schedules is disabled'],
  [
    'a source',
    [['a'], ['b', 'Nats-Stream-Source: x']],
    '400 10227 message stream source header is not allowed',
  ],
  [
    'another stream',
    [['a', 'Nats-Expected-Stream: X']],
    '400 10060 expected stream does not match',
  ],
  [
    'too many headers',
    [['a', `A: ${'x'.repeat(65_536)}`, 'Nats-Msg-Id: 1']],
    '400 10097 header size exceeds maximum allowed of 64k',
  ],
])('a batch that brings %s', (_what, lines, expected) => {
  expect(judge(lines)).toEqual(expected);
});

test('a stream without TTLs refuses even a broken one as such', () => {
  const refused = '400 10166 per-message TTL is disabled';
  expect(judge([['a', 'Nats-TTL: soon']], {})).toBe(refused);
  expect(judge([['a', 'Nats-TTL: 5']], {})).toBe(refused);
});

test('a batch is judged by the subjects under which it is stored', () => {
  const subjectTransform = { src: 'orders.*', dest: 'orders.same' };
  const lines: Line[] = [['a'], ['b', `${SUBJECT_SEQ}: 0`]];
  expect(judge(lines, { subjectTransform })).toBe(OVERTAKEN);
});
