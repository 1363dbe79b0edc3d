// Streams through the API, on a real database: what is answered is on the disk, and is what nats-server 2.15 answers.

import { expect, test } from 'vitest';
import type { JetStreamView } from '../../../../src/jetstream/api/jetstream-view.ts';
import type { StreamConfig } from '../../../../src/jetstream/stream-types.ts';
import { GatewayStore, streamOrder } from '../../../support/gateway-store.ts';
import { ApiGateway, type ApiAnswer } from '../../../support/jetstream-api.ts';
import { schemaFaults } from '../../../support/jetstream-schemas.ts';

const ZERO = '0001-01-01T00:00:00Z';
const FILE = streamOrder({ name: 'FILE', subjects: ['file.>'] });

async function opened(domain?: string): Promise<ApiGateway & AsyncDisposable> {
  const at = await new GatewayStore([FILE]).open();
  const gateway = new ApiGateway(at, domain);
  return Object.assign(gateway, {
    [Symbol.asyncDispose]: async () => at[Symbol.asyncDispose](),
  });
}

function refusal({ error }: ApiAnswer): string {
  return error === undefined ? 'none' : `${error.code} ${error.err_code} ${error.description}`;
}

const make = (gateway: ApiGateway, name: string, more: object = {}) =>
  gateway.ask(`STREAM.CREATE.${name}`, { name, ...more });

function publish(gateway: ApiGateway, ...subjects: string[]): void {
  for (const subject of subjects) gateway.at.publish(subject, 'x');
  gateway.at.settle();
}

test('a stream is made, shown and deleted as by nats-server, and the answers keep to their schemas', async () => {
  await using gateway = await opened('gw1');
  gateway.listen();
  const created = await make(gateway, 'A', { subjects: ['a.>'] });
  expect(created).toMatchObject({
    type: 'io.nats.jetstream.api.v1.stream_create_response',
    did_create: true,
    created: '2026-01-01T00:00:00Z',
    config: {
      name: 'A',
      metadata: { '_nats.level': '4', '_nats.req.level': '0', '_nats.ver': '2.14.0' },
    },
  });
  expect(created['state']).toEqual({
    messages: 0,
    bytes: 0,
    first_seq: 0,
    first_ts: ZERO,
    last_seq: 0,
    last_ts: ZERO,
    consumer_count: 0,
  });
  expect(created).not.toHaveProperty('cluster');
  expect(created).not.toHaveProperty('domain');
  const info = await gateway.ask('STREAM.INFO.A');
  expect(info).toMatchObject({
    total: 0,
    offset: 0,
    limit: 0,
    domain: 'gw1',
    cluster: { leader: 'gw' },
  });
  const list = await gateway.ask('STREAM.LIST');
  expect(list).toMatchObject({
    total: 2,
    limit: 256,
    streams: [{ domain: 'gw1', config: { name: 'A' } }, {}],
  });
  const names = await gateway.ask('STREAM.NAMES');
  expect(names).toMatchObject({ total: 2, offset: 0, limit: 1_024, streams: ['A', 'FILE'] });
  const updated = await gateway.ask('STREAM.UPDATE.A', {
    name: 'A',
    subjects: ['a.>', 'b'],
    metadata: { k: 'v' },
  });
  expect(updated).toMatchObject({
    domain: 'gw1',
    config: { subjects: ['a.>', 'b'], metadata: { k: 'v' } },
  });
  const gone = await gateway.ask('STREAM.DELETE.A', '{}');
  expect(gone).toEqual({ type: 'io.nats.jetstream.api.v1.stream_delete_response', success: true });
  expect(refusal(await gateway.ask('STREAM.DELETE.A'))).toBe('404 10059 stream not found');
  for (const answer of [created, info, list, names, updated, gone, await gateway.ask('INFO')])
    expect(schemaFaults(answer)).toEqual([]);
  const events = gateway.told.filter(({ subject }) => !subject.endsWith('.API'));
  expect(events.map(({ subject, event }) => [subject, event['action'], event['domain']])).toEqual([
    ['$JS.EVENT.ADVISORY.STREAM.CREATED.A', 'create', 'gw1'],
    ['$JS.EVENT.ADVISORY.STREAM.UPDATED.A', 'modify', 'gw1'],
    ['$JS.EVENT.ADVISORY.STREAM.DELETED.A', 'delete', 'gw1'],
  ]);
  // The schema does not know the domain, which nats-server names.
  for (const { event } of events) {
    delete event['domain'];
    expect(schemaFaults(event)).toEqual([]);
  }
});

