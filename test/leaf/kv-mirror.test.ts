// Buckets of the hub on the gateway: local programs read and watch them with the official client, with and without the
// WAN, under the hub's revisions.

import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { Kvm, type KV, type KvEntry, type KvWatchEntry } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import { afterEach, expect, test } from 'vitest';
import { oldNatsServer, type OldVersion } from '../support/old-nats-server.ts';
import { until } from '../support/until.ts';
import { JetStreamClient } from './jetstream.ts';
import { LeafRig, type LeafRigOptions } from './rig.ts';

const LONG_MS = 60_000;
const KEYS = 1_000;
const BUCKET = 'config';
const STREAM = `KV_${BUCKET}`;
const MIRROR = `\n[[kv_mirror]]\nbucket = "${BUCKET}"\n`;
const WRITES = ['$JS.hub.API.>'];

const open: AsyncDisposable[] = [];

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]();
});

/** A hub with the bucket, and a gateway that mirrors it. */
async function plant(options: LeafRigOptions = {}): Promise<{ rig: LeafRig; hub: KV }> {
  const rig = await LeafRig.start({ ...options, gateway: { leaf: MIRROR, ...options.gateway } });
  open.push(rig);
  const replicas = options.servers ?? 1;
  const hub = await until('the bucket at the hub', () =>
    new Kvm(rig.hub.nc)
      .create(BUCKET, { history: 3, replicas, ...(options.binary ? {} : { markerTTL: 2_000 }) })
      .catch(() => undefined),
  );
  return { rig, hub };
}

const bucket = (nc: NatsConnection): Promise<KV> => new Kvm(nc).open(BUCKET);

const text = (entry: KvEntry | null): string | undefined =>
  entry === null ? undefined : `${entry.revision} ${entry.operation} ${entry.string()}`;

async function lastSeq(nc: NatsConnection): Promise<number> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  return jsm.streams.info(STREAM).then(
    ({ state }) => state.last_seq,
    () => -1,
  );
}

async function converged({ hub, local }: LeafRig): Promise<void> {
  await until(
    'the mirror to have what the hub has',
    async () => (await lastSeq(local.nc)) === (await lastSeq(hub.nc)),
    LONG_MS,
  );
}

/** All messages of the bucket, as they are stored: sequence, subject, headers, data, time to the millisecond. */
async function stored(nc: NatsConnection): Promise<string[]> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const { state } = await jsm.streams.info(STREAM);
  const found: string[] = [];
  for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
    const message = await jsm.streams.getMessage(STREAM, { seq });
    if (message === null) continue;
    const headers = [...message.header].map(([name, values]) => `${name}=${values.join()}`);
    const time = message.time.toISOString();
    found.push(`${seq} ${message.subject} ${headers.join()} ${message.string()} ${time}`);
  }
  return found;
}

/** What a watcher was told, until it is closed. */
async function watched(kv: KV): Promise<{ seen: KvWatchEntry[]; stop: () => void }> {
  const watch = await kv.watch();
  const seen: KvWatchEntry[] = [];
  void (async () => {
    for await (const entry of watch) seen.push(entry);
  })();
  return { seen, stop: () => watch.stop() };
}

test(
  'a bucket of the hub is read and watched on the gateway with the revisions of the hub',
  async () => {
    const { rig, hub } = await plant();
    await hub.put('flags.a', 'on');
    await hub.put('flags.b', 'off');
    await converged(rig);
    const local = await bucket(rig.local.nc);
    expect(text(await local.get('flags.a'))).toBe('1 PUT on');
    const { seen, stop } = await watched(local);
    await until('the first values', () => seen.length === 2);
    await hub.put('flags.a', 'off');
    await hub.delete('flags.b');
    await hub.purge('flags.a');
    await until('the changes', () => seen.length >= 5, LONG_MS);
    stop();
    expect(seen.map((entry) => text(entry))).toEqual([
      '1 PUT on',
      '2 PUT off',
      '3 PUT off',
      '4 DEL ',
      '5 PURGE ',
    ]);
    expect(await stored(rig.local.nc)).toEqual(await stored(rig.hub.nc));
    const status = await local.status();
    expect([status.history, status.streamInfo.config.mirror?.external?.api]).toEqual([
      3,
      '$JS.hub.API',
    ]);
    expect(status.streamInfo.mirror).toMatchObject({ name: STREAM, lag: 0 });
  },
  LONG_MS,
);

