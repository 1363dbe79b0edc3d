import { beforeEach, expect, test } from 'vitest';
import { ApiError } from '../../../../src/jetstream/api/api-error.ts';
import { messageGetEndpoint } from '../../../../src/jetstream/api/message-get.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { MemorySource } from '../../../support/get-source.ts';
import { block } from '../../../support/stream-configs.ts';

let source: MemorySource;
let clock: FakeClock;

beforeEach(() => {
  clock = new FakeClock();
  source = new MemorySource();
  source.add('orders.a', 'one');
  source.add('orders.b', '', block('Colour: red'));
  source.add('orders.a', 'three');
  source.messages.delete(1);
});

/** The answer to a request with this body. */
async function get(body: string, stream = 'ORDERS'): Promise<unknown> {
  const endpoint = messageGetEndpoint({
    stream: (name) => (name === 'ORDERS' ? source : undefined),
    clock,
  });
  const data = Buffer.from(body);
  const message = { subject: `$JS.API.STREAM.MSG.GET.${stream}`, data };
  const request = { tokens: [stream], data, message, from: undefined };
  const answered = Promise.resolve(endpoint.answer(request)).catch((error: unknown) => {
    if (!(error instanceof ApiError)) throw error;
    return `${error.code} ${error.errCode} ${error.message}`;
  });
  for (let turn = 0; turn < 20; turn++) await clock.advanceAsync(0);
  return await answered;
}

const seqOf = (answer: unknown): unknown =>
  (answer as { message?: { seq?: number } }).message?.seq ?? answer;
const MISSING = '404 10037 no message found';
const BAD = '400 10003 bad request';

test('a message is shown with all that is known of it, and what is empty is left out', async () => {
  expect(await get('{"seq":3}')).toEqual({
    message: {
      subject: 'orders.a',
      seq: 3,
      data: Buffer.from('three').toString('base64'),
      time: '2026-01-02T00:00:03Z',
    },
  });
  const hdrs = block('Colour: red').toString('base64');
  const head = { subject: 'orders.b', seq: 2, time: '2026-01-02T00:00:02Z' };
  expect(await get('{"seq":2}')).toEqual({ message: { ...head, hdrs } });
  expect(await get('{"seq":2,"no_hdr":true}')).toEqual({ message: head });
});

test.each<[string, unknown]>([
  ['{"seq":1}', MISSING],
  ['{"seq":4}', MISSING],
  ['{"last_by_subj":"orders.a"}', 3],
  ['{"last_by_subj":"orders.*"}', 3],
  ['{"last_by_subj":"nobody"}', MISSING],
  ['{"next_by_subj":"orders.a"}', 3],
  ['{"next_by_subj":"orders.>","seq":1}', 2],
  ['{"next_by_subj":"orders.b","seq":3}', MISSING],
  ['{"start_time":"2026-01-02T00:00:03Z"}', 3],
  ['{"start_time":"2026-01-02T00:00:02.5Z"}', 3],
  ['{"start_time":"2026-01-02T00:00:02Z","next_by_subj":"orders.a"}', 3],
  ['{"start_time":"2030-01-01T00:00:00Z"}', MISSING],
  ['', BAD],
  ['{}', BAD],
  ['{"no_hdr":true}', BAD],
  ['{"seq":2,"batch":2}', BAD],
  ['{"seq":2,"max_bytes":1}', BAD],
  ['{"seq":2,"last_by_subj":"x"}', BAD],
  ['{"seq":2,"start_time":"2026-01-02T00:00:00Z"}', BAD],
  ['{"last_by_subj":"x","next_by_subj":"x"}', BAD],
  ['{"last_by_subj":"x","start_time":"2026-01-02T00:00:00Z"}', BAD],
  ['{"seq":2,"colour":1}', '400 10025 invalid JSON: json: unknown field "colour"'],
])('%s is answered with %s', async (body, expected) => {
  expect(seqOf(await get(body))).toEqual(expected);
});

test('a stream that is not there is missed only by a request that could be answered', async () => {
  expect(await get('{"seq":1}', 'OTHER')).toBe('404 10059 stream not found');
  expect(await get('{}', 'OTHER')).toBe(BAD);
});

test('a long search takes a turn for each stretch, and passes nothing by', async () => {
  for (let i = 0; i < 1_000; i++) source.add('orders.other');
  for (const rare of [101, 102, 103, 999, 1_003]) {
    const message = source.messages.get(rare);
    if (message !== undefined)
      source.messages.set(rare, { ...message, subject: `orders.rare.${rare}` });
    expect(seqOf(await get(`{"next_by_subj":"orders.rare.${rare}"}`))).toBe(rare);
  }
  source.looks = 0;
  const later: (() => void)[] = [];
  clock.soon = (fn) => void later.push(fn);
  void get('{"next_by_subj":"orders.rare.999"}');
  await Promise.resolve();
  expect(source.looks, 'the rest waits for its turn').toBe(1);
  expect(later.length).toBe(1);
});
