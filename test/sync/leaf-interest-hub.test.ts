// What crosses a leafnode link between a gateway and a real nats-server, as programs on both sides meet it.

import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { Objm } from '@nats-io/obj';
import { connect, headers, type Msg, type NatsConnection } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { agentGateway } from '../leaf/gateway.ts';
import { LeafRig, leafz, type LeafRigOptions } from '../leaf/rig.ts';
import { collect } from '../support/nats-clients.ts';
import { freePort, startNatsServer } from '../support/nats-server.ts';
import { until } from '../support/until.ts';

const TEST_MS = 90_000;
const ADMIN = { user: 'admin', pass: 'right' };
const LOGIN = { user: 'gw7', password: 'right' };

function rigOf(
  lists: { exports?: readonly string[]; imports?: readonly string[] },
  options: LeafRigOptions = {},
): Promise<LeafRig> {
  return LeafRig.start({ ...options, gateway: { ...lists, ...options.gateway } });
}

/** What the hub knows of the gateway's interest. */
async function knownToHub({ hubs }: LeafRig): Promise<readonly string[]> {
  const [server] = hubs;
  if (server === undefined) throw new Error('no hub');
  return (await leafz(server, true)).flatMap((leaf) => leaf.subscriptions_list ?? []);
}

function hubKnows(rig: LeafRig, subject: string): Promise<unknown> {
  return until(`${subject} at the hub`, async () => (await knownToHub(rig)).includes(subject));
}

/** Asks until somebody answers: interest needs a moment to cross. */
function answered(nc: NatsConnection, subject: string, data = ''): Promise<Msg> {
  return until(`an answer on ${subject}`, () =>
    nc.request(subject, data, { timeout: 500 }).catch(() => undefined),
  );
}

function answers(nc: NatsConnection, subject: string, name: string, queue?: string): void {
  nc.subscribe(subject, {
    ...(queue === undefined ? {} : { queue }),
    callback: (_, message) => {
      const given = message.headers?.get('Asks') ?? '';
      const said = headers();
      said.set('Answers', given);
      message.respond(`${name} heard ${message.string()}`, { headers: said });
    },
  });
}

test.concurrent(
  'a request is answered from the other side, with headers and in any letters; who asks nobody learns of it',
  async () => {
    await using rig = await rigOf({ exports: ['up.>'], imports: ['down.>'] });
    const [gateway, hub] = [rig.local.nc, rig.hub.nc];
    answers(hub, 'up.grüß.>', 'hub');
    answers(gateway, 'down.日本.*', 'gateway');
    answers(hub, 'secret.>', 'hub');
    answers(gateway, 'secret.>', 'gateway');
    const asks = headers();
    asks.set('Asks', 'wärme');
    expect((await answered(gateway, 'up.grüß.ß', 'ü')).string()).toBe('hub heard ü');
    expect((await answered(hub, 'down.日本.x', 'ü')).string()).toBe('gateway heard ü');
    for (const [nc, subject] of [
      [gateway, 'up.grüß.a'],
      [hub, 'down.日本.a'],
    ] as const) {
      const answer = await nc.request(subject, 'x', { headers: asks, timeout: 5_000 });
      expect(answer.headers?.get('Answers')).toBe('wärme');
    }
    await expect(gateway.request('up.nobody', '', { timeout: 20_000 })).rejects.toThrow(
      'no responders',
    );
    const own = await gateway.request('secret.a', 'x', { timeout: 5_000 });
    expect(own.string(), 'each side asks its own').toBe('gateway heard x');
    expect((await hub.request('secret.a', 'x', { timeout: 5_000 })).string()).toBe('hub heard x');
  },
  TEST_MS,
);

test.concurrent(
  'a client with inboxes of a name of its own is answered, whichever way it asks',
  async () => {
    await using rig = await rigOf({ exports: ['up.>'], imports: ['down.>'] });
    const [server] = rig.hubs;
    const [gateway, hub] = await Promise.all([
      connect({ servers: `127.0.0.1:${rig.gateway.port}`, inboxPrefix: 'acme.inboxes' }),
      connect({ servers: server?.url ?? '', inboxPrefix: 'acme.inboxes' }),
    ]);
    answers(rig.local.nc, 'down.x', 'gateway');
    answers(rig.hub.nc, 'up.x', 'hub');
    expect((await answered(hub, 'down.x', '1')).string()).toBe('gateway heard 1');
    expect((await answered(gateway, 'up.x', '2')).string()).toBe('hub heard 2');
    for (const noMux of [true, false]) {
      const options = noMux ? { noMux, timeout: 5_000 } : { timeout: 5_000 };
      const info = await hub.request('$JS.gw7.API.INFO', '', options);
      expect(info.json()).toMatchObject({ type: 'io.nats.jetstream.api.v1.account_info_response' });
    }
    await gateway.close();
    await hub.close();
  },
  TEST_MS,
);

