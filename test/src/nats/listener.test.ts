import { afterEach, expect, test } from 'vitest';
import { PublishError } from '../../../src/message.ts';
import {
  CONNECT,
  NatsGateway,
  type GatewayOptions,
  type RawClient,
} from '../../support/nats-gateway.ts';
import { until } from '../../support/until.ts';

let gateway: NatsGateway;
afterEach(() => gateway.destroy());

function open(options: GatewayOptions = {}): NatsGateway {
  return (gateway = new NatsGateway(options));
}

function pub(subject: string, data: string, reply = ''): string {
  return `PUB ${subject} ${reply === '' ? '' : `${reply} `}${data.length}\r\n${data}\r\n`;
}

const KIB = 1024;

test('INFO comes first, and again behind the first PONG with the account', async () => {
  open();
  const client = await gateway.client('');
  expect(client.greeting).toMatch(/^INFO \{.*\}\r\n$/);
  const info = JSON.parse(client.greeting.slice(5)) as object;
  expect(info).toMatchObject({
    server_id: 'NTEST',
    server_name: 'gw7',
    proto: 1,
    headers: true,
    max_payload: 1024 * KIB,
    client_id: 1,
    client_ip: '127.0.0.1',
  });
  expect(info).not.toHaveProperty('auth_required');
  const [pong, second, ...rest] = (await client.asks(`${CONNECT}PING\r\n`)).split('\r\n');
  expect(pong).toBe('PONG');
  expect(JSON.parse(second?.slice(5) ?? '')).toMatchObject({
    connect_info: true,
    remote_account: '$G',
    client_id: 1,
  });
  expect(rest).toEqual(['']);
  expect(await client.asks('PING\r\n')).toBe('PONG\r\n');
});

test('whoever types by hand needs no CONNECT, and hears +OK', async () => {
  open();
  const client = await gateway.client('');
  expect(await client.asks(`SUB a.> 7\r\n${pub('a.b', 'hi')}`)).toBe(
    '+OK\r\n+OK\r\nMSG a.b 7 2\r\nhi\r\n',
  );
  expect(await client.asks('PING\r\n')).toBe('PONG\r\n');
  expect(await client.asks(pub('a.*', 'x'))).toBe("-ERR 'Invalid Publish Subject'\r\n+OK\r\n");
});

test('a client that wants no echo does not hear itself, and counts as nobody', async () => {
  open();
  const client = await gateway.client(CONNECT.replace('{', '{"echo":false,'));
  await client.says('SUB a 1\r\nSUB inbox 2\r\n');
  expect(await client.asks(pub('a', 'x', 'inbox'))).toBe(
    'HMSG inbox 2 33 33\r\nNATS/1.0 503\r\nNats-Subject: a\r\n\r\n\r\n',
  );
});

test('of a queue group one member gets each message, and over time all of them do', async () => {
  open();
  const members = [await gateway.client(), await gateway.client(), await gateway.client()];
  for (const [i, member] of members.entries())
    await member.says(`SUB ${i === 0 ? 'work.*' : 'work.>'} crew 1\r\nSUB work.a crew2 2\r\n`);
  const watcher = await gateway.client();
  await watcher.says('SUB work.> 1\r\n');
  const publisher = await gateway.client();
  await publisher.says(pub('work.a', 'x').repeat(300));
  const got = members.map((member) => member.take());
  const count = (text: string, sid: number): number => text.split(`MSG work.a ${sid} `).length - 1;
  const crew = got.map((text) => count(text, 1));
  expect(crew.reduce((a, b) => a + b)).toBe(300);
  for (const share of crew) expect(share).toBeGreaterThan(60);
  expect(got.reduce((sum, text) => sum + count(text, 2), 0)).toBe(300);
  expect(count(watcher.take(), 1)).toBe(300);
  members[1]?.stream.destroy();
  members[2]?.stream.destroy();
  await publisher.settle();
  await publisher.says(pub('work.a', 'x').repeat(10));
  expect(count(members[0]?.take() ?? '', 1)).toBe(10);
});

test('a member that will not take a message passes it on to the others of its group', async () => {
  open();
  const quiet = await gateway.client(CONNECT.replace('{', '{"echo":false,'));
  const other = await gateway.client();
  await quiet.says('SUB a crew 1\r\n');
  await other.says('SUB a crew 1\r\n');
  await quiet.says(pub('a', 'x').repeat(20));
  expect(other.take()).toBe('MSG a 1 1\r\nx\r\n'.repeat(20));
});

