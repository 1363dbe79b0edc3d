// What a publisher hears of its message, to the letter.

import { afterEach, expect, test } from 'vitest';
import { PublishError, type Receipt } from '../../../src/message.ts';
import { NatsGateway } from '../../support/nats-gateway.ts';

let gateway: NatsGateway;
afterEach(() => gateway.destroy());

/** Publishes to a stream that answers by `settle`; what the publisher hears. */
async function hear(settle: (receipt: Receipt) => void, domain?: string): Promise<string> {
  gateway = new NatsGateway(domain === undefined ? {} : { domain });
  gateway.broker.subscribe('data.>', { store: (_message, receipt) => receipt && settle(receipt) });
  const client = await gateway.client();
  await client.says('SUB inbox 1\r\nPUB data.a inbox 2\r\nhi\r\n');
  return client.take();
}

const answer = (json: string): string => `MSG inbox 1 ${json.length}\r\n${json}\r\n`;

test('what was stored is acknowledged with stream and sequence', async () => {
  const stored = (receipt: Receipt): void => receipt(null, { stream: 'DATA', seq: 7 });
  expect(await hear(stored)).toBe(answer('{"stream":"DATA","seq":7}'));
});

test('a stream may have any name', async () => {
  const stored = (receipt: Receipt): void => receipt(null, { stream: 'A"B', seq: 7 });
  expect(await hear(stored)).toBe(answer('{"stream":"A\\"B","seq":7}'));
});

test('a duplicate, a domain and a batch are said where there is one', async () => {
  const duplicate = { stream: 'DATA', seq: 7, duplicate: true };
  expect(await hear((receipt) => receipt(null, duplicate), 'gw7')).toBe(
    answer('{"stream":"DATA","domain":"gw7","seq":7,"duplicate":true}'),
  );
  gateway.destroy();
  const batch = { stream: 'DATA', seq: 9, batch: 'a "b"', count: 3 };
  expect(await hear((receipt) => receipt(null, batch))).toBe(
    answer('{"stream":"DATA","seq":9,"batch":"a \\"b\\"","count":3}'),
  );
});

test('a message that waits in a batch has an empty answer', async () => {
  expect(await hear((receipt) => receipt(null, null))).toBe(answer(''));
});

test('a refusal says why, and by which stream', async () => {
  const error = new PublishError(400, 10071, 'wrong last sequence: 4');
  const why = '"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 4"}';
  expect(await hear((receipt) => receipt(error, { stream: 'DATA', seq: 0 }))).toBe(
    answer(`{${why},"stream":"DATA","seq":0}`),
  );
  gateway.destroy();
  expect(await hear((receipt) => receipt(error, null))).toBe(answer(`{${why}}`));
});

test('a stream without acknowledgements says nothing, be it stored or refused', async () => {
  expect(await hear((receipt) => receipt(null, { stream: 'DATA', seq: 7 }, true))).toBe('');
  gateway.destroy();
  const error = new PublishError(503, 10077, 'maximum bytes exceeded');
  expect(await hear((receipt) => receipt(error, { stream: 'DATA', seq: 0 }, true))).toBe('');
});