test.concurrent(
  'of a queue group with members on both sides one gets each message, those of the same side first',
  async () => {
    await using rig = await rigOf({ exports: ['work.>'], imports: ['work.>'] });
    const [gateway, hub] = [rig.local.nc, rig.hub.nc];
    const there = collect(hub, 'work.a', 'crew');
    const here = [collect(gateway, 'work.a', 'crew'), collect(gateway, 'work.a', 'crew')];
    const plain = collect(hub, 'work.>');
    await hub.flush();
    await gateway.flush();
    await until('both to know', async () => {
      gateway.publish('work.try');
      hub.publish('work.try');
      await gateway.flush();
      return plain.length > 1 && (await knownToHub(rig)).includes('work.a');
    });
    for (let i = 0; i < 100; i++) gateway.publish('work.a', `g${i}`);
    const copies = (): number => plain.filter(({ subject }) => subject === 'work.a').length;
    await until('plain listeners', () => copies() === 100);
    expect(there.length, 'members here were there').toBe(0);
    expect(here.map(({ length }) => length).reduce((a, b) => a + b)).toBe(100);
    expect(Math.min(...here.map(({ length }) => length))).toBeGreaterThan(10);
    for (let i = 0; i < 100; i++) hub.publish('work.a', `h${i}`);
    await until('the members of the hub', () => there.length === 100);
    expect(here.reduce((sum, { length }) => sum + length, 0)).toBe(100);
  },
  TEST_MS,
);

test.concurrent(
  'a queue group of the gateway alone serves the hub, each message once',
  async () => {
    await using rig = await rigOf({ imports: ['work.>'] });
    const here = [1, 2, 3].map(() => collect(rig.local.nc, 'work.a', 'crew'));
    await rig.local.nc.flush();
    await until('the group at the hub', async () =>
      (await knownToHub(rig)).some((each) => each.startsWith('work.a')),
    );
    for (let i = 0; i < 200; i++) rig.hub.nc.publish('work.a', String(i));
    await until('all of them', () => here.reduce((sum, { length }) => sum + length, 0) === 200);
    expect(Math.min(...here.map(({ length }) => length))).toBeGreaterThan(20);
  },
  TEST_MS,
);

test.concurrent(
  'a listener that ends after some messages gets no more, and the hub is told that nobody is left',
  async () => {
    await using rig = await rigOf({ exports: ['up.>'], imports: ['down.>'] });
    const got: string[] = [];
    rig.local.nc.subscribe('down.a', { max: 3, callback: (_, m) => void got.push(m.string()) });
    await rig.local.nc.flush();
    await hubKnows(rig, 'down.a');
    for (let i = 0; i < 10; i++) rig.hub.nc.publish('down.a', String(i));
    await until('LS-', async () => !(await knownToHub(rig)).includes('down.a'));
    expect(got).toEqual(['0', '1', '2']);
    const there: string[] = [];
    rig.hub.nc.subscribe('up.a', { max: 2, callback: (_, m) => void there.push(m.string()) });
    await rig.hub.nc.flush();
    await until('two messages', async () => {
      rig.local.nc.publish('up.a', 'x');
      await rig.local.nc.flush();
      return there.length === 2;
    });
    await until('nobody', () =>
      rig.local.nc.request('up.a', '', { timeout: 500 }).then(
        () => false,
        (error: unknown) => String(error).includes('no responders'),
      ),
    );
    expect(there.length).toBe(2);
  },
  TEST_MS,
);

test.concurrent(
  'what nobody on the hub wants uses not a byte of the WAN',
  async () => {
    await using rig = await rigOf({ exports: ['up.>'], imports: ['down.>'] });
    const [wan] = rig.wans;
    if (wan === undefined) throw new Error('no way');
    const local = rig.local.nc;
    collect(rig.hub.nc, 'other.>');
    const here = collect(local, 'up.>');
    await rig.local.api('STREAM.CREATE.T', { name: 'T', subjects: ['t.>'], storage: 'file' });
    await rig.hub.nc.flush();
    // PINGs go now and then, some bytes each.
    const before = wan.counters.upBytes;
    const data = 'x'.repeat(1000);
    for (let i = 0; i < 1000; i++) local.publish(`up.${i}`, data);
    for (let i = 0; i < 300; i++) await local.request(`t.${i % 7}`, data, { timeout: 5_000 });
    for (let i = 0; i < 5; i++)
      await local.request('up.x.y', data, { timeout: 300, noMux: true }).catch(() => undefined);
    expect(here.length).toBeGreaterThan(999);
    expect(wan.counters.upBytes - before).toBeLessThan(200);
    expect(wan.counters.connections).toBe(1);
  },
  TEST_MS,
);