test('UNSUB with a maximum counts from SUB', async () => {
  open();
  const client = await gateway.client();
  await client.says(`SUB a 1\r\n${pub('a', '1')}UNSUB 1 3\r\n${pub('a', '2').repeat(5)}`);
  expect(client.take().split('MSG a 1').length - 1).toBe(3);
  await client.says(`SUB a 2\r\n${pub('a', '1').repeat(2)}UNSUB 2 2\r\n${pub('a', '2')}`);
  expect(client.take().split('MSG a 2').length - 1, 'it had them').toBe(2);
  expect(gateway.broker.subscriptions).toBe(0);
});

test('a publish to a stream is answered when the disk has it, and not before', async () => {
  open();
  const stored = gateway.stream('plant.>');
  const client = await gateway.client();
  await client.says(`SUB _INBOX.r.* 1\r\nSUB plant.> 2\r\n${pub('plant.a', 'x', '_INBOX.r.1')}`);
  expect(client.take()).toBe('MSG plant.a 2 _INBOX.r.1 1\r\nx\r\n');
  expect(await client.asks('PING\r\n')).not.toContain('seq');
  stored.ack();
  expect(await client.asks('')).toBe('MSG _INBOX.r.1 1 25\r\n{"stream":"DATA","seq":1}\r\n');
  await client.says(
    'UNSUB 2\r\nHPUB plant.b _INBOX.r.2 23 24\r\nNATS/1.0\r\nNats-A: b\r\n\r\ny\r\n',
  );
  expect(stored.messages[1]?.headers?.toString()).toBe('NATS/1.0\r\nNats-A: b\r\n\r\n');
  stored.ack(1, new PublishError(503, 10077, 'maximum bytes exceeded'));
  expect(await client.asks('')).toBe(
    'MSG _INBOX.r.2 1 78\r\n{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}\r\n',
  );
  await client.says(pub('plant.c', 'z'));
  stored.ack();
  expect(await client.asks(''), 'nobody asked').toBe('');
});

test('a publisher whose messages the disk cannot take yet is not read further', async () => {
  open({ limits: { publishesInFlightMax: 100, publishBytesInFlightMax: 10 * KIB } });
  const stored = gateway.stream('plant.>');
  const client = await gateway.client();
  await client.says(`${pub('plant.a', 'x').repeat(1000)}PING\r\n`);
  expect(stored.messages.length).toBe(100);
  expect(client.take()).toBe('');
  const other = await gateway.client();
  expect(await other.asks(`${pub('core', 'x')}PING\r\n`)).toMatch(/^PONG/);
  stored.ack(49);
  await client.settle();
  expect(stored.messages.length, 'more than half of the room is taken').toBe(100);
  while (stored.waiting > 0) {
    stored.ack(stored.waiting);
    await client.settle();
  }
  expect(stored.messages.length).toBe(1000);
  expect(client.take()).toMatch(/^PONG/);
  await client.says(pub('plant.a', 'y'.repeat(6 * KIB)).repeat(4));
  expect(stored.messages.length, 'bytes count as well').toBe(1002);
});

test('all publishers together have a limit too, and each goes on when there is room', async () => {
  open({ limits: { publishesInFlightTotalMax: 50 } });
  const stored = gateway.stream('plant.>');
  const clients = [await gateway.client(), await gateway.client()];
  for (const client of clients) await client.says(pub('plant.a', 'x').repeat(100));
  expect(stored.messages.length).toBeLessThanOrEqual(51);
  while (stored.waiting > 0) {
    stored.ack(stored.waiting);
    await clients[0]?.settle();
  }
  expect(stored.messages.length).toBe(200);
  expect(gateway.listener.stats().publishesInFlight).toBe(0);
});

test('a message over max_payload ends the connection before it has come', async () => {
  open({ limits: { payloadBytesMax: 1000 } });
  const client = await gateway.client();
  expect(JSON.parse(client.greeting.slice(5))).toMatchObject({ max_payload: 1000 });
  await client.says(`SUB a 1\r\n${pub('a', 'x'.repeat(1000))}`);
  expect(client.take().length).toBeGreaterThan(1000);
  expect(await client.asks('HPUB a 12 1001\r\n')).toBe("-ERR 'Maximum Payload Violation'\r\n");
  expect(client.ended).toBe(true);
  expect(gateway.broker.subscriptions).toBe(0);
});

