// The official client, unchanged, against an agent of ours over real sockets.

import { createInbox, headers, wsconnect } from '@nats-io/transport-node';
import { afterEach, expect, test } from 'vitest';
import { freePort } from '../support/nats-server.ts';
import { collect, NatsClients } from '../support/nats-clients.ts';
import { until } from '../support/until.ts';

const rig = new NatsClients();
const { start, listener, client } = rig;
afterEach(rig.end);

test('publish and subscribe, with wildcards, headers and groups', async () => {
  await start();
  const [a, b] = [await client(), await client()];
  const all = collect(a, 'site.>');
  const one = collect(a, 'site.*.temp');
  const groups = [collect(a, 'site.>', 'crew'), collect(b, 'site.>', 'crew')];
  await a.flush();
  const block = headers();
  block.append('Unit', 'C');
  block.append('Unit', 'K');
  for (let i = 0; i < 50; i++) b.publish('site.a.temp', `${i}`, { headers: block });
  b.publish('site.größe', 'x');
  await b.flush();
  await until('all of it', () => all.length === 51);
  expect(all.map((message) => message.string())).toEqual([
    ...Array.from({ length: 50 }, (_, i) => `${i}`),
    'x',
  ]);
  expect(all[0]?.headers?.values('Unit')).toEqual(['C', 'K']);
  expect(all[50]?.subject).toBe('site.größe');
  expect(one.length).toBe(50);
  await a.flush();
  expect(groups.map((got) => got.length).reduce((x, y) => x + y)).toBe(51);
  for (const got of groups) expect(got.length).toBeGreaterThan(5);
});

test('requests are answered, or at once refused where nobody is there', async () => {
  await start();
  const [asker, service] = [await client(), await client()];
  service.subscribe('double', {
    callback: (_error, message) => void message.respond(message.string().repeat(2)),
  });
  await service.flush();
  expect((await asker.request('double', 'ab')).string()).toBe('abab');
  expect((await asker.request('double', 'cd', { noMux: true, timeout: 2000 })).string()).toBe(
    'cdcd',
  );
  await expect(asker.request('nowhere', 'x', { timeout: 10_000 })).rejects.toThrow('no responders');
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) => asker.request('double', `${i}`)),
  );
  expect(answers.map((answer) => answer.string())).toEqual(
    Array.from({ length: 200 }, (_, i) => `${i}${i}`),
  );
  expect(JSON.parse((await asker.request('$SYS.REQ.USER.INFO')).string())).toMatchObject({
    server: { name: 'gw7' },
    data: { account: '$G' },
  });
});

test('a publish to a stream is answered with a PubAck, and a duplicate with the first one', async () => {
  await start();
  const nc = await client();
  const publish = async (data: string, id: string): Promise<unknown> => {
    const block = headers();
    block.set('Nats-Msg-Id', id);
    return (await nc.request('plant1.a', data, { headers: block, timeout: 5000 })).json();
  };
  expect(await publish('1', 'a')).toEqual({ stream: 'SENSORS', seq: 1, domain: 'gw7' });
  expect(await publish('2', 'b')).toEqual({ stream: 'SENSORS', seq: 2, domain: 'gw7' });
  expect(await publish('1', 'a')).toEqual({
    stream: 'SENSORS',
    seq: 1,
    domain: 'gw7',
    duplicate: true,
  });
  expect(rig.agent?.agent.parts.jetstream.stream('SENSORS')?.state()).toMatchObject({
    messages: 2,
    durableSeq: 2,
  });
});

test('a subscription with a maximum ends by itself, and a drain loses nothing', async () => {
  await start();
  const [a, b] = [await client(), await client()];
  const limited = a.subscribe('a', { max: 3 });
  const got = (async () => {
    let count = 0;
    for await (const _ of limited) count++;
    return count;
  })();
  const drained = collect(a, 'b');
  await a.flush();
  for (let i = 0; i < 10; i++) b.publish('a');
  for (let i = 0; i < 1000; i++) b.publish('b', 'x'.repeat(100));
  await b.flush();
  expect(await got).toBe(3);
  await a.drain();
  expect(drained.length).toBe(1000);
});

