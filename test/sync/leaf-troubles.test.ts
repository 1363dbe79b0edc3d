// What only an operator can mend: names and domains that are there twice, loops, limits and permissions of the hub. Each
// is said clearly, here and at most every now and then, and none of it makes a storm.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { leafError, saidByHub } from '../../sync/leaf/leaf-error.ts';
import { LeafTroubles } from '../../sync/leaf/leaf-troubles.ts';
import { Broker } from '../../src/broker.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { until } from '../support/until.ts';
import {
  at,
  connected,
  infoLine,
  logged,
  newLink,
  refusal,
  startHub,
  stub,
  tearDown,
  type Stub,
} from './leaf-link-bench.ts';

const dir = mkdtempSync(join(tmpdir(), 'mangrove-leaf-troubles-'));

afterEach(tearDown);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A hub that lets us in and says `words` to it; CONNECT and what follows it is read before. */
function saying(words: string, connect = true): Promise<Stub> {
  return stub((socket) => {
    socket.write(infoLine());
    socket.once('data', () => {
      const welcome = infoLine({ connect_info: true, remote_account: 'A' });
      socket.write(`${connect ? welcome : ''}${words}`);
    });
  });
}

describe('two gateways', () => {
  test('with one name: both say so and keep still, and there is no storm', async () => {
    const hub = await startHub();
    const links = ['gw7', 'gw8'].map((domain) =>
      newLink({ urls: [hub.url], boundary: { exports: [], imports: [], domain } }),
    );
    const twin = 'another gateway with the name "gw7"';
    await until('one to say so', () =>
      links.some((link) => link.status().problem?.includes(twin) === true),
    );
    const connects = (): number =>
      links.reduce((sum, link) => sum + link.status().counters.connects, 0);
    expect(connects()).toBeLessThanOrEqual(4);
    await until('the other one to stay', async () => (await hub.leafs()).length === 1);
    const [line] = logged('another gateway with the name');
    expect(line).toMatchObject({ level: 50, name: 'gw7' });
    expect(line?.['pauseMs']).toBeGreaterThanOrEqual(30_000);
  });

  test('with one domain hear of each other through the hub, and both say so', async () => {
    const hub = await startHub();
    const first = await connected(newLink({ urls: [hub.url], name: 'gw7' }));
    const second = await connected(newLink({ urls: [hub.url], name: 'gw8' }));
    const both = 'the JetStream domain "gw7" too';
    await until('the second to hear of the first', () => second.status().problem?.includes(both));
    await until('the first to hear of the second', () => first.status().problem?.includes(both));
    expect(first.status().problem).toContain('"gw8"');
    expect(second.status().problem).toContain('"gw7"');
    expect(logged('another gateway has the JetStream domain')).toHaveLength(2);
  });

  test('with names and domains of their own do not bother each other', async () => {
    const hub = await startHub();
    const links = await Promise.all(
      ['gw7', 'gw8', 'gw9'].map((name) =>
        connected(
          newLink({ urls: [hub.url], name, boundary: { exports: [], imports: [], domain: name } }),
        ),
      ),
    );
    expect(await hub.leafs()).toHaveLength(3);
    expect(links.map((link) => link.status().problem)).toEqual([null, null, null]);
    expect(logged('').filter(({ level }) => level >= 40)).toEqual([]);
  });
});

