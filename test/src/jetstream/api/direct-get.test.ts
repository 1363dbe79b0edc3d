import { beforeEach, expect, test } from 'vitest';
import { Broker } from '../../../../src/broker.ts';
import type { Message } from '../../../../src/message.ts';
import { directGetEndpoints } from '../../../../src/jetstream/api/direct-get.ts';
import { DIRECT_GETS_MAX } from '../../../../src/jetstream/api/direct-run.ts';
import type { RawEndpoint } from '../../../../src/jetstream/api/endpoint.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { MemorySource } from '../../../support/get-source.ts';
import { block } from '../../../support/stream-configs.ts';

const INBOX = '_INBOX.x';

let broker: Broker;
let clock: FakeClock;
let source: MemorySource;
let endpoints: RawEndpoint[];
let busy: Set<object>;
let answers: Message[];

beforeEach(() => {
  broker = new Broker();
  clock = new FakeClock();
  source = new MemorySource();
  busy = new Set();
  answers = [];
  broker.subscribe(INBOX, { deliver: (message) => void answers.push(message) });
  endpoints = directGetEndpoints({
    stream: (name) => (name === source.name ? source : undefined),
    broker,
    clock,
    isBusy: (client) => busy.has(client),
  });
});

interface Ask {
  stream?: string;
  /** Behind the stream's name. */
  subject?: string;
  headers?: Buffer;
  from?: object;
  reply?: string | undefined;
}

/** Sends a request; whether somebody was there. */
function ask(body: object | string, ask: Ask = {}): boolean {
  const { stream = 'ORDERS', subject, headers, from } = ask;
  const data = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  const reply = 'reply' in ask ? ask.reply : INBOX;
  const message = {
    subject: `$JS.API.DIRECT.GET.${stream}${subject === undefined ? '' : `.${subject}`}`,
    data,
    ...(reply === undefined ? {} : { reply }),
    ...(headers === undefined ? {} : { headers }),
  };
  const tokens = subject === undefined ? [stream] : [stream, subject];
  return endpoints[subject === undefined ? 0 : 1]?.offer({ tokens, data, message, from }) ?? false;
}

async function get(body: object | string, more: Ask = {}): Promise<string[]> {
  answers.length = 0;
  ask(body, more);
  await clock.advanceAsync(0);
  return answers.map(text);
}

/** The headers of an answer in one line, and its data. */
function text({ headers, data }: Message): string {
  const lines = headers?.toString().replaceAll('\r\n', '|').replace(/\|\|$/, '') ?? '';
  return data.length === 0 ? lines : `${lines} ${data.toString()}`;
}

/** The sequences of the messages, and the end as it is. */
function gist(texts: readonly string[]): string[] {
  return texts.map((one) => /Nats-Sequence: (\d+)/.exec(one)?.[1] ?? one);
}

const NOT_FOUND = 'NATS/1.0 404 Message Not Found';
const NO_RESULTS = 'NATS/1.0 404 No Results';
const end = (pending: number, last: number, upTo?: number): string =>
  `NATS/1.0 204 EOB|Nats-Num-Pending: ${pending}|Nats-Last-Sequence: ${last}` +
  (upTo === undefined ? '' : `|Nats-UpTo-Sequence: ${upTo}`);

/** 1 a, 2 b with a header, (3 removed), 4 b, 5 a. */
function fill(): void {
  source.add('orders.a');
  source.add('orders.b', 'two', block('Colour: red'));
  for (const key of ['a', 'b', 'a']) source.add(`orders.${key}`);
  source.messages.delete(3);
}

test('nobody is there for a stream that is missing or does not allow it', () => {
  expect(ask({ seq: 1 }, { stream: 'OTHER' })).toBe(false);
  source = new MemorySource({ allowDirect: false });
  expect(ask({ seq: 1 })).toBe(false);
  expect(ask('', { subject: 'orders.a' })).toBe(false);
  source = new MemorySource();
  expect(ask({ seq: 1 })).toBe(true);
  expect(ask({ seq: 1 }, { reply: undefined }), 'who waits for no answer gets none').toBe(true);
  expect(ask({ seq: 1 }, { reply: 'a.*' })).toBe(true);
});

