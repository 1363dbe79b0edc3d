import { beforeEach, expect, test } from 'vitest';
import { PublishError, type Message, type PubAck, type Receipt } from '../../../../src/message.ts';
import { BatchRoom, FAST_BATCHES_TOTAL_MAX } from '../../../../src/jetstream/publish/batch-room.ts';
import {
  FAST_BATCHES_PER_STREAM_MAX,
  FastBatches,
  FLOW_MAX,
} from '../../../../src/jetstream/publish/fast-batches.ts';
import type { StreamConfig } from '../../../../src/jetstream/stream-types.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { block, streamConfig } from '../../../support/stream-configs.ts';

let clock: FakeClock;
let room: BatchRoom;
/** What the stream has taken in, and not yet on its disk: `data` and who waits. */
let queued: { data: string; receipt: Receipt }[];
/** What the stream says to the next messages instead of taking them in. */
let refusals: Map<string, PublishError>;
/** Errors that speak of what is not on the disk yet. */
let unknown: (() => void)[] | undefined;
/** All that the publisher hears, in order: the end of the reply subject, and the answer. */
let heard: string[];
let seq: number;

beforeEach(() => {
  clock = new FakeClock();
  room = new BatchRoom();
  queued = [];
  refusals = new Map();
  unknown = undefined;
  heard = [];
  seq = 0;
});

function batchesOf(change: Partial<StreamConfig> = {}): FastBatches {
  const config = streamConfig({ allowBatched: true, ...change });
  return new FastBatches(
    { name: config.name, config },
    {
      takeNext: ({ data }, _control, receipt) => {
        const refusal = refusals.get(data.toString());
        if (refusal === undefined) queued.push({ data: data.toString(), receipt });
        return refusal ?? null;
      },
      whenKnown: (_error, tell) => {
        if (unknown === undefined) tell();
        else unknown.push(tell);
      },
    },
    {
      room,
      clock,
      answer: ({ subject, data }) => void heard.push(`${wordOf(subject)} ${textOf(data)}`),
    },
  );
}

/** `_INBOX.x.b.10.fail.2.1.$FI` is `b2`. */
function wordOf(reply: string): string {
  const [, , id, , , n] = reply.split('.');
  return `${id}${n}`;
}

function textOf(data: Buffer): string {
  const { type, seq: n, last_seq: last, msgs, error } = JSON.parse(data.toString());
  if (type === 'ack') return `ack ${n}/${msgs}`;
  return type === 'gap' ? `gap ${last}-${n}` : `err ${n} ${error.err_code}`;
}

interface Options {
  readonly flow?: number;
  readonly gap?: 'ok' | 'fail';
  readonly headers?: Buffer;
}

const OPS = { start: 0, append: 1, commit: 2, end: 3, ping: 4 } as const;

/** How the one message was done with: said once, or not yet. */
interface Done {
  times: number;
}

function send(
  batches: FastBatches,
  id: string,
  n: number,
  op: keyof typeof OPS,
  { flow = 10, gap = 'fail', headers }: Options = {},
): Done {
  const reply = `_INBOX.x.${id}.${flow}.${gap}.${n}.${OPS[op]}.$FI`;
  const data = Buffer.from(`${id}${n}`);
  return sendTo(batches, { subject: 'orders.a', reply, data, ...(headers && { headers }) });
}

function sendTo(batches: FastBatches, message: Message): Done {
  const done: Done = { times: 0 };
  batches.take(message, (error, ack, quiet) => {
    done.times++;
    expect(done.times, 'done once').toBe(1);
    if (quiet !== true) heard.push(`${wordOf(message.reply ?? '')} ${saidBy(error, ack)}`);
  });
  return done;
}

function saidBy(error: PublishError | null, ack: PubAck | null): string {
  if (error !== null) return `refused ${error.code} ${error.errCode} ${error.message}`;
  const { seq: last, duplicate, batch, count } = ack ?? {};
  return `end ${batch} ${count} at ${last}${duplicate === true ? ' duplicate' : ''}`;
}

/** The disk has the first `count` of what was taken in. */
function sync(count = queued.length): void {
  for (const { receipt } of queued.splice(0, count))
    receipt(null, { stream: 'ORDERS', seq: ++seq });
}

