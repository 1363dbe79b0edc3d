// The door of the JetStream API: what is asked under its subjects is answered, whatever it is, and nobody can hold it up.

import { expect, test } from 'vitest';
import { ApiError } from '../../../../src/jetstream/api/api-error.ts';
import type { Endpoint, RawEndpoint } from '../../../../src/jetstream/api/endpoint.ts';
import { Router } from '../../../../src/jetstream/api/router.ts';
import { PublishError } from '../../../../src/message.ts';
import { GatewayStore, streamOrder } from '../../../support/gateway-store.ts';
import { ApiGateway } from '../../../support/jetstream-api.ts';

function endpoint(subject: string, answer: Endpoint['answer']): Endpoint {
  return { subject, type: 'test_response', answer };
}

test('an endpoint is found by its subject: a literal before a wildcard, and the wildcards are told', () => {
  const router = new Router<string>();
  for (const subject of ['INFO', 'A.*', 'A.B', 'A.*.>', 'A.*.C', '*.X.Y', 'K.*.*.C', 'K.>'])
    router.add(subject, subject);
  const found = (subject: string): unknown => {
    const route = router.find(subject);
    return route === undefined ? undefined : [route.target, ...route.tokens];
  };
  expect(found('INFO')).toEqual(['INFO']);
  expect(found('A.B')).toEqual(['A.B']);
  expect(found('A.Z')).toEqual(['A.*', 'Z']);
  expect(found('A.Z.C')).toEqual(['A.*.C', 'Z']);
  expect(found('A.Z.q.r.s')).toEqual(['A.*.>', 'Z', 'q.r.s']);
  expect(found('B.X.Y')).toEqual(['*.X.Y', 'B']);
  expect(found('K.q.r.C')).toEqual(['K.*.*.C', 'q', 'r']);
  expect(found('K.q.r.D')).toEqual(['K.>', 'q.r.D']);
  for (const subject of ['', 'A', 'INFO.x', 'B.X', 'B.X.Y.Z', '__proto__', 'constructor'])
    expect(found(subject)).toBeUndefined();
});

test('a request that nobody knows is a bad request', async () => {
  await using at = await new GatewayStore().open();
  const gateway = new ApiGateway(at);
  for (const subject of [
    'FOO',
    'STREAM.CREATE',
    'STREAM.INFO.a.b',
    'STREAM.NAMES.x',
    'constructor',
  ])
    expect(await gateway.ask(subject)).toEqual({
      type: 'io.nats.jetstream.api.v1.system_response',
      error: { code: 400, err_code: 10003, description: 'bad request' },
    });
});

test('a request may ask for a level of the API, and is refused beyond ours', async () => {
  await using at = await new GatewayStore().open();
  const gateway = new ApiGateway(at);
  const level = (value: string) => gateway.ask('INFO', '', `Nats-Required-Api-Level: ${value}`);
  for (const value of ['0', '4', '-1']) expect((await level(value)).error).toBeUndefined();
  for (const value of ['5', 'x', '4.5', '99999999999999999999'])
    expect((await level(value)).error).toEqual({
      code: 412,
      err_code: 10185,
      description: 'JetStream minimum api level required',
    });
});

test('an endpoint that sends what it likes says whether somebody is there', async () => {
  await using at = await new GatewayStore().open();
  const gateway = new ApiGateway(at);
  const seen: string[] = [];
  const raw: RawEndpoint = {
    subject: 'RAW.*',
    offer: ({ tokens: [name = ''] }) => {
      seen.push(name);
      if (name === 'broken') throw new TypeError('broken');
      return name === 'here';
    },
  };
  gateway.api.add([raw]);
  const replies: string[] = [];
  at.broker.subscribe('reply', {
    deliver: ({ headers }) => void replies.push(headers?.toString() ?? ''),
  });
  const publish = (name: string, headers = ''): unknown =>
    at.broker.publish({
      subject: `$JS.API.RAW.${name}`,
      reply: 'reply',
      data: Buffer.alloc(0),
      headers: Buffer.from(`NATS/1.0\r\n${headers}\r\n`),
    });
  expect(publish('here')).toBe('delivered');
  expect(publish('gone')).toBe('nobody');
  expect(publish('broken')).toBe('delivered');
  expect(seen).toEqual(['here', 'gone', 'broken']);
  expect(replies).toEqual(['NATS/1.0 500 internal error\r\n\r\n']);
});

