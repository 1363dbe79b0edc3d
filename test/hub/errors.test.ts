// A hub that is set up wrong, full, or that will never take one of the messages: each has a defined behaviour and a
// message for the operator, and each ends without a restart of the agent.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { health } from '../../src/status.ts';
import { GatewayDir, TestAgent } from '../support/agent.ts';
import type { LogLine } from '../support/agent-process.ts';
import { audit, Ledger, verdict } from '../support/audit.ts';
import { freePort, startNatsServer } from '../support/nats-server.ts';
import { until } from '../support/until.ts';
import { EDGE, HubAdmin } from './hub-admin.ts';
import { Rig } from './rig.ts';
import { burst } from './traffic.ts';

const TEST_MS = 90_000;
const MISCONFIGURED = 'the hub cannot be forwarded to as it is';
const NO_CONNECTION = 'no connection to the hub';

/** Resolves with the first line that tells the operator `text`, and a hint that matches. */
function told(agent: TestAgent, text: string, hint: RegExp): Promise<LogLine> {
  return until(`"${text}" with ${String(hint)}`, () =>
    agent.said(text).find((line) => hint.test(line.hint ?? '')),
  ).catch((error: unknown) => {
    const lines = agent.log.filter(({ level }) => level >= 40);
    throw new Error(`${String(error)}; it said ${JSON.stringify(lines.slice(-5))}`);
  });
}

/** The users of a test's hub, in a file that can be rewritten between two starts of it. */
class Accounts {
  readonly path = mkdtempSync(join(tmpdir(), 'mangrove-accounts-'));
  readonly passwordFile = join(this.path, 'password');
  /** What the hub's configuration needs. nats-server looks from its own directory, which is beside this one. */
  readonly config = `include "../${basename(this.path)}/accounts.conf"`;
  /** What `[hub]` needs. */
  readonly login = `user = "gw"\npassword_file = "${this.passwordFile}"`;
  static readonly admin = { user: 'admin', pass: 'admin' };

  constructor() {
    this.password('right');
    this.write();
  }

  write({ jetstream = true, deny = '' } = {}): void {
    const permissions = deny === '' ? '' : `, permissions: { publish: { deny: ["${deny}"] } }`;
    writeFileSync(
      join(this.path, 'accounts.conf'),
      `accounts {
  GW {
    jetstream: ${jetstream ? 'enabled' : 'disabled'}
    users: [{ user: gw, password: right${permissions} }, { user: admin, password: admin }]
  }
  SYS { users: [{ user: sys, password: sys }] }
}
system_account: SYS
`,
    );
  }

  password(text: string): void {
    writeFileSync(this.passwordFile, `${text}\n`, { mode: 0o600 });
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

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

test.concurrent.each([
  ['in batches', true],
  ['one by one', false],
])(
  'the hub stream is full, and then it is given room (%s)',
  { timeout: TEST_MS },
  async (_, atomic) => {
    const stream = { ...EDGE, allow_atomic: atomic, max_msgs: 100 };
    await using rig = await Rig.start({ stream });
    await burst(rig.agent, rig.ledger, 60);
    await rig.agent.drained();
    await burst(rig.agent, rig.ledger, 60);
    await told(rig.agent, 'a publish to the hub failed', /no room/);
    expect(rig.agent.status().rejected).toBe(0);
    await rig.admin.update('EDGE', { max_msgs: 1_000 });
    expect(await rig.audit()).toEqual([]);
    expect(await rig.admin.messages()).toBe(120);
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

test.concurrent.each([
  ['the gateway may not publish', { deny: 'edge.>' }, /allow this gateway to publish/],
  [
    'the gateway may not read back',
    { deny: '$JS.API.STREAM.MSG.GET.>' },
    /allow this gateway to publish to "\$JS/,
  ],
])('%s, and then all is well', { timeout: TEST_MS }, async (_, wrong, hint) => {
  using accounts = new Accounts();
  const port = await freePort();
  await using rig = await Rig.start({
    server: { port, config: accounts.config },
    auth: Accounts.admin,
    agent: { hub: accounts.login },
  });
  await burst(rig.agent, rig.ledger, 10);
  await rig.agent.drained();
  await rig.hub.stop();
  accounts.write(wrong);
  await rig.hub.restart();
  await burst(rig.agent, rig.ledger, 10);
  await told(rig.agent, MISCONFIGURED, hint);
  expect(rig.agent.status().pending).toBeGreaterThan(0);
  await rig.hub.stop();
  accounts.write();
  await rig.hub.restart();
  await rig.admin.answers();
  expect(await rig.audit()).toEqual([]);
  expect(await rig.admin.messages()).toBe(20);
});

test.concurrent('the account has no JetStream, and then it has', { timeout: TEST_MS }, async () => {
  using accounts = new Accounts();
  accounts.write({ jetstream: false });
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
