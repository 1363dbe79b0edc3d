import {
  mkdirSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  writeFileSync,
  writeSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';
import { randomInt, seededRandom } from '../../support/random.ts';

const FORWARDED = { forwards: new Map([['DATA', { graceMs: 0 }]]) };

/** A closed store with 3,000 messages of 100 bytes. */
async function filled(): Promise<GatewayStore> {
  const store = await new GatewayStore([streamOrder()], FORWARDED).open();
  for (let i = 1; i <= 3_000; i++) {
    store.publish('data.a', `${i}:`.padEnd(100, 'x'));
    if (i % 100 === 0) store.settle();
  }
  store.settle();
  await store.close();
  return store;
}

/** Every entry, as it would be forwarded; checks that messages are what was written. */
function audit(store: GatewayStore): { messages: number; missing: number } {
  let messages = 0;
  let missing = 0;
  let next = 1;
  for (let entries = store.stream.read(0, 500, 1 << 20); entries.length > 0;) {
    for (const entry of entries) {
      if (entry.kind === 'message') {
        expect(entry.message.seq).toBe(next);
        expect(entry.message.data.toString()).toBe(`${next}:`.padEnd(100, 'x'));
        messages++;
        next++;
      } else {
        expect(entry.gap.firstSeq).toBe(next);
        missing += entry.gap.count;
        next = entry.gap.lastSeq + 1;
      }
    }
    entries = store.stream.read(next - 1, 500, 1 << 20);
  }
  return { messages, missing };
}

function overwrite(path: string, at: number, bytes: Buffer): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
}

test('a database that is no database is moved aside and the gateway starts empty', async () => {
  await using store = await filled();
  overwrite(join(store.dir, 'mangrove.db'), 0, Buffer.alloc(4096, 0x55));
  await store.open();
  expect(store.stream.state().messages).toBe(0);
  expect(existsSync(join(store.dir, 'damaged-1', 'mangrove.db'))).toBe(true);
  expect(store.logged.some((line) => /damaged/.test(line.msg))).toBe(true);
  const outcome = store.publish('data.a', 'x');
  store.settle();
  expect(outcome.error).toBeNull();
});

test('a destroyed page costs its own messages only, and the hub is told which', async () => {
  await using store = await filled();
  const path = join(store.dir, 'mangrove.db');
  // A leaf in the middle of the stream's table: the last pages of the file are its leaves.
  overwrite(path, Math.floor(statSync(path).size / 4096 / 2) * 4096, Buffer.alloc(4096, 0xff));
  await store.open();
  audit(store);
  // The damage is found by the first read of that page, at the start or later; then the process ends and starts again.
  if (store.fatal !== undefined) {
    expect(store.fatal.message).toMatch(/malformed/);
    await store.close();
    await store.open();
  }
  expect(existsSync(join(store.dir, 'damaged-1'))).toBe(true);
  const { messages, missing } = audit(store);
  expect(messages + missing).toBe(3_000);
  expect(messages).toBeGreaterThan(2_900);
  expect(missing).toBeGreaterThan(0);
  const outcome = store.publish('data.a', '3001:'.padEnd(100, 'x'));
  store.settle();
  expect(outcome.ack?.seq).toBe(3_001);
});

test('random damage never stops it, and never changes a message', async () => {
  const random = seededRandom(20_261_121);
  for (let round = 0; round < 12; round++) {
    await using store = await filled();
    const path = join(store.dir, 'mangrove.db');
    const size = statSync(path).size;
    const at = randomInt(random, size);
    const kind = round % 3;
    const fd = openSync(path, 'r+');
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, at);
    closeSync(fd);
    if (kind === 0)
      overwrite(path, at, Buffer.from([(byte[0] ?? 0) ^ (1 << randomInt(random, 8))]));
    else overwrite(path, Math.floor(at / 4096) * 4096, Buffer.alloc(4096, kind === 1 ? 0 : 0xa5));
    for (let start = 0; start < 3; start++) {
      store.fatal = undefined;
      await store.open();
      audit(store);
      const outcome = store.publish('other', 'x');
      store.settle();
      expect(outcome).toEqual({});
      if (store.fatal === undefined) break;
      await store.close();
    }
    expect(store.fatal, `round ${round} settles`).toBeUndefined();
    await store.close();
  }
});

test('no more than two damaged databases are kept', async () => {
  await using store = await filled();
  for (let i = 0; i < 4; i++) {
    overwrite(join(store.dir, 'mangrove.db'), 0, Buffer.alloc(4096, i));
    await store.open();
    await store.close();
  }
  expect(readdirSync(store.dir).filter((name) => name.startsWith('damaged-'))).toEqual([
    'damaged-3',
    'damaged-4',
  ]);
});

test('a salvage that was killed goes on where it stood', async () => {
  // After the copy was complete, with the database moved and its log not yet.
  await using store = await filled();
  const at = (name: string): string => join(store.dir, name);
  overwrite(at('mangrove.db'), 0, Buffer.alloc(4096, 0x55));
  await store.open();
  store.publish('data.a', 'kept');
  store.settle();
  await store.close();
  renameSync(at('mangrove.db'), at('salvage.complete'));
  writeFileSync(at('mangrove.db-wal'), 'of the damaged one');
  writeFileSync(at('damaged'), '');
  await store.open();
  expect(store.stream.state().messages).toBe(1);
  expect(existsSync(at('damaged-1/mangrove.db-wal'))).toBe(true);
  expect(existsSync(at('damaged')) || existsSync(at('salvage.complete'))).toBe(false);
  await store.close();
  // In the middle of the copy: the partial one is thrown away and made again from the damaged files.
  writeFileSync(at('salvage.partial'), 'half');
  writeFileSync(at('damaged'), '');
  await store.open();
  expect(store.stream.state().messages).toBe(1);
});

test('damage on a disk that takes no note of it any more is fatal, not a bug', async () => {
  await using store = await new GatewayStore().open();
  // A directory in its place cannot be written to, whoever tries.
  mkdirSync(join(store.dir, 'damaged'));
  const damage = Object.assign(new Error('malformed'), { code: 'SQLITE_CORRUPT' });
  expect(() => store.jetstream.store.fail(damage)).not.toThrow();
  expect(store.fatal).toBe(damage);
});