test('a stream is answered when it is on the disk, and not before', async () => {
  await using gateway = await opened();
  const asked = gateway.send('STREAM.CREATE.A', { name: 'A' });
  for (let i = 0; i < 20; i++) {
    gateway.at.clock.turn();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(asked.answer).toBeUndefined();
  await gateway.settle(() => asked.answer !== undefined);
  expect(asked.answer).toMatchObject({ did_create: true });
});

test('a stream that is there already is made again with the same configuration only', async () => {
  await using gateway = await opened();
  await make(gateway, 'A', { subjects: ['a.>'] });
  expect(
    refusal(await make(gateway, 'A', { subjects: ['a.>'], max_msgs: 0, num_replicas: 1 })),
  ).toBe('none');
  const taken = '400 10058 stream name already in use with a different configuration';
  expect(refusal(await make(gateway, 'A', { subjects: ['a.>'], max_msgs: 5 }))).toBe(taken);
  expect(refusal(await make(gateway, 'B', { subjects: ['*.x'], no_ack: true }))).toBe(
    '400 10065 subjects overlap with an existing stream',
  );
  const [one, two] = [{}, {}];
  const both = [one, two].map((from) => gateway.send('STREAM.CREATE.C', { name: 'C' }, '', from));
  await gateway.settle(() => both.every(({ answer }) => answer !== undefined));
  for (const { answer } of both) expect(answer).toMatchObject({ did_create: true });
});

test('a request for a stream is refused in the order and the words of nats-server', async () => {
  await using gateway = await opened();
  const create = async (name: string, body: object) =>
    refusal(await gateway.ask(`STREAM.CREATE.${name}`, body));
  const update = async (name: string, body: object) =>
    refusal(await gateway.ask(`STREAM.UPDATE.${name}`, body));
  const mismatch = '400 10056 stream name in subject does not match request';
  expect(await create('A', { name: 'B' })).toBe(mismatch);
  expect(await create('A', {})).toBe(mismatch);
  expect(await create('a/b', { name: 'a/b' })).toBe(
    '400 10128 Stream name can not contain path separators',
  );
  expect(await create('A', { name: 'A', sealed: true, max_age: 1 })).toBe(
    '500 10052 stream configuration for create can not be sealed',
  );
  expect(await create('A', { name: 'A', mirror_direct: true })).toBe(
    '500 10052 stream has no mirror but does have mirror direct',
  );
  expect(await update('A', { name: 'A' })).toBe('404 10059 stream not found');
  expect(await update('A', { name: 'A', subjects: ['..'] })).toBe('500 10052 invalid subject');
  expect(await update('A', { name: 'B' })).toBe(mismatch);
  expect(refusal(await gateway.ask('STREAM.DELETE.FILE', 'x'))).toBe(
    '400 10038 expected an empty request payload',
  );
});

test('a stream of the configuration file is shown as one that cannot be changed, and is not', async () => {
  await using gateway = await opened();
  const { config } = await gateway.ask('STREAM.INFO.FILE');
  expect(config).toMatchObject({
    deny_delete: true,
    deny_purge: true,
    metadata: { 'mangrove.origin': 'configuration file' },
  });
  // A program that asks for what it needs finds it.
  for (const same of [
    { subjects: ['file.>'] },
    { subjects: ['file.>'], max_bytes: -1, max_age: 0, deny_purge: false },
    config as object,
  ])
    expect(refusal(await make(gateway, 'FILE', same))).toBe('none');
  expect(refusal(await make(gateway, 'FILE', { subjects: ['file.x'] }))).toMatch(/^400 10058 /);
  expect(refusal(await make(gateway, 'FILE', { subjects: ['file.>'], max_msgs: 3 }))).toMatch(
    /^400 10058 /,
  );
  expect(refusal(await gateway.ask('STREAM.UPDATE.FILE', config))).toBe('none');
  publish(gateway, 'file.x');
  const file = /configuration file of the gateway/;
  const changed = { ...(config as object), max_msgs: 3 };
  expect(refusal(await gateway.ask('STREAM.UPDATE.FILE', changed))).toMatch(file);
  expect(refusal(await gateway.ask('STREAM.DELETE.FILE'))).toMatch(file);
  expect(refusal(await gateway.ask('STREAM.PURGE.FILE'))).toMatch(
    /^500 10110 .*configuration file/,
  );
  expect(refusal(await gateway.ask('STREAM.MSG.DELETE.FILE', { seq: 1 }))).toMatch(
    /^500 10057 .*configuration file/,
  );
  expect(gateway.at.jetstream.stream('FILE')?.state().messages).toBe(1);
});

test('streams are listed by name, by subject, and page by page', async () => {
  await using gateway = await opened();
  for (const name of ['C', 'A', 'B']) await make(gateway, name, { subjects: [`${name}.*`] });
  const names = async (body: unknown) => {
    const { total, offset, streams } = await gateway.ask('STREAM.NAMES', body);
    return [total, offset, streams];
  };
  expect(await names('')).toEqual([4, 0, ['A', 'B', 'C', 'FILE']]);
  expect(await names('anything')).toEqual([4, 0, ['A', 'B', 'C', 'FILE']]);
  expect(await names({ offset: 3 })).toEqual([4, 3, ['FILE']]);
  expect(await names({ offset: 9 })).toEqual([4, 4, null]);
  expect(await names({ offset: -9, subject: '*.x' })).toEqual([4, 0, ['A', 'B', 'C', 'FILE']]);
  expect(await names({ subject: 'B.x' })).toEqual([1, 0, ['B']]);
  expect(await names({ subject: 'nobody' })).toEqual([0, 0, null]);
  expect(refusal(await gateway.ask('STREAM.NAMES', { x: 1 }))).toBe(
    '400 10025 invalid JSON: json: unknown field "x"',
  );
  expect(await gateway.ask('STREAM.LIST', { subject: 'nobody' })).toMatchObject({
    total: 0,
    streams: [],
  });
});

test('a list with much in it comes in parts, and all of it comes', async () => {
  await using gateway = await opened();
  for (let i = 0; i < 12; i++)
    await make(gateway, `S${10 + i}`, { metadata: { k: 'x'.repeat(120_000) } });
  const found: string[] = [];
  let parts = 0;
  for (let total = 1; found.length < total; parts++) {
    const answer = await gateway.ask('STREAM.LIST', { offset: found.length });
    expect(JSON.stringify(answer).length).toBeLessThan(1_300_000);
    total = answer['total'] as number;
    for (const { config } of answer['streams'] as { config: { name: string } }[])
      found.push(config.name);
  }
  expect(parts).toBe(2);
  expect(found).toHaveLength(13);
  expect(new Set(found).size).toBe(13);
});

test('the account says what its streams use and what was asked', async () => {
  await using gateway = await opened();
  await make(gateway, 'M', { storage: 'memory', max_bytes: 5_000 });
  publish(gateway, 'file.x', 'M');
  const account = await gateway.ask('INFO');
  expect(account).toMatchObject({
    reserved_memory: 5_000,
    reserved_storage: 64 * 1024 * 1024,
    streams: 2,
    consumers: 0,
    limits: { max_streams: 256, max_memory: -1 },
    api: { level: 4, total: 1, errors: 0 },
  });
  expect(account['memory']).toBeGreaterThan(0);
  expect(account['storage']).toBeGreaterThan(0);
});

test('the state of a stream is told as by nats-server, subjects and deleted messages where they are asked for', async () => {
  await using gateway = await opened();
  await make(gateway, 'A', { subjects: ['a.>'] });
  publish(gateway, 'a.x', 'a.y', 'a.x', 'a.z');
  const state = async (body: unknown) => (await gateway.ask('STREAM.INFO.A', body))['state'];
  expect(await state('')).toMatchObject({
    messages: 4,
    first_seq: 1,
    first_ts: '2026-01-01T00:00:00Z',
    last_seq: 4,
    last_ts: '2026-01-01T00:00:00Z',
    num_subjects: 3,
  });
  const deleted = await gateway.ask('STREAM.MSG.DELETE.A', { seq: 2 });
  expect(deleted).toMatchObject({ success: true });
  expect(schemaFaults(deleted)).toEqual([]);
  expect(await state('')).not.toHaveProperty('deleted');
  expect(await state({ deleted_details: true })).toMatchObject({
    messages: 3,
    num_subjects: 2,
    num_deleted: 1,
    deleted: [2],
  });
  const page = await gateway.ask('STREAM.INFO.A', { subjects_filter: 'a.*' });
  expect(page).toMatchObject({ total: 2, offset: 0, limit: 100_000 });
  expect(page['state']).toMatchObject({ subjects: { 'a.x': 2, 'a.z': 1 } });
  expect(schemaFaults(page)).toEqual([]);
  expect(await gateway.ask('STREAM.INFO.A', { subjects_filter: '>', offset: 1 })).toMatchObject({
    total: 2,
    offset: 1,
    state: { subjects: { 'a.z': 1 } },
  });
  const none = await gateway.ask('STREAM.INFO.A', { subjects_filter: 'zz' });
  expect(none).toMatchObject({ total: 0, limit: 0 });
  expect(none['state']).not.toHaveProperty('subjects');
});

test('a purge takes what it names and nothing else, and a deleted message is gone', async () => {
  await using gateway = await opened();
  await make(gateway, 'A', { subjects: ['a.>'] });
  publish(gateway, 'a.x', 'a.y', 'a.x', 'a.x', 'a.y', 'a.x');
  const purge = async (body: unknown) => {
    const answer = await gateway.ask('STREAM.PURGE.A', body);
    expect(schemaFaults(answer)).toEqual([]);
    return answer.error === undefined ? answer['purged'] : refusal(answer);
  };
  expect(await purge({ keep: 1, seq: 2 })).toBe('400 10003 bad request');
  for (const filter of ['a..b', 'a.>.x', 'a', ' ']) expect(await purge({ filter })).toBe(0);
  expect(await purge({ seq: 1 })).toBe(0);
  expect(await purge({ filter: 'a.x', seq: 4 })).toBe(2);
  expect(await purge({ filter: 'a.y', keep: 1 })).toBe(1);
  expect(await purge({ seq: 5 })).toBe(1);
  expect((await gateway.ask('STREAM.INFO.A'))['state']).toMatchObject({
    first_seq: 5,
    messages: 2,
  });
  expect(await purge({ keep: 1 })).toBe(1);
  expect(await purge('anything')).toBe(1);
  expect((await gateway.ask('STREAM.INFO.A'))['state']).toMatchObject({
    messages: 0,
    bytes: 0,
    first_seq: 7,
    first_ts: ZERO,
    last_seq: 6,
  });
  const remove = async (body: unknown) => refusal(await gateway.ask('STREAM.MSG.DELETE.A', body));
  expect(await remove('')).toBe('400 10003 bad request');
  expect(await remove({ seq: 99 })).toBe('500 10057 stream store EOF');
  expect(await remove({ seq: 2 })).toBe('500 10057 no message found');
  expect(await remove({ seq: 0 })).toBe('500 10057 no message found');
  await make(gateway, 'M', { storage: 'memory', subjects: ['memory'] });
  const fromMemory = async (seq: number) =>
    refusal(await gateway.ask('STREAM.MSG.DELETE.M', { seq }));
  expect(await fromMemory(0)).toBe('400 10043 sequence 0 not found');
  expect(await fromMemory(99)).toBe('400 10043 sequence 99 not found');
  await make(gateway, 'D', { deny_delete: true, deny_purge: true });
  expect(refusal(await gateway.ask('STREAM.PURGE.D'))).toBe('500 10110 stream purge not permitted');
  expect(refusal(await gateway.ask('STREAM.MSG.DELETE.D', { seq: 1 }))).toBe(
    '500 10057 message delete not permitted',
  );
  await gateway.ask('STREAM.UPDATE.A', { name: 'A', subjects: ['a.>'], sealed: true });
  expect(refusal(await gateway.ask('STREAM.PURGE.A'))).toBe(
    '400 10109 invalid operation on sealed stream',
  );
  expect(await remove({ seq: 1 })).toBe('400 10109 invalid operation on sealed stream');
});

test('a stream that begins later says so before it has a message', async () => {
  await using gateway = await opened();
  const created = await make(gateway, 'A', { first_seq: 100 });
  expect(created['state']).toMatchObject({ first_seq: 100, last_seq: 99, messages: 0 });
});

test('an empty stream says where its numbers begin once somebody has said so', async () => {
  await using gateway = await opened();
  const first = async (name: string) => {
    const { state } = (await gateway.ask(`STREAM.INFO.${name}`)) as { state?: object };
    return state;
  };
  await make(gateway, 'A', { subjects: ['a'], first_seq: 1 });
  await make(gateway, 'B', { subjects: ['b'] });
  expect(await first('A')).toMatchObject({ first_seq: 1, last_seq: 0 });
  await gateway.ask('STREAM.UPDATE.A', { name: 'A', subjects: ['a'] });
  expect(await first('A'), 'an update does not take it back').toMatchObject({ first_seq: 1 });
  expect(await first('B')).toMatchObject({ first_seq: 0 });
  await gateway.ask('STREAM.PURGE.B');
  expect(await first('B')).toMatchObject({ first_seq: 1, last_seq: 0 });
});

test('limits for consumers cannot become smaller than what a consumer has', async () => {
  await using gateway = await opened();
  const body = { name: 'A', subjects: ['a.>'] };
  await gateway.ask('STREAM.CREATE.A', body);
  const view: JetStreamView = Object.create(gateway.at.jetstream, {
    consumers: {
      value: () => ({
        count: 1,
        all: [{ config: { name: 'c', maxAckPending: 50, inactiveThresholdMs: 60_000 } }],
      }),
    },
    streams: { get: () => gateway.at.jetstream.streams },
    stream: { value: (name: string) => gateway.at.jetstream.stream(name) },
    updateStream: { value: (to: StreamConfig) => gateway.at.jetstream.updateStream(to) },
  });
  gateway.api.close();
  const other = new ApiGateway(gateway.at, undefined, view);
  const update = async (limits: object) =>
    refusal(await other.ask('STREAM.UPDATE.A', { ...body, consumer_limits: limits }));
  const violated = '500 10069 change to limits violates consumers: c';
  expect(await update({ max_ack_pending: 10 })).toBe(violated);
  expect(await update({ inactive_threshold: 1_000_000_000 })).toBe(violated);
  expect(await update({ max_ack_pending: 50, inactive_threshold: 60_000_000_000 })).toBe('none');
  expect((await other.ask('STREAM.INFO.A'))['state']).toMatchObject({ consumer_count: 1 });
});
