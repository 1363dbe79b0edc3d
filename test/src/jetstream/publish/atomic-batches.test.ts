import { beforeEach, expect, test } from 'vitest';
import { Broker } from '../../../../src/broker.ts';
import type { Message, PublishError, PubAck, Receipt } from '../../../../src/message.ts';
import { Advisories } from '../../../../src/jetstream/advisories.ts';
import {
  AtomicBatches,
  BATCH_BYTES_MAX,
  BATCH_MESSAGES_MAX,
  BATCHES_PER_STREAM_MAX,
} from '../../../../src/jetstream/publish/atomic-batches.ts';
import {
  BATCH_BYTES_TOTAL_MAX,
  BATCHES_TOTAL_MAX,
  BatchRoom,
} from '../../../../src/jetstream/publish/batch-room.ts';
import { readControl } from '../../../../src/jetstream/publish/control.ts';
import type { StreamConfig } from '../../../../src/jetstream/stream-types.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { block, streamConfig } from '../../../support/stream-configs.ts';

const COMMIT = 'Nats-Batch-Commit: 1';
const EOB = 'Nats-Batch-Commit: eob';
const INCOMPLETE = '400 10176 atomic publish batch is incomplete';
const CROWDED = '429 10210 atomic publish too many inflight';

let clock: FakeClock;
let room: BatchRoom;
let advisories: { batch: string; reason: string; stream: string }[];
let stored: (readonly Message[])[];
/** What the stream answers to a batch. */
let receipts: (Receipt | undefined)[];
let broker: Broker;

beforeEach(() => {
  clock = new FakeClock();
  room = new BatchRoom();
  advisories = [];
  stored = [];
  receipts = [];
  broker = new Broker();
  broker.subscribe('$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.*', {
    deliver: ({ data }) => void advisories.push(JSON.parse(data.toString())),
  });
});

function batchesOf(change: Partial<StreamConfig> = {}): AtomicBatches {
  const config = streamConfig({ allowAtomic: true, ...change });
  return new AtomicBatches(
    {
      name: config.name,
      config,
      storeAll: (messages, receipt) => {
        stored.push(messages);
        receipts.push(receipt);
      },
    },
    { room, clock, advisories: new Advisories(broker, clock, undefined) },
  );
}

interface Answer {
  text: string;
  quiet: boolean | undefined;
}

/** Sends message `seq` of a batch; how it is answered, as far as it is. */
function send(
  batches: AtomicBatches,
  id: string,
  seq: number | string,
  ...more: string[]
): Answer | undefined {
  const headers = block(`Nats-Batch-Id: ${id}`, `Nats-Batch-Sequence: ${seq}`, ...more);
  return sendMessage(batches, { subject: 'orders.a', data: Buffer.from(`${id} ${seq}`), headers });
}

function sendMessage(batches: AtomicBatches, message: Message): Answer | undefined {
  const control = readControl(message.headers) ?? {};
  let answer: Answer | undefined;
  batches.take(message, control, (error, ack, quiet) => {
    expect(answer, 'answered once').toBeUndefined();
    answer = { text: textOf(error, ack), quiet };
  });
  return answer;
}

function textOf(error: PublishError | null, ack: PubAck | null): string {
  if (error !== null) return `${error.code} ${error.errCode} ${error.message}`;
  return ack === null ? '' : JSON.stringify(ack);
}

const said = (answer: Answer | undefined): string | undefined => answer?.text;

test('a batch is stored as one when its last message comes, and then acknowledged as one', () => {
  const batches = batchesOf();
  expect(said(send(batches, 'b', 1)), 'an empty answer').toBe('');
  expect(said(send(batches, 'b', 2))).toBe('');
  expect(stored).toEqual([]);
  let answer: string | undefined;
  const headers = block('Nats-Batch-Id: b', 'Nats-Batch-Sequence: 3', COMMIT);
  const last = { subject: 'orders.a', data: Buffer.from('b 3'), headers };
  batches.take(last, readControl(headers) ?? {}, (error, ack) => (answer = textOf(error, ack)));
  expect(answer, 'not before the stream says so').toBeUndefined();
  expect(stored[0]?.map(({ data }) => data.toString())).toEqual(['b 1', 'b 2', 'b 3']);
  receipts[0]?.(null, { stream: 'ORDERS', seq: 12 });
  expect(JSON.parse(answer ?? '')).toEqual({ stream: 'ORDERS', seq: 12, batch: 'b', count: 3 });
  expect(room).toMatchObject({ batches: 0, bytes: 0 });
  expect(said(send(batches, 'b', 4)), 'it is over').toBe(INCOMPLETE);
  clock.advance(20_000);
  expect(advisories, 'and nobody waits for more').toEqual([]);
});