/** The disk had no room for anything of it. */
function refuse(): void {
  const error = new PublishError(503, 10077, 'no room');
  for (const { receipt } of queued.splice(0)) receipt(error, null);
}

function sendAll(batches: FastBatches, id: string, count: number, options?: Options): Done[] {
  return Array.from({ length: count }, (_, i) =>
    send(batches, id, i + 1, i === 0 ? 'start' : 'append', options),
  );
}

const take = (): string[] => heard.splice(0);

test('nothing is acknowledged before the disk has it', () => {
  const batches = batchesOf();
  const done = sendAll(batches, 'b', 5, { flow: 2 });
  expect(take(), 'its flow').toEqual(['b1 ack 0/2']);
  sync(1);
  expect(take()).toEqual([]);
  sync(2);
  expect(take()).toEqual(['b2 ack 2/2']);
  expect(done.map(({ times }) => times)).toEqual([1, 1, 1, 0, 0]);
  const end = send(batches, 'b', 6, 'end');
  expect(take()).toEqual([]);
  sync(1);
  expect(take()).toEqual(['b4 ack 4/2']);
  expect(end.times).toBe(0);
  sync();
  expect(take()).toEqual(['b6 end b 5 at 5']);
  expect([batches.size, room.fastBatches]).toEqual([0, 0]);
});

test('the last message ends its batch when the disk has all', () => {
  const batches = batchesOf();
  sendAll(batches, 'b', 2);
  const last = send(batches, 'b', 3, 'commit');
  const late = send(batches, 'b', 4, 'append');
  expect(late.times, 'nothing comes behind it').toBe(1);
  sync(2);
  expect([take(), last.times]).toEqual([['b1 ack 0/10'], 0]);
  sync();
  expect(take()).toEqual(['b3 end b 3 at 3']);
  send(batches, 'b', 4, 'append');
  expect(take()).toEqual(['b4 refused 400 10208 batch publish ID unknown']);
});

test('a gap ends a batch at once, and it says so when the disk has what came before', () => {
  const batches = batchesOf();
  sendAll(batches, 'b', 2);
  send(batches, 'b', 4, 'append');
  send(batches, 'b', 3, 'append');
  expect(take()).toEqual(['b1 ack 0/10', 'b4 gap 3-4']);
  expect(queued.map(({ data }) => data)).toEqual(['b1', 'b2']);
  sync();
  expect(take()).toEqual(['b4 end b 2 at 2']);
});

test('where gaps may be, the batch goes on behind one', () => {
  const batches = batchesOf();
  const options = { gap: 'ok', flow: 5 } as const;
  sendAll(batches, 'b', 2, options);
  send(batches, 'b', 5, 'append', options);
  sync();
  send(batches, 'b', 6, 'commit', options);
  sync();
  expect(take()).toEqual(['b1 ack 0/5', 'b5 gap 3-5', 'b5 ack 5/5', 'b6 end b 6 at 4']);
});

test('where gaps may be, a last message that is refused ends the batch before it', () => {
  const batches = batchesOf();
  const options = { gap: 'ok', flow: 1 } as const;
  sendAll(batches, 'b', 1, options);
  sync();
  take();
  refusals.set('b2', new PublishError(400, 10060, 'expected stream does not match'));
  send(batches, 'b', 2, 'commit', options);
  expect(take()).toEqual(['b2 err 2 10060', 'b2 end b 1 at 1']);
});

test('the end of a batch is the only word on its last message, and a ping has one answer', () => {
  const batches = batchesOf();
  const options = { gap: 'ok', flow: 1 } as const;
  sendAll(batches, 'b', 1, options);
  sync();
  take();
  send(batches, 'b', 3, 'ping', options);
  expect(take()).toEqual(['b3 gap 2-4', 'b3 ack 3/1']);
  send(batches, 'b', 4, 'commit', options);
  sync();
  expect(take()).toEqual(['b4 end b 4 at 2']);
});

test('a full disk ends a batch without gaps before the first message that it refused', () => {
  const batches = batchesOf();
  const done = sendAll(batches, 'b', 2);
  sync();
  done.push(send(batches, 'b', 3, 'append'), send(batches, 'b', 4, 'append'));
  take();
  refuse();
  expect(take()).toEqual(['b3 err 3 10077', 'b4 err 4 10077', 'b3 end b 2 at 2']);
  expect(done.map(({ times }) => times)).toEqual([1, 1, 1, 1]);
  send(batches, 'b', 5, 'append');
  expect(queued, 'nothing is stored behind a gap').toEqual([]);
});

