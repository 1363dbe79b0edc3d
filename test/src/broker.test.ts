import { expect, test } from 'vitest';
import { Broker } from '../../src/broker.ts';
import type { Message, Receipt } from '../../src/message.ts';
import { decodeHeaders, encodeHeaders, headerValue } from '../../src/headers.ts';

const message = (subject: string): Message => ({ subject, data: Buffer.from('x') });

test('every subscriber gets a message; only a stream takes the receipt', () => {
  const broker = new Broker();
  const got: string[] = [];
  const receipts: (Receipt | undefined)[] = [];
  broker.subscribe('a.>', { deliver: ({ subject }) => got.push(`1 ${subject}`) });
  broker.subscribe('a.*', { deliver: ({ subject }) => got.push(`2 ${subject}`) });
  const receipt: Receipt = () => {};
  expect(broker.publish(message('a.b'), receipt)).toBe('delivered');
  broker.subscribe('a.b', { store: (_, given) => void receipts.push(given) });
  expect(broker.publish(message('a.b'), receipt)).toBe('stored');
  expect(broker.publish(message('b'), receipt)).toBe('nobody');
  expect(got).toEqual(['1 a.b', '2 a.b', '1 a.b', '2 a.b']);
  expect(receipts).toEqual([receipt]);
  expect(broker.counters).toMatchObject({ inMsgs: 3, inBytes: 3, outMsgs: 4, nobodyMsgs: 1 });
});

test('a subscription that ends in the middle of a delivery disturbs nobody', () => {
  const broker = new Broker();
  const got: number[] = [];
  const end = broker.subscribe('a', {
    deliver: () => {
      got.push(1);
      end();
    },
  });
  broker.subscribe('a', { deliver: () => got.push(2) });
  broker.publish(message('a'));
  broker.publish(message('a'));
  expect(got).toEqual([1, 2, 2]);
  end();
  expect(broker.subscriptions).toBe(1);
});

test('of a queue group one member gets each message, whatever its filter is', () => {
  const broker = new Broker();
  const got = { a: 0, b: 0, c: 0, plain: 0 };
  broker.subscribe('w.*', { deliver: () => got.a++ }, 'crew');
  broker.subscribe('w.>', { deliver: () => got.b++ }, 'crew');
  const end = broker.subscribe('w.x', { deliver: () => got.c++ }, 'others');
  broker.subscribe('w.x', { deliver: () => got.plain++ });
  for (let i = 0; i < 300; i++) expect(broker.publish(message('w.x'))).toBe('delivered');
  expect(got.a + got.b).toBe(300);
  expect(Math.min(got.a, got.b)).toBeGreaterThan(100);
  expect(got).toMatchObject({ c: 300, plain: 300 });
  end();
  broker.publish(message('w.x'));
  expect(got).toMatchObject({ c: 300, plain: 301 });
  expect(broker.subscriptions).toBe(3);
});

test('who is asked may decline: another member takes it, or nobody does', () => {
  const broker = new Broker();
  const me = {};
  let got = 0;
  broker.subscribe('a', { offer: (_, from) => from !== me }, 'crew');
  expect(broker.publish(message('a'), undefined, me)).toBe('nobody');
  expect(broker.counters).toMatchObject({ outMsgs: 0, nobodyMsgs: 1 });
  broker.subscribe('a', { deliver: () => got++ }, 'crew');
  for (let i = 0; i < 20; i++)
    expect(broker.publish(message('a'), undefined, me)).toBe('delivered');
  expect(got).toBe(20);
});

test('an answer is not counted as coming in, and its subject is not remembered', () => {
  const broker = new Broker();
  let got = 0;
  broker.subscribe('_INBOX.me.*', { deliver: () => got++ });
  for (let i = 0; i < 5; i++) broker.answer(message(`_INBOX.me.${i}`));
  expect(got).toBe(5);
  expect(broker.answer(message('_INBOX.you.1'))).toBe('nobody');
  expect(broker.cachedSubjects).toBe(0);
  expect(broker.counters).toMatchObject({ inMsgs: 0, outMsgs: 5, nobodyMsgs: 0 });
});