test('a refusal of the stream is passed on as it is', () => {
  const batches = batchesOf();
  send(batches, 'b', 1);
  let heard: unknown[] = [];
  const headers = block('Nats-Batch-Id: b', 'Nats-Batch-Sequence: 2', COMMIT);
  batches.take(
    { subject: 'orders.a', data: Buffer.alloc(0), headers },
    readControl(headers) ?? {},
    (...all) => (heard = all),
  );
  const error = new Error('no') as PublishError;
  receipts[0]?.(error, { stream: 'ORDERS', seq: 0 }, false);
  expect(heard).toEqual([error, { stream: 'ORDERS', seq: 0 }, false]);
});

test('an end that is no message marks the last one as the end', () => {
  const batches = batchesOf();
  send(batches, 'b', 1, 'Colour: red');
  send(batches, 'b', 2);
  send(batches, 'b', 3, EOB);
  expect(stored[0]?.length).toBe(2);
  expect(readControl(stored[0]?.[0]?.headers)?.['Nats-Batch-Commit']).toBeUndefined();
  expect(readControl(stored[0]?.[1]?.headers)?.['Nats-Batch-Commit']).toBe('1');
  expect(said(send(batches, 'c', 1, EOB)), 'an end of nothing').toBe(INCOMPLETE);
});

test('what waits in a batch does not hold on to the buffer that it came in', () => {
  const batches = batchesOf();
  const large = Buffer.alloc(65_536, 'x');
  const headers = block('Nats-Batch-Id: b', 'Nats-Batch-Sequence: 1');
  sendMessage(batches, { subject: 'orders.a', data: large.subarray(0, 4), headers });
  large.fill('y');
  send(batches, 'b', 2, COMMIT);
  expect(stored[0]?.[0]?.data.toString()).toBe('xxxx');
});

test('a gap ends a batch, and an advisory says why', () => {
  const batches = batchesOf();
  send(batches, 'b', 1);
  expect(said(send(batches, 'b', 3))).toBe(INCOMPLETE);
  expect(said(send(batches, 'b', 2, COMMIT)), 'it is gone').toBe(INCOMPLETE);
  expect(advisories).toMatchObject([
    {
      type: 'io.nats.jetstream.advisory.v1.stream_batch_abandoned',
      stream: 'ORDERS',
      batch: 'b',
      reason: 'incomplete',
    },
  ]);
  expect(stored).toEqual([]);
  expect(room.bytes).toBe(0);
});

test.each<[string, string[], string]>([
  ['no sequence', ['Nats-Batch-Id: b'], '400 10175 atomic publish sequence is missing'],
  [
    'a sequence that is no number',
    ['Nats-Batch-Id: b', 'Nats-Batch-Sequence: 1x'],
    '400 10175 atomic publish sequence is missing',
  ],
  ['a zero', ['Nats-Batch-Id: b', 'Nats-Batch-Sequence: 0'], INCOMPLETE],
  [
    'a long ID',
    [`Nats-Batch-Id: ${'x'.repeat(65)}`, 'Nats-Batch-Sequence: 1'],
    '400 10179 atomic publish batch ID is invalid',
  ],
  [
    'another word for commit',
    ['Nats-Batch-Id: b', 'Nats-Batch-Sequence: 1', 'Nats-Batch-Commit: yes'],
    '400 10200 atomic publish batch commit is invalid',
  ],
  [
    'a newer API',
    ['Nats-Batch-Id: b', 'Nats-Batch-Sequence: 1', 'Nats-Required-Api-Level: 99'],
    '412 10185 JetStream minimum api level required',
  ],
  [
    'a first message behind the largest batch',
    ['Nats-Batch-Id: b', 'Nats-Batch-Sequence: 1001'],
    '400 10199 atomic publish batch is too large: 1000',
  ],
  [
    'the end of a largest batch that is unknown',
    ['Nats-Batch-Id: b', 'Nats-Batch-Sequence: 1001', EOB],
    INCOMPLETE,
  ],
])('a message of a batch with %s is refused', (_what, lines, expected) => {
  const batches = batchesOf();
  const message = { subject: 'orders.a', data: Buffer.alloc(0), headers: block(...lines) };
  expect(said(sendMessage(batches, message))).toBe(expected);
  expect(batches.size).toBe(0);
  expect(room.batches).toBe(0);
});

