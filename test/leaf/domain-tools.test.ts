// What a tool at the hub does to the JetStream of a gateway through `$JS.<domain>.API`, with the official clients: nobody
// logs in at the gateway, and nothing is listed in the configuration but the domain.

import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { Kvm, type KvWatchEntry } from '@nats-io/kv';
import { Objm } from '@nats-io/obj';
import { createInbox } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { DOMAIN } from './gateway.ts';
import { LeafRig } from './rig.ts';

const LONG_MS = 60_000;
const domain = { domain: DOMAIN };

let rig: LeafRig;

beforeAll(async () => {
  rig = await LeafRig.start();
}, LONG_MS);

afterAll(async () => {
  await rig[Symbol.asyncDispose]();
});

const cloud = () => jetstream(rig.hub.nc, domain);
const cloudManager = () => jetstreamManager(rig.hub.nc, domain);
const field = () => jetstream(rig.local.nc);

/** A stream on the gateway with so many messages. */
async function filled(name: string, count: number): Promise<void> {
  await rig.local.create({ name, subjects: [`${name}.>`], storage: 'file', allow_direct: true });
  for (let i = 1; i <= count; i++) await field().publish(`${name}.${i % 2}`, `message ${i}`);
}

test(
  'the account, the streams and their state are read from the hub',
  async () => {
    await filled('READ', 3);
    const jsm = await cloudManager();
    expect((await jsm.getAccountInfo()).domain).toBe(DOMAIN);
    expect((await jsm.streams.info('READ')).state).toMatchObject({ messages: 3, last_seq: 3 });
    expect(await jsm.streams.names('READ.>').next()).toContain('READ');
    const listed = (await jsm.streams.list().next()).map(({ config }) => config.name);
    expect(listed).toContain('READ');
    await expect(jsm.streams.info('MISSING')).rejects.toThrow('stream not found');
  },
  LONG_MS,
);

test(
  'messages are got by sequence and by subject, from the leader and directly',
  async () => {
    await filled('GET', 4);
    const jsm = await cloudManager();
    expect((await jsm.streams.getMessage('GET', { seq: 2 }))?.string()).toBe('message 2');
    const last = await jsm.streams.getMessage('GET', { last_by_subj: 'GET.1' });
    expect([last?.seq, last?.string()]).toEqual([3, 'message 3']);
    const direct = await jsm.direct.getMessage('GET', { last_by_subj: 'GET.0' });
    expect([direct?.seq, direct?.subject, direct?.string()]).toEqual([4, 'GET.0', 'message 4']);
    const batch: number[] = [];
    for await (const { seq } of await jsm.direct.getBatch('GET', { seq: 1, batch: 10 }))
      batch.push(seq);
    expect(batch).toEqual([1, 2, 3, 4]);
  },
  LONG_MS,
);

test(
  'a stream is made, changed, purged and deleted from the hub',
  async () => {
    const jsm = await cloudManager();
    await jsm.streams.add({ name: 'MADE', subjects: ['made.>'] });
    expect((await field().publish('made.1', 'x')).seq).toBe(1);
    await jsm.streams.update('MADE', { max_msgs: 5 });
    expect((await rig.local.info('MADE')).config['max_msgs']).toBe(5);
    expect(await jsm.streams.purge('MADE')).toMatchObject({ purged: 1 });
    expect(await jsm.streams.delete('MADE')).toBe(true);
    await expect(rig.local.info('MADE')).rejects.toThrow(/10059/);
  },
  LONG_MS,
);

test(
  'a pull consumer of the gateway is made, read and acknowledged from the hub',
  async () => {
    await filled('PULL', 500);
    const jsm = await cloudManager();
    await jsm.consumers.add('PULL', { durable_name: 'cloud', ack_policy: AckPolicy.Explicit });
    const consumer = await cloud().consumers.get('PULL', 'cloud');
    const seen: string[] = [];
    for await (const message of await consumer.consume({ max_messages: 100 })) {
      seen.push(`${message.seq} ${message.subject} ${message.string()}`);
      message.ack();
      if (seen.length === 500) break;
    }
    expect(seen.at(0)).toBe('1 PULL.1 message 1');
    expect(seen.at(-1)).toBe('500 PULL.0 message 500');
    await until(
      'the acks to arrive',
      async () => (await jsm.consumers.info('PULL', 'cloud')).ack_floor.stream_seq === 500,
      LONG_MS,
    );
    const fetched = await consumer.fetch({ max_messages: 5, expires: 1_000 });
    for await (const message of fetched) expect.unreachable(`nothing is left but ${message.seq}`);
    expect((await jsm.consumers.list('PULL').next()).map(({ name }) => name)).toEqual(['cloud']);
    expect(await jsm.consumers.delete('PULL', 'cloud')).toBe(true);
  },
  LONG_MS,
);

test(
  'messages are acknowledged twice, put back and ended from the hub',
  async () => {
    await filled('ACKS', 3);
    const jsm = await cloudManager();
    await jsm.consumers.add('ACKS', { durable_name: 'c', ack_policy: AckPolicy.Explicit });
    const consumer = await cloud().consumers.get('ACKS', 'c');
    const first = await consumer.next();
    expect(await first?.ackAck()).toBe(true);
    const [second, third] = [await consumer.next(), await consumer.next()];
    second?.nak();
    third?.term();
    const again = await consumer.next();
    expect([again?.seq, again?.info.deliveryCount]).toEqual([2, 2]);
    again?.ack();
    await until(
      'all to be settled',
      async () => (await jsm.consumers.info('ACKS', 'c')).ack_floor.stream_seq === 3,
      LONG_MS,
    );
  },
  LONG_MS,
);

