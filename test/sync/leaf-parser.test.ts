import { expect, test } from 'vitest';
import type { Message } from '../../src/message.ts';
import {
  connectLine,
  errorLine,
  messageText,
  PING,
  PONG,
  subscribeLine,
  unsubscribeLine,
} from '../../sync/leaf/leaf-encoder.ts';
import { LeafParser, LeafProtocolError } from '../../sync/leaf/leaf-parser.ts';
import type { LeafFrame, LeafListener } from '../../sync/leaf/types.ts';
import { randomBytes, randomInt, seededRandom, type Random } from '../support/random.ts';

const LIMITS = { messageBytesMax: 100_000, controlLineBytesMax: 2048 };

/** Writes down what it hears. */
class Notes implements LeafListener {
  readonly said: unknown[] = [];
  info(json: string): void {
    this.said.push(['info', json]);
  }
  subscribe(subject: string, queue: string | undefined, weight: number): void {
    this.said.push(['subscribe', subject, queue, weight]);
  }
  unsubscribe(subject: string, queue: string | undefined): void {
    this.said.push(['unsubscribe', subject, queue]);
  }
  message({ subject, reply, headers, data }: Message, queues: readonly string[]): void {
    const [head, body] = [headers?.toString('latin1'), data.toString('latin1')];
    this.said.push(['message', subject, reply, head, body, ...queues]);
  }
  ping(): void {
    this.said.push('ping');
  }
  pong(): void {
    this.said.push('pong');
  }
  error(text: string): void {
    this.said.push(['error', text]);
  }
}

/** What is heard when `chunks` come one after the other, with the end of it if it is a bad one. */
function hear(chunks: readonly Buffer[], limits = LIMITS): unknown[] {
  const notes = new Notes();
  const parser = new LeafParser(notes, limits);
  try {
    for (const chunk of chunks) parser.parse(chunk);
  } catch (error) {
    if (!(error instanceof LeafProtocolError)) throw error;
    notes.said.push(`broken: ${error.message}`);
  }
  return notes.said;
}

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const one = (text: string): unknown[] => hear([bytes(text)]);

/** What a hub says, in all its forms. */
const TRANSCRIPT = Buffer.from(
  [
    'INFO {"server_id":"N","name":"ü b","leafnode_urls":["10.0.0.1:7422"]}\r\n',
    'LS+ $LDS.abc\r\nLS+ workers.* pool 2\r\nLS- workers.* pool\r\nLS- $LDS.abc\r\nls+\tlower  \r\n',
    'LMSG a.b 5\r\nhello\r\nLMSG a.b 0\r\n\r\nLMSG a.b _INBOX.x 2\r\n\r\n\r\n',
    'LMSG a.c + r.1 q1 q2 1\r\nx\r\nLMSG a.c | q1 1\r\ny\r\nLMSG a.c + r.2 1\r\nz\r\n',
    'HMSG a.d 12 14\r\nNATS/1.0\r\n\r\nhi\r\nHMSG a.d r 12 12\r\nNATS/1.0\r\n\r\n\r\n',
    'HMSG a.e + r q 12 13\r\nNATS/1.0\r\n\r\n!\r\nHMSG a.e | q 12 13\r\nNATS/1.0\r\n\r\n?\r\n',
    'HMSG zürich.☃ 0 3\r\n☃\r\nPING\r\nPONG\r\nping\n+OK\r\n',
    "-ERR 'it's \"over\"'\r\n-ERR bare\r\n",
  ].join(''),
);
const HEARD = [
  ['info', '{"server_id":"N","name":"ü b","leafnode_urls":["10.0.0.1:7422"]}'],
  ['subscribe', '$LDS.abc', undefined, 1],
  ['subscribe', 'workers.*', 'pool', 2],
  ['unsubscribe', 'workers.*', 'pool'],
  ['unsubscribe', '$LDS.abc', undefined],
  ['subscribe', 'lower', undefined, 1],
  ['message', 'a.b', undefined, undefined, 'hello'],
  ['message', 'a.b', undefined, undefined, ''],
  ['message', 'a.b', '_INBOX.x', undefined, '\r\n'],
  ['message', 'a.c', 'r.1', undefined, 'x', 'q1', 'q2'],
  ['message', 'a.c', undefined, undefined, 'y', 'q1'],
  ['message', 'a.c', 'r.2', undefined, 'z'],
  ['message', 'a.d', undefined, 'NATS/1.0\r\n\r\n', 'hi'],
  ['message', 'a.d', 'r', 'NATS/1.0\r\n\r\n', ''],
  ['message', 'a.e', 'r', 'NATS/1.0\r\n\r\n', '!', 'q'],
  ['message', 'a.e', undefined, 'NATS/1.0\r\n\r\n', '?', 'q'],
  ['message', 'zürich.☃', undefined, undefined, '\xe2\x98\x83'],
  'ping',
  'pong',
  'ping',
  ['error', `it's "over"`],
  ['error', 'bare'],
];