test('a client that reads nothing is cut off, and nobody else notices', async () => {
  open({ limits: { pendingBytesMax: 256 * KIB } });
  const slow = await gateway.client();
  await slow.says('SUB a 1\r\n');
  slow.stream.pause();
  const healthy = await gateway.client();
  await healthy.says('SUB a 1\r\n');
  const publisher = await gateway.client();
  for (let i = 0; i < 40 && gateway.listener.stats().slowConsumers === 0; i++) {
    await publisher.says(pub('a', 'x'.repeat(10 * KIB)));
    gateway.clock.advance(20);
  }
  expect(gateway.listener.stats()).toMatchObject({ slowConsumers: 1, connections: 2 });
  expect(gateway.listener.stats().stalls, 'its publisher was slowed down first').toBeGreaterThan(0);
  gateway.clock.advance(20);
  await publisher.says(pub('a', 'last'));
  expect(healthy.take()).toContain('last');
  expect(gateway.log.map(({ msg }) => msg)).toContain(
    'a NATS client reads too slowly and was cut off (slow consumer)',
  );
});

test('all unread bytes together have a limit: whoever has most of them goes', async () => {
  open({ limits: { pendingBytesTotalMax: 300 * KIB } });
  const [much, little] = [await gateway.client(), await gateway.client()];
  await much.says('SUB a 1\r\nSUB b 2\r\n');
  await little.says('SUB b 1\r\n');
  much.stream.pause();
  little.stream.pause();
  const publisher = await gateway.client();
  await publisher.says(pub('a', 'x'.repeat(100 * KIB)));
  await publisher.says(pub('b', 'x'.repeat(120 * KIB)));
  expect(gateway.listener.stats()).toMatchObject({ slowConsumers: 1, connections: 2 });
  little.stream.resume();
  await little.settle();
  expect(little.take().length).toBeGreaterThan(120 * KIB);
});

test('a client that takes none of what waits for it is cut off after the write deadline', async () => {
  open();
  const stuck = await gateway.client();
  await stuck.says('SUB a 1\r\n');
  stuck.stream.pause();
  const publisher = await gateway.client();
  await publisher.says(pub('a', 'x'.repeat(200 * KIB)));
  gateway.clock.advance(9_000);
  expect(gateway.listener.stats().slowConsumers).toBe(0);
  gateway.clock.advance(2_000);
  expect(gateway.listener.stats().slowConsumers).toBe(1);
});

test('a silent client is asked whether it is there, and closed when it does not answer', async () => {
  open({ limits: { pingIntervalMs: 10_000 } });
  const silent = await gateway.client();
  gateway.clock.advance(2_000);
  expect(await silent.asks(''), 'the first PING measures the way').toBe('PING\r\n');
  await silent.says('PONG\r\n');
  gateway.clock.advance(11_000);
  expect(await silent.asks('')).toBe('PING\r\n');
  gateway.clock.advance(10_500);
  expect(await silent.asks('')).toBe('PING\r\n');
  gateway.clock.advance(10_500);
  expect(await silent.asks('')).toBe("-ERR 'Stale Connection'\r\n");
  expect(silent.ended).toBe(true);
  const busy = await gateway.client();
  for (let i = 0; i < 20; i++) {
    gateway.clock.advance(5_000);
    await busy.says(pub('a', 'x'));
  }
  expect(busy.take(), 'whoever talks is there').toBe('PING\r\n');
});

test('more clients than there may be are told so', async () => {
  open({ limits: { connectionsMax: 2 } });
  const clients = [await gateway.client(), await gateway.client()];
  const third = await gateway.client('');
  expect(third.greeting).toMatch(/^INFO .*\r\n-ERR 'maximum connections exceeded'\r\n$/);
  expect(third.ended).toBe(true);
  clients[0]?.stream.destroy();
  await third.settle();
  expect((await gateway.client('')).greeting).toMatch(/^INFO .*\r\n$/);
});

