// A client that names the domain of JetStream asks on `$JS.<domain>.API.…`, and puts that before the keys of a bucket too:
// `$JS.<domain>.API.$KV.…`. It is the same subject as without, for those who listen and for permissions.

import { expect, onTestFinished, test } from 'vitest';
import { NatsGateway } from '../../support/nats-gateway.ts';

function gateway(domain?: string): NatsGateway {
  const made = new NatsGateway(domain === undefined ? {} : { domain });
  onTestFinished(() => made.destroy());
  return made;
}

test('a key that is put with the domain of the gateway is stored under its own subject, and acknowledged', async () => {
  const at = gateway('gw7');
  const stored = at.stream('$KV.>');
  const client = await at.client();
  await client.says('SUB _INBOX.> 1\r\nPUB $JS.gw7.API.$KV.b.k _INBOX.a 2\r\nv1\r\n');
  expect(stored.messages.map(({ subject }) => subject)).toEqual(['$KV.b.k']);
  client.take();
  stored.ack();
  await client.settle();
  const [, ack = ''] = client.take().split('\r\n');
  expect(JSON.parse(ack)).toEqual({ stream: 'DATA', seq: 1, domain: 'gw7' });
});

test('a request with the domain of the gateway is the request without it', async () => {
  const at = gateway('gw7');
  const seen = await at.client();
  await seen.says('SUB > 1\r\n');
  const client = await at.client();
  const requests = ['INFO', 'STREAM.NAMES', 'CONSUMER.INFO.S.c', 'DIRECT.GET.S.a', 'META.x'];
  for (const request of [...requests, 'SERVER.x', 'ACCOUNT.x']) {
    await client.says(`PUB $JS.gw7.API.${request} 1\r\nx\r\n`);
    expect(await seen.asks('')).toContain(`MSG $JS.API.${request} 1 1\r\n`);
  }
});

test('other subjects are what they are, with any domain and with none', async () => {
  const subjects = [
    '$JS.gw8.API.$KV.b.k',
    '$JS.gw7.API.$KVX.b',
    '$JS.gw7.API.INFO.X',
    '$JS.gw7.API.FOO',
    '$KV.b.k',
  ];
  for (const domain of ['gw7', undefined]) {
    const at = gateway(domain);
    const seen = await at.client();
    await seen.says('SUB > 1\r\n');
    const client = await at.client();
    for (const subject of [...subjects, ...(domain === undefined ? ['$JS.gw7.API.$KV.b.k'] : [])]) {
      await client.says(`PUB ${subject} 1\r\nx\r\n`);
      expect(await seen.asks('')).toContain(`MSG ${subject} 1 1\r\n`);
    }
  }
});

test('what a client may not ask, it may not ask with the domain either', async () => {
  const subjects = { publish: undefined, subscribe: undefined, denySubscribe: [] };
  const at = new NatsGateway({
    domain: 'gw7',
    users: [
      {
        user: 'u',
        secret: { type: 'password', text: 'p' },
        permissions: {
          ...subjects,
          denyPublish: ['$JS.API.STREAM.DELETE.>', '$KV.>'],
          allowResponses: false,
        },
      },
    ],
  });
  onTestFinished(() => at.destroy());
  const stored = at.stream('>');
  const client = await at.client('CONNECT {"verbose":false,"user":"u","pass":"p"}\r\n');
  client.take();
  for (const subject of ['$JS.gw7.API.STREAM.DELETE.S', '$JS.gw7.API.$KV.b.k'])
    await client.says(`PUB ${subject} 0\r\n\r\n`);
  expect(client.take().split('\r\n').slice(0, 2)).toEqual([
    '-ERR \'Permissions Violation for Publish to "$JS.API.STREAM.DELETE.S"\'',
    '-ERR \'Permissions Violation for Publish to "$KV.b.k"\'',
  ]);
  // Nor may an answer of ours ask it.
  for (const reply of ['$JS.API.STREAM.DELETE.S', '$JS.gw7.API.STREAM.DELETE.S']) {
    await client.says(`PUB x ${reply} 0\r\n\r\n`);
    expect(client.take()).toBe(
      `-ERR 'Permissions Violation for Publish with Reply of "${reply}"'\r\n`,
    );
  }
  await client.says('PUB $JS.gw7.API.STREAM.INFO.S 0\r\n\r\n');
  expect(stored.messages.map(({ subject }) => subject)).toEqual(['$JS.API.STREAM.INFO.S']);
});