test('one message comes as it is, with headers that say where it is stored', async () => {
  fill();
  expect(await get({ seq: 1 })).toEqual([
    'NATS/1.0|Nats-Stream: ORDERS|Nats-Subject: orders.a|Nats-Sequence: 1|' +
      'Nats-Time-Stamp: 2026-01-02T00:00:01Z data 1',
  ]);
  expect(answers[0]?.subject).toBe(INBOX);
  expect(await get({ last_by_subj: 'orders.b', seq: 0 })).toEqual([
    expect.stringContaining('data 4'),
  ]);
  const second =
    'NATS/1.0|Colour: red|Nats-Stream: ORDERS|Nats-Subject: orders.b|Nats-Sequence: 2|' +
    'Nats-Time-Stamp: 2026-01-02T00:00:02Z two';
  expect(await get({ next_by_subj: 'orders.b' })).toEqual([second]);
  expect(await get({ seq: 2, unknown: true }), 'unknown fields are overlooked').toEqual([second]);
  expect(await get('{"seq":2,"constructor":1,"__proto__":{}}')).toEqual([second]);
  expect(await get({ seq: 2, no_hdr: true })).toEqual([' two']);
  expect(answers[0]?.headers).toBeUndefined();
});

test.each<[object | string, string[]]>([
  ['', ['NATS/1.0 408 Empty Request']],
  [{}, ['NATS/1.0 408 Empty Request']],
  [{ batch: 2 }, ['NATS/1.0 408 Empty Request']],
  ['{"seq":', ['NATS/1.0 408 Malformed Request']],
  ['{"seq":1} {}', ['NATS/1.0 408 Malformed Request']],
  [{ seq: '1' }, ['NATS/1.0 408 Malformed Request']],
  [{ multi_last: 'orders.a' }, ['NATS/1.0 408 Malformed Request']],
  [{ seq: 1, last_by_subj: 'x' }, ['NATS/1.0 408 Bad Request']],
  [{ seq: 1, start_time: '2026-01-02T00:00:00Z' }, ['NATS/1.0 408 Bad Request']],
  [{ last_by_subj: 'x', start_time: '2026-01-02T00:00:00Z' }, ['NATS/1.0 408 Bad Request']],
  [{ last_by_subj: 'x', next_by_subj: 'x' }, ['NATS/1.0 408 Bad Request']],
  [{ last_by_subj: 'x', batch: 1 }, ['NATS/1.0 408 Bad Request']],
  [{ last_by_subj: 'x', multi_last: ['x'] }, ['NATS/1.0 408 Bad Request']],
  [{ next_by_subj: 'x', multi_last: ['x'] }, ['NATS/1.0 408 Bad Request']],
  [
    { multi_last: ['x'], up_to_seq: 1, up_to_time: '2026-01-02T00:00:00Z' },
    ['NATS/1.0 408 Bad Request'],
  ],
  [{ seq: 3 }, [NOT_FOUND]],
  [{ seq: 6 }, [NOT_FOUND]],
  [{ last_by_subj: 'nobody' }, [NOT_FOUND]],
  [{ last_by_subj: 'orders.*' }, ['5']],
  [{ next_by_subj: 'orders.a', seq: 2 }, ['5']],
  [{ next_by_subj: 'nobody' }, [NOT_FOUND]],
  [{ start_time: '2026-01-02T00:00:04Z' }, ['4']],
  [{ start_time: '2030-01-01T00:00:00Z' }, [NOT_FOUND]],
  [{ seq: 1, batch: 3 }, ['1', '2', '4', end(1, 4)]],
  [{ seq: 1, batch: 9 }, ['1', '2', '4', '5', end(0, 5)]],
  [{ seq: 3, batch: 1 }, ['4', end(1, 4)]],
  [{ seq: 6, batch: 2 }, [NOT_FOUND]],
  [{ seq: 1, batch: -1 }, [end(4, 0)]],
  [{ next_by_subj: 'orders.b', batch: 9 }, ['2', '4', end(0, 4)]],
  [{ next_by_subj: 'orders.*', batch: 2, seq: 2 }, ['2', '4', end(1, 4)]],
  [{ start_time: '2026-01-02T00:00:02Z', batch: 2 }, ['2', '4', end(1, 4)]],
  [{ seq: 1, batch: 4, max_bytes: 28 }, ['1', '2', end(2, 2)]],
  [{ seq: 1, batch: 4, max_bytes: 1 }, ['1', end(3, 1)]],
  [{ multi_last: ['orders.a'] }, ['5', end(0, 5, 5)]],
  [{ multi_last: ['orders.a', 'orders.>'] }, ['4', '5', end(0, 5, 5)]],
  [{ multi_last: ['nobody'] }, [NO_RESULTS]],
  [{ multi_last: ['orders.>'], up_to_seq: 4 }, ['1', '4', end(0, 4, 4)]],
  [{ multi_last: ['orders.>'], up_to_time: '2026-01-02T00:00:04Z' }, ['1', '2', end(0, 2, 3)]],
  [{ multi_last: ['orders.>'], up_to_time: '2026-01-02T00:00:01Z' }, [NO_RESULTS]],
  [{ multi_last: ['orders.>'], batch: 1 }, ['4', end(1, 4, 5)]],
  [{ multi_last: ['orders.>'], max_bytes: 1 }, ['4', end(1, 4, 5)]],
  [{ multi_last: ['orders.>'], seq: 5 }, ['5', end(0, 5, 5)]],
  [{ multi_last: ['orders.>'], seq: 9 }, [end(0, 0, 5)]],
])('%j is answered with %j', async (body, expected) => {
  fill();
  expect(gist(await get(body))).toEqual(expected);
});

