import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { inForce } from '../../src/config/in-force.ts';
import { summary, warnings } from '../../src/config/summary.ts';
import type { Config } from '../../src/config/types.ts';
import { ConfigDir } from '../support/config-dir.ts';

const configs = new ConfigDir();
afterAll(() => configs.remove());

const NAME = '[gateway]\nname = "plant1"\n';
const NOW_MS = Date.UTC(2026, 6, 1);

function load(leaf: string, env: Record<string, string> = {}): Config {
  return configs.load(`${NAME}[leaf]\n${leaf}\n`, env);
}

test('a url alone is a link over which nothing crosses', () => {
  const config = load('url = "hub.example.com"');
  expect(config.leaf).toEqual({
    urls: ['hub.example.com:7422'],
    auth: { type: 'none' },
    tls: undefined,
    domain: undefined,
    exports: [],
    imports: [],
    compression: 'auto',
    keepAliveMs: 15_000,
    reconnectMaxMs: 15_000,
  });
  expect(config.domain).toBe('plant1');
  expect(config.kvMirrors).toEqual([]);
  expect(load('url = "hub.example.com"\nexports = []\nimports = []').leaf).toEqual(config.leaf);
});

test('every key of the link can be set', () => {
  const config = load(`
    url = ["tls://hub1.example.com", "tls://[2001:db8::1]:7423"]
    user = "gw"
    password_file = "closed.secret"
    domain = "north-7_a"
    exports = ["plant1.*.temp", "site.>", "$JS.hub.API.>", "$JS.hub.API.CONSUMER.>", "$SRV.>", "$O.firmware.>", "constructor.>", ">"]
    imports = ["cmd.plant1.>", "*.all", "$SRV.PING"]
    compression = "on"
    keep_alive = "5s"
    reconnect_max = "1m"
    [leaf.tls]
    ca = "ca.pem"
    cert = "ca.pem"
    key = "key.pem"
    handshake_first = true
    [[kv_mirror]]
    bucket = "config"
    [[kv_mirror]]
    bucket = "flags"
    domain = "cloud"
    history = 5
    max_bytes = "1MiB"
  `);
  const file = (name: string): string => join(configs.path, name);
  expect(config.leaf).toEqual({
    urls: ['hub1.example.com:7422', '[2001:db8::1]:7423'],
    auth: { type: 'password', user: 'gw', passwordFile: file('closed.secret') },
    tls: {
      caFile: file('ca.pem'),
      certFile: file('ca.pem'),
      keyFile: file('key.pem'),
      handshakeFirst: true,
    },
    domain: 'north-7_a',
    exports: [
      'plant1.*.temp',
      'site.>',
      '$JS.hub.API.>',
      '$JS.hub.API.CONSUMER.>',
      '$SRV.>',
      '$O.firmware.>',
      'constructor.>',
      '>',
    ],
    imports: ['cmd.plant1.>', '*.all', '$SRV.PING'],
    compression: 'on',
    keepAliveMs: 5_000,
    reconnectMaxMs: 60_000,
  });
  expect(config.domain).toBe('north-7_a');
  expect(config.kvMirrors).toEqual([
    { bucket: 'config', domain: undefined, history: undefined, maxBytes: undefined },
    { bucket: 'flags', domain: 'cloud', history: 5, maxBytes: 1024 * 1024 },
  ]);
});

test('each way to write the address is understood, and tls:// turns TLS on', () => {
  for (const url of [
    'nats-leaf://h',
    'leaf://h:7422',
    'nats://h',
    'h',
    'h:7422',
    'nats-leaf://h/',
  ]) {
    expect(load(`url = "${url}"`).leaf?.urls).toEqual(['h:7422']);
    expect(load(`url = "${url}"`).leaf?.tls).toBeUndefined();
  }
  const none = {
    caFile: undefined,
    certFile: undefined,
    keyFile: undefined,
    handshakeFirst: false,
  };
  expect(load('url = "tls://h"').leaf).toMatchObject({ urls: ['h:7422'], tls: none });
  expect(load('url = "h"\ntls = {}').leaf?.tls).toEqual(none);
  expect(
    load('', { MANGROVE_LEAF_URL: 'a, tls://b:1', MANGROVE_LEAF_TLS_CA: 'ca.pem' }).leaf,
  ).toMatchObject({
    urls: ['a:7422', 'b:1'],
    tls: { caFile: join(configs.path, 'ca.pem') },
  });
});

test('each way to log in at the hub by the link is understood', () => {
  const auth = (keys: string) => load(`url = "h"\n${keys}`).leaf?.auth;
  const file = (name: string): string => join(configs.path, name);
  expect(auth('')).toEqual({ type: 'none' });
  expect(auth('credentials = "hub.creds"')).toEqual({
    type: 'credentials',
    file: file('hub.creds'),
  });
  expect(auth('token_file = "closed.secret"')).toEqual({
    type: 'token',
    file: file('closed.secret'),
  });
  expect(auth('nkey_file = "seed.nk"')).toEqual({ type: 'nkey', file: file('seed.nk') });
});