test.concurrent(
  'the cloud uses streams, consumers, keys and objects of the gateway under its domain',
  async () => {
    await using rig = await rigOf({});
    const hub = rig.hub.nc;
    const js = jetstream(hub, { domain: 'gw7' });
    const manager = await jetstreamManager(hub, { domain: 'gw7' });
    await manager.streams.add({ name: 'T', subjects: ['t.>'] });
    for (let i = 0; i < 50; i++) await rig.local.nc.request('t.a', `v${i}`, { timeout: 5_000 });
    expect((await manager.streams.info('T')).state.messages).toBe(50);
    expect((await manager.streams.getMessage('T', { seq: 7 }))?.string()).toBe('v6');
    await manager.consumers.add('T', { durable_name: 'c', ack_policy: 'explicit' });
    const consumer = await js.consumers.get('T', 'c');
    const messages = await consumer.fetch({ max_messages: 50, expires: 10_000 });
    const got: string[] = [];
    for await (const message of messages) {
      got.push(`${message.subject} ${message.string()}`);
      expect(await message.ackAck({ timeout: 5_000 })).toBe(true);
    }
    expect(got).toEqual(Array.from({ length: 50 }, (_, i) => `t.a v${i}`));
    expect((await manager.consumers.info('T', 'c')).num_ack_pending).toBe(0);
    const ordered = await (
      await js.consumers.get('T')
    ).fetch({ max_messages: 50, expires: 10_000 });
    let count = 0;
    for await (const message of ordered) count += message.seq > 0 ? 1 : 0;
    expect(count).toBe(50);

    const kv = await new Kvm(js).create('settings');
    await kv.put('rate', '5');
    await kv.put('rate', '6');
    const local = await new Kvm(rig.local.nc).open('settings');
    expect((await local.get('rate'))?.string()).toBe('6');
    const seen: string[] = [];
    const watch = await kv.watch();
    void (async (): Promise<void> => {
      for await (const entry of watch) seen.push(`${entry.key}=${entry.string()}`);
    })();
    await local.put('rate', '7');
    await until('the key in the cloud', () => seen.includes('rate=7'));
    watch.stop();

    const store = await new Objm(js).create('firmware');
    const image = Buffer.alloc(700_000, 'firmware');
    await store.putBlob({ name: 'image' }, image);
    expect(Buffer.from((await store.getBlob('image')) ?? []).equals(image)).toBe(true);
    const own = await new Objm(rig.local.nc).open('firmware');
    expect(Buffer.from((await own.getBlob('image')) ?? []).equals(image)).toBe(true);
    expect(rig.gateway.complaints).toEqual([]);
  },
  TEST_MS,
);

test.concurrent(
  'a program of the gateway uses streams and keys of the hub, where the operator lists its API',
  async () => {
    await using rig = await rigOf({ exports: ['$JS.hub.API.>'] });
    const kvOfHub = await new Kvm(jetstream(rig.hub.nc)).create('flags');
    await kvOfHub.put('a', '1');
    const js = jetstream(rig.local.nc, { domain: 'hub' });
    const kv = await until('the bucket', () => new Kvm(js).open('flags').catch(() => undefined));
    expect((await kv.get('a'))?.string()).toBe('1');
    const seen: string[] = [];
    const watch = await kv.watch();
    void (async (): Promise<void> => {
      for await (const entry of watch) seen.push(`${entry.key}=${entry.string()}`);
    })();
    await until('what is there', () => seen.includes('a=1'));
    await kvOfHub.put('b', '2');
    await until('what is new', () => seen.includes('b=2'));
    watch.stop();
    await rig.hub.api('STREAM.CREATE.H', { name: 'H', subjects: ['h.>'] });
    for (let i = 0; i < 20; i++) await rig.hub.nc.request('h.a', `v${i}`, { timeout: 5_000 });
    const manager = await jetstreamManager(rig.local.nc, { domain: 'hub' });
    await manager.consumers.add('H', { durable_name: 'c', ack_policy: 'explicit' });
    const messages = await (
      await js.consumers.get('H', 'c')
    ).fetch({ max_messages: 20, expires: 10_000 });
    let count = 0;
    for await (const message of messages) {
      expect(message.subject).toBe('h.a');
      expect(await message.ackAck({ timeout: 5_000 })).toBe(true);
      count++;
    }
    expect(count).toBe(20);
    expect(rig.gateway.complaints).toEqual([]);
  },
  TEST_MS,
);