test('each of many says what is still to come, and what came before', async () => {
  fill();
  const [first, second] = await get({ seq: 2, batch: 2 });
  expect(first).toContain('Colour: red|Nats-Stream: ORDERS|');
  expect(first).toContain('|Nats-Num-Pending: 2|Nats-Last-Sequence: 0 two');
  expect(second).toContain('|Nats-Num-Pending: 1|Nats-Last-Sequence: 2 data 4');
  expect(await get({ seq: 2, batch: 2, no_hdr: true })).toEqual([' two', ' data 4', end(3, 4)]);
  const [last] = await get({ multi_last: ['orders.>'], no_hdr: true });
  expect(last).toContain('|Nats-Num-Pending: 1|Nats-Last-Sequence: 0 data 4');
});

test('the last message of a subject is had by a subject alone', async () => {
  fill();
  const last = (subject: string, body: object | string = ''): Promise<string[]> =>
    get(body, { subject });
  expect(gist(await last('orders.b'))).toEqual(['4']);
  expect(gist(await last('orders.b', {}))).toEqual(['4']);
  expect(await last('orders.b', { no_hdr: true })).toEqual([' data 4']);
  expect(await last('nobody')).toEqual([NOT_FOUND]);
  expect(await last('orders.b', '{')).toEqual(['NATS/1.0 408 Malformed Request']);
  for (const body of [{ seq: 1 }, { batch: 1 }, { up_to_seq: 1 }, { last_by_subj: 'x' }])
    expect(await last('orders.b', body)).toEqual(['NATS/1.0 408 Bad Request']);
});

test('a request that needs a newer API is told so', async () => {
  fill();
  const headers = block('Nats-Required-Api-Level: 99');
  const told = ['NATS/1.0 412 Required Api Level'];
  expect(await get({ seq: 1 }, { headers })).toEqual(told);
  expect(await get('', { headers, subject: 'orders.a' })).toEqual(told);
});

