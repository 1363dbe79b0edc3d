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
