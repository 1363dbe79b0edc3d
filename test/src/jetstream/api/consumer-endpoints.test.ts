// What the API answers about consumers: in nats-server's words, on a real store. Texts and numbers are those that a
// nats-server 2.15.1 gave to the same requests.

import { expect, test } from 'vitest';
import { ApiError } from '../../../../src/jetstream/api/api-error.ts';
import { consumerEndpoints } from '../../../../src/jetstream/api/consumer-endpoints.ts';
import type { Endpoint } from '../../../../src/jetstream/api/endpoint.ts';
import { Router } from '../../../../src/jetstream/api/router.ts';
import { GatewayStore, streamOrder } from '../../../support/gateway-store.ts';

type Json = Record<string, unknown>;

/** A store with its endpoints. */
class Api implements AsyncDisposable {
  readonly at: GatewayStore;
  #router = new Router<Endpoint>();

  constructor(at: GatewayStore) {
    this.at = at;
  }

  static async open(options: ConstructorParameters<typeof GatewayStore>[1] = {}): Promise<Api> {
    const orders = [
      streamOrder({ name: 'S', subjects: ['a.>'] }),
      streamOrder({ name: 'W', subjects: ['w.>'], retention: 'workqueue' }),
    ];
    const api = new Api(await new GatewayStore(orders, options).open());
    api.connect();
    return api;
  }

  connect(): void {
    this.#router = new Router();
    const { jetstream, clock } = this.at;
    for (const endpoint of consumerEndpoints(jetstream, { clock, version: '2.14.0' }))
      this.#router.add(endpoint.subject, endpoint);
  }