test('more than 1,024 subjects are too many for one answer', async () => {
  for (let i = 0; i < 1_025; i++) source.add(`orders.${i}`);
  expect(await get({ multi_last: ['orders.>'] })).toEqual(['NATS/1.0 413 Too Many Results']);
  const most = await get({ multi_last: ['orders.>'], up_to_seq: 1_024 });
  expect(most.length).toBe(1_025);
  expect(most.at(-1)).toBe(end(0, 1_024, 1_024));
});

test('a key that is replaced while the picture is sent is not missing from it', async () => {
  for (let i = 0; i < 600; i++) source.add(`orders.${i}`);
  const replace = (key: number): void => {
    for (const { seq, subject } of source.messages.values())
      if (subject === `orders.${key}`) source.messages.delete(seq);
    source.add(`orders.${key}`, 'new');
  };
  const keys = (texts: readonly string[]): (string | undefined)[] =>
    texts.map((one) => /Nats-Subject: orders.(\d+)/.exec(one)?.[1]).filter((key) => key);
  ask({ multi_last: ['orders.>'] });
  await Promise.resolve();
  await Promise.resolve();
  expect(answers.length, 'the first slice').toBe(64);
  // One that was sent, two that were not.
  for (const key of [0, 590, 591]) replace(key);
  clock.advance(0);
  await clock.advanceAsync(0);
  await clock.advanceAsync(0);
  const texts = answers.map(text);
  expect(new Set(keys(texts)).size).toBe(600);
  expect(keys(texts).length, 'each once').toBe(600);
  expect(texts.at(-1)).toBe(end(0, 603, 603));
  expect(texts.at(-2)).toContain('Nats-Subject: orders.591');
});

test('nor is it where the whole picture fits one slice', async () => {
  fill();
  ask({ multi_last: ['orders.>'] });
  source.messages.delete(5);
  source.add('orders.a', 'new');
  for (let i = 0; i < 3; i++) await clock.advanceAsync(0);
  expect(gist(answers.map(text))).toEqual(['4', '6', end(0, 6, 6)]);
});

test('what a request leaves out does not take the place of what has gone', async () => {
  for (let i = 0; i < 300; i++) source.add(`orders.${i}`);
  ask({ multi_last: ['orders.>'], up_to_seq: 300 });
  await Promise.resolve();
  await Promise.resolve();
  source.messages.delete(300);
  source.add('orders.299');
  for (let i = 0; i < 5; i++) await clock.advanceAsync(0);
  expect(answers.length).toBe(300);
  expect(answers.map(text).at(-1)).toBe(end(0, 299, 300));
});

test('a long answer leaves in slices, and what others ask meanwhile is answered between them', async () => {
  for (let i = 0; i < 500; i++) source.add('orders.a', Buffer.alloc(10_000));
  ask({ seq: 1, batch: 500 });
  expect(answers.length, 'the first slice leaves at once').toBeGreaterThan(0);
  expect(answers.length).toBeLessThan(20);
  const before = answers.length;
  ask({ seq: 7 });
  expect(answers.length).toBe(before + 1);
  let turns = 0;
  while (answers.length < 502 && turns < 1_000) {
    const soon = answers.length;
    clock.advance(0);
    turns++;
    expect(answers.length).toBeGreaterThan(soon);
  }
  expect(answers.map(text).at(-1)).toBe(end(0, 500));
});

test('two long answers go forward side by side', () => {
  const other: Message[] = [];
  broker.subscribe('_INBOX.y', { deliver: (message) => void other.push(message) });
  for (let i = 0; i < 1_000; i++) source.add('orders.a', Buffer.alloc(30_000));
  const turns: (() => void)[] = [];
  clock.soon = (fn) => void turns.push(fn);
  ask({ seq: 1, batch: 1_000, max_bytes: 100_000_000 });
  ask({ seq: 1, batch: 1_000, max_bytes: 100_000_000 }, { reply: '_INBOX.y' });
  const progress: number[] = [];
  for (let i = 0; i < 20; i++) {
    const before = answers.length + other.length;
    turns.shift()?.();
    progress.push(answers.length + other.length - before);
    expect(Math.abs(answers.length - other.length)).toBeLessThan(20);
  }
  expect(Math.max(...progress), 'a turn has its limit').toBeLessThan(25);
  expect(Math.min(...progress)).toBeGreaterThan(0);
});