test('the check shows what will cross, in each direction', () => {
  const lines = (toml: string): string[] => summary(load(toml)).split('\n').slice(1);
  expect(lines('url = "hub"')).toEqual([
    '  leaf     hub:7422 (no TLS, no login), no JetStream',
    '  leaf     to the hub: answers',
    '  leaf     from the hub: answers',
  ]);
  expect(
    lines(
      'url = ["tls://a", "tls://b"]\ncredentials = "hub.creds"\ndomain = "d7"\nexports = ["a.>", "b"]\nimports = ["c.*"]\n[[kv_mirror]]\nbucket = "x"\n[[kv_mirror]]\nbucket = "y"\ndomain = "z"\nhistory = 2\nmax_bytes = "64KiB"',
    ),
  ).toEqual([
    '  leaf     a:7422, b:7422 (TLS, login by credentials), JetStream domain d7',
    '  leaf     to the hub: everything of JetStream that is asked for by $JS.d7.API.>, and answers, a.>, b',
    '  leaf     from the hub: answers, requests on $JS.d7.API.>, c.*',
    '  kv       x: as the bucket of that name of the hub',
    '  kv       y: as the bucket of that name in domain z, history 2, max_bytes 64KiB',
  ]);
});

test('a stream that the hub may source, or what it may send, is not for nothing', () => {
  const stream = '[[stream]]\nname = "P"\nsubjects = ["p.>"]\n';
  expect(summary(load(`url = "h"\ndomain = "d"\n${stream}`))).toContain('; the hub may source it');
  expect(summary(load(`url = "h"\n${stream}`))).toContain('; kept here only');
  const warned = (leaf: string): readonly string[] => warnings(load(leaf), NOW_MS);
  const nothing = ['Nothing comes in: there is no [mqtt], [nats], [[serial]] or [[mqtt_source]].'];
  expect(warned(`url = "h"\ndomain = "d"\n${stream}`)).toEqual(nothing);
  expect(warned(`url = "h"\nimports = ["p.a"]\n${stream}`)).toEqual([]);
  expect(warned('url = "h"\nimports = ["a"]\ndomain = "d"\n[[kv_mirror]]\nbucket = "b"')).toEqual(
    [],
  );
});

test('what is allowed over the link but probably not meant is said', () => {
  const stream = '[nats]\n[[stream]]\nname = "PLANT"\nsubjects = ["plant.>", "x"]\n';
  const warn = (leaf: string): readonly string[] =>
    warnings(configs.load(`${NAME}${stream}[leaf]\n${leaf}\n`), NOW_MS);
  expect(warn('url = "hub"')).toEqual([
    'Nothing crosses: [leaf] has no domain, no exports and no imports.',
  ]);
  expect(warn('url = "hub"\ndomain = "plant1"')).toEqual([]);
  expect(warn('url = "hub"\nexports = ["a.*"]')).toEqual([]);
  expect(warn('url = "hub"\nimports = ["a.*"]')).toEqual([]);
  expect(warn('url = "hub"\nexports = [">"]\nimports = ["*.x", "a"]')).toEqual([
    '[leaf] exports ">": all that is published here may go to the hub.',
    '[leaf] imports "*.x": whatever the hub publishes may come in.',
  ]);
  expect(warn('url = "hub"\nexports = ["plant.temp", "plant", "x"]')).toEqual([
    '[leaf] exports "plant.temp", which [[stream]] PLANT takes: what a stream stores goes to the hub as a stream.',
    '[leaf] exports "x", which [[stream]] PLANT takes: what a stream stores goes to the hub as a stream.',
  ]);
  const open = ['[leaf] may send its password or token over the network without TLS.'];
  const secret = 'domain = "d"\ntoken_file = "closed.secret"\n';
  expect(warn(`url = "hub"\n${secret}`)).toEqual(open);
  expect(warn(`url = ["127.0.0.1", "[2001:db8::1]:1"]\n${secret}`)).toEqual(open);
  expect(warn(`url = ["127.0.0.1", "[::1]:7422"]\n${secret}`)).toEqual([]);
  expect(warn(`url = "tls://hub"\n${secret}`)).toEqual([]);
  expect(warn('url = "hub"\ndomain = "d"\nnkey_file = "seed.nk"')).toEqual([]);
  expect(
    warn(
      'url = "tls://hub"\ndomain = "d"\ntls = { cert = "expired.pem", key = "expired-key.pem" }',
    ),
  ).toEqual([
    expect.stringMatching(
      /^The certificate of \[leaf\.tls\] has expired on .*: servers refuse it\.$/,
    ),
  ]);
});

test('a changed link is in force at once, another domain only after a restart', () => {
  const without = configs.load(NAME);
  const plain = load('url = "a"');
  const own = load('url = "a"\ndomain = "plant1"');
  const other = load('url = "b"\ndomain = "d7"\nexports = ["x"]');
  const after = (
    running: Config,
    next: Config,
  ): [string | undefined, string, readonly string[]] => {
    const { config, needRestart } = inForce(running, next);
    return [config.leaf?.domain, config.domain, needRestart];
  };
  expect(inForce(plain, load('url = "b"\nimports = ["x"]'))).toMatchObject({
    config: { leaf: { urls: ['b:7422'], imports: ['x'] } },
    needRestart: [],
  });
  // The gateway's name is what local clients have as the domain already.
  expect(after(without, own)).toEqual(['plant1', 'plant1', []]);
  expect(after(own, plain)).toEqual([undefined, 'plant1', []]);
  expect(after(own, without)).toEqual([undefined, 'plant1', []]);
  expect(after(without, other)).toEqual([undefined, 'plant1', ['leaf.domain']]);
  expect(after(own, other)).toEqual(['plant1', 'plant1', ['leaf.domain']]);
  expect(inForce(own, other).config.leaf).toMatchObject({ urls: ['b:7422'], exports: ['x'] });
  // What is taken away is closed at once, though local clients have the old one until the restart.
  expect(after(other, plain)).toEqual([undefined, 'd7', ['leaf.domain']]);
  expect(after(other, other)).toEqual(['d7', 'd7', []]);
});