test(
  'an ordered consumer reads everything of the gateway in order, and what comes later',
  async () => {
    await filled('ORDERED', 300);
    const consumer = await cloud().consumers.get('ORDERED');
    const messages = await consumer.consume();
    const seen: number[] = [];
    for await (const { seq } of messages) {
      seen.push(seq);
      if (seq === 300) void field().publish('ORDERED.1', 'later');
      if (seq === 301) break;
    }
    expect(seen).toEqual(Array.from({ length: 301 }, (_, i) => i + 1));
  },
  LONG_MS,
);

test(
  'a push consumer of the gateway delivers to the hub, with flow control',
  async () => {
    await rig.local.create({ name: 'PUSH', subjects: ['PUSH.>'], storage: 'file' });
    const data = new Uint8Array(50_000);
    for (let i = 0; i < 150; i++) await field().publish('PUSH.x', data);
    const jsm = await cloudManager();
    await jsm.consumers.add('PUSH', {
      durable_name: 'push',
      deliver_subject: createInbox(),
      ack_policy: AckPolicy.None,
      deliver_policy: DeliverPolicy.All,
      flow_control: true,
      idle_heartbeat: 1_000_000_000,
    });
    const consumer = await cloud().consumers.getPushConsumer('PUSH', 'push');
    const seen: number[] = [];
    for await (const { seq } of await consumer.consume()) {
      seen.push(seq);
      if (seq === 150) break;
    }
    expect(seen).toEqual(Array.from({ length: 150 }, (_, i) => i + 1));
  },
  LONG_MS,
);

test(
  'a bucket of the gateway is made, written, read, watched and deleted from the hub',
  async () => {
    const kv = await new Kvm(cloud()).create('flags', { history: 3 });
    expect(await kv.put('a', '1')).toBe(1);
    const local = await new Kvm(rig.local.nc).open('flags');
    expect((await local.get('a'))?.string()).toBe('1');
    await local.put('b', '2');
    expect((await kv.get('b'))?.string()).toBe('2');
    const seen: KvWatchEntry[] = [];
    const watch = await kv.watch();
    void (async () => {
      for await (const entry of watch) seen.push(entry);
    })();
    await until('the first values', () => seen.length === 2);
    expect(await kv.update('a', '3', 1)).toBe(3);
    await expect(kv.update('a', '4', 1)).rejects.toThrow(/wrong last sequence/);
    await expect(kv.create('a', '4')).rejects.toThrow(/wrong last sequence|exists/);
    await local.delete('b');
    await until('the changes', () => seen.length === 4);
    expect(seen.map(({ key, operation, revision }) => `${revision} ${key} ${operation}`)).toEqual([
      '1 a PUT',
      '2 b PUT',
      '3 a PUT',
      '4 b DEL',
    ]);
    watch.stop();
    const keys: string[] = [];
    for await (const key of await kv.keys()) keys.push(key);
    expect(keys).toEqual(['a']);
    const history: number[] = [];
    for await (const { revision } of await kv.history({ key: 'a' })) history.push(revision);
    expect(history).toEqual([1, 3]);
    await kv.purge('a');
    expect((await local.get('a'))?.operation).toBe('PURGE');
    expect((await kv.status()).values).toBeGreaterThan(0);
    expect(await kv.destroy()).toBe(true);
    await expect(rig.local.info('KV_flags')).rejects.toThrow(/10059/);
  },
  LONG_MS,
);

test(
  'objects are put into a store of the gateway, listed, got and deleted from the hub',
  async () => {
    const local = await new Objm(rig.local.nc).create('firmware');
    await local.putBlob({ name: 'small' }, new TextEncoder().encode('local'));
    const store = await new Objm(cloud()).open('firmware');
    const image = crypto.getRandomValues(new Uint8Array(60_000));
    const large = new Uint8Array(600_000);
    for (let i = 0; i < 10; i++) large.set(image, i * image.length);
    const info = await store.putBlob({ name: 'image', description: 'of the device' }, large);
    expect(info.size).toBe(large.length);
    const got = await local.getBlob('image');
    expect(Buffer.from(got ?? []).equals(Buffer.from(large))).toBe(true);
    expect(new TextDecoder().decode((await store.getBlob('small')) ?? undefined)).toBe('local');
    const back = await store.getBlob('image');
    expect(Buffer.from(back ?? []).equals(Buffer.from(large))).toBe(true);
    expect((await store.list()).map(({ name }) => name).sort()).toEqual(['image', 'small']);
    await store.delete('image');
    expect((await local.info('image'))?.deleted).toBe(true);
    expect((await local.list()).map(({ name }) => name)).toEqual(['small']);
  },
  LONG_MS,
);

test(
  'a store that is made from the hub takes objects from there at once',
  async () => {
    const store = await new Objm(cloud()).create('made');
    await store.putBlob({ name: 'first' }, new TextEncoder().encode('at once'));
    const local = await new Objm(rig.local.nc).open('made');
    expect(new TextDecoder().decode((await local.getBlob('first')) ?? undefined)).toBe('at once');
    expect(await store.destroy()).toBe(true);
  },
  LONG_MS,
);

test(
  'a stream of the hub and one of the gateway may have one name: each API is its own',
  async () => {
    await filled('TWICE', 2);
    await rig.hub.create({ name: 'TWICE', subjects: ['hub.twice.>'], storage: 'file' });
    const here = await jetstreamManager(rig.hub.nc);
    expect((await here.streams.info('TWICE')).state.messages).toBe(0);
    expect((await (await cloudManager()).streams.info('TWICE')).state.messages).toBe(2);
    expect((await rig.local.info('TWICE')).state.messages).toBe(2);
  },
  LONG_MS,
);
