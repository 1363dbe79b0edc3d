// Which server of the hub a leafnode link reaches, and what it makes of one that is no hub, or is gone.

import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { connect } from '@nats-io/transport-node';
import { Broker } from '../../src/broker.ts';
import { systemClock } from '../../src/clock.ts';
import { readTls } from '../../sync/credentials.ts';
import { dialLeaf } from '../../sync/leaf/leaf-dial.ts';
import { LeafAddresses } from '../../sync/leaf/leaf-addresses.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { freePort } from '../support/nats-server.ts';
import { until } from '../support/until.ts';
import { WanProxy } from '../support/wan-proxy.ts';
import {
  afterwards,
  at,
  connected,
  infoLine,
  logged,
  newLink,
  refusal,
  startHub,
  stub,
  tearDown,
} from './leaf-link-bench.ts';

const TLS = join(import.meta.dirname, '../fixtures/hub-certificates');
const caFile = `${TLS}/ca.pem`;
const mismatch = { code: 'ERR_TLS_CERT_ALTNAME_INVALID' };

afterEach(tearDown);

describe('several addresses', () => {
  test('of which the first is dead: the next one is taken', async () => {
    const hub = await startHub();
    const dead = `127.0.0.1:${await freePort()}`;
    const link = await connected(newLink({ urls: [dead, hub.url] }, { random: () => 0 }));
    expect(logged('no leafnode connection')[0]).toMatchObject({ kind: 'network' });
    expect(logged('no leafnode connection')[0]?.error).toContain(dead);
    expect(link.status().problem).toBeNull();
  });

  test('a silent one is given up, and the next one is taken', async () => {
    const hub = await startHub();
    const silent = await stub(() => undefined);
    const config = { urls: [silent.url, hub.url], keepAliveMs: 500 };
    await connected(newLink(config, { random: () => 0 }));
    expect(logged('no leafnode connection')[0]?.error).toContain('no answer in time');
    expect(silent.heard()).toBe('');
  });

  test('what the hub tells of its other servers counts as well, also over TLS', async () => {
    const tls = `tls { cert_file: "${TLS}/server.pem", key_file: "${TLS}/server-key.pem" }`;
    const [a, b] = [await freePort(), await freePort()];
    const cluster = (own: number, other: number): string =>
      `cluster { name: hub, listen: "127.0.0.1:${own}", routes: ["nats://127.0.0.1:${other}"] }`;
    const first = await startHub({
      leafnodes: tls,
      name: 'first',
      config: cluster(a, b),
      jetstream: null,
    });
    const second = await startHub({
      leafnodes: tls,
      name: 'second',
      config: cluster(b, a),
      jetstream: null,
    });
    const link = await connected(newLink({ urls: [`localhost:${first.port}`], tls: { caFile } }));
    await until('the two to know each other', async () => {
      const answer = await fetch(`${first.server.monitorUrl}/routez`);
      return ((await answer.json()) as { num_routes: number }).num_routes > 0;
    });
    await first.server.kill();
    await until('the other one', () => link.status().hub?.name === 'second');
    expect(link.status().hub).toMatchObject({ tls: true, port: second.port });
  });

  test('an address that the hub told may stand in its certificate by the configured name', async () => {
    const certificate = `cert_file: "${TLS}/wrong-name.pem", key_file: "${TLS}/wrong-name-key.pem"`;
    const hub = await startHub({ leafnodes: `tls { ${certificate} }` });
    const dial = async (tlsName: string | undefined): Promise<boolean> => {
      const options = {
        address: { host: '127.0.0.1', port: hub.port, text: hub.url, tls: true, tlsName },
        tls: () => readTls({ caFile }, () => undefined),
        tlsRequired: true,
        handshakeFirst: false,
        compression: 'off' as const,
        serverId: 'GW7',
        timeoutMs: 5_000,
        signal: new AbortController().signal,
      };
      const { tcp, encrypted } = await dialLeaf(options, systemClock);
      tcp.destroy();
      return encrypted;
    };
    expect(await dial('hub.example.com')).toBe(true);
    await expect(dial('other.example.com')).rejects.toMatchObject(mismatch);
    await expect(dial(undefined)).rejects.toMatchObject(mismatch);
  });

  test('one that is about to stop is left for another one', async () => {
    const hub = await startHub();
    const urls = { leafnode_urls: [hub.url] };
    const lame = await stub((socket) => {
      socket.write(infoLine(urls));
      socket.once('data', () => {
        socket.write(infoLine({ ...urls, connect_info: true, remote_account: 'A' }));
        socket.write(infoLine({ ...urls, ldm: true }));
      });
    });
    const link = newLink({ urls: [lame.url] });
    await until('the other one', () => link.status().hub?.name === 'hub');
    expect(logged('about to stop')).toHaveLength(1);
    expect(lame.sockets).toHaveLength(1);
  });

  test('that are told: each is as safe as the one that told, and stands under its name', () => {
    const addresses = new LeafAddresses(['hub.example.com:7422', 'tls://10.0.0.9:7422'], () => 0);
    const from = addresses.next();
    expect(from).toMatchObject({ host: 'hub.example.com', port: 7422, tls: false });
    addresses.told(['10.0.0.1:7422', 'hub.example.com:7422', 'nonsense', '[::1]:7'], from!, true);
    expect(addresses.count).toBe(4);
    expect(addresses.next()).toMatchObject({ host: '10.0.0.9', tls: true, tlsName: undefined });
    const told = { tls: true, tlsName: 'hub.example.com' };
    expect(addresses.next()).toMatchObject({ host: '10.0.0.1', ...told });
    expect(addresses.next()).toBe(from);
    expect(addresses.next()).toMatchObject({ host: '::1', text: '[::1]:7', ...told });
    addresses.told(
      Array.from({ length: 1_000 }, (_, i) => `10.1.0.1:${i + 1}`),
      from!,
      false,
    );
    expect(addresses.count).toBe(2 + 64);
    expect(addresses.next(from)?.text).not.toBe(from?.text);
    addresses.reached(from!);
    const other = addresses.next();
    expect(other?.host).toBe('10.0.0.9');
    addresses.reached(other!);
    expect(addresses.next()).toBe(from);
  });
});

