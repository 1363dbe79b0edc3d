// The official key-value client, unchanged, against an agent of ours.

import { jetstream, jetstreamManager, RetentionPolicy } from '@nats-io/jetstream';
import { Kvm, KvWatchInclude, type KV, type KvEntry } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ClientAgent } from '../support/client-agent.ts';
import { until } from '../support/until.ts';

const MiB = 1024 * 1024;

let server: ClientAgent;
let nc: NatsConnection;
let kvm: Kvm;

beforeEach(async () => {
  server = await ClientAgent.start();
  nc = await server.client();
  kvm = new Kvm(nc);
});
afterEach(async () => {
  await server.dispose();
});

/** Whatever the client iterates over, as a list. */
async function all<T>(items: Promise<AsyncIterable<T>>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of await items) list.push(item);
  return list;
}

const short = ({ key, operation, revision }: KvEntry): string => `${key} ${operation} ${revision}`;

/** Follows a bucket; `seen` grows as its changes come. */
async function follow(
  kv: KV,
  options: Parameters<KV['watch']>[0] = {},
): Promise<{ seen: string[]; stop: () => void }> {
  const watch = await kv.watch(options);
  const seen: string[] = [];
  void (async () => {
    for await (const entry of watch) seen.push(short(entry));
  })();
  return { seen, stop: () => watch.stop() };
}

async function shows(seen: string[], expected: string[]): Promise<void> {
  await until('the changes to come', () => seen.length >= expected.length);
  expect(seen).toEqual(expected);
}

test('a value is put, got, got by revision, and missing before', async () => {
  const kv = await kvm.create('settings');
  expect(await kv.get('a')).toBeNull();
  expect(await kv.put('a', 'one')).toBe(1);
  expect(await kv.put('a', 'two')).toBe(2);
  const entry = await kv.get('a');
  expect(entry).toMatchObject({ bucket: 'settings', key: 'a', revision: 2, operation: 'PUT' });
  expect(entry?.string()).toBe('two');
  expect(Math.abs((entry?.created.getTime() ?? 0) - Date.now())).toBeLessThan(60_000);
  expect(await kv.get('a', { revision: 1 }), 'the history is one deep').toBeNull();
  expect((await kv.get('a', { revision: 2 }))?.string()).toBe('two');
  expect(await kv.put('empty', '')).toBe(3);
  expect((await kv.get('empty'))?.length).toBe(0);
});

test('a bucket without direct gets works the same', async () => {
  const kv = await kvm.create('settings', { allow_direct: false });
  await kv.put('a', 'one');
  expect((await kv.get('a'))?.string()).toBe('one');
  expect(await kv.get('b')).toBeNull();
});

test('create wants nothing there, update the last revision', async () => {
  const kv = await kvm.create('settings', { history: 5 });
  expect(await kv.create('a', 'one')).toBe(1);
  await expect(kv.create('a', 'again')).rejects.toThrow('wrong last sequence: 1');
  expect(await kv.update('a', 'two', 1)).toBe(2);
  await expect(kv.update('a', 'late', 1)).rejects.toThrow('wrong last sequence: 2');
  expect((await kv.get('a'))?.string()).toBe('two');
  await kv.delete('a', { previousSeq: 2 });
  await expect(kv.delete('a', { previousSeq: 2 })).rejects.toThrow('wrong last sequence: 3');
  expect(await kv.create('a', 'anew'), 'what was deleted may be created').toBe(4);
});

test('of many that update the same key at once, one succeeds', async () => {
  const kv = await kvm.create('settings');
  const revision = await kv.put('a', 'start');
  const attempts = Array.from({ length: 20 }, (_, i) => kv.update('a', `${i}`, revision));
  const outcomes = await Promise.allSettled(attempts);
  expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBe(1);
  expect((await kv.get('a'))?.revision).toBe(2);
});

test('delete leaves a marker and the history, purge only a marker', async () => {
  const kv = await kvm.create('settings', { history: 10 });
  for (const value of ['1', '2', '3']) await kv.put('a', value);
  await kv.delete('a');
  expect((await kv.get('a'))?.operation).toBe('DEL');
  const history = await all(kv.history({ key: 'a' }));
  expect(history.map(short)).toEqual(['a PUT 1', 'a PUT 2', 'a PUT 3', 'a DEL 4']);
  await kv.purge('a');
  expect((await all(kv.history({ key: 'a' }))).map(short)).toEqual(['a PURGE 5']);
  expect(await all(kv.keys())).toEqual([]);
});

