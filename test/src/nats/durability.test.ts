// A NATS client and a real stream: what it hears of the disk, and when.

import { duplexPair } from 'node:stream';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { NatsListener } from '../../../src/nats/listener.ts';
import { GatewayStore } from '../../support/gateway-store.ts';
import { CONNECT, RawClient } from '../../support/nats-gateway.ts';

async function clientOf(store: GatewayStore): Promise<RawClient> {
  const { broker, clock } = store;
  const listener = new NatsListener(
    {
      listen: { host: '127.0.0.1', port: 0 },
      allowAnonymous: true,
      serverId: 'NTEST',
      serverName: 'gw7',
    },
    { broker, clock, log: pino({ level: 'silent' }) },
  );
  const [mine, theirs] = duplexPair();
  const client = new RawClient(mine, store);
  listener.accept(theirs, { ip: '127.0.0.1', port: 1, type: 'nats', tls: false });
  await client.says(`${CONNECT}SUB _INBOX.* 1\r\n`);
  client.take();
  return client;
}

function publish(id: string, reply: string): string {
  const headers = `NATS/1.0\r\nNats-Msg-Id: ${id}\r\n\r\n`;
  return `HPUB data.a _INBOX.${reply} ${headers.length} ${headers.length + 1}\r\n${headers}x\r\n`;
}

function answers(heard: string): unknown[] {
  return [...heard.matchAll(/^\{.*\}$/gm)].map(([json]) => JSON.parse(json) as unknown);
}

test('no PubAck leaves before the sync that covers its message has returned, nor one of a duplicate', async () => {
  await using store = await new GatewayStore().open();
  const client = await clientOf(store);
  await client.says(publish('a', '1') + publish('b', '2') + publish('a', '3'));
  expect(store.disk?.waiting, 'a sync is under way').toBe(1);
  expect(await client.asks('PING\r\n')).toMatch(/^PONG/);
  expect(client.take()).toBe('');
  store.settle();
  await client.settle();
  const heard = client.take();
  expect(answers(heard)).toEqual(
    expect.arrayContaining([
      { stream: 'DATA', seq: 1 },
      { stream: 'DATA', seq: 2 },
      { stream: 'DATA', seq: 1, duplicate: true },
    ]),
  );
  expect(answers(heard).length).toBe(3);
  expect(store.stream.state()).toMatchObject({ messages: 2, durableSeq: 2 });
  client.stream.destroy();
});

test('what a stream does not take is answered with its error', async () => {
  await using store = await new GatewayStore().open();
  const client = await clientOf(store);
  const headers = `NATS/1.0\r\nA: ${'x'.repeat(65 * 1024)}\r\n\r\n`;
  await client.says(`HPUB data.a _INBOX.1 ${headers.length} ${headers.length}\r\n${headers}\r\n`);
  await client.settle();
  expect(answers(client.take())).toEqual([
    {
      error: {
        code: 400,
        err_code: 10097,
        description: 'header size exceeds maximum allowed of 64k',
      },
      stream: 'DATA',
      seq: 0,
    },
  ]);
  client.stream.destroy();
});

test('PubAcks look the same on every way to the client', async () => {
  await using store = await new GatewayStore().open();
  const client = await clientOf(store);
  // Beyond ASCII: two bytes, one character each here.
  const wide = Buffer.from('ü', 'utf8').toString('latin1');
  await client.says(
    `SUB _INBOX.one.> two\r\nSUB _INBOX.${wide} v\r\nSUB _INBOX.max.* m\r\nUNSUB m 1\r\n`,
  );
  await client.says(publish('a', 'x') + publish('b', 'one.y.z') + publish('c', wide));
  await client.says(
    publish('d', 'max.1') + publish('e', 'max.2') + publish('f', 'x.*') + publish('g', ''),
  );
  store.settle();
  await client.settle();
  const heard = client.take();
  for (const [subject, sid, seq] of [
    ['_INBOX.x', '1', 1],
    ['_INBOX.one.y.z', 'two', 2],
    [`_INBOX.${wide}`, '1', 3],
    [`_INBOX.${wide}`, 'v', 3],
    ['_INBOX.max.1', 'm', 4],
  ])
    expect(heard).toContain(`MSG ${subject} ${sid} 25\r\n{"stream":"DATA","seq":${seq}}\r\n`);
  expect(heard, 'UNSUB after one').not.toContain('"seq":5');
  expect(heard, 'no answer to what is no subject').not.toMatch(/"seq":[67]/);
  expect(store.stream.state()).toMatchObject({ messages: 7 });
  await client.says(['h', 'i', 'j'].map((id) => publish(id, `one.${id}`)).join(''));
  store.settle();
  await client.settle();
  expect(client.take(), 'a longer one').toContain(
    'MSG _INBOX.one.j two 26\r\n{"stream":"DATA","seq":10}\r\n',
  );
  client.stream.destroy();
});