describe('the hub', () => {
  test('with our domain: nothing of JetStream crosses, and it is said so', async () => {
    const hub = await startHub({ jetstream: 'domain: gw7' });
    const link = await connected(newLink({ urls: [hub.url] }));
    expect(link.status().problem).toContain('the hub has the JetStream domain "gw7"');
    const [leaf] = await hub.leafs();
    expect(leaf?.subscriptions_list?.filter((subject) => subject.startsWith('$JS'))).toEqual([]);
    expect(logged('the hub has the JetStream domain')).toHaveLength(1);
  });

  test('that asks for a newer protocol', async () => {
    const hub = await startHub({ leafnodes: 'min_version: "2.15.0"' });
    const link = newLink({ urls: [hub.url] });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'configuration' });
    expect(line.error).toContain('minimum version required is');
    expect(line.hint).toContain('min_version');
    expect(link.status().problem).toContain('min_version');
  });

  test('whose account takes no more leaf nodes', async () => {
    const users = 'users: [{ user: gw7, password: "s3cret" }]';
    const hub = await startHub({
      config: `accounts { ACME { ${users}, limits { max_leafnodes: 1 } } }`,
    });
    const passwordFile = join(dir, 'acme');
    writeFileSync(passwordFile, 's3cret', { mode: 0o600 });
    const credentials = { kind: 'user', user: 'gw7', passwordFile } as const;
    await connected(newLink({ urls: [hub.url], credentials }));
    const domain = 'gw8';
    const boundary = { exports: [], imports: [], domain };
    const second = newLink({ urls: [hub.url], credentials, name: domain, boundary });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'authentication' });
    expect(line.error).toContain('lets no more connections in');
    expect(second.status().problem).toContain('raise the limit');
  });

  test('that takes us into its system account: we do not go there', async () => {
    const hub = await startHub({
      config:
        'accounts { SYS { users: [{ user: gw7, password: "s3cret" }] } }\nsystem_account: SYS',
      jetstream: null,
    });
    const passwordFile = join(dir, 'sys');
    writeFileSync(passwordFile, 's3cret', { mode: 0o600 });
    const credentials = { kind: 'user', user: 'gw7', passwordFile } as const;
    const link = newLink({ urls: [hub.url], credentials });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'configuration' });
    expect(line.error).toContain('system account');
    expect(link.status()).toMatchObject({ connected: false, counters: { connects: 0 } });
  });

  test('that takes no headers', async () => {
    const hub = await startHub({ config: 'no_header_support: true', jetstream: null });
    newLink({ urls: [hub.url] });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'configuration' });
    expect(line.hint).toContain('no_header_support');
  });

  test('that forbids a subject all the same: it is asked once, and said once', async () => {
    const broker = new Broker();
    const heard: string[] = [];
    const hub = await stub((socket) => {
      socket.write(infoLine());
      let welcome = false;
      socket.on('data', (bytes) => {
        heard.push(bytes.toString());
        if (!welcome) socket.write(infoLine({ connect_info: true, remote_account: 'A' }));
        welcome = true;
        if (bytes.includes('LS+ cmd.secret'))
          socket.end(`-ERR 'Permissions Violation for Subscription to "cmd.secret"'\r\n`);
      });
    });
    for (const filter of ['cmd.secret', 'cmd.open'])
      broker.subscribe(filter, { deliver: () => undefined });
    const boundary = { exports: [], imports: ['cmd.>'], domain: 'gw7' };
    const link = newLink({ urls: [hub.url], boundary }, { broker });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'permission' });
    expect(line.error).toContain('"cmd.secret"');
    expect(line.hint).toContain('subscribe to "cmd.secret"');
    await until('another connection', () => link.status().counters.connects === 2);
    await until('the other subject', () => link.status().hub?.advertised.includes('cmd.open'));
    expect(link.status().problem).toContain('"cmd.secret"');
    expect(heard.filter((text) => text.includes('LS+ cmd.secret'))).toHaveLength(1);
    expect(hub.sockets).toHaveLength(2);
  });

  test('that sends our own mark back: a loop, which is said to both, and rested from', async () => {
    const looped = await stub((socket) => {
      socket.write(infoLine());
      socket.on('data', (bytes) => {
        const [, mark] = /LS\+ (\$LDS\.\w+)/.exec(bytes.toString()) ?? [];
        if (mark !== undefined)
          socket.write(`${infoLine({ connect_info: true })}LS+ $LDS.other\r\nLS+ ${mark}\r\n`);
      });
    });
    const link = newLink({ urls: [looped.url] });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'loop' });
    expect(line['pauseMs']).toBeGreaterThanOrEqual(30_000);
    expect(link.status().problem).toContain('loop');
    await until('the hub to hear it', () => looped.heard().includes("-ERR 'Loop detected"));
    const refusing = await saying("-ERR 'Authorization Violation'\r\n", false);
    newLink({ urls: [refusing.url] });
    await until('many attempts of another link', () => refusing.sockets.length > 8);
    expect(looped.sockets).toHaveLength(1);
  });

  test('whose user may do little: the link stands all the same, and nothing is tried in vain', async () => {
    const permissions = 'permissions: { subscribe: ["cmd.>"], publish: ["evt.>"] }';
    const users = `users: [{ user: gw7, password: "s3cret", ${permissions} }]`;
    const hub = await startHub({ config: `accounts { ACME { jetstream: enabled, ${users} } }` });
    const passwordFile = join(dir, 'little');
    writeFileSync(passwordFile, 's3cret', { mode: 0o600 });
    const broker = new Broker();
    for (const filter of ['cmd.open', 'other.closed', 'other.>'])
      broker.subscribe(filter, { deliver: () => undefined });
    const credentials = { kind: 'user', user: 'gw7', passwordFile } as const;
    const boundary = { exports: ['>'], imports: ['>'], domain: 'gw7' };
    const link = newLink({ urls: [hub.url], credentials, boundary }, { broker });
    await until('what may come', () => link.status().hub?.advertised.includes('cmd.open'));
    expect(link.status().hub?.advertised.filter((filter) => /other/.test(filter))).toEqual([]);
    broker.publish({ subject: 'evt.a', data: Buffer.from('a') });
    broker.publish({ subject: 'other.a', data: Buffer.from('a') });
    await until('a sign of life', () => link.status().hub?.rttMs !== undefined);
    expect(link.status()).toMatchObject({ problem: null, counters: { connects: 1 } });
    const complaints = logged('').filter(({ level }) => level >= 40);
    expect(complaints).toMatchObject([{ send: [], get: ['$JS.gw7.API.>'] }]);
  });

  test('whose permissions are mended: what it forbade is asked for again', async () => {
    const broker = new Broker();
    let lenient = false;
    const hub = await stub((socket) => {
      socket.write(infoLine());
      let welcome = false;
      socket.on('data', (bytes) => {
        const more = { connect_info: true, import: { deny: lenient ? [] : ['other'] } };
        if (!welcome) socket.write(infoLine(more));
        welcome = true;
        if (bytes.includes('LS+ cmd.secret') && !lenient)
          socket.end(`-ERR 'Permissions Violation for Subscription to "cmd.secret"'\r\n`);
      });
    });
    broker.subscribe('cmd.secret', { deliver: () => undefined });
    const boundary = { exports: [], imports: ['cmd.>'], domain: 'gw7' };
    const link = newLink({ urls: [hub.url], boundary }, { broker });
    await until('another connection', () => link.status().counters.connects === 2);
    expect(link.status().hub?.advertised).not.toContain('cmd.secret');
    lenient = true;
    hub.sockets[1]?.destroy();
    await until('the subject', () => link.status().hub?.advertised.includes('cmd.secret'));
  });

  test('that says what it does not like: each in words of an operator', async () => {
    for (const [said, kind, words, connect] of [
      ['Authorization Violation', 'authentication', 'refuses the credentials', false],
      ['User Authentication Expired', 'authentication', 'have run out', true],
      ['User Authentication Revoked', 'authentication', 'taken the credentials', true],
      ['Authentication Timeout', 'network', 'too late', false],
      ['Duplicate Remote LeafNode Connection', 'twin', 'take our place', true],
      ['remote leafnode has same cluster name', 'configuration', 'own cluster', false],
      ['cluster name cannot contain spaces', 'configuration', 'spaces', false],
      ['Loop detected for leafnode account="A"', 'loop', 'found a loop', true],
      ['connection rejected since minimum version required is "9"', 'configuration', '"9"', false],
      ['Maximum Payload Violation', 'configuration', 'larger than the hub takes', true],
      ['maximum account active connections exceeded', 'authentication', 'no more', false],
      ['Stale Connection', 'network', 'Stale Connection', true],
      ['Something New', 'network', 'Something New', true],
    ] as const) {
      at.lines = [];
      const hub = await saying(`-ERR '${said}'\r\n`, connect);
      const link = newLink({ urls: [hub.url] });
      const line = await refusal();
      expect([said, line.kind]).toEqual([said, kind]);
      expect(line.error).toContain(words);
      expect(line.error).toContain(hub.url);
      await link.stop();
    }
  });

  test('that complains and goes on: the link stays, and the problem is shown', async () => {
    const hub = await saying("-ERR 'maximum subscriptions exceeded'\r\nPING\r\n");
    const link = await connected(newLink({ urls: [hub.url] }));
    await until('the answer to its PING', () => hub.heard().includes('PONG'));
    expect(link.status()).toMatchObject({ connected: true });
    expect(link.status().problem).toContain('no more subscriptions');
    expect(logged('the hub complains')).toHaveLength(1);
    expect(hub.sockets).toHaveLength(1);
  });

  test('that repeats a secret: it does not get into the log', async () => {
    const passwordFile = join(dir, 'secret');
    writeFileSync(passwordFile, 'h1dden-secret', { mode: 0o600 });
    const hub = await saying("-ERR 'Authorization Violation of h1dden-secret'\r\n", false);
    const link = newLink({
      urls: [hub.url],
      credentials: { kind: 'user', user: 'gw7', passwordFile },
    });
    expect(await refusal()).toMatchObject({ kind: 'authentication' });
    expect(hub.heard()).toContain('h1dden-secret');
    expect(JSON.stringify(at.lines)).not.toContain('h1dden');
    expect(link.status().problem).not.toContain('h1dden');
  });
});

