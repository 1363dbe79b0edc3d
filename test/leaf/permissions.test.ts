// A leaf user of the hub that may not do all that the gateway is configured for: what it may not do does not cross, the link
// stays, the hub is not asked again and again, and the log says it once.

import { expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { collect } from '../support/nats-clients.ts';
import type { AgentGateway } from './gateway.ts';
import { lasting } from './lasting.ts';
import { fromGateway, LeafRig, leafz } from './rig.ts';

const TEST_MS = 90_000;
/** In which nothing may flap. */
const QUIET_MS = 6_000;
const LOGIN = { user: 'gw7', password: 'right' };
const ADMIN = { user: 'admin', pass: 'right' };

function users(permissions: string): string {
  return `authorization { users: [
  { user: gw7, password: right, permissions: { ${permissions} } }
  { user: admin, password: right }
] }`;
}

/** Nothing was dialled again, and neither side's log grew like a storm's. */
async function isQuiet(rig: LeafRig, during: () => Promise<void>): Promise<void> {
  const [server] = rig.hubs;
  const dialled = rig.dialled;
  const lines = [rig.gateway.linesLogged, server?.linesLogged ?? 0] as const;
  const endMs = performance.now() + QUIET_MS;
  while (performance.now() < endMs) {
    await during();
    await lasting(100);
  }
  expect(rig.dialled).toBe(dialled);
  expect(rig.gateway.linesLogged - lines[0]).toBeLessThan(10);
  expect((server?.linesLogged ?? 0) - lines[1]).toBeLessThan(10);
}

test.concurrent(
  'what the user may not publish does not cross, though it is exported; the rest does, and nothing flaps',
  async () => {
    await using rig = await LeafRig.start({
      hub: users('publish: { allow: ["evt.>", "$JS.S.>"], deny: ["evt.secret.>"] }'),
      admin: ADMIN,
      gateway: { login: LOGIN, exports: ['evt.>', 'other.>'] },
    });
    const got = collect(rig.hub.nc, 'evt.>');
    const others = collect(rig.hub.nc, 'other.>');
    await rig.hub.nc.flush();
    await until('messages at the hub', async () => {
      rig.local.nc.publish('evt.open.a', 'x');
      await lasting(50);
      return got.length > 0;
    });
    await isQuiet(rig, async () => {
      for (const subject of ['evt.secret.a', 'other.a', 'evt.open.a'])
        rig.local.nc.publish(subject, 'x');
      await rig.local.nc.flush();
    });
    expect(got.length).toBeGreaterThan(20);
    expect(got.filter(({ subject }) => subject !== 'evt.open.a')).toEqual([]);
    expect(others).toEqual([]);
    const said = rig.gateway.complaints.filter((line) => line.includes('nothing of them crosses'));
    expect(said).toEqual([expect.stringContaining('"send":["other.>"],"get":[]')]);
  },
  TEST_MS,
);

test.concurrent(
  'what the user may not subscribe to does not come in, though it is imported and wanted; the rest does',
  async () => {
    await using rig = await LeafRig.start({
      hub: users('subscribe: { allow: ["cmd.gw7.>", "$JS.gw7.API.>"], deny: ["cmd.gw7.secret"] }'),
      admin: ADMIN,
      gateway: { login: LOGIN, imports: ['cmd.>'] },
    });
    const own = collect(rig.local.nc, 'cmd.gw7.*');
    const secret = collect(rig.local.nc, 'cmd.gw7.secret');
    const other = collect(rig.local.nc, 'cmd.other.x');
    await rig.local.nc.flush();
    await until('commands at the gateway', async () => {
      rig.hub.nc.publish('cmd.gw7.go', 'x');
      await lasting(50);
      return own.length > 0;
    });
    await isQuiet(rig, async () => {
      for (const subject of ['cmd.gw7.secret', 'cmd.other.x', 'cmd.gw7.go'])
        rig.hub.nc.publish(subject, 'x');
      // Interest that comes and goes is what asks the hub again.
      collect(rig.local.nc, `cmd.other.${Math.random()}`);
      await rig.hub.nc.flush();
    });
    expect(own.length).toBeGreaterThan(20);
    expect(own.filter(({ subject }) => subject !== 'cmd.gw7.go')).toEqual([]);
    expect(secret).toEqual([]);
    expect(other).toEqual([]);
  },
  TEST_MS,
);

test.concurrent(
  'a user that may not answer the hub’s sources leaves its stream empty, and the link as it is',
  async () => {
    await using rig = await LeafRig.start({
      hub: users('publish: { allow: ["evt.>"] }'),
      admin: ADMIN,
      gateway: { login: LOGIN },
    });
    await rig.local.create({ name: 'LIM', subjects: ['lim.>'] });
    await rig.hub.create({ name: 'S_LIM', sources: [fromGateway('LIM')] });
    await isQuiet(rig, async () => {
      await rig.local.nc.request('lim.a', 'x', { timeout: 5_000 });
    });
    expect((await rig.hub.state('S_LIM'))?.messages).toBe(0);
    expect((await rig.local.state('LIM'))?.messages).toBeGreaterThan(20);
  },
  TEST_MS,
);

test.concurrent(
  'nothing crosses that is not listed: neither what local programs publish nor what the hub’s clients do',
  async () => {
    const gateway = { exports: ['evt.>'], imports: ['cmd.>'] };
    await using rig = await LeafRig.start({ gateway });
    const atHub = collect(rig.hub.nc, '>');
    const local = collect(rig.local.nc, '>');
    await Promise.all([rig.hub.nc.flush(), rig.local.nc.flush()]);
    await isQuiet(rig, async () => {
      for (const subject of ['evt.a', 'from.gateway']) rig.local.nc.publish(subject, 'x');
      for (const subject of ['cmd.a', 'from.hub']) rig.hub.nc.publish(subject, 'x');
      await Promise.all([rig.hub.nc.flush(), rig.local.nc.flush()]);
    });
    const crossed = (got: readonly { subject: string }[], subject: string): number =>
      got.filter((message) => message.subject === subject).length;
    expect(crossed(atHub, 'evt.a')).toBeGreaterThan(20);
    expect(crossed(local, 'cmd.a')).toBeGreaterThan(20);
    expect(crossed(atHub, 'from.hub')).toBeGreaterThan(20);
    expect(crossed(atHub, 'from.gateway')).toBe(0);
    expect(crossed(local, 'from.gateway')).toBeGreaterThan(20);
    expect(crossed(local, 'from.hub')).toBe(0);
    const [server] = rig.hubs;
    const [leaf] = server === undefined ? [] : await leafz(server, true);
    const known = (leaf?.subscriptions_list ?? []).filter(
      (subject) => !/^\$(LDS|JS\.gw7\.API|JS\.ACK|JS\.FC)\./.test(subject),
    );
    expect(known).toEqual(['cmd.>']);
    expect((rig.gateway as AgentGateway).warnings).toEqual([]);
  },
  TEST_MS,
);
