// The whole agent as a process with `[leaf]`, at a real hub: what each shows of the other, a configuration that is read again, and
// what an operator hears when something is wrong.

import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kvm } from '@nats-io/kv';
import { afterAll, expect, test } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { collect } from '../support/nats-clients.ts';
import { until } from '../support/until.ts';
import type { AgentGateway } from './gateway.ts';
import { LeafRig, leafz } from './rig.ts';

const TEST_MS = 180_000;
const STREAM = '[[stream]]\nname = "SITE"\nsubjects = ["plant.>"]\n';
const ADMIN = { user: 'admin', pass: 'right' };
const USERS = `authorization { users: [
  { user: gw7, password: right }
  { user: admin, password: right }
] }`;

const CERTIFICATES = join(import.meta.dirname, '../fixtures/hub-certificates');
/** A checkout leaves files readable for others, which a key must not be. */
const keys = mkdtempSync(join(tmpdir(), 'mangrove-keys-'));
const keyFile = join(keys, 'client-key.pem');
copyFileSync(join(CERTIFICATES, 'client-key.pem'), keyFile);
chmodSync(keyFile, 0o600);
afterAll(() => rmSync(keys, { recursive: true }));

interface Leafz {
  readonly server_id: string;
  readonly leafnodes: number;
  readonly leafs: readonly Record<string, unknown>[];
}

function processOf(rig: LeafRig): AgentProcess {
  return (rig.gateway as AgentGateway).agent;
}

async function shown<T>(agent: AgentProcess, path: string): Promise<T> {
  return (await agent.monitor(path)).body as T;
}

/** The problem of the link in /healthz; undefined for none. */
async function problemOf(agent: AgentProcess): Promise<string | undefined> {
  const { problems = [] } = await shown<{ problems?: { part: string; text: string }[] }>(
    agent,
    '/healthz',
  );
  return problems.find(({ part }) => part === 'leaf')?.text;
}

/** Changes the configuration by `edit` and has it read again; resolves with what the log says of it, one line or two. */
async function reload(agent: AgentProcess, edit: (text: string) => string, lines: 1 | 2 = 1) {
  const said = () => agent.log.filter(({ msg }) => msg.startsWith('the configuration was read'));
  const before = said().length;
  const restarts = agent.log.length;
  writeFileSync(agent.configFile, edit(readFileSync(agent.configFile, 'utf8')));
  if (agent.pid !== undefined) process.kill(agent.pid, 'SIGHUP');
  const line = await until('the configuration to be read again', () => said()[before]);
  const restart = () => agent.log.slice(restarts).find(({ msg }) => msg.includes('need a restart'));
  const waits = lines === 1 ? restart() : await until('the word of a restart', restart);
  return { changed: line['changed'], needRestart: waits?.['keys'] ?? [] };
}

test.concurrent(
  'the hub shows the gateway as a leaf node with its domain, and the gateway shows the hub',
  async () => {
    await using rig = await LeafRig.start({
      gateway: { exports: ['evt.>'], leaf: `compression = "off"\n${STREAM}` },
    });
    const [server] = rig.hubs;
    if (server === undefined) throw new Error('there is a hub');
    const [leaf] = await leafz(server, true);
    expect(leaf).toMatchObject({ name: 'gw7', account: '$G' });
    expect(leaf?.subscriptions_list).toContain('$JS.gw7.API.>');
    expect(await rig.hub.api('INFO', undefined, { domain: 'gw7' })).toMatchObject({
      domain: 'gw7',
      streams: 1,
    });
    const agent = processOf(rig);
    await until('the link', async () => (await shown<Leafz>(agent, '/leafz')).leafnodes === 1);
    const [own, hubId] = [
      await shown<Leafz>(agent, '/leafz?subs=1'),
      ((await (await fetch(`${server.monitorUrl}/varz`)).json()) as { server_id: string })
        .server_id,
    ];
    expect(own.leafnodes).toBe(1);
    expect(own.server_id).not.toBe(hubId);
    expect(own.leafs[0]).toMatchObject({
      name: 'hub',
      domain: 'hub',
      is_spoke: true,
      account: '$G',
      remote_account: '$G',
      ip: '127.0.0.1',
      compression: 'off',
    });
    expect(own.leafs[0]?.['advertised_list']).toContain('$JS.gw7.API.>');
    const wanted = async (): Promise<unknown> =>
      (await shown<Leafz>(agent, '/leafz?subs=1')).leafs[0]?.['subscriptions_list'];
    rig.hub.nc.subscribe('evt.wanted', { queue: 'crew' });
    rig.hub.nc.subscribe('other.wanted');
    await until('what the hub wants', async () => {
      const list = await wanted();
      return Array.isArray(list) && list.includes('evt.wanted crew');
    });
    expect(await wanted()).not.toContain('other.wanted');
    const varz = await shown<{ leafnodes: number; leaf: object }>(agent, '/varz');
    expect(varz.leafnodes).toBe(1);
    expect(varz.leaf).toMatchObject({ connected: true, problem: null, domain: 'gw7', connects: 1 });
    const url = `http://127.0.0.1:${agent.monitorPort}/metrics`;
    expect(await (await fetch(url)).text()).toContain('mangrove_leaf_connected 1\n');
    expect(await problemOf(agent)).toBeUndefined();
  },
  TEST_MS,
);