test(
  'without the WAN the bucket is read and watched as it was, over a restart; then it catches up',
  async () => {
    const { rig, hub } = await plant();
    for (let i = 0; i < KEYS; i++) void hub.put(`key.${i}`, `${i}`);
    await until('all keys at the hub', async () => (await lastSeq(rig.hub.nc)) === KEYS, LONG_MS);
    await converged(rig);
    await rig.cut();
    await hub.put('key.7', 'changed');
    await hub.delete('key.8');
    await hub.put('key.new', 'new');
    const offline = async (nc: NatsConnection): Promise<void> => {
      const local = await bucket(nc);
      expect(text(await local.get('key.7'))).toBe('8 PUT 7');
      const keys: string[] = [];
      for await (const key of await local.keys()) keys.push(key);
      expect(keys).toHaveLength(KEYS);
    };
    await offline(rig.local.nc);
    await rig.gateway.kill();
    await rig.gateway.start();
    const again = await JetStreamClient.connect(`127.0.0.1:${rig.gateway.port}`);
    open.push(again);
    await offline(again.nc);
    const { seen, stop } = await watched(await bucket(again.nc));
    await until('the watcher to have it all', () => seen.length === KEYS, LONG_MS);
    await rig.mend();
    await until('the watcher to hear what happened', () => seen.length === KEYS + 3, LONG_MS);
    stop();
    expect(seen.slice(-3).map((entry) => text(entry))).toEqual([
      `${KEYS + 1} PUT changed`,
      `${KEYS + 2} DEL `,
      `${KEYS + 3} PUT new`,
    ]);
    expect(await stored(again.nc)).toEqual(await stored(rig.hub.nc));
  },
  2 * LONG_MS,
);

test(
  'a key that the hub lets expire goes on the gateway too, with the hub or without it',
  async () => {
    const { rig, hub } = await plant();
    await hub.create('here', 'x', '2s');
    await hub.put('stays', 'y');
    await converged(rig);
    const local = await bucket(rig.local.nc);
    expect(text(await local.get('here'))).toBe('1 PUT x');
    const { seen, stop } = await watched(local);
    await until(
      'the marker of the hub',
      () => seen.some(({ revision }) => revision === 3),
      LONG_MS,
    );
    stop();
    expect((await local.get('here'))?.operation ?? 'PURGE').toBe('PURGE');
    await hub.create('gone', 'x', '3s');
    await converged(rig);
    await rig.cut();
    expect(text(await local.get('gone'))).toBe('4 PUT x');
    await until(
      'it to expire without the hub',
      async () => (await local.get('gone')) === null,
      LONG_MS,
    );
    expect(text(await local.get('stays'))).toBe('2 PUT y');
  },
  2 * LONG_MS,
);

test(
  'where the operator lets requests to the hub cross, a local client writes into the bucket of the hub',
  async () => {
    const { rig, hub } = await plant({ gateway: { exports: WRITES } });
    await hub.put('a', '1');
    await converged(rig);
    const local = await bucket(rig.local.nc);
    const kvm = await new Kvm(rig.local.nc).create(BUCKET);
    const revision = await kvm.put('a', '2');
    expect(revision).toBe(2);
    await expect(kvm.update('a', '3', 1)).rejects.toThrow(/wrong last sequence/);
    await converged(rig);
    expect(text(await local.get('a'))).toBe('2 PUT 2');
    expect(text(await hub.get('a'))).toBe('2 PUT 2');
  },
  LONG_MS,
);

test(
  'without that, nothing that a local client writes gets to the hub',
  async () => {
    const { rig, hub } = await plant();
    await hub.put('a', '1');
    await converged(rig);
    const kvm = await new Kvm(rig.local.nc).create(BUCKET);
    await expect(kvm.put('a', '2')).rejects.toThrow();
    rig.local.nc.publish('$JS.hub.API.STREAM.DELETE.KV_config');
    rig.local.nc.publish('$KV.config.a', '3');
    await rig.local.nc.flush();
    await hub.put('b', '1');
    await converged(rig);
    expect(await stored(rig.hub.nc)).toHaveLength(2);
  },
  LONG_MS,
);