test('all that a hub says is heard', () => {
  expect(hear([TRANSCRIPT])).toEqual(HEARD);
});

test('wherever the bytes are cut, the same is heard', () => {
  for (let at = 0; at <= TRANSCRIPT.length; at++)
    expect(hear([TRANSCRIPT.subarray(0, at), TRANSCRIPT.subarray(at)]), `${at}`).toEqual(HEARD);
  expect(hear([...TRANSCRIPT].map((byte) => Buffer.from([byte])))).toEqual(HEARD);
  const random = seededRandom(6);
  for (let run = 0; run < 200; run++)
    expect(hear(pieces(random, TRANSCRIPT, 40)), `${run}`).toEqual(HEARD);
});

function pieces(random: Random, whole: Buffer, longest: number): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < whole.length;) {
    const end = at + 1 + randomInt(random, longest);
    chunks.push(Buffer.from(whole.subarray(at, end)));
    at = end;
  }
  return chunks;
}

test('a message has the groups that it names, and no other has them', () => {
  const said = one('LMSG a | q 0\r\n\r\nLMSG a 0\r\n\r\nLMSG a + r q 0\r\n\r\nLMSG a r 0\r\n\r\n');
  expect(said).toEqual([
    ['message', 'a', undefined, undefined, '', 'q'],
    ['message', 'a', undefined, undefined, ''],
    ['message', 'a', 'r', undefined, '', 'q'],
    ['message', 'a', 'r', undefined, ''],
  ]);
});

test('subjects whose bytes look alike are told apart', () => {
  const text = Buffer.from('LMSG \u00c3\u00a9 0\r\n\r\nLMSG \u00e9 0\r\n\r\n', 'utf8');
  expect(hear([text]).map((said) => (said as string[])[1])).toEqual(['\u00c3\u00a9', '\u00e9']);
});

test('a message of more groups than any line had before is heard', () => {
  const queues = Array.from({ length: 300 }, (_, i) => `q${i}`);
  expect(one(`LMSG a | ${queues.join(' ')} 1\r\nx\r\n`)).toEqual([
    ['message', 'a', undefined, undefined, 'x', ...queues],
  ]);
});

test('what is no leafnode port is recognised by its first bytes, and quoted', () => {
  expect(one('HTTP/1.1 400 Bad Request\r\n')).toEqual([
    String.raw`broken: no line of the leafnode protocol: "HTTP/1.1 400 Bad Request\r"`,
  ]);
  expect(one('\x15\x03')).toEqual([
    String.raw`broken: no line of the leafnode protocol: "\u0015\u0003"`,
  ]);
  expect(one('HM')).toEqual([]);
  for (const text of ['HX', 'MSG a 1 0\r\n', 'LMSGa 0\r\n', 'LS+a\r\n', 'PIN\r\n', 'L\r\n', '\r\n'])
    expect(one(text), text).toEqual([expect.stringMatching(/^broken: no line/)]);
  expect(String(one('X'.repeat(500))[0]).length).toBeLessThan(120);
});

test.each([
  'LS+ \r\n',
  'LS+ a q\r\n',
  'LS+ a q x\r\n',
  'LS+ a q 1 2\r\n',
  'LS- \r\n',
  'LS- a q 1\r\n',
  'LMSG a\r\n',
  'LMSG a x\r\n',
  'LMSG a -1\r\n',
  'LMSG a 1234567890\r\n',
  'LMSG a r q 0\r\n',
  'LMSG a ++ r q 0\r\n',
  'HMSG a 1\r\n',
  'HMSG a 13 12\r\n',
  'HMSG a x 12\r\n',
  'HMSG a 12 x\r\n',
])('%j breaks the protocol', (text) => {
  expect(one(text)).toEqual([`broken: ${text.slice(0, 4).trim()} with wrong arguments`]);
});

test('a message that does not end where it should breaks the protocol, however it comes', () => {
  for (const text of ['LMSG a 1\r\nxyz\r\n', 'LMSG a 1\r\nx\rz\n', 'LMSG a 2\r\nx\r\n\r\n']) {
    const whole = bytes(text);
    for (let at = 0; at <= whole.length; at++)
      expect(hear([whole.subarray(0, at), whole.subarray(at)]), `${text} at ${at}`).toEqual([
        expect.stringMatching(/^broken: no line/),
      ]);
  }
});