test.concurrent(
  'ten thousand subscriptions come and go on the hub, and the gateway keeps what is left',
  async () => {
    await using rig = await rigOf({ exports: ['up.>'] });
    const [server] = rig.hubs;
    const hub = await connect({ servers: server?.url ?? '' });
    for (let i = 0; i < 10_000; i++) {
      const subscription = hub.subscribe(`up.${i}`);
      if (i % 1000 === 0) await hub.flush();
      if (i !== 4711) subscription.unsubscribe();
    }
    await hub.flush();
    const got = collect(rig.hub.nc, 'up.4711');
    await rig.hub.nc.flush();
    await until('what is wanted', () => {
      for (const name of ['4711', '4712']) rig.local.nc.publish(`up.${name}`);
      return got.length > 0;
    });
    await expect(rig.local.nc.request('up.4712', '', { timeout: 10_000 })).rejects.toThrow(
      'no responders',
    );
    await hub.close();
    expect(rig.gateway.complaints).toEqual([]);
  },
  TEST_MS,
);

test.concurrent(
  'a program on the hub reaches nothing that is not listed, whatever replies it makes up',
  async () => {
    await using rig = await rigOf({ imports: ['cmd.>'], exports: ['evt.>'] });
    const [gateway, hub] = [rig.local.nc, rig.hub.nc];
    await rig.local.api('STREAM.CREATE.KEEP', {
      name: 'KEEP',
      subjects: ['keep.>'],
      storage: 'file',
    });
    const valve = collect(gateway, 'plant.valve');
    const all = collect(gateway, '>');
    const stolen = collect(hub, 'plant.>');
    answers(gateway, 'cmd.go', 'gateway');
    await gateway.flush();
    await hubKnows(rig, 'cmd.go');
    hub.subscribe('$JS.API.STREAM.DELETE.KEEP.copy');
    all.length = 0;
    for (const reply of [
      'plant.valve',
      '$JS.API.STREAM.DELETE.KEEP',
      '$JS.gw7.API.STREAM.DELETE.KEEP',
    ])
      for (const subject of ['$JS.gw7.API.INFO', 'cmd.go', '$JS.gw7.API.STREAM.INFO.KEEP'])
        hub.publish(subject, '', { reply });
    for (const subject of ['plant.valve', 'keep.a', '$SYS.x', '_INBOX.x', 'evt.x'])
      hub.publish(subject, '');
    gateway.publish('plant.valve.state', 'secret');
    await hub.request('cmd.go', '', { timeout: 5_000 });
    const subjects = all.map(({ subject }) => subject);
    expect(subjects.filter((each) => each !== 'cmd.go' && !each.startsWith('_INBOX.'))).toEqual([
      'plant.valve.state',
    ]);
    expect([valve.length, stolen.length]).toEqual([0, 1]);
    expect(stolen[0]?.subject, 'its own').toBe('plant.valve');
    const info = await rig.local.api<{ state: { messages: number } }>('STREAM.INFO.KEEP');
    expect(info.state.messages).toBe(0);
  },
  TEST_MS,
);