test('a message over max_payload is refused by the client, who knows the limit', async () => {
  await start();
  const nc = await client();
  expect(nc.info?.max_payload).toBe(1024 * 1024);
  expect(() => nc.publish('a', Buffer.alloc(1024 * 1024 + 1))).toThrow(/max_payload/i);
  const got = collect(nc, 'a');
  nc.publish('a', Buffer.alloc(1024 * 1024, 7));
  await nc.flush();
  expect(got[0]?.data.length).toBe(1024 * 1024);
  expect(got[0]?.data.every((byte) => byte === 7)).toBe(true);
});

test('clients come back by themselves after a restart, with their subscriptions', async () => {
  const port = await freePort();
  const tables = `[nats]\nlisten = "127.0.0.1:${port}"\n`;
  await start(tables);
  const nc = await client({ reconnectTimeWait: 20, maxReconnectAttempts: -1 });
  const statuses: string[] = [];
  void (async () => {
    for await (const { type } of nc.status()) statuses.push(type);
  })();
  const got = collect(nc, 'a.>');
  await nc.flush();
  await rig.agent?.stop();
  await until('ldm', () => statuses.includes('ldm'));
  await until('the loss', () => statuses.includes('disconnect'));
  await start(tables);
  await until('the return', () => statuses.includes('reconnect'));
  const other = await client();
  other.publish('a.b', 'back');
  await until('the message', () => got.length === 1);
});

test('the same client over WebSocket, but not from pages of elsewhere', async () => {
  await start(`[nats]
listen = "127.0.0.1:0"
[nats.websocket]
listen = "127.0.0.1:0"
origins = ["https://panel.example.com"]
`);
  const port = listener().websocketAddress?.port ?? 0;
  const nc = await wsconnect({ servers: `ws://127.0.0.1:${port}` });
  rig.clients.push(nc);
  const tcp = await client();
  const got = collect(nc, 'a.>');
  await nc.flush();
  tcp.publish('a.b', 'x'.repeat(100_000));
  tcp.publish('a.c', 'y');
  await until('both', () => got.length === 2);
  expect(got.map((message) => message.data.length)).toEqual([100_000, 1]);
  expect((await tcp.request('a.d', '', { timeout: 500 }).catch(String)) as string).toMatch(
    /timeout/i,
  );
  const { WebSocket } = await import('ws');
  const opens = (origin: string): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}`, { origin });
      socket.on('open', () => resolve(true));
      socket.on('error', () => resolve(false));
      socket.on('message', () => socket.terminate());
    });
  expect(await opens('https://panel.example.com')).toBe(true);
  expect(await opens(`http://127.0.0.1:${port}`)).toBe(true);
  expect(await opens('https://evil.example.com')).toBe(false);
});

test('an inbox of the client’s own is heard, and /connz tells of the client', async () => {
  await start();
  const nc = await client({ name: 'panel', inboxPrefix: '_INBOX.panel' });
  const inbox = createInbox('_INBOX.panel');
  const got = collect(nc, inbox);
  const h = headers();
  h.set('k', 'v');
  nc.publish(inbox, 'x', { headers: h });
  await nc.flush();
  expect(got.length).toBe(1);
  const [view] = [...listener().connections];
  expect(view?.options).toMatchObject({ name: 'panel', lang: 'nats.js', headers: true });
  const { inMsgs, inBytes, outMsgs, outBytes } = nc.stats();
  expect(view?.counters, 'headers are counted').toEqual({
    inMsgs: outMsgs,
    inBytes: outBytes,
    outMsgs: inMsgs,
    outBytes: inBytes,
  });
});
