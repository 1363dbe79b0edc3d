import { expect, test } from 'vitest';
import { Budget } from '../../../src/nats/limits.ts';
import { Parser, ProtocolError, type Listener } from '../../../src/nats/parser.ts';
import { randomBytes, randomInt, seededRandom } from '../../support/random.ts';

const LIMITS = { controlLineBytesMax: 4096 };

/** Writes down what it hears. */
class Notes implements Listener {
  readonly said: string[] = [];
  connect(json: string): void {
    this.said.push(`connect ${json}`);
  }
  announced(): void {}
  publish(
    subject: string,
    reply: string | undefined,
    headers: Buffer | undefined,
    data: Buffer,
  ): void {
    const [head, body] = [headers?.toString('latin1'), data.toString('latin1')];
    this.said.push(`publish ${JSON.stringify([subject, reply, head, body])}`);
  }
  subscribe(subject: string, queue: string | undefined, sid: string): void {
    this.said.push(`subscribe ${JSON.stringify([subject, queue, sid])}`);
  }
  unsubscribe(sid: string, max: number): void {
    this.said.push(`unsubscribe ${sid} ${max}`);
  }
  ping(): void {
    this.said.push('ping');
  }
  pong(): void {
    this.said.push('pong');
  }
}

/** What is heard when `chunks` come one after the other, with the end of it if it is a bad one. */
function hear(chunks: readonly Buffer[]): string[] {
  const notes = new Notes();
  const budget = new Budget(64 * 1024 * 1024);
  const parser = new Parser(notes, LIMITS, budget);
  try {
    for (const chunk of chunks) parser.parse(chunk);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    notes.said.push(`closed: ${error.answer ?? 'without a word'}`);
  }
  parser.close();
  expect(budget.used).toBe(0);
  return notes.said;
}

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const one = (text: string): string[] => hear([bytes(text)]);

const SCRIPT = bytes(
  [
    'CONNECT {"verbose":false}\r\n',
    'connect{"a":"b c"}\n',
    'PING\r\n',
    'pIng and more\r\n',
    'SUB a.* 1\r\n',
    'SUB  a.>\tworkers   2 \r\n',
    'PUB a.b 5\r\nhello\r\n',
    'PUB a.b _INBOX.x.y 0\r\n\r\n',
    'pub\ta.b\t3\n\r\n!\r\n',
    'HPUB a.c 12 17\r\nNATS/1.0\r\n\r\nhello\r\n',
    'HPUB a.c reply 12 12\r\nNATS/1.0\r\n\r\n\r\n',
    'HPUB a.c 0 2\r\nhi\r\n',
    `PUB ${Buffer.from('größe.µ').toString('latin1')} 1\r\nx\r\n`,
    `PUB big 5000\r\n${'y'.repeat(5000)}\r\n`,
    'UNSUB 1\r\n',
    'UNSUB 2 10\r\n',
    '+OK\r\n',
    'INFO {}\r\n',
    'PONG\r\n',
  ].join(''),
);

const HEARD = [
  'connect {"verbose":false}',
  'connect {"a":"b c"}',
  'ping',
  'ping',
  'subscribe ["a.*",null,"1"]',
  'subscribe ["a.>","workers","2"]',
  'publish ["a.b",null,null,"hello"]',
  'publish ["a.b","_INBOX.x.y",null,""]',
  'publish ["a.b",null,null,"\\r\\n!"]',
  'publish ["a.c",null,"NATS/1.0\\r\\n\\r\\n","hello"]',
  'publish ["a.c","reply","NATS/1.0\\r\\n\\r\\n",""]',
  'publish ["a.c",null,null,"hi"]',
  'publish ["größe.µ",null,null,"x"]',
  `publish ["big",null,null,"${'y'.repeat(5000)}"]`,
  'unsubscribe 1 0',
  'unsubscribe 2 10',
  'pong',
];

test('every verb is understood, in any letters and with any blanks', () => {
  expect(hear([SCRIPT])).toEqual(HEARD);
});

test('it makes no difference how the bytes are cut: one by one', () => {
  expect(hear([...SCRIPT].map((byte) => Buffer.of(byte)))).toEqual(HEARD);
});

test('it makes no difference how the bytes are cut: at every place', () => {
  const script = SCRIPT.subarray(0, SCRIPT.indexOf('PUB big'));
  const heard = hear([script]);
  for (let at = 1; at < script.length; at++)
    expect(hear([script.subarray(0, at), script.subarray(at)]), `cut at ${at}`).toEqual(heard);
});