test('what an endpoint throws is answered; what nobody foresaw is logged once and harms nobody', async () => {
  await using at = await new GatewayStore().open();
  const gateway = new ApiGateway(at);
  gateway.api.add([
    endpoint('T.API', () => Promise.reject(new ApiError(404, 10059, 'stream not found'))),
    endpoint('T.FULL', () => Promise.reject(new PublishError(503, 10077, 'no room'))),
    endpoint('T.BUG', () => {
      throw new TypeError('a bug');
    }),
    endpoint('T.LATER', () => Promise.reject(new RangeError('a bug too'))),
  ]);
  expect((await gateway.ask('T.API')).error).toMatchObject({ code: 404, err_code: 10059 });
  expect((await gateway.ask('T.FULL')).error).toMatchObject({ code: 503, err_code: 10077 });
  for (const subject of ['T.BUG', 'T.LATER', 'T.BUG'])
    expect((await gateway.ask(subject)).error).toMatchObject({ code: 500, err_code: 10051 });
  expect(gateway.logged).toHaveLength(1);
  expect(gateway.api.counters).toEqual({ total: 5, errors: 5, inFlight: 0 });
});

test('a request that is too big is refused before it is read', async () => {
  await using at = await new GatewayStore().open();
  const gateway = new ApiGateway(at);
  let asked = 0;
  gateway.api.add([endpoint('T.ANY', () => ({ asked: ++asked }))]);
  const { error } = await gateway.ask('T.ANY', Buffer.alloc(256 * 1024 + 1, 0x5b));
  expect(error).toMatchObject({ code: 400, err_code: 10054 });
  expect(asked).toBe(0);
});

test('a client that asks faster than it can be served hears so, and others are served', async () => {
  await using at = await new GatewayStore().open();
  const gateway = new ApiGateway(at);
  let open: () => void = () => {};
  const gate = new Promise<void>((resolve) => (open = resolve));
  gateway.api.add([endpoint('T.SLOW.*', () => gate.then(() => ({ done: true })))]);
  const me = {};
  const asked = Array.from({ length: 1_100 }, (_, i) => gateway.send(`T.SLOW.s${i}`, '', '', me));
  const other = gateway.send('T.SLOW.other', '', '', {});
  expect(gateway.api.counters.inFlight).toBe(1_025);
  const refused = asked.filter(({ answer }) => answer?.error?.err_code === 10167);
  expect(refused).toHaveLength(1_100 - 1_024);
  open();
  await gateway.settle(() => asked.every(({ answer }) => answer !== undefined));
  expect(asked.filter(({ answer }) => answer?.['done'] === true)).toHaveLength(1_024);
  expect(other.answer).toMatchObject({ done: true });
  expect(gateway.api.counters.inFlight).toBe(0);
});

test('a client that creates and asks without waiting sees what it created', async () => {
  await using at = await new GatewayStore().open();
  const gateway = new ApiGateway(at);
  const created = gateway.send('STREAM.CREATE.X', { name: 'X', subjects: ['x.>'] });
  const info = gateway.send('STREAM.INFO.X');
  const names = gateway.send('STREAM.NAMES');
  const gone = gateway.send('STREAM.DELETE.X');
  const after = gateway.send('STREAM.INFO.X');
  await gateway.settle(() => after.answer !== undefined);
  expect(created.answer?.error).toBeUndefined();
  expect(info.answer).toMatchObject({ config: { name: 'X' } });
  expect(names.answer?.['streams']).toEqual(['DATA', 'X']);
  expect(gone.answer?.['success']).toBe(true);
  expect(after.answer?.error?.err_code).toBe(10059);
});