describe('no hub', () => {
  test('the port of clients: it is said so', async () => {
    const hub = await startHub();
    const link = newLink({ urls: [`127.0.0.1:${hub.server.port}`] });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'not a hub' });
    expect(line.error).toContain('not the leafnode port');
    expect(line.hint).toContain('7422');
    expect(link.status().problem).toContain('not the leafnode port');
  });

  test('a web server, or one that says nonsense', async () => {
    for (const words of ['HTTP/1.1 400 Bad Request\r\n\r\n', 'INFO nonsense\r\n', 'INFO {}\r\n']) {
      at.lines = [];
      const web = await stub((socket) => socket.write(words));
      const link = newLink({ urls: [web.url] });
      expect(await refusal()).toMatchObject({ kind: 'not a hub' });
      expect(web.heard()).toBe('');
      await link.stop();
    }
  });

  test('an endless first line', async () => {
    const endless = await stub((socket) => {
      socket.write('INFO {"server_id":"');
      const more = (): void => void (socket.writable && socket.write('x'.repeat(65_536), more));
      more();
    });
    newLink({ urls: [endless.url] });
    expect(await refusal()).toMatchObject({ kind: 'not a hub' });
  });

  test('a word in the clear behind the first line, before TLS: somebody is in between', async () => {
    const between = await stub((socket) =>
      socket.write(`${infoLine({ tls_required: true })}LS+ >\r\n`),
    );
    newLink({ urls: [between.url], tls: { caFile } });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'tls' });
    expect(line.hint).toContain('somebody is in between');
    expect(between.heard()).toBe('');
  });

  test('a name that nobody knows', async () => {
    const link = newLink({ urls: ['hub.invalid:7422'] });
    const line = await refusal();
    expect(line).toMatchObject({ kind: 'name' });
    expect(line.hint).toContain('DNS');
    expect(link.status().problem).toBeNull();
  });

  test('a hub that never answers the login', async () => {
    const mute = await stub((socket) => socket.write(infoLine()));
    newLink({ urls: [mute.url], keepAliveMs: 400 });
    const line = await refusal();
    expect(line.error).toContain('no answer to the login in time');
    expect(mute.heard()).toMatch(
      /^CONNECT \{.*\}\r\nPING\r\nLS\+ \$LDS\.\w+\r\nLS\+ \$JS\.gw7\.API\.>\r\n/,
    );
  });

  test('a hub that breaks the protocol', async () => {
    const broken = await stub((socket) => {
      socket.write(infoLine());
      socket.once('data', () => socket.write(`${infoLine({ connect_info: true })}LS+ a b\r\n`));
    });
    newLink({ urls: [broken.url] });
    expect(await refusal()).toMatchObject({ kind: 'not a hub' });
  });
});

