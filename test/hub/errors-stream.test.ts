// The hub stream is not what it was, or not what it must be: taken away, made anew, given other subjects, limits or a nature
// that cannot be forwarded to. What can be borne is borne; for the rest the operator is told what to change.

import { expect, test } from 'vitest';
import { EDGE } from './hub-admin.ts';
import { copy, replace } from './hub-stores.ts';
import { MISCONFIGURED, suffer, told, type Mishap } from './mishaps.ts';
import { Rig, type RigOptions } from './rig.ts';
import { burst } from './traffic.ts';

const TEST_MS = 180_000;
const NARROW = { subjects: ['edge.other.>'] };
const WIDE = { subjects: ['edge.>'] };
/** Messages that are gone with a stream that somebody deleted, older than the grace of these tests. */
const DELETED = { excused: (key: string): boolean => Number(key.split('#')[1]) <= 30 };
const NO_GRACE: RigOptions = { agent: { forward: 'grace = "0s"' } };

const MISHAPS: readonly (Mishap & { readonly what: string; readonly options?: RigOptions })[] = [
  {
    what: 'loses the subjects of this gateway',
    wrong: ({ admin }) => admin.update('EDGE', NARROW),
    says: MISCONFIGURED,
    remedy: /add "edge\.gw7\.SENSORS\.>"/,
    mend: ({ admin }) => admin.update('EDGE', WIDE),
  },
  {
    what: 'is made anew with other subjects',
    options: NO_GRACE,
    wrong: async ({ admin }) => {
      await admin.delete();
      await admin.create({ ...EDGE, ...NARROW });
    },
    says: MISCONFIGURED,
    remedy: /add "edge\.gw7\.SENSORS\.>"/,
    mend: ({ admin }) => admin.update('EDGE', WIDE),
    audit: DELETED,
  },
  {
    what: 'gives its subjects to another stream',
    wrong: async ({ admin }) => {
      await admin.update('EDGE', NARROW);
      await admin.create({ ...EDGE, name: 'OTHER', subjects: ['edge.gw7.>'] });
    },
    says: MISCONFIGURED,
    remedy: /add "edge\.gw7\.SENSORS\.>"/,
    mend: async ({ admin }) => {
      await admin.delete('OTHER');
      await admin.update('EDGE', WIDE);
    },
  },
  {
    what: 'is deleted, and the gateway may not create it',
    options: NO_GRACE,
    wrong: ({ admin }) => admin.delete(),
    says: MISCONFIGURED,
    remedy: /create = true/,
    mend: ({ admin }) => admin.create(),
    audit: DELETED,
  },
  {
    what: 'is replaced by a mirror',
    options: NO_GRACE,
    wrong: async ({ admin }) => {
      await admin.delete();
      await admin.create({ ...EDGE, name: 'ORIGIN' });
      await admin.create({ name: 'EDGE', storage: 'file', mirror: { name: 'ORIGIN' } });
    },
    says: MISCONFIGURED,
    remedy: /ordinary stream/,
    mend: async ({ admin }) => {
      await admin.delete();
      await admin.delete('ORIGIN');
      await admin.create();
    },
    audit: DELETED,
  },
  {
    what: 'stops to acknowledge (no_ack)',
    wrong: ({ admin }) => admin.update('EDGE', { no_ack: true, allow_atomic: false }),
    says: MISCONFIGURED,
    remedy: /no_ack = false/,
    mend: ({ admin }) => admin.update('EDGE', { no_ack: false, allow_atomic: true }),
  },
  {
    what: 'counts',
    options: NO_GRACE,
    wrong: async ({ admin }) => {
      await admin.delete();
      await admin.create({ ...EDGE, allow_msg_counter: true, discard: 'old' });
    },
    says: MISCONFIGURED,
    remedy: /ordinary stream/,
    mend: async ({ admin }) => {
      await admin.delete();
      await admin.create();
    },
    audit: DELETED,
  },
];

test.concurrent.each(MISHAPS)(
  'the hub stream $what, and then all is well',
  { timeout: TEST_MS },
  async ({ options, ...mishap }) => {
    await using rig = await Rig.start(options);
    await suffer(rig, mishap);
  },
);

test.concurrent(
  'the hub stream is deleted, and the gateway creates it again',
  { timeout: TEST_MS },
  async () => {
    await using rig = await Rig.start({ agent: { hub: 'create = true' } });
    await burst(rig.agent, rig.ledger, 30);
    await rig.agent.drained();
    await rig.admin.delete();
    await burst(rig.agent, rig.ledger, 30);
    // All of it is younger than the grace.
    expect(await rig.audit()).toEqual([]);
    expect(await rig.admin.messages()).toBe(60);
  },
);

