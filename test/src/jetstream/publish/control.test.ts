import { expect, test } from 'vitest';
import { readControl } from '../../../../src/jetstream/publish/control.ts';
import { headerValue } from '../../../../src/headers.ts';
import { block } from '../../../support/stream-configs.ts';

test('a block that tells the stream nothing costs nothing more', () => {
  expect(readControl(undefined)).toBeUndefined();
  expect(readControl(block('Colour: red'))).toBeUndefined();
  expect(readControl(block('Nats-Unknown: x', 'Nats-Subject: y'))).toBeUndefined();
  expect(readControl(block('X: Nats-TTL: 5', 'nats-ttl: 5', 'ANats-TTL: 5'))).toBeUndefined();
  expect(readControl(Buffer.from('NATS/1.0\r\nNats-TTL'))).toBeUndefined();
  expect(readControl(block('Nats-TTL', 'A: b'))).toBeUndefined();
});

test('the first value of a name counts, without the spaces around it', () => {
  const headers = block(
    'Nats-Msg-Id:  a b ',
    'Colour: red',
    'Nats-Msg-Id: c',
    'Nats-TTL:5',
    'Nats-Rollup:',
    'Nats-Rollup: sub',
  );
  expect(readControl(headers)).toEqual({
    'Nats-Msg-Id': 'a b',
    'Nats-TTL': '5',
    'Nats-Rollup': '',
  });
  expect(headerValue(headers, 'Nats-Msg-Id'), 'as everywhere else').toBe('a b');
});
