// Leafnode links to the nats-servers of yesterday's distributions, and hubs that are leaf nodes of each other.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { nkeys } from '@nats-io/transport-node';
import { freePort, startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { oldNatsServer, type OldVersion } from '../support/old-nats-server.ts';
import { until } from '../support/until.ts';
import { WanProxy } from '../support/wan-proxy.ts';
import {
  afterwards,
  connected,
  logged,
  newLink,
  refusal,
  startHub,
  tearDown,
} from './leaf-link-bench.ts';

const TLS = join(import.meta.dirname, '../fixtures/hub-certificates');
const dir = mkdtempSync(join(tmpdir(), 'mangrove-leaf-old-'));

afterEach(tearDown);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, content: string): string {
  const path = join(dir, name);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

const boundary = (domain: string): { exports: string[]; imports: string[]; domain: string } => ({
  exports: [],
  imports: [],
  domain,
});

describe.each(['2.9', '2.10'] satisfies OldVersion[])('a hub of %s', (version) => {
  const binary = (): { binary: string } => ({ binary: oldNatsServer(version) });

  test('takes us in with a password, an nkey and TLS, and shows our domain', async () => {
    const pair = nkeys.createUser();
    const seed = Buffer.from(pair.getSeed()).toString();
    const certificates = `cert_file: "${TLS}/server.pem", key_file: "${TLS}/server-key.pem"`;
    const users = `{ user: gw7, password: "s3cret" }, { nkey: ${pair.getPublicKey()} }`;
    const hub = await startHub({
      ...binary(),
      config: `authorization { users: [${users}] }`,
      leafnodes: `tls { ${certificates} }`,
    });
    for (const credentials of [
      { kind: 'user', user: 'gw7', passwordFile: file('password', 's3cret') },
      { kind: 'nkey', file: file('gw7.nk', seed) },
    ] as const) {
      const tls = { caFile: `${TLS}/ca.pem` };
      const urls = [`localhost:${hub.port}`];
      const link = await connected(newLink({ urls, tls, credentials }));
      expect(link.status().hub).toMatchObject({ tls: true, domain: 'hub', account: '$G' });
      expect(link.status().hub?.version.startsWith(version)).toBe(true);
      const [leaf] = await hub.leafs();
      expect(leaf?.subscriptions_list).toContain('$JS.gw7.API.>');
      await link.stop();
      await until('the hub to notice', async () => (await hub.leafs()).length === 0);
    }
  });

  test('is found again after its restart', async () => {
    const hub = await startHub(binary());
    const link = await connected(newLink({ urls: [hub.url] }));
    await hub.server.kill();
    await until('the end to be noticed', () => !link.status().connected);
    await hub.server.restart();
    await connected(link);
    expect(link.status().counters.connects).toBe(2);
  });

  test('says what it does not like', async () => {
    const hub = await startHub({
      ...binary(),
      leafnodes: 'min_version: "2.20.0"\nauthorization { user: gw7, password: "s3cret" }',
    });
    newLink({ urls: [hub.url] });
    expect(await refusal('authentication')).toMatchObject({ kind: 'authentication' });
    const credentials = {
      kind: 'user',
      user: 'gw7',
      passwordFile: file('password', 's3cret'),
    } as const;
    const link = newLink({ urls: [hub.url], credentials });
    await until('a reason', () => link.status().problem?.includes('minimum version required'));
    expect(link.status().problem).toContain('min_version');
  });

  test('what a dead connection to another server of a cluster left behind is no loop', async () => {
    const [a, b] = [await freePort(), await freePort()];
    const cluster = (own: number, other: number): string =>
      `cluster { name: hub, listen: "127.0.0.1:${own}", routes: ["nats://127.0.0.1:${other}"] }`;
    const more = { leafnodes: 'no_advertise: true', jetstream: null, ...binary() };
    const first = await startHub({ ...more, name: 'first', config: cluster(a, b) });
    const second = await startHub({ ...more, name: 'second', config: cluster(b, a) });
    await until('the two to know each other', async () => {
      const answer = await fetch(`${first.server.monitorUrl}/routez`);
      return ((await answer.json()) as { num_routes: number }).num_routes > 0;
    });
    const wan = await new WanProxy(first.port).listen();
    afterwards(() => wan.close());
    let drawn = 0;
    const random = (): number => (drawn++ === 0 ? 0 : Math.random());
    const urls = [`127.0.0.1:${wan.port}`, second.url];
    const link = await connected(newLink({ urls, keepAliveMs: 900 }, { random }));
    wan.blackHole();
    await until('the other server', () => link.status().hub?.name === 'second');
    await until('its answer', () => link.status().hub?.rttMs !== undefined);
    expect(await first.leafs()).toHaveLength(1);
    expect(await second.leafs()).toHaveLength(1);
    expect(link.status()).toMatchObject({ connected: true, problem: null });
    expect(logged('no leafnode connection').map(({ kind }) => kind)).toEqual(['network']);
  });

  test('with two gateways of one name, or of one domain', async () => {
    const hub = await startHub(binary());
    const links = ['gw7', 'gw8'].map((domain) =>
      newLink({ urls: [hub.url], boundary: boundary(domain) }),
    );
    await until('one to say so', () =>
      links.some((link) => link.status().problem?.includes('the name "gw7"')),
    );
    await Promise.all(links.map((link) => link.stop()));
    const pair = ['a', 'b'].map((name) => newLink({ urls: [hub.url], name }));
    await until('both to say so', () =>
      pair.every((link) => link.status().problem?.includes('the JetStream domain "gw7" too')),
    );
  });
});

describe.each([undefined, '2.10', '2.9'] satisfies (OldVersion | undefined)[])(
  'a loop of two hubs of %s',
  (version) => {
    async function ring(): Promise<{ port: number; servers: readonly NatsServer[] }> {
      const ports = [await freePort(), await freePort()] as const;
      const binary = version === undefined ? {} : { binary: oldNatsServer(version) };
      const servers = [];
      for (const [own, other] of [ports, ports.toReversed() as unknown as typeof ports]) {
        const remotes = `remotes: [{ url: "nats-leaf://127.0.0.1:${other}" }]`;
        const leafnodes = `leafnodes { listen: "127.0.0.1:${own}", reconnect: 1, ${remotes} }`;
        const name = `hub${servers.length}`;
        const server = await startNatsServer({
          ...binary,
          name,
          jetstream: `domain: ${name}`,
          config: leafnodes,
        });
        afterwards(() => server.dispose());
        servers.push(server);
      }
      return { port: ports[0], servers };
    }

    test('is found by somebody, who says so, and nobody connects again and again', async () => {
      const { port, servers } = await ring();
      const link = newLink({ urls: [`127.0.0.1:${port}`] });
      await until('the loop to be found', () =>
        servers.some(({ output }) => output.includes('Loop detected')),
      );
      await until('the link to stand, or to say why not', () => {
        const { connected: stands, problem } = link.status();
        return stands || problem?.includes('loop') === true;
      });
      const { problem, counters } = link.status();
      expect(counters.connects).toBe(1);
      if (problem !== null)
        expect(logged('no leafnode connection')[0]).toMatchObject({ kind: 'loop' });
    });
  },
);