test('of many long answers all go forward, and a turn does not grow with their number', () => {
  const counts = Array.from({ length: 40 }, () => 0);
  const turns: (() => void)[] = [];
  clock.soon = (fn) => void turns.push(fn);
  for (let i = 0; i < 100; i++) source.add(`orders.${i}`, Buffer.alloc(60_000));
  for (const [i] of counts.entries()) {
    const reply = `_INBOX.many.${i}`;
    broker.subscribe(reply, { deliver: () => void (counts[i] = (counts[i] ?? 0) + 1) });
    const order = i % 2 === 0 ? { seq: 1, batch: 100 } : { multi_last: ['orders.>'] };
    ask({ ...order, max_bytes: 100_000_000 }, { reply });
  }
  return Promise.resolve().then(() => {
    const sum = (): number => counts.reduce((all, one) => all + one, 0);
    for (let i = 0; i < 100; i++) {
      const before = sum();
      turns.shift()?.();
      expect(sum() - before).toBeLessThan(20);
      expect(Math.max(...counts)).toBeLessThan(2 * Math.min(...counts) + 5);
    }
    expect(Math.min(...counts)).toBeGreaterThan(10);
  });
});

test('a client that has much unread is waited for', async () => {
  for (let i = 0; i < 50; i++) source.add('orders.a', Buffer.alloc(30_000));
  const client = {};
  busy.add(client);
  ask({ seq: 1, batch: 50 }, { from: client });
  await clock.advanceAsync(100);
  const sent = answers.length;
  expect(sent, 'but for what left at once').toBeLessThan(5);
  busy.clear();
  await clock.advanceAsync(100);
  expect(answers.length).toBe(51);
});

test('who does not listen any more is sent nothing more', () => {
  for (let i = 0; i < 1_000; i++) source.add('orders.a', Buffer.alloc(1_000));
  ask({ seq: 1, batch: 1_000 }, { reply: '_INBOX.gone' });
  clock.advance(0);
  expect(source.looks).toBe(1);
});

test('what comes during an answer counts as still to come', () => {
  fill();
  source.counts = [];
  ask({ seq: 1, batch: 2 });
  expect(answers, 'counting takes its time').toEqual([]);
  source.counts.shift()?.();
  expect(gist(answers.map(text)).at(-1), 'nothing came').toBe(end(2, 2));
  answers.length = 0;
  ask({ seq: 1, batch: 2 });
  const [count] = source.counts.splice(0);
  // The count is done, and something comes before the slices are.
  const scan = source.scan.bind(source);
  source.scan = (...all) => {
    source.add('orders.late');
    return scan(...all);
  };
  count?.();
  expect(gist(answers.map(text))).toEqual(['1', '2']);
  source.counts.shift()?.();
  expect(answers.map(text).at(-1)).toBe(end(3, 2));
});

test('a long get beyond the limit is refused, and one that has ended makes room', async () => {
  fill();
  source.counts = [];
  for (let i = 0; i < DIRECT_GETS_MAX; i++) ask({ seq: 1, batch: 1 });
  expect(answers).toEqual([]);
  expect(await get({ seq: 1, batch: 1 })).toEqual(['NATS/1.0 429 Too Many Requests']);
  expect(gist(await get({ seq: 1 })), 'a short one is not').toEqual(['1']);
  for (const done of source.counts.splice(0)) done();
  source.counts = undefined;
  expect(gist(await get({ seq: 1, batch: 1 }))).toEqual(['1', end(3, 1)]);
});
