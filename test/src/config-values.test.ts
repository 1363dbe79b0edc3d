import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { didYouMean } from '../../src/config/suggest.ts';
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/config/units.ts';
import { ConfigDir } from '../support/config-dir.ts';

const configs = new ConfigDir();
afterAll(() => configs.remove());

const NAME = '[gateway]\nname = "plant1"\n'; // Two lines: what follows begins at line 3.
const STREAM = '[[stream]]\nname = "PLANT"\nsubjects = ["plant.>"]\n';
const HUB = '[hub]\nservers = ["nats://hub:4222"]\n';
const SERIAL = '[[serial]]\nname = "meter"\npath = "/dev/ttyUSB0"\n';

test('each way to log in at the hub is understood', () => {
  const auth = (keys: string) => configs.load(`${NAME}${HUB}${keys}\n`).hub?.auth;
  const file = join(configs.path, 'closed.secret');
  expect(auth('user = "gw"\npassword_file = "closed.secret"')).toEqual({
    type: 'password',
    user: 'gw',
    passwordFile: file,
  });
  expect(auth('token_file = "closed.secret"')).toEqual({ type: 'token', file });
  expect(auth('nkey_file = "seed.nk"')).toEqual({
    type: 'nkey',
    file: join(configs.path, 'seed.nk'),
  });
});

test('a delimiter is text with escapes, or bytes in hex', () => {
  const framing = (delimiter: string) =>
    configs.load(`${NAME}${SERIAL}framing = "delimiter"\ndelimiter = ${delimiter}\n`).serial[0]
      ?.framing;
  const bytes = (...values: number[]) => ({ type: 'delimiter', delimiter: Buffer.from(values) });
  expect(framing('"\\u0003"')).toEqual(bytes(3));
  expect(framing('"hex:0D0a"')).toEqual(bytes(13, 10));
  expect(framing('"hex:C0 FF"')).toEqual(bytes(0xc0, 0xff));
});

test('a duplicate window that is not set is never longer than the messages live', () => {
  expect(configs.load(`${NAME}${STREAM}max_age = "30s"\n`).streams[0]?.duplicateWindowMs).toBe(
    30_000,
  );
});

test('TLS is on by its table or by the scheme', () => {
  const none = {
    caFile: undefined,
    certFile: undefined,
    keyFile: undefined,
    handshakeFirst: false,
  };
  expect(configs.load(`${NAME}${HUB}tls = {}\n`).hub?.tls).toEqual(none);
  expect(configs.load(`${NAME}[hub]\nservers = ["tls://h"]\n`).hub?.tls).toEqual(none);
});

test('anonymous clients are let in only on loopback, unless it is said otherwise', () => {
  const anonymous = (keys: string) => configs.load(`${NAME}[mqtt]\n${keys}\n`).mqtt?.allowAnonymous;
  const users = 'users = [{ user = "a", password = "b" }]';
  expect(anonymous('listen = "127.0.0.2:1883"')).toBe(true);
  expect(anonymous('listen = "[::1]:1883"')).toBe(true);
  expect(anonymous(users)).toBe(false);
  expect(anonymous(`listen = "0.0.0.0:1883"\n${users}`)).toBe(false);
  expect(anonymous(`${users}\nallow_anonymous = true`)).toBe(true);
  expect(anonymous('listen = "0.0.0.0:1883"\nallow_anonymous = true')).toBe(true);
  expect(anonymous('password_file = "hashed.users"')).toBe(false);
  const tls = 'cert = "ca.pem"\nkey = "key.pem"\nca = "ca.pem"';
  expect(anonymous(`tls = { ${tls.replaceAll('\n', ', ')} }`)).toBe(true);
  expect(anonymous(`[mqtt.tls]\n${tls}\nuser_from_certificate = true`)).toBe(false);
});

test('a WebSocket is inside TLS where that has no address of its own, unless it is said otherwise', () => {
  const tls = '[mqtt.tls]\ncert = "ca.pem"\nkey = "key.pem"\n';
  const secure = (keys: string) =>
    configs.load(`${NAME}[mqtt.websocket]\nlisten = "127.0.0.1:1"\n${keys}`).mqtt?.websocket?.tls;
  expect(secure('')).toBe(false);
  expect(secure(tls)).toBe(true);
  expect(secure(`${tls}listen = "127.0.0.1:2"\n`)).toBe(false);
  expect(secure(`tls = true\n${tls}listen = "127.0.0.1:2"\n`)).toBe(true);
  expect(secure(`tls = false\n${tls}`)).toBe(false);
  // Where only certificates name users, that door can be passed; a plain one by nobody.
  const named = `${tls}ca = "ca.pem"\nuser_from_certificate = true\n`;
  expect(secure(named)).toBe(true);
  expect(() => secure(`tls = false\n${named}`)).toThrow(/nobody could connect/);
});

test('of the topics of the system only the state of a bridge can be published to', () => {
  const list = (topic: string) =>
    configs.load(`${NAME}[mqtt]\n[[mqtt.acl]]\npublish = ["${topic}"]\n`).mqtt?.acl?.[0]?.publish;
  for (const topic of ['$SYS/broker/connection/+/state', '$SYS/broker/connection/%c/state'])
    expect(list(topic)).toEqual([topic]);
  for (const topic of [
    '$SYS/broker/connection/#',
    '$SYS/broker/connection/a/b/state',
    '$SYS/broker/connection/+/state/x',
    '$SYS/broker/+/+/state',
    '$JS/API/x',
  ])
    expect(() => list(topic), topic).toThrow(/nobody but the agent/);
});