test('lines and messages have a largest size, and an announced one costs nothing', () => {
  const tooLong = 'broken: a line of more than 2048 bytes';
  const longest = `LS+ ${'x'.repeat(2044)}`;
  for (const chunks of [[bytes(`${longest}\r\n`)], [bytes(longest), bytes('\r\n')]])
    expect(hear(chunks)).toEqual([['subscribe', 'x'.repeat(2044), undefined, 1]]);
  for (const chunks of [[bytes(`${longest}x\r\n`)], [bytes(longest), bytes('xxx')]])
    expect(hear(chunks)).toEqual([tooLong]);
  expect(one('LMSG a 100001\r\n')).toEqual([
    'broken: a message of 100001 bytes, where 100000 is the most',
  ]);
  const before = process.memoryUsage().arrayBuffers;
  const limits = { ...LIMITS, messageBytesMax: 999_999_999 };
  const parsers = Array.from({ length: 20 }, () => new LeafParser(new Notes(), limits));
  for (const parser of parsers) parser.parse(bytes('LMSG a 999999999\r\nbegun'));
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100_000_000);
});

test('after close nothing is heard, even of the same chunk', () => {
  const notes = new Notes();
  const parser = new LeafParser(notes, LIMITS);
  notes.ping = () => parser.close();
  parser.parse(bytes('PONG\r\nPING\r\nPONG\r\n'));
  parser.parse(bytes('PONG\r\n'));
  expect(notes.said).toEqual(['pong']);
});

test('what is written for a hub reads as it was meant', () => {
  const random = seededRandom(66);
  const frames = Array.from({ length: 300 }, () => randomFrame(random));
  const lines = [
    PING,
    PONG,
    subscribeLine('ä.>'),
    subscribeLine('a.*', 'ö', 3),
    subscribeLine('a', 'q'),
    unsubscribeLine('ä.>'),
    unsubscribeLine('a.*', 'ö'),
    errorLine('Bye "ß"'),
  ];
  const text = [...lines, ...frames.map((frame) => messageText(frame))].join('');
  const heard = [
    'ping',
    'pong',
    ['subscribe', 'ä.>', undefined, 1],
    ['subscribe', 'a.*', 'ö', 3],
    ['subscribe', 'a', 'q', 1],
    ['unsubscribe', 'ä.>', undefined],
    ['unsubscribe', 'a.*', 'ö'],
    ['error', 'Bye "ß"'],
    ...frames.map(({ subject, reply, headers, data, queues }) => {
      const [head, body] = [headers?.toString('latin1'), data.toString('latin1')];
      return ['message', subject, reply, head, body, ...queues];
    }),
  ];
  expect(hear([bytes(text)])).toEqual(heard);
  for (let run = 0; run < 20; run++)
    expect(hear(pieces(random, bytes(text), 2000)), `${run}`).toEqual(heard);
  expect(connectLine({ name: 'gä' })).toBe('CONNECT {"name":"g\xc3\xa4"}\r\n');
});

function randomFrame(random: Random): LeafFrame {
  const queues = ['q', 'wörk', 'z'].slice(0, randomInt(random, 4));
  return {
    subject: ['a.b', 'a.c', 'ü.☃'][randomInt(random, 3)] ?? '',
    reply: [undefined, '_INBOX.x', '$JS.ACK.S.c.1.2.3.4.5@a.ü'][randomInt(random, 3)],
    headers: [undefined, bytes('NATS/1.0\r\nA: \xff\r\n\r\n')][randomInt(random, 2)],
    data: randomBytes(random, randomInt(random, 300)),
    plain: queues.length === 0,
    queues,
  };
}

test('noise never does more than break the protocol', () => {
  const random = seededRandom(666);
  const parts = [
    'LMSG ',
    'HMSG ',
    'LS+ ',
    'LS- ',
    'a ',
    '+ ',
    '| ',
    '3 ',
    '12\r\n',
    '\r\n',
    '\xff',
  ];
  for (let run = 0; run < 3000; run++) {
    const noise = Buffer.from(TRANSCRIPT);
    for (let change = randomInt(random, 6); change >= 0; change--) {
      const part = bytes(parts[randomInt(random, parts.length)] ?? '');
      part.copy(noise, randomInt(random, noise.length));
    }
    expect(unquoted(hear(pieces(random, noise, 200))), `${run}`).toEqual(unquoted(hear([noise])));
  }
});

/** How much is quoted of what is wrong depends on how much of it was there. */
function unquoted(said: readonly unknown[]): unknown[] {
  return said.map((each) =>
    typeof each === 'string' ? each.replace(/(broken: no line).*/s, '$1') : each,
  );
}