describe('pauses', () => {
  const parts = (clock: FakeClock, random = 0): { clock: FakeClock; random: () => number } => ({
    clock,
    random: () => random,
  });
  const twin = saidByHub('Duplicate Remote LeafNode Connection', 'hub').error;

  test('one loss of our place is an accident, two are another gateway: longer and longer', () => {
    const clock = new FakeClock();
    const troubles = new LeafTroubles('gw7', parts(clock));
    expect(troubles.failed(twin, true)).toBe(0);
    expect(troubles.problem).toBeNull();
    const pauses = [];
    for (let i = 0; i < 8; i++) {
      clock.advance(60_000);
      pauses.push(troubles.failed(twin, true) / 1_000);
    }
    expect(pauses).toEqual([30, 60, 120, 240, 480, 600, 600, 600]);
    expect(troubles.problem).toContain('another gateway with the name "gw7"');
    clock.advance(41 * 60_000);
    expect(troubles.problem).toBeNull();
    expect(troubles.failed(twin, true)).toBe(0);
  });

  test('each is drawn anew, up to twice as long', () => {
    const clock = new FakeClock();
    const loop = leafError('loop', 'hub: loop');
    expect(new LeafTroubles('gw7', parts(clock, 0)).failed(loop, true)).toBe(30_000);
    expect(new LeafTroubles('gw7', parts(clock, 0.5)).failed(loop, true)).toBe(45_000);
    expect(new LeafTroubles('gw7', parts(clock)).failed(leafError('network', 'x'), true)).toBe(0);
  });

  test('a subject that is forbidden is shown until the hub is mended', () => {
    const troubles = new LeafTroubles('gw7', parts(new FakeClock()));
    const said = 'Permissions Violation for Publish to "a.b"';
    troubles.failed(saidByHub(said, 'hub').error, true);
    troubles.up(undefined);
    troubles.settled();
    expect(troubles.problem).toContain('"a.b"');
    expect(troubles.problem).toContain('publish to');
    troubles.forgiven();
    expect(troubles.problem).toBeNull();
  });

  test('what ended a connection that stood is shown until one stands for a while', () => {
    const troubles = new LeafTroubles('gw7', parts(new FakeClock()));
    troubles.up(undefined);
    troubles.failed(leafError('loop', 'hub: loop'), true);
    troubles.up(undefined);
    expect(troubles.problem).toContain('loop');
    troubles.settled();
    expect(troubles.problem).toBeNull();
    troubles.failed(leafError('authentication', 'hub: no'), false);
    expect(troubles.problem).toContain('hub: no');
    troubles.failed(leafError('network', 'hub: gone'), false);
    expect(troubles.problem).toBeNull();
  });
});