test.concurrent(
  'a request from another cluster of the hub, or from another of its accounts, is answered at once',
  async () => {
    const ports = await Promise.all(['A', 'B'].map(() => freePort()));
    const leaf = await freePort();
    const gateways = ports.map(
      (port, i) => `{ name: ${'AB'[i]}, urls: ["nats://127.0.0.1:${port}"] }`,
    );
    const config = (i: number): string => `accounts {
  SYS { users: [{ user: sys, password: right }] }
  APP { users: [{ user: admin, password: right }, { user: gw7, password: right }], exports: [{ service: "down.>" }] }
  OTHER {
    users: [{ user: other, password: right }]
    imports: [{ service: { account: APP, subject: "down.x" }, to: "their.x" }]
  }
}
system_account: SYS
gateway { name: ${'AB'[i]}, listen: "127.0.0.1:${ports[i]}", gateways: [${gateways.join(', ')}] }
${i === 0 ? `leafnodes { listen: "127.0.0.1:${leaf}" }` : ''}`;
    const hubs = await Promise.all(
      [0, 1].map((i) => startNatsServer({ name: `hub${i}`, jetstream: null, config: config(i) })),
    );
    const gateway = await agentGateway({
      hubs: [`127.0.0.1:${leaf}`],
      login: LOGIN,
      imports: ['down.>'],
    });
    const clients: NatsConnection[] = [];
    const client = async (servers: string, login = ADMIN): Promise<NatsConnection> => {
      const nc = await connect({ servers, user: login.user, pass: login.pass });
      clients.push(nc);
      return nc;
    };
    try {
      await gateway.start();
      const local = await connect({ servers: `127.0.0.1:${gateway.port}` });
      clients.push(local);
      answers(local, 'down.x', 'gateway');
      const [near = '', far = ''] = hubs.map(({ url }) => url);
      await answered(await client(near), 'down.x');
      await answered(await client(far), 'down.x');
      // Whoever comes anew asks before his cluster has told the other one where he listens.
      for (let i = 0; i < 3; i++) {
        const nc = await client(far);
        const answer = await nc.request('down.x', String(i), { timeout: 10_000 });
        expect(answer.string()).toBe(`gateway heard ${i}`);
        const info = await (await client(far)).request('$JS.gw7.API.INFO', '', { timeout: 10_000 });
        expect(info.json()).toMatchObject({
          type: 'io.nats.jetstream.api.v1.account_info_response',
        });
      }
      const other = await client(far, { user: 'other', pass: 'right' });
      expect((await answered(other, 'their.x', 'x')).string()).toBe('gateway heard x');
      expect(gateway.complaints).toEqual([]);
    } finally {
      for (const nc of clients) await nc.close();
      await gateway[Symbol.asyncDispose]();
      await Promise.all(hubs.map((hub) => hub.dispose()));
    }
  },
  TEST_MS,
);

test.concurrent(
  'with every permission of the hub made narrow, nothing crosses that it does not allow, and it never complains',
  async () => {
    await using rig = await rigOf(
      { exports: ['evt.>', 'up.>', '$JS.hub.API.>'], imports: ['cmd.>', 'down.>'] },
      {
        hub: `authorization { users: [
  { user: gw7, password: right, permissions: {
    publish: { allow: ["evt.open.>", "_INBOX.>"], deny: ["evt.open.no"] }
    subscribe: { allow: ["cmd.gw7.>", "$JS.gw7.API.STREAM.>", "_INBOX.>"], deny: ["cmd.gw7.no.>"] }
  } }
  { user: admin, password: right }
] }`,
        admin: ADMIN,
        gateway: { login: LOGIN },
      },
    );
    const [gateway, hub] = [rig.local.nc, rig.hub.nc];
    const there = collect(hub, '>');
    const here = ['cmd.gw7.a', 'cmd.gw7.no.a', 'cmd.other.a', 'down.a', 'cmd.>', 'cmd.*.no.a'].map(
      (filter) => collect(gateway, filter),
    );
    await hub.flush();
    await gateway.flush();
    await until('messages at the hub', () => {
      for (const subject of ['evt.open.a', 'evt.open.no', 'evt.shut', 'up.a', '$JS.hub.API.INFO'])
        gateway.publish(subject);
      return there.some(({ subject }) => subject === 'evt.open.a');
    });
    await until('commands', () => {
      for (const subject of ['cmd.gw7.a', 'cmd.gw7.no.a', 'cmd.other.a', 'down.a'])
        hub.publish(subject);
      return (here[0]?.length ?? 0) > 3;
    });
    const manager = await jetstreamManager(hub, { domain: 'gw7', checkAPI: false });
    expect((await manager.streams.names().next()).length).toBe(0);
    await expect(hub.request('$JS.gw7.API.INFO', '', { timeout: 500 })).rejects.toThrow('timeout');
    const own = new Set(['cmd.gw7.a', 'cmd.gw7.no.a', 'cmd.other.a', 'down.a']);
    const crossed = new Set(there.map(({ subject }) => subject).filter((each) => !own.has(each)));
    for (const subject of crossed)
      expect(subject).toMatch(/^(?:evt\.open\.a|_INBOX\..*|\$JS\.gw7\.API\..*)$/);
    expect(here.map(({ length }) => length > 0)).toEqual([true, false, false, false, true, false]);
    expect(rig.hubs[0]?.output).not.toContain('iolation');
    expect(rig.dialled).toBe(1);
    // One, of what can never cross.
    expect(rig.gateway.complaints.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { send: ['up.>', '$JS.hub.API.>'], get: ['down.>'] },
    ]);
  },
  TEST_MS,
);