test('what is no protocol is answered as nats-server answers it', () => {
  const unknown = 'closed: Unknown Protocol Operation';
  const silent = 'closed: without a word';
  for (const text of [
    'GET / HTTP/1.1\r\n',
    '\r\n',
    'PUBx a 1\r\n',
    'SUBSCRIBE\r\n',
    'PU\r\n',
    'MSG a 1 0\r\n',
  ])
    expect(one(text), text).toEqual([unknown]);
  for (const text of ['Z', 'PUx', 'PUB\r', 'hpux'])
    expect(one(text), `${text} is told before its line ends`).toEqual([unknown]);
  for (const text of [
    'PUB a\r\n',
    'PUB \r\n',
    'PUB a b c d\r\n',
    'PUB a -1\r\n',
    'PUB a 1x\r\n',
    'PUB a 9999999999\r\n',
    'HPUB a 5\r\n',
    'HPUB a 6 5\r\n',
    'HPUB a x 5\r\n',
    'SUB a\r\n',
    'SUB a b c d\r\n',
    'UNSUB\t\r\n',
    'UNSUB 1 2 3\r\n',
    "-ERR 'no'\r\n",
  ])
    expect(one(text), text).toEqual([silent]);
  expect(one('PUB a 2\r\nabc\r\n'), 'longer than announced').toEqual([unknown]);
  expect(one('PUB a 2\r\nab\n\n'), 'ends wrongly').toEqual([unknown]);
  expect(hear([bytes('PUB a 2\r\nab'), bytes('\rx')])).toEqual([unknown]);
  expect(one('UNSUB 1 x\r\n'), 'no number is no maximum').toEqual(['unsubscribe 1 0']);
});

test('a control line has a limit, whether it ends or not', () => {
  const tooLong = ['closed: maximum control line exceeded'];
  expect(one(`SUB ${'a'.repeat(4090)} 1234\r\n`)[0]).toMatch(/^subscribe/);
  expect(one(`SUB ${'a'.repeat(4096)} 1\r\n`)).toEqual(tooLong);
  expect(one(`PUB ${'a'.repeat(5000)}`)).toEqual(tooLong);
  expect(one(`CONNECT ${' '.repeat(10)}{"a":"${'x'.repeat(4096)}"}\r\n`)).toEqual(tooLong);
  expect(hear(Array.from({ length: 5000 }, () => bytes('INFO '))), 'a byte at a time').toEqual(
    tooLong,
  );
});

test('an announced size costs no memory before its bytes come, and no more than they are together', () => {
  const budget = new Budget(64 * 1024);
  const parsers = Array.from({ length: 50 }, () => new Parser(new Notes(), LIMITS, budget));
  for (const parser of parsers) parser.parse(bytes('PUB a 1000000\r\nxx'));
  expect(budget.used).toBe(0);
  parsers[0]?.parse(Buffer.alloc(40_000));
  expect(budget.used).toBeGreaterThan(30_000);
  expect(() => parsers[1]?.parse(Buffer.alloc(40_000))).toThrow(ProtocolError);
  for (const parser of parsers) parser.close();
  expect(budget.used).toBe(0);
});

test('while it is paused nothing is taken, and nothing is lost', () => {
  const notes = new Notes();
  const parser = new Parser(notes, LIMITS, new Budget(1e6));
  notes.ping = () => {
    notes.said.push('ping');
    parser.pause();
  };
  parser.parse(bytes('PING\r\nPUB a 1\r\nx\r\nPING\r\nPO'));
  expect(notes.said).toEqual(['ping']);
  parser.parse(bytes('NG\r\n'));
  expect(notes.said).toEqual(['ping']);
  parser.resume();
  expect(notes.said).toEqual(['ping', 'publish ["a",null,null,"x"]', 'ping']);
  parser.resume();
  expect(notes.said.at(-1)).toBe('pong');
});

test('before CONNECT nothing else may come, where a login is needed', () => {
  for (const text of ['PING\r\n', 'P', 'SUB a 1\r\n', 'x']) {
    const parser = new Parser(new Notes(), LIMITS, new Budget(1e6));
    parser.awaitsConnect = true;
    expect(() => parser.parse(bytes(text)), text).toThrow(
      expect.objectContaining({ answer: 'Authorization Violation' }),
    );
  }
});

test('random bytes and random cuts give the same as the whole, and never another error', () => {
  const random = seededRandom(20_261_121);
  const words = [
    'PUB',
    'HPUB',
    'SUB',
    'UNSUB',
    'PING',
    'a.b',
    '>',
    '1',
    '5',
    '\r\n',
    ' ',
    '\t',
    'hello',
    '\r',
    '\n',
    'CONNECT',
    '{',
    '-ERR',
  ];
  const pick = (): Buffer =>
    randomInt(random, 12) === 0
      ? randomBytes(random, randomInt(random, 6))
      : bytes(words[randomInt(random, words.length)] ?? '');
  for (let round = 0; round < 3000; round++) {
    const whole = Buffer.concat([
      ...(randomInt(random, 2) === 0 ? [bytes('PUB a.b 5\r\nhello\r\n')] : []),
      ...Array.from({ length: 1 + randomInt(random, 14) }, pick),
    ]);
    const chunks: Buffer[] = [];
    for (let at = 0; at < whole.length;) {
      const length = 1 + randomInt(random, 5);
      chunks.push(whole.subarray(at, at + length));
      at += length;
    }
    expect(hear(chunks), JSON.stringify(whole.toString('latin1'))).toEqual(hear([whole]));
  }
});
