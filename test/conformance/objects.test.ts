// The official object store client, unchanged, against an agent of ours.

import { createHash, randomBytes } from 'node:crypto';
import { jetstreamManager } from '@nats-io/jetstream';
import { Objm, type ObjectStore } from '@nats-io/obj';
import { headers, type NatsConnection } from '@nats-io/transport-node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ClientAgent } from '../support/client-agent.ts';
import { until } from '../support/until.ts';

let server: ClientAgent;
let nc: NatsConnection;
let objm: Objm;
let store: ObjectStore;

beforeEach(async () => {
  server = await ClientAgent.start();
  nc = await server.client();
  objm = new Objm(nc);
  store = await objm.create('files', { description: 'of the plant' });
});
afterEach(async () => {
  await server.dispose();
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

async function text(name: string, from = store): Promise<string | undefined> {
  const blob = await from.getBlob(name);
  return blob === null ? undefined : new TextDecoder().decode(blob);
}

function streamOf(...parts: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(part);
      controller.close();
    },
  });
}

test('an object is put, got, and described', async () => {
  expect(await store.getBlob('a')).toBeNull();
  expect(await store.info('a')).toBeNull();
  const meta = headers();
  meta.set('Colour', 'red');
  const info = await store.put(
    { name: 'a', description: 'first', headers: meta, metadata: { owner: 'me' } },
    streamOf(bytes('hello '), bytes('world')),
  );
  expect(info).toMatchObject({ bucket: 'files', name: 'a', size: 11, chunks: 1, deleted: false });
  expect(await text('a')).toBe('hello world');
  const found = await store.info('a');
  expect(found).toMatchObject({ description: 'first', size: 11, metadata: { owner: 'me' } });
  expect(found?.headers?.get('Colour')).toBe('red');
});

test('an object has any name, and may be empty', async () => {
  const name = 'a dir/file *.> with.dots?';
  await store.putBlob({ name }, bytes('x'));
  await store.putBlob({ name: 'empty' }, null);
  expect(await text(name)).toBe('x');
  expect(await text('empty')).toBe('');
  expect((await store.list()).map((one) => one.name).toSorted()).toEqual(
    [name, 'empty'].toSorted(),
  );
});

test('a large object comes back as it was, in chunks of the size that was asked for', async () => {
  const data = randomBytes(5 * 1024 * 1024 + 17);
  const info = await store.putBlob({ name: 'large' }, data);
  expect(info).toMatchObject({ size: data.length, chunks: 41 });
  const digest = createHash('sha256').update(data).digest('base64url');
  expect(info.digest.replace(/=+$/, '')).toBe(`SHA-256=${digest}`);
  expect(Buffer.from((await store.getBlob('large')) ?? []).equals(data)).toBe(true);
  const small = await store.putBlob(
    { name: 'chunks', options: { max_chunk_size: 1_000 } },
    data.subarray(0, 100_500),
  );
  expect(small.chunks).toBe(101);
  const again = Buffer.from((await store.getBlob('chunks')) ?? []);
  expect(again.equals(data.subarray(0, 100_500))).toBe(true);
});

test('an object is read piece by piece', async () => {
  const data = randomBytes(1_000_000);
  await store.putBlob({ name: 'a', options: { max_chunk_size: 50_000 } }, data);
  const result = await store.get('a');
  const hash = createHash('sha256');
  let size = 0;
  const reader = result?.data.getReader();
  for (;;) {
    const piece = await reader?.read();
    if (piece?.value === undefined) break;
    hash.update(piece.value);
    size += piece.value.length;
  }
  expect(await result?.error).toBeFalsy();
  expect(size).toBe(data.length);
  expect(hash.digest()).toEqual(createHash('sha256').update(data).digest());
});

test('an object that is put again takes the place of the old one, chunks and all', async () => {
  await store.putBlob({ name: 'a' }, randomBytes(500_000));
  await store.putBlob({ name: 'a' }, bytes('new'));
  expect(await text('a')).toBe('new');
  const { state } = (await store.status()).streamInfo;
  expect(state.messages, 'one chunk and its description').toBe(2);
});

test('two that put the same object at once do not overwrite each other unseen', async () => {
  const info = await store.putBlob({ name: 'a' }, bytes('1'));
  const options = { previousRevision: info.revision };
  const put = async (value: string): Promise<unknown> =>
    await store.put({ name: 'a' }, streamOf(bytes(value)), options);
  await put('2');
  await expect(put('3')).rejects.toThrow('wrong last sequence');
  expect(await text('a')).toBe('2');
});