test('an answer that is text reaches who takes text as text, and everybody else as a message', () => {
  const broker = new Broker();
  const got: string[] = [];
  const asText = {
    offer: ({ subject, data }: Message) => got.push(`offered ${subject} ${String(data)}`) > 0,
    offerText: (subject: string, text: string) => got.push(`text ${subject} ${text}`) > 0,
  };
  expect(broker.answerText('_INBOX.me.1', '{}')).toBe('nobody');
  const end = broker.subscribe('_INBOX.me.*', asText);
  expect(broker.answerText('_INBOX.me.1', '{"seq":1}')).toBe('delivered');
  broker.subscribe('_INBOX.me.2', { deliver: ({ data }) => got.push(`second ${String(data)}`) });
  broker.answerText('_INBOX.me.2', '{"seq":2}');
  end();
  broker.answerText('_INBOX.me.2', '{"seq":3}');
  broker.subscribe('_INBOX.crew', asText, 'crew');
  broker.answerText('_INBOX.crew', '{"seq":4}');
  const alike = { ...asText };
  broker.subscribe('_INBOX.two', asText);
  broker.subscribe('_INBOX.two', alike);
  broker.subscribe('_INBOX.both', asText);
  broker.subscribe('_INBOX.both', alike, 'crew');
  broker.answerText('_INBOX.two', '6');
  broker.answerText('_INBOX.both', '7');
  broker.subscribe('_INBOX.you', { offer: () => false, offerText: () => false });
  expect(broker.answerText('_INBOX.you', '{}')).toBe('nobody');
  const stored: string[] = [];
  broker.subscribe('_INBOX.kept', { store: ({ data }) => void stored.push(String(data)) });
  expect(broker.answerText('_INBOX.kept', '{"seq":5}')).toBe('stored');
  expect(stored).toEqual(['{"seq":5}']);
  expect(got.toSorted()).toEqual(
    [
      'text _INBOX.me.1 {"seq":1}',
      'offered _INBOX.me.2 {"seq":2}',
      'second {"seq":2}',
      'second {"seq":3}',
      'offered _INBOX.crew {"seq":4}',
      'offered _INBOX.two 6',
      'offered _INBOX.two 6',
      'offered _INBOX.both 7',
      'offered _INBOX.both 7',
    ].toSorted(),
  );
  expect(broker.counters).toMatchObject({ inMsgs: 0, outMsgs: 9 });
});

test('acknowledgements to consumers push no other subject out of memory', () => {
  const broker = new Broker();
  let acks = 0;
  broker.subscribe('$JS.ACK.>', { deliver: () => acks++ });
  broker.subscribe('a', { deliver: () => undefined });
  broker.publish(message('a'));
  for (let i = 0; i < 10_000; i++)
    broker.publish(message(`$JS.ACK.S.C.1.${i}.${i}.1763712000000000000.0`));
  expect(acks).toBe(10_000);
  expect(broker.cachedSubjects).toBe(1);
});

test('who is behind a link comes last, and gets nothing that a stream here has taken', () => {
  const broker = new Broker();
  const got: string[] = [];
  const link = {
    isRemote: true,
    offer: ({ subject }: Message, from: object | undefined, target?: string): boolean => {
      if (from === link) return false;
      got.push(target === undefined ? `link ${subject}` : `link ${subject} to ${target}`);
      return true;
    },
  };
  broker.subscribe('a.>', link);
  expect(broker.publish(message('a.b')), 'only the link').toBe('delivered');
  broker.subscribe('a.b', { deliver: () => got.push('near') });
  broker.publish(message('a.b'));
  expect(broker.publish(message('a.c'), undefined, link), 'nothing comes back').toBe('nobody');
  const receipt: Receipt = () => undefined;
  broker.subscribe('a.kept', { store: () => got.push('stored') });
  expect(broker.publish(message('a.kept'), receipt)).toBe('stored');
  expect(broker.answer(message('a.kept')), 'an answer goes to both').toBe('stored');
  expect(broker.answerText('a.kept', 'x')).toBe('stored');
  expect(broker.deliverTo('a.kept', message('s'))).toBe('delivered');
  broker.notify(message('a.news'));
  expect(broker.hasInterest('a.x')).toBe(true);
  expect(broker.subscribers('a.b').length).toBe(1);
  expect(got).toEqual([
    'link a.b',
    'near',
    'link a.b',
    'stored',
    'stored',
    'link a.kept to a.kept',
    'stored',
    'link a.kept to a.kept',
    'link s to a.kept',
    'link a.news to a.news',
  ]);
});