test('a full disk that refuses the first message refuses the batch', () => {
  const batches = batchesOf();
  const done = sendAll(batches, 'b', 3);
  done.push(send(batches, 'b', 4, 'end'));
  take();
  refuse();
  expect(take()).toEqual(['b4 refused 503 10077 no room']);
  expect(done.map(({ times }) => times)).toEqual([1, 1, 1, 1]);
  expect([batches.size, room.fastBatches]).toEqual([0, 0]);
});

test('an error that speaks of the stream waits until the disk knows it, and the batch takes nothing in meanwhile', () => {
  const batches = batchesOf();
  sendAll(batches, 'b', 2);
  take();
  unknown = [];
  refusals.set('b3', new PublishError(400, 10071, 'wrong last sequence: 2'));
  const refused = send(batches, 'b', 3, 'append');
  send(batches, 'b', 3, 'append');
  send(batches, 'b', 4, 'append');
  expect(queued).toHaveLength(2);
  sync();
  expect([take(), refused.times]).toEqual([[], 0]);
  for (const tell of unknown) tell();
  expect(take()).toEqual(['b3 err 3 10071', 'b3 end b 2 at 2']);
});

test('an error of the first message is answered as of any publish', () => {
  const batches = batchesOf();
  refusals.set('b1', new PublishError(400, 10071, 'wrong last sequence: 2'));
  send(batches, 'b', 1, 'start');
  expect(take()).toEqual(['b1 ack 0/10', 'b1 refused 400 10071 wrong last sequence: 2']);
  expect(batches.size).toBe(0);
});

test('a duplicate says nothing of the messages before it', () => {
  const batches = batchesOf();
  sendAll(batches, 'b', 3, { flow: 1 });
  take();
  // The second is known already, and older than what the disk has still to write.
  queued.splice(1, 1)[0]?.receipt(null, { stream: 'ORDERS', seq: 90, duplicate: true });
  expect(take()).toEqual([]);
  sync(1);
  expect(take()).toEqual(['b1 ack 1/1']);
  sync();
  expect(take()).toEqual(['b3 ack 3/1']);
  send(batches, 'b', 4, 'end');
  expect(take()).toEqual(['b4 end b 3 at 2']);
});

test('a batch of one message that is a duplicate says so', () => {
  const batches = batchesOf();
  send(batches, 'b', 1, 'commit');
  queued.splice(0)[0]?.receipt(null, { stream: 'ORDERS', seq: 90, duplicate: true });
  expect(take()).toEqual(['b1 end b 1 at 90 duplicate']);
});

test('a ping is told how far the disk is, and finds a gap', () => {
  const batches = batchesOf();
  sendAll(batches, 'b', 3, { flow: 2 });
  sync();
  take();
  send(batches, 'b', 3, 'ping');
  expect(take()).toEqual(['b3 ack 2/2']);
  send(batches, 'b', 5, 'ping');
  expect(take()).toEqual(['b5 gap 4-6', 'b5 end b 3 at 3']);
});

test('a batch that is idle for 10 s is forgotten, and what it had under way is done with', () => {
  const batches = batchesOf();
  const [first] = sendAll(batches, 'b', 1);
  clock.advance(9_000);
  const second = send(batches, 'b', 2, 'append');
  clock.advance(9_000);
  expect(batches.size, 'it was not idle').toBe(1);
  clock.advance(1_000);
  expect([batches.size, room.fastBatches]).toEqual([0, 0]);
  take();
  sync();
  expect([take(), first?.times, second.times]).toEqual([[], 1, 1]);
});

test('one that is ending is not idle, however slow the disk', () => {
  const batches = batchesOf();
  sendAll(batches, 'b', 1);
  send(batches, 'b', 2, 'end');
  take();
  clock.advance(60_000);
  sync();
  expect(take()).toEqual(['b2 end b 1 at 1']);
});