test('a deleted object is gone, and its chunks with it', async () => {
  await store.putBlob({ name: 'a' }, randomBytes(300_000));
  const purged = await store.delete('a');
  expect(purged).toMatchObject({ success: true, purged: 3 });
  expect(await store.getBlob('a')).toBeNull();
  expect(await store.info('a')).toMatchObject({ deleted: true, size: 0 });
  expect(await store.list()).toEqual([]);
  await store.putBlob({ name: 'a' }, bytes('back'));
  expect(await text('a')).toBe('back');
});

test('links lead to objects and to whole stores', async () => {
  const info = await store.putBlob({ name: 'a' }, bytes('target'));
  await store.link('to a', info);
  expect(await text('to a')).toBe('target');
  const other = await objm.create('other');
  await other.putBlob({ name: 'x' }, bytes('there'));
  const linked = await store.linkStore('other files', other);
  expect(linked.options?.link?.bucket).toBe('other');
  const far = await other.link('far', info);
  expect(far.options?.link).toMatchObject({ bucket: 'files', name: 'a' });
  expect(await text('far', other)).toBe('target');
});

test('an object gets another name and description without its data being sent again', async () => {
  await store.putBlob({ name: 'a' }, bytes('same'));
  await store.update('a', { name: 'b', description: 'renamed' });
  expect(await store.getBlob('a')).toBeNull();
  expect(await store.info('b')).toMatchObject({ description: 'renamed', size: 4 });
  expect(await text('b')).toBe('same');
  await expect(store.update('nobody', { name: 'c' })).rejects.toThrow();
});

test('a watcher sees what is there, then what changes', async () => {
  await store.putBlob({ name: 'a' }, bytes('1'));
  const watch = await store.watch({ includeHistory: true });
  const seen: string[] = [];
  void (async () => {
    for await (const info of watch) seen.push(`${info.name}${info.deleted ? ' deleted' : ''}`);
  })();
  await until('what is there to come', () => seen.length === 1);
  await store.putBlob({ name: 'b' }, bytes('2'));
  await store.delete('a');
  await until('the changes to come', () => seen.length === 3);
  expect(seen).toEqual(['a', 'b', 'a deleted']);
  watch.stop();
});

test('a sealed store is read, and nothing else', async () => {
  await store.putBlob({ name: 'a' }, bytes('kept'));
  expect((await store.seal()).sealed).toBe(true);
  await expect(store.putBlob({ name: 'b' }, bytes('x'))).rejects.toThrow(
    'invalid operation on sealed stream',
  );
  await expect(store.delete('a')).rejects.toThrow();
  expect(await text('a')).toBe('kept');
});

test('a store says what it is, is listed, opened, and destroyed', async () => {
  await store.putBlob({ name: 'a' }, bytes('x'));
  const status = await store.status();
  expect(status).toMatchObject({ bucket: 'files', description: 'of the plant', sealed: false });
  expect(status.size).toBeGreaterThan(0);
  const names: string[] = [];
  for await (const one of objm.list()) names.push(one.bucket);
  expect(names).toEqual(['files']);
  expect(await text('a', await objm.open('files'))).toBe('x');
  const { config } = await (await jetstreamManager(nc)).streams.info('OBJ_files');
  expect(config).toMatchObject({ subjects: ['$O.files.C.>', '$O.files.M.>'], discard: 'new' });
  expect(await store.destroy()).toBe(true);
  await expect(objm.open('files')).rejects.toThrow();
});

test('an object is there after a restart, and goes when its time is over', async () => {
  const data = randomBytes(700_000);
  await store.putBlob({ name: 'a' }, data);
  await server.restart();
  const after = new Objm(await server.client());
  const reopened = await after.open('files');
  expect(Buffer.from((await reopened.getBlob('a')) ?? []).equals(data)).toBe(true);
  const passing = await after.create('passing', { ttl: 1_000_000_000 });
  await passing.putBlob({ name: 'a' }, bytes('x'));
  await until('the object to go', async () => (await passing.info('a')) === null);
});

test('several objects are put and got side by side', async () => {
  const files = Array.from({ length: 8 }, (_, i) => ({
    name: `f${i}`,
    data: randomBytes(400_000),
  }));
  await Promise.all(files.map(({ name, data }) => store.putBlob({ name }, data)));
  const back = await Promise.all(files.map(({ name }) => store.getBlob(name)));
  for (const [i, { data }] of files.entries())
    expect(Buffer.from(back[i] ?? []).equals(data)).toBe(true);
});