test('a file from Windows is read: byte-order mark and CRLF', () => {
  expect(configs.load(`\uFEFF${NAME.replaceAll('\n', '\r\n')}`).gateway.name).toBe('plant1');
});

test('the environment goes before the file', () => {
  const config = configs.load(
    `${NAME}${STREAM}${SERIAL}[[mqtt.users]]\nuser = "meter-1"\npassword = "old"\n${HUB}create = false\n[[forward]]\nstream = "PLANT"\n`,
    {
      MANGROVE_GATEWAY_NAME: 'other',
      MANGROVE_GATEWAY_DATA_DIR: '', // An empty variable counts as not set.
      MANGROVE_LOG_LEVEL: 'warn',
      MANGROVE_HUB_SERVERS: 'hub1:4222, tls://hub2',
      MANGROVE_HUB_TLS_CA: 'ca.pem',
      MANGROVE_HUB_CREATE: 'true',
      MANGROVE_MQTT_LISTEN: '127.0.0.1:2883',
      MANGROVE_MQTT_USERS_METER_1_PASSWORD: 'new',
      MANGROVE_MONITOR_LISTEN: '127.0.0.1:9222',
      MANGROVE_STREAM_PLANT_SUBJECTS: 'a.>,b',
      MANGROVE_STREAM_PLANT_MAX_MSGS: '10',
      MANGROVE_SERIAL_METER_PATH: '/dev/ttyACM0',
      MANGROVE_FORWARD_PLANT_GRACE: '1m',
      MANGROVE_MQTT_PORT_1883_TCP_ADDR: '10.0.0.1', // Kubernetes sets these for a service of that name.
      MANGROVE_SERVICE_HOST: '10.0.0.1',
      MANGROVE_NATS_SERVER: '/usr/sbin/nats-server',
      PATH: '/bin',
    },
  );
  expect(config.gateway).toMatchObject({ name: 'other', dataDir: '/var/lib/mangrove' });
  expect(config.log.level).toBe('warn');
  expect(config.hub).toMatchObject({ servers: ['hub1:4222', 'hub2:4222'], create: true });
  expect(config.hub?.tls?.caFile).toBe(join(configs.path, 'ca.pem'));
  expect(config.mqtt).toMatchObject({
    listen: { host: '127.0.0.1', port: 2883 },
    users: [{ user: 'meter-1', password: 'new' }],
  });
  expect(config.monitor?.listen.port).toBe(9222);
  expect(config.streams[0]).toMatchObject({ subjects: ['a.>', 'b'], maxMsgs: 10 });
  expect(config.serial[0]?.path).toBe('/dev/ttyACM0');
  expect(config.forwards[0]?.graceMs).toBe(60_000);
});

test('a password from the environment does not make the file a secret', () => {
  const toml = `${NAME}[[mqtt.users]]\nuser = "a"\n`;
  const env = { MANGROVE_MQTT_USERS_A_PASSWORD: 'x' };
  expect(configs.load(toml, env, 0o644).mqtt?.users).toEqual([{ user: 'a', password: 'x' }]);
});

test('durations and sizes mean what they say, and are written back the shortest way', () => {
  const durations: [string, number | undefined][] = [
    ['500ms', 500],
    ['2m', 120_000],
    ['1h30m', 5_400_000],
    ['7d', 604_800_000],
    ['1.5s', 1500],
    ['0s', 0],
    ['0.5ms', undefined],
    ['5', undefined],
    ['5 m', undefined],
    ['-5m', undefined],
    ['m', undefined],
    ['', undefined],
    ['99999999999999999d', undefined],
  ];
  for (const [text, ms] of durations) expect(parseDuration(text), text).toBe(ms);
  const sizes: [string, number | undefined][] = [
    ['512MiB', 536_870_912],
    ['64KB', 64_000],
    ['100B', 100],
    ['1.5KiB', 1536],
    ['2GB', 2_000_000_000],
    ['2GiB', 2_147_483_648],
    ['3MB', 3_000_000],
    ['1TB', 1_000_000_000_000],
    ['1TiB', 1_099_511_627_776],
    ['64k', undefined],
    ['64', undefined],
    ['64 KB', undefined],
    ['', undefined],
  ];
  for (const [text, bytes] of sizes) expect(parseSize(text), text).toBe(bytes);
  for (const ms of [0, 1, 999, 60_000, 5_400_000, 90_061_001])
    expect(parseDuration(formatDuration(ms))).toBe(ms);
  for (const bytes of [0, 1, 1024, 64_000, 536_870_912, 1_000_001])
    expect(parseSize(formatSize(bytes))).toBe(bytes);
  expect(formatDuration(5_400_000)).toBe('1h30m');
  expect(formatSize(536_870_912)).toBe('512MiB');
});

test('a suggestion is made for a typing error, not for another word', () => {
  expect(didYouMean('bauds_rate', ['baud_rate', 'data_bits'])).toContain('baud_rate');
  expect(didYouMean('colour', ['name', 'path'])).toBe('');
});