test('the history is as deep as it was asked to be', async () => {
  const kv = await kvm.create('settings', { history: 3 });
  for (let i = 1; i <= 10; i++) await kv.put('a', `${i}`);
  await kv.put('b', 'x');
  const values = (await all(kv.history({ key: 'a' }))).map((entry) => entry.string());
  expect(values).toEqual(['8', '9', '10']);
  expect((await kv.status()).values).toBe(4);
});

test('keys are those that have a value, also under a filter', async () => {
  const kv = await kvm.create('settings');
  for (const key of ['a.x', 'a.y', 'b.x', 'c']) await kv.put(key, 'v');
  await kv.delete('c');
  expect((await all(kv.keys())).toSorted()).toEqual(['a.x', 'a.y', 'b.x']);
  expect((await all(kv.keys('a.*'))).toSorted()).toEqual(['a.x', 'a.y']);
  expect((await all(kv.keys(['*.x', 'c']))).toSorted()).toEqual(['a.x', 'b.x']);
});

test('a watcher sees what is there, then what changes', async () => {
  const kv = await kvm.create('settings');
  await kv.put('a', '1');
  await kv.put('b', '1');
  await kv.put('a', '2');
  const { seen, stop } = await follow(kv);
  await shows(seen, ['b PUT 2', 'a PUT 3']);
  await kv.put('c', '1');
  await kv.delete('b');
  await kv.purge('a');
  await shows(seen, ['b PUT 2', 'a PUT 3', 'c PUT 4', 'b DEL 5', 'a PURGE 6']);
  stop();
});

test('a watcher of a key, of a pattern, of the history, of updates alone, from a revision on', async () => {
  const kv = await kvm.create('settings', { history: 10 });
  await kv.put('a.x', '1');
  await kv.put('a.x', '2');
  await kv.put('b.x', '1');
  const key = await follow(kv, { key: 'a.x' });
  const pattern = await follow(kv, { key: ['a.*', 'b.x'] });
  const history = await follow(kv, { include: KvWatchInclude.AllHistory });
  const updates = await follow(kv, { include: KvWatchInclude.UpdatesOnly });
  const resumed = await follow(kv, { resumeFromRevision: 2 });
  const values = await follow(kv, { ignoreDeletes: true });
  await shows(history.seen, ['a.x PUT 1', 'a.x PUT 2', 'b.x PUT 3']);
  await kv.delete('a.x');
  await kv.put('b.x', '2');
  await shows(key.seen, ['a.x PUT 2', 'a.x DEL 4']);
  await shows(pattern.seen, ['a.x PUT 2', 'b.x PUT 3', 'a.x DEL 4', 'b.x PUT 5']);
  await shows(history.seen, ['a.x PUT 1', 'a.x PUT 2', 'b.x PUT 3', 'a.x DEL 4', 'b.x PUT 5']);
  await shows(updates.seen, ['a.x DEL 4', 'b.x PUT 5']);
  await shows(resumed.seen, ['a.x PUT 2', 'b.x PUT 3', 'a.x DEL 4', 'b.x PUT 5']);
  await shows(values.seen, ['a.x PUT 2', 'b.x PUT 3', 'b.x PUT 5']);
});

test('a watcher says when all that was there has come, also where there was nothing', async () => {
  const kv = await kvm.create('settings');
  expect(await all(kv.history()), 'a history ends').toEqual([]);
  await kv.put('a', '1');
  await kv.put('b', '1');
  const watch = await kv.watch();
  const isUpdate: boolean[] = [];
  const done = (async () => {
    for await (const entry of watch) {
      isUpdate.push(entry.isUpdate);
      if (isUpdate.length === 3) watch.stop();
    }
  })();
  await until('what is there to come', () => isUpdate.length === 2);
  await kv.put('c', '1');
  await done;
  expect(isUpdate[0]).toBe(false);
  expect(isUpdate[2]).toBe(true);
});

test('a watcher of a thousand keys misses none while they change', async () => {
  const kv = await kvm.create('settings', { history: 1 });
  await Promise.all(Array.from({ length: 1_000 }, (_, i) => kv.put(`k.${i}`, 'old')));
  const watch = await kv.watch();
  const latest = new Map<string, string>();
  void (async () => {
    for await (const entry of watch) latest.set(entry.key, entry.string());
  })();
  await Promise.all(Array.from({ length: 1_000 }, (_, i) => kv.put(`k.${i}`, `new ${i}`)));
  await until('all to be new', () =>
    Array.from({ length: 1_000 }, (_, i) => latest.get(`k.${i}`)).every(
      (value, i) => value === `new ${i}`,
    ),
  );
  expect(latest.size).toBe(1_000);
  watch.stop();
});