test('subscriptions have limits: for one client, for all, and in how deep they are', async () => {
  open({
    limits: { subscriptionsMax: 3, subscriptionsTotalMax: 5, subscriptionTokensTotalMax: 100 },
  });
  const refused = "-ERR 'maximum subscriptions exceeded'\r\n";
  const [a, b] = [await gateway.client(), await gateway.client()];
  const subs = (count: number): string =>
    Array.from({ length: count }, (_, i) => `SUB s.${i} ${i}\r\n`).join('');
  expect(await a.asks(subs(4))).toBe(refused);
  expect(await b.asks(subs(3))).toBe(refused);
  expect(await b.asks('UNSUB 0\r\nSUB other 9\r\n')).toBe('');
  await a.says('UNSUB 0\r\nUNSUB 1\r\nUNSUB 2\r\n');
  expect(await a.asks(`SUB ${'*.'.repeat(99)}a 1\r\n`), 'a bomb of tokens').toBe(refused);
  expect(await a.asks(`SUB ${'a'.repeat(1100)} 1\r\n`)).toBe("-ERR 'Invalid Subject'\r\n");
  for (const client of [a, b]) client.stream.destroy();
  await a.settle();
  expect(gateway.broker.subscriptions).toBe(0);
  expect(gateway.listener.stats().subscriptions).toBe(0);
});

test('a client that breaks the protocol, a byte at a time, disturbs nobody', async () => {
  open();
  const good = await gateway.client();
  await good.says('SUB a 1\r\n');
  const bad = await gateway.client();
  for (const byte of 'PUB a 5\r\nhel') await bad.says(byte);
  await good.says(pub('a', 'x'));
  expect(good.take()).toBe('MSG a 1 1\r\nx\r\n');
  await bad.says('lo\r\n');
  expect(good.take()).toBe('MSG a 1 5\r\nhello\r\n');
  expect(await bad.asks('NONSENSE')).toBe("-ERR 'Unknown Protocol Operation'\r\n");
  expect(bad.ended).toBe(true);
  expect(gateway.listener.stats()).toMatchObject({ protocolErrors: 1, connections: 1 });
});

test('a stop is announced, answers what was taken, and closes', async () => {
  open();
  const stored = gateway.stream('plant.>');
  const client = await gateway.client();
  await client.says(`SUB _INBOX.1 1\r\n${pub('plant.a', 'x', '_INBOX.1')}`);
  const stopped = gateway.listener.stop(5_000);
  await client.settle();
  const info = client.take();
  expect(JSON.parse(info.slice(5))).toMatchObject({ ldm: true });
  expect(await client.asks('PING\r\n'), 'it is served for a moment').toMatch(/^PONG/);
  gateway.clock.advance(400);
  await client.settle();
  expect(client.ended).toBe(false);
  stored.ack();
  expect(await client.asks('')).toContain('"seq":1');
  await until('the end', () => client.ended);
  client.stream.end();
  await client.settle();
  gateway.clock.advance(2_000);
  await stopped;
});

test('a stop does not wait for a disk that never answers', async () => {
  open();
  gateway.stream('plant.>');
  const client = await gateway.client();
  await client.says(pub('plant.a', 'x', '_INBOX.1'));
  const stopped = gateway.listener.stop(1_000);
  gateway.clock.advance(1_100);
  await stopped;
  await until('the end', () => client.ended);
});

async function large(client: RawClient, bytes: number): Promise<void> {
  await client.says(pub('big', 'y'.repeat(bytes)));
}

test('large messages and small ones keep their order, to every subscriber', async () => {
  open();
  const readers = [await gateway.client(), await gateway.client()];
  for (const reader of readers) await reader.says('SUB > 1\r\n');
  const publisher = await gateway.client();
  await large(publisher, 300 * KIB);
  await publisher.says(pub('small', '1') + pub('big', 'z'.repeat(5000)) + pub('small', '2'));
  const expected =
    `MSG big 1 ${300 * KIB}\r\n${'y'.repeat(300 * KIB)}\r\n` +
    `MSG small 1 1\r\n1\r\nMSG big 1 5000\r\n${'z'.repeat(5000)}\r\nMSG small 1 1\r\n2\r\n`;
  for (const reader of readers) {
    await reader.settle();
    expect(reader.take() === expected).toBe(true);
  }
});

test('headers go only to clients that take them', async () => {
  open();
  const [modern, old] = [
    await gateway.client(),
    await gateway.client('CONNECT {"verbose":false}\r\n'),
  ];
  for (const client of [modern, old]) await client.says('SUB a 1\r\n');
  await modern.says('HPUB a r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n');
  expect(modern.take()).toBe('HMSG a 1 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n');
  expect(old.take()).toBe('MSG a 1 r 2\r\nhi\r\n');
  expect(await old.asks('HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n')).toBe('');
  expect(old.ended).toBe(true);
});