  /** The answer to a request, as the router makes it; an error is `<err_code> <text>`. */
  async ask(subject: string, body: string | Json = ''): Promise<Json> {
    const route = this.#router.find(subject);
    if (route === undefined) throw new Error(`no endpoint for ${subject}`);
    const data = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
    const message = { subject, data };
    try {
      const answering = Promise.resolve(
        (async () =>
          route.target.answer({ tokens: route.tokens, data, message, from: undefined }))(),
      );
      return { ...(await this.#settled(answering)) };
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const { code, errCode } = error;
      const status = code === 400 ? '' : `${code} `;
      return { ...route.target.errorFields, error: `${status}${errCode} ${error.message}` };
    }
  }

  async error(subject: string, body?: string | Json): Promise<unknown> {
    return (await this.ask(subject, body))['error'];
  }

  create(config: Json, more: Json = {}, subject = `CONSUMER.CREATE.S.${String(config['name'])}`) {
    return this.ask(subject, { stream_name: subject.split('.')[2] ?? '', config, ...more });
  }

  /** Lets the disk answer until `promise` is settled. */
  async #settled<T>(promise: Promise<T>): Promise<T> {
    let over = false;
    const end = (): void => void (over = true);
    promise.then(end, end);
    for (let i = 0; i < 200 && !over; i++) {
      this.at.settle();
      await new Promise((resolve) => setImmediate(resolve));
    }
    return promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.at[Symbol.asyncDispose]();
  }
}

test('a consumer is made, shown, listed, changed and deleted', async () => {
  await using api = await Api.open();
  const made = await api.create({ name: 'c', ack_policy: 'explicit' });
  expect(made).toMatchObject({
    stream_name: 'S',
    name: 'c',
    config: {
      name: 'c',
      ack_policy: 'explicit',
      ack_wait: 30e9,
      metadata: { '_nats.level': '4', '_nats.req.level': '0', '_nats.ver': '2.14.0' },
    },
    delivered: { consumer_seq: 0, stream_seq: 0 },
    num_pending: 0,
  });
  expect(await api.ask('CONSUMER.INFO.S.c')).toEqual(made);
  expect(await api.ask('CONSUMER.INFO.S.c', '{ }')).toEqual(made);
  expect(await api.ask('CONSUMER.NAMES.S')).toEqual({
    total: 1,
    offset: 0,
    limit: 1024,
    consumers: ['c'],
  });
  const listed = { ...made, config: { ...(made['config'] as Json) } };
  listed.config['metadata'] = { '_nats.req.level': '0' };
  expect(await api.ask('CONSUMER.LIST.S')).toEqual({
    total: 1,
    offset: 0,
    limit: 256,
    consumers: [listed],
  });
  const changed = await api.create({ name: 'c', ack_policy: 'explicit', description: 'x' });
  expect(changed).toMatchObject({ config: { description: 'x' } });
  expect(await api.ask('CONSUMER.DELETE.S.c')).toEqual({ success: true });
  expect(await api.error('CONSUMER.DELETE.S.c')).toBe('404 10014 consumer not found');
  expect(await api.ask('CONSUMER.NAMES.S')).toMatchObject({ total: 0, consumers: [] });
});

test('create makes no other, and update changes only what is there', async () => {
  await using api = await Api.open();
  const durable = { name: 'd', durable_name: 'd' };
  const exists = '10148 consumer already exists';
  expect(await api.create(durable, { action: 'update' })).toEqual({
    error: '10149 consumer does not exist',
  });
  await api.create(durable, { action: 'create' });
  expect(await api.create(durable, { action: 'create' })).toMatchObject({ name: 'd' });
  expect(await api.create({ ...durable, max_batch: 1 }, { action: 'create' })).toEqual({
    error: exists,
  });
  expect(await api.create({ ...durable, max_batch: 1 }, { action: 'update' })).toMatchObject({
    config: { max_batch: 1 },
  });
  expect(await api.create({ ...durable, ack_policy: 'all' })).toEqual({
    error: '500 10012 ack policy can not be updated',
  });
});

test('the names in subject and request must agree', async () => {
  await using api = await Api.open();
  const mismatch = '10017 consumer name in subject does not match durable name in request';
  const ask = (subject: string, config: Json) => api.error(subject, { stream_name: 'S', config });
  expect(await ask('CONSUMER.CREATE.S.c', { durable_name: 'e' })).toBe(mismatch);
  expect(await ask('CONSUMER.DURABLE.CREATE.S.c', { durable_name: 'e' })).toBe(mismatch);
  expect(await ask('CONSUMER.DURABLE.CREATE.S.c', {})).toBe(
    '10018 consumer expected to be durable but a durable name was not set',
  );
  expect(await ask('CONSUMER.CREATE.S', { durable_name: 'e' })).toBe(
    '10020 consumer expected to be ephemeral but a durable name was set in request',
  );
  expect(await ask('CONSUMER.CREATE.S.a/b', {})).toBe(
    '10127 Consumer name can not contain path separators',
  );
  expect(await ask('CONSUMER.CREATE.S', { name: 'a\\b' })).toBe(
    '10127 Consumer name can not contain path separators',
  );
  const stream = '10056 stream name in subject does not match request';
  expect(await api.error('CONSUMER.CREATE.S.c', '')).toBe(stream);
  expect(await api.error('CONSUMER.CREATE.S.c', { stream_name: 'T' })).toBe(stream);
  expect(await api.error('CONSUMER.CREATE.T.c', { stream_name: 'T' })).toBe(
    '404 10059 stream not found',
  );
  const renamed = await api.create({ name: 'other' }, {}, 'CONSUMER.CREATE.S.c');
  expect(renamed, 'that of the subject counts').toMatchObject({ name: 'c', config: { name: 'c' } });
});

test('a consumer without a name gets one, and none stands in its configuration', async () => {
  await using api = await Api.open();
  const made = await api.create({}, {}, 'CONSUMER.CREATE.S');
  expect(made['name']).toMatch(/^[0-9A-Za-z]{8}$/);
  expect(made['config']).not.toHaveProperty('name');
  expect(await api.ask(`CONSUMER.INFO.S.${String(made['name'])}`)).toEqual(made);
});

test('a filter in the subject must be the one of the request', async () => {
  await using api = await Api.open();
  const subject = 'CONSUMER.CREATE.S.f.a.b';
  expect(await api.create({ name: 'f', filter_subject: 'a.b' }, {}, subject)).toMatchObject({
    config: { filter_subject: 'a.b' },
  });
  const mismatch =
    '10131 Consumer create request did not match filtered subject from create subject';
  expect((await api.create({ name: 'f' }, {}, subject))['error']).toBe(mismatch);
  expect((await api.create({ filter_subject: 'a.c' }, {}, subject))['error']).toBe(mismatch);
  expect((await api.create({ filter_subjects: ['a.b'] }, {}, subject))['error']).toBe(
    '10137 consumer with multiple subject filters cannot use subject based API',
  );
});

test('what is wrong with a request is said before anything is done', async () => {
  await using api = await Api.open();
  expect((await api.create({ name: 'c', num_replicas: 3 }))['error']).toBe(
    '500 10074 replicas > 1 not supported in non-clustered mode',
  );
  expect((await api.create({ name: 'c', bogus: 1 }))['error']).toBe(
    '10025 invalid JSON: json: unknown field "bogus"',
  );
  expect((await api.create({ name: 'c' }, {}, 'CONSUMER.CREATE.W.c'))['error']).toBe(
    '10084 consumer in pull mode requires explicit ack policy on workqueue stream',
  );
  const empty = '10038 expected an empty request payload';
  expect(await api.error('CONSUMER.INFO.S.c', 'x')).toBe(empty);
  expect(await api.error('CONSUMER.DELETE.S.c', 'x')).toBe(empty);
  expect(await api.error('CONSUMER.INFO.S.c')).toBe('404 10014 consumer not found');
  expect(await api.error('CONSUMER.INFO.T.c')).toBe('404 10059 stream not found');
  expect(await api.ask('CONSUMER.NAMES.S')).toMatchObject({ total: 0 });
});

test('names and lists come in pages, in order', async () => {
  await using api = await Api.open();
  for (const name of ['b', 'c', 'a']) await api.create({ name });
  await api.create({ name: 'source', direct: true, deliver_subject: 'q' });
  expect(await api.ask('CONSUMER.NAMES.S', { offset: 1 })).toEqual({
    total: 3,
    offset: 1,
    limit: 1024,
    consumers: ['b', 'c'],
  });
  expect(await api.ask('CONSUMER.NAMES.S', { offset: 9 })).toMatchObject({
    offset: 3,
    consumers: [],
  });
  expect(await api.ask('CONSUMER.NAMES.S', { offset: -3 })).toMatchObject({ offset: 0 });
  expect(await api.ask('CONSUMER.NAMES.S', 'junk')).toMatchObject({ offset: 0, total: 3 });
  expect(await api.ask('CONSUMER.LIST.S', { offset: 2 })).toMatchObject({
    consumers: [{ name: 'c' }],
  });
  const nothing = { total: 0, offset: 0, limit: 0, consumers: [] };
  expect(await api.ask('CONSUMER.NAMES.S', { nix: 9 })).toEqual({
    ...nothing,
    error: '10025 invalid JSON: json: unknown field "nix"',
  });
  expect(await api.ask('CONSUMER.LIST.T')).toEqual({
    ...nothing,
    error: '404 10059 stream not found',
  });
  expect(await api.ask('CONSUMER.INFO.S.source'), 'it can be read').toMatchObject({
    config: { direct: true },
  });
});

test('a list is no larger than a message may be', async () => {
  await using api = await Api.open();
  const metadata = { a: 'x'.repeat(120_000) };
  for (let i = 0; i < 10; i++) await api.create({ name: `c${i}`, metadata });
  const first = await api.ask('CONSUMER.LIST.S');
  expect(first).toMatchObject({ total: 10, offset: 0, limit: 256 });
  expect(first['consumers']).toHaveLength(8);
  const rest = await api.ask('CONSUMER.LIST.S', { offset: 8 });
  expect(rest['consumers']).toMatchObject([{ name: 'c8' }, { name: 'c9' }]);
});

test('a pause lasts until its time, by itself or by the next request', async () => {
  await using api = await Api.open();
  await api.create({ name: 'c', durable_name: 'c' });
  const until = new Date(api.at.clock.wallMs() + 60_000).toISOString();
  expect(await api.ask('CONSUMER.PAUSE.S.c', { pause_until: until })).toEqual({
    paused: true,
    pause_until: until.replace('.000', ''),
    pause_remaining: 60e9,
  });
  expect(await api.ask('CONSUMER.INFO.S.c')).toMatchObject({
    paused: true,
    pause_remaining: 60e9,
    config: { pause_until: until.replace('.000', ''), metadata: { '_nats.req.level': '1' } },
  });
  const again = await api.create({ name: 'c', durable_name: 'c', description: 'x' });
  expect(again, 'another configuration does not end it').toMatchObject({ paused: true });
  const zero = '0001-01-01T00:00:00Z';
  expect(await api.ask('CONSUMER.PAUSE.S.c')).toEqual({ paused: false, pause_until: zero });
  expect(await api.ask('CONSUMER.INFO.S.c')).not.toHaveProperty('paused');
  const past = { pause_until: '2020-01-01T00:00:00.5+02:00' };
  expect(await api.ask('CONSUMER.PAUSE.S.c', past)).toEqual({
    paused: false,
    pause_until: '2019-12-31T22:00:00.5Z',
  });
  expect(await api.ask('CONSUMER.PAUSE.S.c', { pause_until: 'x' })).toEqual({
    paused: false,
    pause_until: zero,
    error:
      '10025 invalid JSON: parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"',
  });
  expect(await api.error('CONSUMER.PAUSE.S.nix')).toBe('404 10014 consumer not found');
});

test('a consumer can be made paused, and is so after a start', async () => {
  await using api = await Api.open();
  const config = {
    durable_name: 'c',
    name: 'c',
    pause_until: '2099-01-01T00:00:00.123456789+02:00',
  };
  const shown = { paused: true, config: { pause_until: '2098-12-31T22:00:00.123456789Z' } };
  expect(await api.create(config)).toMatchObject(shown);
  expect(await api.create(config, { action: 'create' })).toMatchObject(shown);
  await api.at.close();
  await api.at.open();
  api.connect();
  expect(await api.ask('CONSUMER.INFO.S.c')).toMatchObject(shown);
});

test('a reset goes only so far back as the consumer may begin', async () => {
  await using api = await Api.open();
  const begin = { deliver_policy: 'by_start_sequence', opt_start_seq: 5 };
  await api.create({ name: 'seq', ...begin });
  await api.create({ name: 'new', deliver_policy: 'new' });
  const time = { deliver_policy: 'by_start_time', opt_start_time: '2099-01-01T00:00:00Z' };
  api.at.publish('a.x', '1');
  api.at.settle();
  await api.create({ name: 'time', ...time });
  const refused = async (name: string, body: string | Json): Promise<unknown> =>
    api.error(`CONSUMER.RESET.S.${name}`, body);
  expect(await refused('seq', { seq: 4 })).toBe('10204 invalid reset: below start seq');
  expect(await refused('time', { seq: 1 })).toBe('10204 invalid reset: below start time');
  expect(await refused('new', { seq: 1 })).toBe('10204 invalid reset: not allowed');
  expect(await api.ask('CONSUMER.RESET.S.new', 'junk')).toEqual({
    reset_seq: 0,
    error: "10025 invalid JSON: invalid character 'j' looking for beginning of value",
  });
  expect(await refused('nix', '')).toBe('404 10014 consumer not found');
});

test('a priority group is freed by its name', async () => {
  await using api = await Api.open();
  await api.create({ name: 'c', priority_policy: 'pinned_client', priority_groups: ['g'] });
  const unpin = (body: string): Promise<Json> => api.ask('CONSUMER.UNPIN.S.c', body);
  expect(await unpin('{"group":"g"}')).toEqual({});
  expect(await unpin('{"group":"h"}')).toEqual({
    error: '10160 Provided priority group does not exist for this consumer',
  });
  expect((await unpin('{"group":"a b"}'))['error']).toMatch(/^10162 /);
  expect(await unpin('{}')).toEqual({ error: '10025 invalid JSON: consumer group not specified' });
  expect(await unpin('')).toEqual({ error: '10025 invalid JSON: unexpected end of JSON input' });
  expect(await unpin('[]')).toEqual({
    error:
      '10025 invalid JSON: json: cannot unmarshal array into Go value of type server.JSApiConsumerUnpinRequest',
  });
  expect(await api.error('CONSUMER.UNPIN.T.c', { group: 'g' })).toBe('404 10059 stream not found');
});

test('the forwarder is a consumer that can be read, and nothing else', async () => {
  await using api = await Api.open({ forwards: new Map([['S', { graceMs: 1000 }]]) });
  for (let i = 0; i < 3; i++) api.at.publish('a.x', `${i}`);
  api.at.settle();
  await api.create({ name: 'z' });
  await api.create({ name: 'a' });
  api.at.stream.confirm({ seq: 2, id: 'gw:S:e1:2', hubSeq: 7, hubCreated: 'x' });
  const info = await api.ask('CONSUMER.INFO.S.hub');
  expect(info).toMatchObject({
    name: 'hub',
    ack_floor: { stream_seq: 2 },
    num_pending: 1,
    config: { metadata: { '_nats.ver': '2.14.0' } },
  });
  expect(await api.ask('CONSUMER.NAMES.S')).toMatchObject({
    total: 3,
    consumers: ['a', 'hub', 'z'],
  });
  expect(await api.ask('CONSUMER.LIST.S')).toMatchObject({
    consumers: [{ name: 'a' }, { name: 'hub' }, { name: 'z' }],
  });
  const refusal =
    '500 10012 consumer hub is the forwarder of the gateway: it can be read, not changed';
  expect((await api.create({ name: 'hub' }))['error']).toBe(refusal);
  expect(await api.error('CONSUMER.DELETE.S.hub')).toBe(refusal);
  expect(await api.error('CONSUMER.PAUSE.S.hub')).toBe(refusal);
  expect(await api.error('CONSUMER.RESET.S.hub')).toBe(refusal);
  expect(await api.error('CONSUMER.UNPIN.S.hub', { group: 'g' })).toBe(refusal);
  expect(await api.error('CONSUMER.INFO.W.hub'), 'of another stream').toBe(
    '404 10014 consumer not found',
  );
});