test('a stream says what it says before it looks at the batch', () => {
  const disabled = '400 10174 atomic publish is disabled';
  expect(said(send(batchesOf({ allowAtomic: undefined }), 'b', 1))).toBe(disabled);
  const sealed = '400 10109 invalid operation on sealed stream';
  expect(said(send(batchesOf({ sealed: true }), 'b', 1))).toBe(sealed);
  const large = '400 10054 message size exceeds maximum allowed';
  expect(said(send(batchesOf({ maxMsgBytes: 10 }), 'b', 1))).toBe(large);
});

test('the API level that a message asks for is not stored', () => {
  const batches = batchesOf();
  send(batches, 'b', 1, 'Nats-Required-Api-Level: 1', COMMIT);
  expect(stored[0]?.[0]?.headers?.toString()).toBe(
    block('Nats-Batch-Id: b', 'Nats-Batch-Sequence: 1', COMMIT).toString(),
  );
});

test('a batch that is idle for ten seconds is abandoned; each message gives it ten more', () => {
  const batches = batchesOf();
  send(batches, 'b', 1);
  clock.advance(9_999);
  expect(said(send(batches, 'b', 2))).toBe('');
  clock.advance(9_999);
  expect(batches.size).toBe(1);
  clock.advance(1);
  expect(batches.size).toBe(0);
  expect(advisories).toMatchObject([{ batch: 'b', reason: 'timeout' }]);
  expect(said(send(batches, 'b', 3, COMMIT))).toBe(INCOMPLETE);
  expect(clock.nextDueMs(), 'no timer is left').toBeUndefined();
});

test('a batch has at most a thousand messages; an end that is none may follow', () => {
  const batches = batchesOf();
  for (let seq = 1; seq <= BATCH_MESSAGES_MAX; seq++) send(batches, 'b', seq);
  send(batches, 'b', BATCH_MESSAGES_MAX + 1, EOB);
  expect(stored[0]?.length).toBe(BATCH_MESSAGES_MAX);
  for (let seq = 1; seq <= BATCH_MESSAGES_MAX; seq++) send(batches, 'c', seq);
  expect(said(send(batches, 'c', BATCH_MESSAGES_MAX + 1, COMMIT))).toBe(
    '400 10199 atomic publish batch is too large: 1000',
  );
  expect(advisories).toMatchObject([{ batch: 'c', reason: 'large' }]);
  expect(stored.length).toBe(1);
});

test('a batch is at most as large as a transaction may be', () => {
  const batches = batchesOf();
  const part = (id: string, seq: number): Answer | undefined =>
    sendMessage(batches, {
      subject: 'orders.a',
      data: Buffer.alloc(1_000_000),
      headers: block(`Nats-Batch-Id: ${id}`, `Nats-Batch-Sequence: ${seq}`),
    });
  for (let seq = 1; seq <= 8; seq++) expect(said(part('b', seq))).toBe('');
  expect(said(part('b', 9))).toBe(
    `400 10199 atomic publish batch is too large: ${BATCH_BYTES_MAX} bytes`,
  );
  expect(advisories).toMatchObject([{ batch: 'b', reason: 'large' }]);
  expect(room.bytes).toBe(0);
});

test('all batches together hold a bounded number of bytes', () => {
  const batches = batchesOf();
  room.open();
  room.take(BATCH_BYTES_TOTAL_MAX - 60);
  expect(said(send(batches, 'b', 1)), 'there is no room for this one').toBe(CROWDED);
  expect(batches.size).toBe(0);
  room.close(BATCH_BYTES_TOTAL_MAX - 60);
  expect(said(send(batches, 'b', 1))).toBe('');
});

test('a stream has a bounded number of batches, and so have all streams together', () => {
  const batches = batchesOf();
  for (let i = 0; i < BATCHES_PER_STREAM_MAX; i++) expect(said(send(batches, `b${i}`, 1))).toBe('');
  expect(said(send(batches, 'one more', 1))).toBe(CROWDED);
  send(batches, 'b0', 2, COMMIT);
  expect(said(send(batches, 'one more', 1)), 'there is room again').toBe('');
  const other = batchesOf();
  while (room.batches < BATCHES_TOTAL_MAX) room.open();
  expect(said(send(other, 'b', 1))).toBe(CROWDED);
  batches.close();
  expect(room.batches).toBe(BATCHES_TOTAL_MAX - BATCHES_PER_STREAM_MAX);
  expect(said(send(other, 'b', 1))).toBe('');
  expect(advisories, 'nobody is told of the batches of a stream that is gone').toEqual([]);
});

test('a stream without acknowledgements says nothing of its batches either', () => {
  const batches = batchesOf({ noAck: true });
  expect(send(batches, 'b', 1)?.quiet).toBe(true);
  expect(send(batches, 'b', 3)?.quiet).toBe(true);
});