describe('a hub that goes away', () => {
  test('and comes back: so does the link, and the detail says meanwhile why not', async () => {
    const hub = await startHub();
    const told: string[] = [];
    const onConnected = ({ serverName }: { serverName: string }): void =>
      void told.push(serverName);
    const onLost = (): void => void told.push('lost');
    const link = await connected(newLink({ urls: [hub.url] }, { onConnected, onLost }));
    await hub.server.kill();
    await until('the end to be noticed', () => !link.status().connected);
    await until('a reason', () => link.status().detail.includes('ECONNREFUSED'));
    expect(link.status()).toMatchObject({ problem: null, hub: undefined });
    await hub.server.restart();
    await connected(link);
    expect(link.status().counters.connects).toBe(2);
    expect(await hub.leafs()).toHaveLength(1);
    expect(told).toEqual(['hub', 'lost', 'hub']);
  });

  test('behind a tunnel: the configured address is dialled first, not what the hub says of itself', async () => {
    const hub = await startHub();
    const wan = await new WanProxy(hub.port).listen();
    afterwards(() => wan.close());
    const link = await connected(newLink({ urls: [`127.0.0.1:${wan.port}`] }));
    for (let connects = 2; connects <= 4; connects++) {
      wan.resetAll();
      await until('another connection', () => link.status().counters.connects === connects);
      expect(link.status().hub?.port).toBe(wan.port);
    }
  });

  test.each([
    ['both ways', false, ['up', 'down']],
    ['both ways under TLS', true, ['up', 'down']],
    ['up', false, ['up']],
    ['down', true, ['down']],
  ] as const)(
    'behind a black hole, %s: it is noticed in time, and no socket is left',
    async (_, secure, ways) => {
      const tls = `tls { cert_file: "${TLS}/server.pem", key_file: "${TLS}/server-key.pem" }`;
      const hub = await startHub({ leafnodes: `no_advertise: true\n${secure ? tls : ''}` });
      const wan = await new WanProxy(hub.port).listen();
      afterwards(() => wan.close());
      const urls = [`127.0.0.1:${wan.port}`];
      const link = newLink({ urls, keepAliveMs: 900, tls: secure ? { caFile } : undefined });
      await connected(link);
      wan.blackHole(...ways);
      await until('the hole to be noticed', () => !link.status().connected);
      expect(logged('no leafnode connection')[0]).toMatchObject({ kind: 'network' });
      const before = wan.counters.connections;
      await until('a few attempts', () => wan.counters.connections >= before + 3);
      await until('old sockets to be closed', () => wan.connections <= 1);
      await wan.restore();
      await connected(link);
    },
  );

  test('for a month: it is dialled again for ever, after at most the configured time', async () => {
    const clock = new FakeClock();
    const dead = `127.0.0.1:${await freePort()}`;
    let turn = 0;
    const random = (): number => [0, 0.5, 0.999][turn++ % 3] ?? 0;
    const link = newLink({ urls: [dead], reconnectMaxMs: 15_000 }, { clock, random });
    const pauses: number[] = [];
    while (pauses.length < 60) {
      const timers = await until('the next pause', () => {
        const { detail } = link.status();
        const dueMs = clock.nextDueMs();
        return detail.includes('ECONNREFUSED') && dueMs !== undefined ? { dueMs } : undefined;
      });
      const pauseMs = timers.dueMs - clock.monotonicMs();
      // The deadline of a dial is 5 s exactly.
      if (pauseMs !== 5_000) pauses.push(pauseMs);
      clock.advance(pauseMs === 5_000 ? 0 : pauseMs);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(Math.max(...pauses)).toBeLessThanOrEqual(15_000);
    expect(Math.max(...pauses)).toBeGreaterThan(14_900);
    expect(pauses.slice(40).some((ms) => ms <= 1)).toBe(true);
    expect(link.status()).toMatchObject({ connected: false, problem: null });
  });

  test('a stop lets what waits leave', async () => {
    const hub = await startHub();
    const broker = new Broker();
    const boundary = { exports: ['out.>'], imports: [], domain: 'gw7' };
    const link = await connected(newLink({ urls: [hub.url], boundary }, { broker }));
    const client = await connect({ servers: hub.server.url });
    afterwards(() => client.close());
    let heard = 0;
    client.subscribe('out.>', { callback: () => void heard++ });
    await client.flush();
    await until('the interest', () => broker.hasInterest('out.x'));
    for (let i = 0; i < 1_000; i++)
      broker.publish({ subject: `out.${i}`, data: Buffer.alloc(1_000, 0x61) });
    await link.stop();
    await until('all of it', () => heard === 1_000);
  });

  test('a stop ends the connection and every attempt', async () => {
    const hub = await startHub();
    const link = await connected(newLink({ urls: [hub.url] }));
    await link.stop();
    await until('the hub to notice', async () => (await hub.leafs()).length === 0);
    expect(link.status()).toMatchObject({ connected: false, detail: 'stopped' });
    const silent = await stub(() => undefined);
    const dialling = newLink({ urls: [silent.url] });
    await until('an attempt', () => silent.sockets.length > 0);
    await dialling.stop();
    await until('its end', () =>
      silent.sockets.every((socket) => socket.destroyed || socket.readableEnded),
    );
  });
});