test('values go when their time is over, and a marker can say so', async () => {
  const kv = await kvm.create('settings', { markerTTL: 2_000 });
  expect((await kv.status()).markerTTL).toBe(2_000);
  const { seen, stop } = await follow(kv);
  await kv.create('a', 'short', '1s');
  await until('the value to go', async () => (await kv.get('a'))?.operation !== 'PUT');
  await until('the watcher to hear of it', () => seen.length >= 2);
  expect(seen).toEqual(['a PUT 1', 'a PURGE 2']);
  await until('the marker to go', async () => (await kv.get('a')) === null);
  stop();
});

test('a bucket with a time to live forgets', async () => {
  const kv = await kvm.create('settings', { ttl: 1_000 });
  await kv.put('a', 'short');
  expect((await kv.get('a'))?.string()).toBe('short');
  await until('the value to go', async () => (await kv.get('a')) === null);
  expect((await kv.status()).values).toBe(0);
});

test('a purged key with a time to live leaves nothing in the end', async () => {
  const kv = await kvm.create('settings', { markerTTL: 1_000 });
  await kv.put('a', '1');
  await kv.purge('a', { ttl: '1s' });
  expect((await kv.get('a'))?.operation).toBe('PURGE');
  await until('the marker to go', async () => (await kv.get('a')) === null);
});

test('a bucket refuses values that are too large, and new ones when it is full', async () => {
  const kv = await kvm.create('settings', { maxValueSize: 100, max_bytes: 2_000 });
  await expect(kv.put('a', 'x'.repeat(200))).rejects.toThrow(
    'message size exceeds maximum allowed',
  );
  const fill = async (): Promise<void> => {
    for (let i = 0; i < 200; i++) await kv.put(`k.${i}`, 'x'.repeat(50));
  };
  await expect(fill()).rejects.toThrow('maximum bytes exceeded');
});

test('a bucket says what it is, is listed, opened, and destroyed', async () => {
  const kv = await kvm.create('settings', {
    description: 'of the plant',
    history: 5,
    ttl: 60_000,
    max_bytes: MiB,
    metadata: { owner: 'me' },
  });
  await kv.put('a', '1');
  const status = await kv.status();
  expect(status).toMatchObject({
    bucket: 'settings',
    description: 'of the plant',
    history: 5,
    ttl: 60_000,
    max_bytes: MiB,
    values: 1,
    metadata: { owner: 'me' },
  });
  expect(status.size).toBeGreaterThan(0);
  await kvm.create('other');
  expect((await all(Promise.resolve(kvm.list()))).map(({ bucket }) => bucket).toSorted()).toEqual([
    'other',
    'settings',
  ]);
  expect((await (await kvm.open('settings')).get('a'))?.string()).toBe('1');
  expect(await kv.destroy()).toBe(true);
  await expect((await kvm.open('settings')).get('a')).rejects.toThrow();
});

test('a bucket is a stream that other clients can read', async () => {
  const kv = await kvm.create('settings');
  await kv.put('a', '1');
  const jsm = await jetstreamManager(nc);
  const { config } = await jsm.streams.info('KV_settings');
  expect(config).toMatchObject({
    subjects: ['$KV.settings.>'],
    retention: RetentionPolicy.Limits,
    allow_direct: true,
    allow_rollup_hdrs: true,
    discard: 'new',
    max_msgs_per_subject: 1,
  });
  const ack = await jetstream(nc).publish('$KV.settings.b', 'raw');
  expect(ack.seq).toBe(2);
  expect((await kv.get('b'))?.string()).toBe('raw');
});

test('a bucket in memory', async () => {
  const kv = await kvm.create('scratch', { storage: 'memory' });
  await kv.put('a', '1');
  expect((await kv.get('a'))?.string()).toBe('1');
  await server.restart();
  const again = new Kvm(await server.client());
  const reopened = await again.open('scratch');
  const entry = await reopened.get('a').catch(() => null);
  expect(entry, 'what was in memory is gone').toBeNull();
});

test('what was put is there after a restart, with its revisions', async () => {
  const kv = await kvm.create('settings', { history: 3 });
  for (const value of ['1', '2', '3', '4']) await kv.put('a', value);
  await kv.delete('b');
  await server.restart();
  const reopened = await new Kvm(await server.client()).open('settings');
  const history = await all(reopened.history());
  expect(history.map(short)).toEqual(['a PUT 2', 'a PUT 3', 'a PUT 4', 'b DEL 5']);
  await expect(reopened.update('a', 'x', 3)).rejects.toThrow('wrong last sequence: 4');
  expect(await reopened.update('a', '5', 4)).toBe(6);
});