test.concurrent(
  'only what is listed crosses, and another list is in force without a restart; another domain waits for one',
  async () => {
    await using rig = await LeafRig.start({
      gateway: { exports: ['out.>'], imports: ['in.>'], leaf: STREAM },
    });
    const agent = processOf(rig);
    const hubGot = collect(rig.hub.nc, '*.crosses');
    const localGot = collect(rig.local.nc, '*.crosses');
    const [server] = rig.hubs;
    if (server === undefined) throw new Error('there is a hub');
    /** Which of the subjects arrive on the other side, within a message that surely does. */
    const crossing = async (out: string, into: string): Promise<void> => {
      await until(`${out} at the hub and ${into} here`, async () => {
        for (const subject of ['out', 'more', 'plant'])
          rig.local.nc.publish(`${subject}.crosses`, 'up');
        for (const subject of ['in', 'news']) rig.hub.nc.publish(`${subject}.crosses`, 'down');
        await Promise.all([rig.local.nc.flush(), rig.hub.nc.flush()]);
        const up = hubGot.some(({ subject }) => subject === `${out}.crosses`);
        return up && localGot.some((each) => each.subject === `${into}.crosses` && isFrom(each));
      });
    };
    const isFrom = (message: { string(): string }): boolean => message.string() === 'down';
    await crossing('out', 'in');
    expect(new Set(hubGot.filter((each) => !isFrom(each)).map(({ subject }) => subject))).toEqual(
      new Set(['out.crosses']),
    );
    expect(new Set(localGot.filter(isFrom).map(({ subject }) => subject))).toEqual(
      new Set(['in.crosses']),
    );
    const edit = (text: string): string =>
      text
        .replace('exports = ["out.>"]', 'exports = ["more.>"]')
        .replace('imports = ["in.>"]', 'imports = ["news.>"]');
    expect(await reload(agent, edit)).toEqual({ changed: ['leaf link'], needRestart: [] });
    await rig.connected();
    hubGot.length = 0;
    localGot.length = 0;
    await crossing('more', 'news');
    expect(hubGot.some(({ subject }) => subject === 'out.crosses')).toBe(false);
    expect(localGot.some((each) => each.subject === 'in.crosses' && isFrom(each))).toBe(false);
    // A domain that is taken away is closed at once, though local clients keep it until the restart.
    const other = await reload(
      agent,
      (text) => text.replace('domain = "gw7"', 'domain = "gw8"'),
      2,
    );
    expect(other).toEqual({ changed: [], needRestart: ['leaf.domain'] });
    expect(await rig.hub.api('INFO', undefined, { domain: 'gw7' })).toMatchObject({
      domain: 'gw7',
    });
    const none = await reload(agent, (text) => text.replace('domain = "gw8"\n', ''));
    expect(none).toEqual({ changed: ['leaf link'], needRestart: [] });
    await until('the hub to see no JetStream', async () => {
      const [leaf] = await leafz(server, true);
      return leaf?.subscriptions_list?.some((subject) => subject.startsWith('$JS.')) === false;
    });
    expect(await rig.local.api('INFO')).toMatchObject({ domain: 'gw7' });
    const gone = await reload(agent, (text) => text.replace(/\[leaf\][\s\S]*?(?=\[\[stream)/, ''));
    expect(gone.changed).toEqual(['leaf link']);
    await until('the hub to have no leaf node', async () => (await leafz(server)).length === 0);
    expect((await shown<{ leaf?: object }>(agent, '/varz')).leaf).toBeUndefined();
  },
  TEST_MS,
);

test.concurrent(
  'a wrong password is a problem that names what to mend, and a new file in its place brings the link',
  async () => {
    const rig = await LeafRig.start(
      {
        hub: USERS,
        admin: ADMIN,
        gateway: { login: { user: 'gw7', password: 'wrong' }, leaf: STREAM },
      },
      false,
    );
    await using _ = rig;
    const agent = processOf(rig);
    const text = await until('the problem in /healthz', () => problemOf(agent));
    expect(text).toMatch(/[Aa]uthorization|login|credentials/);
    const { status } = await agent.monitor('/healthz');
    expect(status).toBe(503);
    const said = agent.log.filter(({ level }) => level >= 40);
    expect(said.map(({ msg }) => msg)).toContain('no leafnode connection to the hub');
    expect(agent.output).not.toContain('wrong');
    expect((await shown<Leafz>(agent, '/leafz')).leafs).toEqual([]);
    const file = /password_file = "(.*)"/.exec(readFileSync(agent.configFile, 'utf8'))?.[1] ?? '';
    writeFileSync(file, 'right\n', { mode: 0o600 });
    await rig.connected();
    await until('the problem to be gone', async () => (await problemOf(agent)) === undefined);
    expect((await agent.monitor('/healthz')).status).toBe(200);
  },
  TEST_MS,
);

test.concurrent(
  "the hub's own domain is a problem: nothing of JetStream crosses, and messages do",
  async () => {
    await using rig = await LeafRig.start({
      gateway: { domain: 'hub', exports: ['evt.>'], leaf: STREAM },
    });
    const agent = processOf(rig);
    const text = await until('the problem in /healthz', () => problemOf(agent));
    expect(text).toContain('JetStream domain "hub"');
    // Who asks for that domain gets the hub, not the gateway.
    expect(await rig.hub.api('INFO', undefined, { domain: 'hub' })).toMatchObject({ streams: 0 });
    const got = collect(rig.hub.nc, 'evt.>');
    await rig.hub.nc.flush();
    await until('a message at the hub', async () => {
      rig.local.nc.publish('evt.a', 'x');
      await rig.local.nc.flush();
      return got.length > 0;
    });
  },
  TEST_MS,
);

test.concurrent(
  'without a listener for NATS the hub reaches the streams of the gateway all the same',
  async () => {
    await using rig = await LeafRig.start();
    const [dial = ''] = rig.dials;
    const config = `${STREAM}[leaf]\nurl = "${dial}"\ndomain = "gw9"\n`;
    await using agent = await AgentProcess.create({ gatewayName: 'gw9', config });
    await agent.start();
    await rig.connected(undefined, 'gw9');
    const info = () => rig.hub.api('STREAM.INFO.SITE', undefined, { domain: 'gw9' });
    expect(await info()).toMatchObject({ config: { name: 'SITE' }, domain: 'gw9' });
  },
  TEST_MS,
);

test.concurrent(
  'a bucket of the hub that the configuration names is there for local programs, also without the hub',
  async () => {
    await using rig = await LeafRig.start({
      gateway: { leaf: '[[kv_mirror]]\nbucket = "config"\n' },
    });
    const bucket = await new Kvm(rig.hub.nc).create('config');
    await bucket.put('rate', '10');
    const local = await until('the bucket here', async () => {
      const found = await new Kvm(rig.local.nc).open('config').catch(() => undefined);
      return (await found?.get('rate').catch(() => null)) == null ? undefined : found;
    });
    await bucket.put('rate', '20');
    const value = async (): Promise<string | undefined> => (await local.get('rate'))?.string();
    await until('the new value here', async () => (await value()) === '20');
    await rig.cut();
    expect(await value()).toBe('20');
  },
  TEST_MS,
);

test.concurrent.each([true, false])(
  'by TLS with certificates of both sides, first or behind INFO (first: %s): nothing else gets through',
  async (first) => {
    const file = (name: string): string => join(CERTIFICATES, `${name}.pem`);
    const hub = `tls { cert_file: "${file('server')}", key_file: "${file('server-key')}",
      ca_file: "${file('ca')}", verify: true${first ? ', handshake_first: true' : ''} }`;
    await using rig = await LeafRig.start({
      leafnodes: hub,
      gateway: {
        leaf: `${STREAM}[leaf.tls]\nca = "${file('ca')}"\ncert = "${file('client')}"\nkey = "${keyFile}"\nhandshake_first = ${first}\n`,
      },
    });
    const agent = processOf(rig);
    const own = await until('the link', async () => (await shown<Leafz>(agent, '/leafz')).leafs[0]);
    expect(own).toMatchObject({ tls: true });
    expect(await rig.hub.api('INFO', undefined, { domain: 'gw7' })).toMatchObject({ streams: 1 });
    // Without its certificate the hub refuses it, and the operator hears of it.
    await reload(agent, (text) => text.replace(/cert = .*\nkey = .*\n/, ''));
    // Its alert may be overtaken by the end of the connection: another attempt hears it.
    await until('the problem in /healthz', async () =>
      (await problemOf(agent))?.includes('certificate'),
    );
  },
  TEST_MS,
);