test('batches of a stream share its flow: a later one begins slowly, and all go faster when others have ended', () => {
  const batches = batchesOf();
  sendAll(batches, 'a', 1, { flow: 65_535 });
  sendAll(batches, 'b', 1, { flow: 65_535 });
  expect(take()).toEqual([`a1 ack 0/${FLOW_MAX}`, 'b1 ack 0/1']);
  sync();
  expect(take()).toEqual(['b1 ack 1/2']);
  for (let n = 2; n <= FLOW_MAX; n++) send(batches, 'a', n, 'append');
  sync();
  expect(take(), 'half of it is left').toEqual([`a${FLOW_MAX} ack ${FLOW_MAX}/${FLOW_MAX / 2}`]);
});

test('a stream has so many fast batches, and all streams together have a limit too', () => {
  const crowded = 'refused 429 10211 batch publish too many inflight';
  const batches = batchesOf();
  for (let i = 0; i < FAST_BATCHES_PER_STREAM_MAX; i++) send(batches, `b${i}-`, 1, 'start');
  take();
  send(batches, 'x', 1, 'start');
  expect(take()).toEqual([`x1 ${crowded}`]);
  sync();
  take();
  send(batches, 'b0-', 2, 'end');
  send(batches, 'x', 1, 'start');
  expect(take()).toEqual(['b0-2 end b0- 1 at 1', 'x1 ack 0/1']);
  while (room.fastBatches < FAST_BATCHES_TOTAL_MAX) room.openFast();
  const others = batchesOf();
  send(others, 'y', 1, 'start');
  expect(take()).toEqual([`y1 ${crowded}`]);
});

test('a stream without fast batches says so, whatever the reply subject is', () => {
  const batches = batchesOf({ allowBatched: undefined });
  sendTo(batches, { subject: 'orders.a', reply: '_INBOX.x.b.1.2.3.$FI', data: Buffer.alloc(0) });
  expect(take()).toEqual(['b3 refused 400 10205 batch publish is disabled']);
});

test('what is wrong with a message is said in its order', () => {
  const words = (batches: FastBatches, id = 'b', data = ''): string[] => {
    const reply = `_INBOX.x.${id}.1.fail.1.0.$FI`;
    sendTo(batches, { subject: 'orders.a', reply, data: Buffer.from(data) });
    return take().map((text) => text.replace(/^\S+ /, ''));
  };
  expect(words(batchesOf({ sealed: true, maxMsgBytes: 1 }), 'b', 'xx')).toEqual([
    'refused 400 10109 invalid operation on sealed stream',
  ]);
  expect(words(batchesOf({ maxMsgBytes: 1, allowBatched: false }), 'b', 'xx')).toEqual([
    'refused 400 10054 message size exceeds maximum allowed',
  ]);
  expect(words(batchesOf(), 'b'.repeat(65))).toEqual([
    'refused 400 10207 batch publish ID is invalid',
  ]);
  expect(words(batchesOf(), 'b'.repeat(64))).toEqual(['ack 0/1']);
  const batches = batchesOf();
  for (const end of [
    '1.fail.1.5',
    '1.no.1.0',
    '1.fail.0.1',
    '1.fail.1.1',
    '1.fail.1.3',
    '1.ok.2.0',
  ])
    sendTo(batches, { subject: 'a', reply: `i.b.${end}.$FI`, data: Buffer.alloc(0) });
  for (const reply of ['.$FI', 'b.1.fail.1.0.$FI', '1.0.$FI'])
    sendTo(batches, { subject: 'a', reply, data: Buffer.alloc(0) });
  const invalid = take().filter((text) =>
    text.endsWith('refused 400 10206 batch publish pattern is invalid'),
  );
  expect(invalid).toHaveLength(9);
});

test('a level of the API that is not there ends the batch', () => {
  const batches = batchesOf();
  sendAll(batches, 'b', 1);
  send(batches, 'b', 2, 'append', { headers: block('Nats-Required-Api-Level: 99') });
  expect(take().at(-1)).toBe('b2 refused 412 10185 JetStream minimum api level required');
  expect([batches.size, queued.length]).toEqual([0, 1]);
});

test('a stream that is gone leaves nobody waiting', () => {
  const batches = batchesOf();
  const done = sendAll(batches, 'b', 2);
  done.push(send(batches, 'b', 3, 'end'));
  take();
  batches.close();
  sync();
  expect(done.map(({ times }) => times)).toEqual([1, 1, 1]);
  expect([take(), room.fastBatches]).toEqual([[], 0]);
  clock.advance(20_000);
  expect(room.fastBatches).toBe(0);
});
