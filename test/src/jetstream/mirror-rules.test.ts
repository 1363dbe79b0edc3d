// What may be said of a mirror when it is made and changed, in nats-server's words: both are asked the same.

import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ClientAgent } from '../../support/client-agent.ts';
import { startNatsServer, type NatsServer } from '../../support/nats-server.ts';

let server: NatsServer;
let agent: ClientAgent;
let theirs: NatsConnection;
let ours: NatsConnection;

beforeAll(async () => {
  server = await startNatsServer({ jetstream: 'domain: other' });
  theirs = await connect({ servers: server.url });
  agent = await ClientAgent.start();
  ours = await agent.client();
  for (const nc of [theirs, ours]) {
    await ask(nc, 'STREAM.CREATE.ORIGIN', {
      name: 'ORIGIN',
      subjects: ['o.>'],
      max_msg_size: 1000,
      allow_direct: true,
    });
  }
});

afterAll(async () => {
  await theirs.close();
  await agent.dispose();
  await server.dispose();
});

interface Answer {
  readonly error?: object;
  readonly config?: Record<string, unknown>;
}

async function ask(nc: NatsConnection, operation: string, body: object): Promise<Answer> {
  const reply = await nc.request(`$JS.API.${operation}`, JSON.stringify(body), { timeout: 5_000 });
  const { error, config } = reply.json<Answer>();
  const { metadata: _, ...rest } = config ?? {};
  return error === undefined ? { config: rest } : { error };
}

/** What both say; and that it is the same. */
async function same(operation: string, body: object): Promise<Answer> {
  const [their, our] = [await ask(theirs, operation, body), await ask(ours, operation, body)];
  expect(our).toEqual(their);
  return our;
}

const ORIGIN = { name: 'ORIGIN' };
const EXTERNAL = { name: 'FAR', external: { api: '$JS.far.API' } };

test.each<[string, object, boolean]>([
  ['with subjects', { mirror: ORIGIN, subjects: ['x'] }, false],
  ['with sources', { mirror: ORIGIN, sources: [{ name: 'B' }] }, false],
  ['with a first sequence', { mirror: ORIGIN, first_seq: 5 }, false],
  ['with counters', { mirror: ORIGIN, allow_msg_counter: true }, false],
  ['with atomic batches', { mirror: ORIGIN, allow_atomic: true }, false],
  ['with fast batches', { mirror: ORIGIN, allow_batched: true }, false],
  ['with schedules', { mirror: ORIGIN, allow_msg_schedules: true }, false],
  ['with delete markers', { mirror: ORIGIN, subject_delete_marker_ttl: 1e9 }, false],
  ['without a name', { mirror: {} }, false],
  ['of a stream with a dot in its name', { mirror: { name: 'A.B' } }, false],
  ['of itself', { mirror: { name: 'M' } }, false],
  ['of smaller messages than its origin has', { mirror: ORIGIN, max_msg_size: 10 }, false],
  ['with a filter that is none', { mirror: { ...ORIGIN, filter_subject: 'a..b' } }, false],
  [
    'with a filter and transforms',
    { mirror: { ...ORIGIN, filter_subject: 'a', subject_transforms: [{ src: 'a', dest: 'b' }] } },
    false,
  ],
  [
    'with transforms that overlap',
    {
      mirror: {
        ...ORIGIN,
        subject_transforms: [
          { src: 'a.*', dest: 'b.{{wildcard(1)}}' },
          { src: 'a.b', dest: 'c' },
        ],
      },
    },
    false,
  ],
  [
    'with a transform from nowhere',
    { mirror: { ...ORIGIN, subject_transforms: [{ src: 'a..b', dest: 'b' }] } },
    false,
  ],
  [
    'with a transform that cannot be',
    { mirror: { ...ORIGIN, subject_transforms: [{ src: 'a.*', dest: 'b.{{wildcard(2)}}' }] } },
    false,
  ],
  ['under the API of this domain', { mirror: { name: 'A', external: { api: '$JS.API' } } }, false],
  ['under a wildcard', { mirror: { name: 'A', external: { api: '$JS.*.API' } } }, false],
  [
    'delivered to a wildcard',
    { mirror: { name: 'A', external: { api: '$JS.x.API', deliver: 'a.*' } } },
    false,
  ],
  ['with a consumer that is none', { mirror: { ...ORIGIN, consumer: { name: 'a.b' } } }, false],
  ['pedantic, with other gets', { mirror: ORIGIN, pedantic: true }, false],
  ['plain', { mirror: ORIGIN }, true],
  ['of a stream that is not there', { mirror: { name: 'MISSING' }, mirror_direct: true }, true],
  ['of another domain', { mirror: EXTERNAL }, true],
  [
    'with a delivery prefix',
    { mirror: { name: 'FAR', external: { api: '$JS.far.API', deliver: 'd' } } },
    true,
  ],
  ['from a sequence on', { mirror: { ...EXTERNAL, opt_start_seq: 7 } }, true],
  ['from a time on', { mirror: { ...EXTERNAL, opt_start_time: '2026-01-02T03:04:05Z' } }, true],
  ['with a filter', { mirror: { ...ORIGIN, filter_subject: 'o.a' } }, true],
  [
    'with transforms',
    {
      mirror: {
        ...ORIGIN,
        subject_transforms: [
          { src: 'o.a', dest: 'x' },
          { src: 'o.b', dest: '' },
        ],
      },
    },
    true,
  ],
  [
    'a bucket',
    {
      mirror: EXTERNAL,
      mirror_direct: true,
      allow_rollup_hdrs: true,
      discard: 'new',
      max_msgs_per_subject: 1,
    },
    true,
  ],
])('a mirror %s', async (_what, config, isGood) => {
  const { config: made } = await same('STREAM.CREATE.M', { name: 'M', ...config });
  expect(made !== undefined).toBe(isGood);
  if (made !== undefined) await same('STREAM.DELETE.M', {});
});

test('a mirror may be changed but for its origin, and become a stream like others', async () => {
  const name = 'CHANGED';
  await same('STREAM.CREATE.CHANGED', { name, mirror: ORIGIN });
  await same('STREAM.CREATE.CHANGED', { name, mirror: ORIGIN });
  await same('STREAM.CREATE.CHANGED', { name, mirror: EXTERNAL });
  await same('STREAM.UPDATE.CHANGED', { name, mirror: ORIGIN, max_msgs: 5 });
  const other = await same('STREAM.UPDATE.CHANGED', { name, mirror: { name: 'OTHER' } });
  expect(other.error).toMatchObject({ err_code: 10055 });
  const promoted = await same('STREAM.UPDATE.CHANGED', { name, subjects: ['promoted'] });
  expect(promoted.config).toMatchObject({ subjects: ['promoted'] });
  for (const nc of [theirs, ours]) {
    const ack = await nc.request('promoted', 'x', { timeout: 5_000 });
    expect(ack.json()).toMatchObject({ stream: name });
  }
  const back = await same('STREAM.UPDATE.CHANGED', { name, mirror: ORIGIN });
  expect(back.error).toBeDefined();
});