test('who is asked learns where the gateway itself sends a message to, and nothing for a publish', () => {
  const broker = new Broker();
  const targets: (string | undefined)[] = [];
  const offer = (_: Message, __: object | undefined, target: string | undefined): boolean =>
    targets.push(target) > 0;
  broker.subscribe('a.b', { offer });
  broker.subscribe('a.b', { offer }, 'crew');
  broker.publish(message('a.b'));
  broker.answer(message('a.b'));
  broker.answerText('a.b', 'x');
  broker.deliverTo('a.b', message('stored'));
  broker.notify(message('a.b'));
  const twice = (target: string | undefined) => [target, target];
  expect(targets).toEqual([...twice(undefined), ...Array(8).fill('a.b')]);
});

test('in a queue group a member here is asked before one behind a link', () => {
  const broker = new Broker();
  const got = { near: 0, far: 0 };
  let busy = false;
  broker.subscribe('w.>', { isRemote: true, offer: () => ++got.far > 0 }, 'crew');
  const end = broker.subscribe('w.*', { offer: () => !busy && ++got.near > 0 }, 'crew');
  for (let i = 0; i < 50; i++) broker.publish(message('w.x'));
  expect(got).toEqual({ near: 50, far: 0 });
  busy = true;
  expect(broker.publish(message('w.x'))).toBe('delivered');
  end();
  expect(broker.publish(message('w.x'))).toBe('delivered');
  expect(got).toEqual({ near: 50, far: 2 });
});

test('what came over a link reaches only the queue groups that it names', () => {
  const broker = new Broker();
  const got: string[] = [];
  for (const queue of ['crew', 'others'])
    broker.subscribe('w.*', { deliver: () => got.push(queue) }, queue);
  broker.subscribe('w.x', { deliver: () => got.push('plain') });
  broker.publish(message('w.x'), undefined, undefined, []);
  broker.publish(message('w.x'), undefined, undefined, ['others', 'unknown']);
  expect(broker.publish(message('w.y'), undefined, undefined, ['unknown'])).toBe('nobody');
  expect(got).toEqual(['plain', 'plain', 'others']);
});

test('who watches the subscriptions is told of those that are there, and of each that begins and ends', () => {
  const broker = new Broker();
  const told: string[] = [];
  const name = (filter: string, queue: string | undefined) => `${filter} ${queue ?? '-'}`;
  const me = { deliver: () => undefined };
  const you = { deliver: () => undefined };
  const first = broker.subscribe('a.b', me);
  broker.subscribe('a.b', you, 'crew');
  const unwatch = broker.watchSubscriptions({
    began: (filter, queue, who) => told.push(`+ ${name(filter, queue)} ${who === me}`),
    ended: (filter, queue, who) => told.push(`- ${name(filter, queue)} ${who === me}`),
  });
  expect(told.splice(0).toSorted()).toEqual(['+ a.b - true', '+ a.b crew false']);
  broker.subscribe('a.b', me);
  const second = broker.subscribe('c.>', you);
  first();
  first();
  second();
  unwatch();
  broker.subscribe('d', you);
  expect(told).toEqual(['+ c.> - false', '- a.b - true', '- c.> - false']);
});

test('header blocks are read and written as NATS clients do', () => {
  const block = encodeHeaders([
    ['Nats-Msg-Id', 'a:1'],
    ['Colour', 'röt'],
    ['Colour', 'blue'],
  ]);
  expect(block?.toString()).toBe(
    'NATS/1.0\r\nNats-Msg-Id: a:1\r\nColour: röt\r\nColour: blue\r\n\r\n',
  );
  expect(headerValue(block, 'Nats-Msg-Id')).toBe('a:1');
  expect(headerValue(block, 'Colour')).toBe('röt');
  expect(headerValue(block, 'colour'), 'names are case-sensitive').toBeUndefined();
  expect(headerValue(block, 'Msg-Id')).toBeUndefined();
  expect(headerValue(undefined, 'Colour')).toBeUndefined();
  expect(headerValue(Buffer.from('NATS/1.0\r\nA:x'), 'A'), 'a block cut short').toBe('x');
  expect(decodeHeaders(block)).toEqual([
    ['Nats-Msg-Id', 'a:1'],
    ['Colour', 'röt'],
    ['Colour', 'blue'],
  ]);
  expect(encodeHeaders([])).toBeUndefined();
  expect(encodeHeaders([['A', 'x\r\nB: y']])?.toString()).toBe('NATS/1.0\r\nA: x  B: y\r\n\r\n');
});
