// A hub that is set up wrong, full, or that will never take one of the messages: each has a defined behaviour and a
// message for the operator, and each ends without a restart of the agent.

import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { health } from '../../src/status.ts';
import { GatewayDir, TestAgent } from '../support/agent.ts';
import { audit, Ledger, verdict } from '../support/audit.ts';
import { freePort, startNatsServer } from '../support/nats-server.ts';
import { until } from '../support/until.ts';
import { EDGE, HubAdmin } from './hub-admin.ts';
import { Accounts, MISCONFIGURED, NO_CONNECTION, told } from './mishaps.ts';
import { Rig } from './rig.ts';
import { burst } from './traffic.ts';

const TEST_MS = 180_000;
test.concurrent(
  'the hub stream is missing: data waits until it is there',
  { timeout: TEST_MS },
  async () => {
    await using rig = await Rig.start({ stream: null });
    await burst(rig.agent, rig.ledger, 20);
    await told(rig.agent, MISCONFIGURED, /create = true/);
    // It looks again and again, and says so meanwhile.
    await until('the state between two looks', () => rig.agent.status().state === 'misconfigured');
    expect(rig.agent.status().pending).toBe(20);
    expect(health(rig.agent.agent.parts)).toMatchObject({
      ok: false,
      problems: [{ part: 'hub SENSORS' }],
    });
    await rig.admin.create();
    expect(await rig.audit()).toEqual([]);
    expect(health(rig.agent.agent.parts)).toMatchObject({ ok: true });
  },
);

test.concurrent(
  'the hub stream is created where the configuration says so',
  { timeout: TEST_MS },
  async () => {
    await using rig = await Rig.start({ stream: null, agent: { hub: 'create = true' } });
    await burst(rig.agent, rig.ledger, 20);
    expect(await rig.audit()).toEqual([]);
    const { config } = await rig.admin.info();
    expect(config).toMatchObject({
      subjects: ['edge.>'],
      storage: 'file',
      retention: 'limits',
      discard: 'new',
      num_replicas: 1,
      allow_atomic: true,
      allow_batched: true,
      allow_msg_ttl: true,
    });
    expect(config['max_bytes']).toBeGreaterThan(0);
    expect(rig.agent.said('')).toEqual([]);
  },
);

test.concurrent.each([
  ['and the gateway knows', true, true],
  ['since a moment ago', false, true],
  ['since a moment ago, and no batches', false, false],
])(
  'a message in mid-batch is larger than the hub stream takes (%s)',
  { timeout: TEST_MS },
  async (_, before, atomic) => {
    const limit = { max_msg_size: 1_000 };
    const stream = { ...EDGE, allow_atomic: atomic, ...(before ? limit : {}) };
    await using rig = await Rig.start({ stream });
    await burst(rig.agent, rig.ledger, 5);
    await rig.agent.drained();
    if (!before) await rig.admin.update('EDGE', limit);
    await Promise.all([
      burst(rig.agent, rig.ledger, 30),
      burst(rig.agent, rig.ledger, 1, { source: 'poison', bytes: 5_000 }),
      burst(rig.agent, rig.ledger, 30),
    ]);
    await burst(rig.agent, rig.ledger, 5);
    const excused = (key: string): boolean => key.startsWith('poison');
    expect(await rig.audit({ excused })).toEqual([]);
    const found = await rig.admin.readAll();
    expect(found).toHaveLength(71);
    expect(JSON.parse(found[35]!.data.toString())).toMatchObject({
      first_seq: 36,
      last_seq: 36,
      count: 1,
      reason: 'dead_letter',
    });
    await told(rig.agent, 'the hub will never take a message', /stream dead_letter/);
    const dead = rig.agent.agent.parts.jetstream.stream('dead_letter')!.read(0, 10, 1e6);
    expect(dead).toMatchObject([
      { kind: 'message', message: { subject: '$DEAD.SENSORS.serial.poison' } },
    ]);
  },
);

test.concurrent(
  'the hub stream is sealed, and then another takes its place',
  { timeout: TEST_MS },
  async () => {
    await using rig = await Rig.start();
    await burst(rig.agent, rig.ledger, 10);
    await rig.agent.drained();
    await rig.admin.update('EDGE', { sealed: true });
    await burst(rig.agent, rig.ledger, 10);
    await told(rig.agent, MISCONFIGURED, /create another one|ordinary stream/);
    await rig.admin.delete();
    await rig.admin.create();
    expect(await rig.audit()).toEqual([]);
    expect(await rig.admin.messages()).toBe(20);
  },
);

test.concurrent('the account has no JetStream, and then it has', { timeout: TEST_MS }, async () => {
  using accounts = new Accounts();
  accounts.write({ jetstream: 'disabled' });
  await using rig = await Rig.start({
    stream: null,
    server: { port: await freePort(), config: accounts.config },
    auth: Accounts.admin,
    agent: { hub: accounts.login },
  });
  await burst(rig.agent, rig.ledger, 10);
  await told(rig.agent, MISCONFIGURED, /enable JetStream for the account/);
  await rig.hub.stop();
  accounts.write();
  await rig.hub.restart();
  await rig.admin.answers();
  await rig.admin.create();
  expect(await rig.audit()).toEqual([]);
});

test.concurrent(
  'the password is wrong, and then its file is corrected',
  { timeout: TEST_MS },
  async () => {
    using accounts = new Accounts();
    accounts.password('wrong');
    await using rig = await Rig.start({
      server: { config: accounts.config },
      auth: Accounts.admin,
      agent: { hub: accounts.login },
    });
    await burst(rig.agent, rig.ledger, 10);
    const line = await told(rig.agent, NO_CONNECTION, /credentials/);
    expect(line['kind']).toBe('authentication');
    accounts.password('right');
    expect(await rig.audit()).toEqual([]);
  },
);

test.concurrent(
  'something accepts the connection and says nothing, then the hub is back',
  { timeout: TEST_MS },
  async () => {
    const port = await freePort();
    const mute = createServer((socket) => void socket.on('error', () => undefined).resume());
    await new Promise<void>((resolve) => mute.listen(port, '127.0.0.1', resolve));
    const dir = new GatewayDir();
    dir.configure({ servers: [`nats://127.0.0.1:${port}`] });
    const agent = await TestAgent.start(dir);
    const ledger = new Ledger();
    try {
      await burst(agent, ledger, 10);
      await told(agent, NO_CONNECTION, /WAN|nats-server/);
      await new Promise<void>((resolve) => void mute.close(() => resolve()));
      const hub = await startNatsServer({ port });
      const admin = await HubAdmin.connect(hub.url);
      try {
        await admin.create();
        await agent.drained();
        expect(verdict(audit(ledger, await admin.readAll()))).toEqual([]);
      } finally {
        await admin.close();
        await hub.dispose();
      }
    } finally {
      await agent.stop();
      mute.close();
      dir.remove();
    }
  },
);
