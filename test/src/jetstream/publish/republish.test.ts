import { expect, test } from 'vitest';
import { republished, republishSubject } from '../../../../src/jetstream/publish/republish.ts';
import { block, streamConfig } from '../../../support/stream-configs.ts';

const STORED = {
  subject: 'orders.new',
  headers: block('Colour: red'),
  data: Buffer.from('five5'),
  seq: 42,
  timeMs: Date.UTC(2026, 0, 2, 3, 4, 5, 600),
};
const WHERE = [
  'Nats-Stream: ORDERS',
  'Nats-Subject: orders.new',
  'Nats-Sequence: 42',
  'Nats-Time-Stamp: 2026-01-02T03:04:05.6Z',
  'Nats-Last-Sequence: 40',
];

test('a copy says where the original is stored, and what came before it on its subject', () => {
  const config = streamConfig({
    republish: { src: 'orders.>', dest: 'copy.>', headersOnly: false },
  });
  const to = republishSubject(config, 'orders.new');
  expect(to).toBe('copy.new');
  const copy = republished(config, 'copy.new', STORED, 40);
  expect(copy.subject).toBe('copy.new');
  expect(copy.data).toBe(STORED.data);
  expect(copy.headers?.toString()).toBe(block('Colour: red', ...WHERE).toString());
  const bare = republished(config, 'copy.new', { ...STORED, headers: null }, 40);
  expect(bare.headers?.toString()).toBe(block(...WHERE).toString());
  expect(STORED.headers.toString(), 'the original is as it was').toBe(
    block('Colour: red').toString(),
  );
});

test('a copy of the headers alone says how large the message is', () => {
  const config = streamConfig({ republish: { src: '>', dest: 'copy.>', headersOnly: true } });
  const copy = republished(config, 'copy.orders.new', STORED, 40);
  expect(copy.data.length).toBe(0);
  expect(copy.headers?.toString()).toBe(
    block('Colour: red', ...WHERE, 'Nats-Msg-Size: 5').toString(),
  );
});

test('what the source does not cover is not republished', () => {
  const republish = { src: 'orders.paid', dest: 'copy', headersOnly: false };
  expect(republishSubject(streamConfig({ republish }), 'orders.new')).toBeUndefined();
  expect(republishSubject(streamConfig({ republish }), 'orders.paid')).toBe('copy');
  expect(republishSubject(streamConfig(), 'orders.new')).toBeUndefined();
});