test('consumers of one stream are asked for side by side, and each in its own order', async () => {
  await using at = await new GatewayStore().open();
  const gateway = new ApiGateway(at);
  const begun: string[] = [];
  let open: () => void = () => {};
  const gate = new Promise<void>((resolve) => (open = resolve));
  const answer: Endpoint['answer'] = ({ tokens: [, consumer = ''] }) => {
    begun.push(consumer);
    return gate.then(() => ({}));
  };
  gateway.api.add([endpoint('CONSUMER.CREATE.*.>', answer), endpoint('CONSUMER.INFO.*.*', answer)]);
  gateway.send('CONSUMER.CREATE.DATA.c1.data.x');
  gateway.send('CONSUMER.CREATE.DATA.c2.data.x');
  const last = gateway.send('CONSUMER.INFO.DATA.c1');
  expect(begun).toEqual(['c1.data.x', 'c2.data.x']);
  open();
  await gateway.settle(() => last.answer !== undefined);
  expect(begun.at(-1)).toBe('c1');
});

test('with a domain the API is found under its name as well', async () => {
  await using at = await new GatewayStore().open();
  const gateway = new ApiGateway(at, 'gw1');
  expect(await gateway.ask('$JS.gw1.API.INFO')).toMatchObject({ domain: 'gw1', streams: 1 });
  expect(await gateway.ask('$JS.API.INFO')).toMatchObject({ domain: 'gw1' });
  expect(await gateway.ask('$JS.gw1.API.STREAM.INFO.DATA')).toMatchObject({ domain: 'gw1' });
  expect(gateway.send('$JS.other.API.INFO').answer).toBeUndefined();
});

test('an answer goes where it is wanted only, and a delivery to a subject of the API is no request', async () => {
  await using at = await new GatewayStore().open();
  const gateway = new ApiGateway(at);
  const publish = (reply?: string): unknown =>
    at.broker.publish({
      subject: '$JS.API.INFO',
      data: Buffer.alloc(0),
      ...(reply === undefined ? {} : { reply }),
    });
  publish();
  publish('not a subject');
  publish('$JS.API.INFO');
  expect(gateway.api.counters.total).toBe(4);
  let heard = 0;
  const cancel = at.broker.subscribe('>', { deliver: () => void heard++ });
  publish('>');
  publish('a.*');
  // The two requests and their audits: an answer to no subject goes nowhere.
  expect(heard).toBe(4);
  cancel();
  expect(gateway.api.counters.total).toBe(6);
  at.broker.deliverTo('$JS.API.STREAM.DELETE.DATA', {
    subject: 'data.x',
    reply: 'r',
    data: Buffer.from(''),
  });
  expect(gateway.api.counters.total).toBe(6);
  gateway.api.close();
  expect(publish('r')).toBe('nobody');
});

test('whoever listens is told of every request and its answer', async () => {
  await using at = await new GatewayStore([streamOrder()]).open();
  const gateway = new ApiGateway(at);
  await gateway.ask('INFO');
  gateway.listen();
  await gateway.ask('STREAM.INFO.NONE', '{}');
  expect(gateway.told).toHaveLength(1);
  expect(gateway.told[0]).toMatchObject({
    subject: '$JS.EVENT.ADVISORY.API',
    event: {
      type: 'io.nats.jetstream.advisory.v1.api_audit',
      server: 'gw',
      client: { acc: '$G' },
      subject: '$JS.API.STREAM.INFO.NONE',
      request: '{}',
    },
  });
  expect(gateway.told[0]?.event['response']).toContain('stream not found');
});

test('what a single server cannot do is answered at once', async () => {
  await using at = await new GatewayStore().open();
  const gateway = new ApiGateway(at);
  for (const subject of [
    'STREAM.LEADER.STEPDOWN.DATA',
    'META.LEADER.STEPDOWN',
    'SERVER.REMOVE',
    'ACCOUNT.PURGE.x',
  ])
    expect((await gateway.ask(subject)).error).toEqual({
      code: 503,
      err_code: 10010,
      description: 'JetStream clustering support required',
    });
  const refused = async (subject: string, body: string) =>
    (await gateway.ask(subject, body)).error?.err_code;
  expect(await refused('STREAM.SNAPSHOT.DATA', '')).toBe(10003);
  expect(await refused('STREAM.SNAPSHOT.NONE', '{"deliver_subject":"x"}')).toBe(10059);
  expect(await refused('STREAM.SNAPSHOT.DATA', '{"deliver_subject":"x"}')).toBe(10064);
  expect(await refused('STREAM.RESTORE.DATA', '{"config":{}}')).toBe(10062);
});