/** Changes under way that cost nothing: each message arrives once and in order, and nothing must be mended. */
test.concurrent.each([
  ['takes no more batches', EDGE, { allow_atomic: false }],
  ['begins to take batches', { ...EDGE, allow_atomic: false }, { allow_atomic: true }],
  ['begins to forget by age', { ...EDGE, allow_msg_ttl: true }, { max_age: 3_600_000_000_000 }],
  [
    'stops to allow a TTL of messages, and batches',
    { ...EDGE, max_age: 3_600_000_000_000 },
    { allow_atomic: false },
  ],
  ['has the tiniest window of duplicates', EDGE, { duplicate_window: 100_000_000 }],
  ['is republished', EDGE, { republish: { src: 'edge.>', dest: 'seen.>' } }],
  ['denies purges and deletes', EDGE, { deny_purge: true, deny_delete: true }],
  ['takes one consumer only', { ...EDGE, max_consumers: 1 }, {}],
  ['sources another one', EDGE, { sources: [{ name: 'OTHER' }] }],
  ['drops the oldest', EDGE, { discard: 'old', max_msgs: 100_000 }],
  ['compresses', EDGE, { compression: 's2' }],
])(
  'the hub stream %s under load: each message once and in order',
  { timeout: TEST_MS },
  async (_, stream, change) => {
    await using rig = await Rig.start({ stream });
    await rig.admin.create({ ...EDGE, name: 'OTHER', subjects: ['other.>'] });
    rig.startTraffic(300);
    await rig.confirmed(100);
    await rig.admin.update('EDGE', change);
    await rig.confirmed(300);
    expect(await rig.audit()).toEqual([]);
    expect(rig.agent.status()).toMatchObject({ rejected: 0, refills: 0, problem: null });
  },
);

test.concurrent(
  'the hub stream of a gateway that rests becomes a work queue: only what is new comes',
  { timeout: TEST_MS },
  async () => {
    await using rig = await Rig.start(NO_GRACE);
    await burst(rig.agent, rig.ledger, 30);
    await rig.agent.drained();
    await rig.admin.delete();
    await rig.admin.create({ ...EDGE, retention: 'workqueue' });
    await rig.admin.consumer('edge.>');
    await burst(rig.agent, rig.ledger, 30);
    expect(await rig.audit(DELETED, await rig.admin.consume(30))).toEqual([]);
    expect(await rig.admin.messages()).toBe(0);
    await told(rig.agent, 'keeps no checkpoint', /allow_msg_ttl/);
  },
);

test.concurrent(
  'the hub stream allows no further consumer, and the gateway comes back from an older image',
  { timeout: TEST_MS },
  async () => {
    await using rig = await Rig.start({ stream: { ...EDGE, max_consumers: 1 } });
    await rig.admin.consumer('edge.other.>');
    await burst(rig.agent, rig.ledger, 30);
    await rig.agent.drained();
    await rig.stopAgent();
    copy(rig.dir.dataDir, `${rig.dir.dataDir}-copy`);
    await rig.startAgent();
    await burst(rig.agent, rig.ledger, 100);
    await rig.agent.drained();
    await rig.stopAgent();
    replace(rig.dir.dataDir, `${rig.dir.dataDir}-copy`);
    await rig.startAgent();
    await burst(rig.agent, rig.ledger, 30);
    await rig.agent.drained();
    await rig.admin.api('CONSUMER.DELETE.EDGE.worker');
    expect(await rig.audit({ restored: true })).toEqual([]);
    expect(await rig.admin.messages()).toBe(160);
  },
);

test.concurrent(
  'the hub stream begins to rewrite subjects: what was not noticed at once is there under its new subject',
  { timeout: TEST_MS },
  async () => {
    await using rig = await Rig.start();
    await burst(rig.agent, rig.ledger, 30);
    await rig.agent.drained();
    await rig.admin.update('EDGE', { subject_transform: { src: 'edge.>', dest: 'moved.>' } });
    await burst(rig.agent, rig.ledger, 30);
    await burst(rig.agent, rig.ledger, 30);
    await told(rig.agent, MISCONFIGURED, /remove its subject_transform/);
    expect(rig.agent.status().problem).toMatch(/remove its subject_transform/);
    await rig.admin.update('EDGE', { subject_transform: undefined });
    await rig.agent.drained();
    const found = await rig.admin.readAll();
    const back = found.map((record) => ({
      ...record,
      subject: record.subject.replace(/^moved/, 'edge'),
    }));
    expect(await rig.audit({}, back)).toEqual([]);
  },
);