test(
  'a local client makes a mirror of a bucket of the hub itself, where requests to the hub may cross',
  async () => {
    const { rig, hub } = await plant({ gateway: { leaf: '', exports: WRITES } });
    await hub.put('a', '1');
    const local = await new Kvm(rig.local.nc).create('copy', {
      history: 3,
      mirror: { name: BUCKET, domain: 'hub' },
    });
    await until('the value', async () => (await local.get('a')) !== null, LONG_MS);
    expect(text(await local.get('a'))).toBe('1 PUT 1');
    expect(await local.put('a', '2')).toBe(2);
    await until('the change', async () => text(await local.get('a')) === '2 PUT 2', LONG_MS);
    await rig.cut();
    expect(text(await local.get('a'))).toBe('2 PUT 2');
  },
  LONG_MS,
);

test(
  'a bucket that is deleted and made anew at the hub is copied anew',
  async () => {
    const { rig, hub } = await plant();
    for (let i = 0; i < 5; i++) await hub.put(`old.${i}`, 'x');
    await converged(rig);
    await hub.destroy();
    const fresh = await new Kvm(rig.hub.nc).create(BUCKET);
    await fresh.put('new', 'y');
    const local = await bucket(rig.local.nc);
    await until(
      'the new bucket',
      async () => (await local.get('new').catch(() => null)) !== null,
      LONG_MS,
    );
    expect(await stored(rig.local.nc)).toEqual(await stored(rig.hub.nc));
    expect(await local.get('old.1')).toBeNull();
  },
  2 * LONG_MS,
);

test(
  'a mirror of a replicated bucket goes on when the leader steps down',
  async () => {
    const { rig, hub } = await plant({ servers: 3 });
    let done = false;
    const writing = (async () => {
      for (let i = 0; !done && i < 5_000; i++)
        await hub.put(`k.${i % 50}`, `${i}`).catch(() => undefined);
    })();
    for (let i = 0; i < 3; i++) {
      const before = await lastSeq(rig.local.nc);
      await until(
        'the mirror to move on',
        async () => (await lastSeq(rig.local.nc)) > before + 20,
        LONG_MS,
      );
      await rig.hub.api(`STREAM.LEADER.STEPDOWN.${STREAM}`).catch(() => undefined);
    }
    done = true;
    await writing;
    await until('the hub to answer', async () => (await lastSeq(rig.hub.nc)) > 0, LONG_MS);
    await converged(rig);
    expect(await stored(rig.local.nc)).toEqual(await stored(rig.hub.nc));
  },
  3 * LONG_MS,
);

test.each<OldVersion>(['2.10', '2.9'])(
  'a hub of version %s is mirrored, over a cut',
  async (version) => {
    const { rig, hub } = await plant({ binary: oldNatsServer(version) });
    await hub.put('a', '1');
    await hub.put('b', '2');
    await converged(rig);
    await rig.cut();
    await hub.put('a', '3');
    await hub.delete('b');
    await rig.mend();
    await converged(rig);
    expect(await stored(rig.local.nc)).toEqual(await stored(rig.hub.nc));
  },
  2 * LONG_MS,
);

test(
  'a stream of the hub without a bucket is mirrored as well, and read with a consumer',
  async () => {
    const { rig } = await plant({ gateway: { leaf: '', exports: WRITES } });
    await rig.hub.create({ name: 'ORDERS', subjects: ['orders.>'], storage: 'file' });
    const js = jetstream(rig.hub.nc);
    for (let i = 1; i <= 300; i++) await js.publish(`orders.${i % 3}`, 'x'.repeat(20_000));
    await rig.local.create({
      name: 'ORDERS',
      mirror: { name: 'ORDERS', external: { api: '$JS.hub.API' }, filter_subject: 'orders.1' },
    });
    await until(
      'the 100 of them',
      async () => (await rig.local.info('ORDERS')).state.messages === 100,
      LONG_MS,
    );
    const consumer = await jetstream(rig.local.nc).consumers.get('ORDERS');
    const first = await consumer.next();
    expect([first?.seq, first?.subject]).toEqual([1, 'orders.1']);
  },
  2 * LONG_MS,
);
