import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { ConfigDir, HASH } from '../support/config-dir.ts';

const configs = new ConfigDir();
afterAll(() => configs.remove());

const NAME = '[gateway]\nname = "plant1"\n'; // Two lines: what follows begins at line 3.
const STREAM = '[[stream]]\nname = "PLANT"\nsubjects = ["plant.>"]\n';
const HUB = '[hub]\nservers = ["nats://hub:4222"]\n';
const SERIAL = '[[serial]]\nname = "meter"\npath = "/dev/ttyUSB0"\n';

test('a name alone is a configuration, and every part of it is off', () => {
  expect(configs.load(NAME)).toEqual({
    file: configs.file,
    gateway: { name: 'plant1', dataDir: '/var/lib/mangrove', commitIntervalMs: 0 },
    domain: 'plant1',
    log: { level: 'info' },
    mqtt: undefined,
    monitor: undefined,
    jetstream: { fileBytesMax: undefined, memoryBytesMax: 64 * 1024 * 1024 },
    streams: [],
    serial: [],
    mqttSources: [],
    hub: undefined,
    forwards: [],
    leaf: undefined,
    kvMirrors: [],
  });
});

test('every part has the documented defaults', () => {
  const config = configs.load(
    `${NAME}[mqtt]\n[monitor]\n${STREAM}${SERIAL}${HUB}[[forward]]\nstream = "PLANT"\n`,
  );
  expect(config.mqtt).toEqual({
    listen: { host: '127.0.0.1', port: 1883 },
    users: [],
    allowAnonymous: true,
    passwordFile: undefined,
    tls: undefined,
    websocket: undefined,
    acl: undefined,
    limits: {
      connectionsMax: 10_000,
      queuedMessagesMax: 10_000,
      queuedBytesMax: 16 * 1024 * 1024,
      queueDiscard: 'new',
      sessionExpirySecondsMax: 0xffff_ffff,
      keepAliveSecondsMax: 0,
      publishesInFlightMax: 1024,
      packetBytesMax: 1024 * 1024,
    },
    sysIntervalMs: 10_000,
  });
  expect(config.monitor).toEqual({ listen: { host: '127.0.0.1', port: 8222 } });
  expect(config.streams).toEqual([
    {
      name: 'PLANT',
      subjects: ['plant.>'],
      retention: 'limits',
      storage: 'file',
      maxAgeMs: undefined,
      maxBytes: undefined,
      maxMsgs: undefined,
      discard: 'old',
      duplicateWindowMs: 120_000,
      duplicateIdsMax: 100_000,
    },
  ]);
  expect(config.serial).toEqual([
    {
      name: 'meter',
      path: '/dev/ttyUSB0',
      baudRate: 9600,
      dataBits: 8,
      stopBits: 1,
      parity: 'none',
      framing: { type: 'line' },
      frameBytesMax: 4096,
      decode: 'raw',
      subject: 'serial.meter',
    },
  ]);
  expect(config.hub).toEqual({
    servers: ['hub:4222'],
    auth: { type: 'none' },
    tls: undefined,
    stream: 'EDGE',
    prefix: 'edge',
    create: false,
    keepAliveMs: 15_000,
    reconnectMaxMs: 15_000,
  });
  expect(config.forwards).toEqual([
    { stream: 'PLANT', mode: 'auto', order: 'strict', graceMs: 600_000 },
  ]);
});

test('every key can be set', () => {
  const config = configs.load(`
    [gateway]
    name = "plant-1_a"
    data_dir = "data"
    commit_interval = "5ms"
    [log]
    level = "debug"
    [mqtt]
    listen = "[::]:1884"
    allow_anonymous = true
    users = [{ user = "a", password = "x" }, { user = "b", password_file = "closed.secret" },
      { user = "c", hash = "${HASH}" }]
    password_file = "hashed.users"
    max_connections = 20
    queue_messages_max = 30
    queue_bytes_max = "1MiB"
    queue_discard = "old"
    session_expiry_max = "7d"
    keep_alive_max = "90s"
    receive_maximum = 40
    max_packet_size = "64KiB"
    sys_interval = "0s"
    [[mqtt.acl]]
    publish = ["device/%c/#"]
    [[mqtt.acl]]
    users = ["a", "Meter 7"]
    subscribe = ["plant/#"]
    deny_publish = ["plant/secret"]
    deny_subscribe = ["plant/%u/+"]
    [mqtt.tls]
    cert = "ca.pem"
    key = "key.pem"
    ca = "ca.pem"
    listen = "0.0.0.0:8883"
    user_from_certificate = true
    [mqtt.websocket]
    listen = "127.0.0.1:8083"
    origins = ["https://panel.example.com"]
    tls = true
    [monitor]
    listen = "localhost:0"
    [[stream]]
    name = "PLANT"
    subjects = ["plant.>", "serial.*"]
    retention = "limits"
    storage = "file"
    max_age = "1h30m"
    max_bytes = "512MiB"
    max_msgs = 1_000_000
    discard = "new"
    duplicate_window = "90s"
    duplicate_ids_max = 5
    [[serial]]
    name = "meter"
    path = "/dev/ttyUSB0"
    baud_rate = 115200
    data_bits = 7
    stop_bits = 2
    parity = "even"
    framing = "delimiter"
    delimiter = "\\r\\n"
    frame_bytes_max = 100
    decode = "raw"
    subject = "plant.meter"
    [[serial]]
    name = "scale"
    path = "/dev/ttyS0"
    framing = "fixed"
    frame_length = 14
    idle_ms = 50
    [[serial]]
    name = "long"
    path = "/dev/ttyS1"
    framing = "fixed"
    frame_length = 9000
    [hub]
    servers = ["tls://hub.example.com", "tls://[2001:db8::1]:4333"]
    credentials = "hub.creds"
    stream = "FLEET"
    prefix = "site.edge"
    create = true
    keep_alive = "5s"
    reconnect_max = "1m"
    [hub.tls]
    ca = "ca.pem"
    cert = "ca.pem"
    key = "key.pem"
    handshake_first = true
    [[forward]]
    stream = "PLANT"
    mode = "atomic"
    order = "strict"
    grace = "0s"
  `);
  expect(config.gateway).toEqual({
    name: 'plant-1_a',
    dataDir: join(configs.path, 'data'),
    commitIntervalMs: 5,
  });
  expect(config.log.level).toBe('debug');
  expect(config.mqtt).toEqual({
    listen: { host: '::', port: 1884 },
    allowAnonymous: true,
    users: [
      { user: 'a', password: 'x' },
      { user: 'b', passwordFile: join(configs.path, 'closed.secret') },
      { user: 'c', hash: HASH },
    ],
    passwordFile: join(configs.path, 'hashed.users'),
    tls: {
      certFile: join(configs.path, 'ca.pem'),
      keyFile: join(configs.path, 'key.pem'),
      caFile: join(configs.path, 'ca.pem'),
      listen: { host: '0.0.0.0', port: 8883 },
      userFromCertificate: true,
    },
    websocket: {
      listen: { host: '127.0.0.1', port: 8083 },
      origins: ['https://panel.example.com'],
      tls: true,
    },
    acl: [
      {
        users: undefined,
        publish: ['device/%c/#'],
        subscribe: [],
        denyPublish: [],
        denySubscribe: [],
      },
      {
        users: ['a', 'Meter 7'],
        publish: [],
        subscribe: ['plant/#'],
        denyPublish: ['plant/secret'],
        denySubscribe: ['plant/%u/+'],
      },
    ],
    limits: {
      connectionsMax: 20,
      queuedMessagesMax: 30,
      queuedBytesMax: 1024 * 1024,
      queueDiscard: 'old',
      sessionExpirySecondsMax: 604_800,
      keepAliveSecondsMax: 90,
      publishesInFlightMax: 40,
      packetBytesMax: 64 * 1024,
    },
    sysIntervalMs: 0,
  });
  expect(config.monitor).toEqual({ listen: { host: 'localhost', port: 0 } });
  expect(config.streams[0]).toMatchObject({
    subjects: ['plant.>', 'serial.*'],
    maxAgeMs: 5_400_000,
    maxBytes: 536_870_912,
    maxMsgs: 1_000_000,
    discard: 'new',
    duplicateWindowMs: 90_000,
    duplicateIdsMax: 5,
  });
  expect(config.serial).toMatchObject([
    {
      baudRate: 115_200,
      dataBits: 7,
      stopBits: 2,
      parity: 'even',
      framing: { type: 'delimiter', delimiter: Buffer.from('\r\n') },
      frameBytesMax: 100,
      subject: 'plant.meter',
    },
    { framing: { type: 'fixed', length: 14, idleMs: 50 }, frameBytesMax: 4096 },
    { framing: { type: 'fixed', length: 9000, idleMs: undefined }, frameBytesMax: 9000 },
  ]);
  expect(config.hub).toEqual({
    servers: ['hub.example.com:4222', '[2001:db8::1]:4333'],
    auth: { type: 'credentials', file: join(configs.path, 'hub.creds') },
    tls: {
      caFile: join(configs.path, 'ca.pem'),
      certFile: join(configs.path, 'ca.pem'),
      keyFile: join(configs.path, 'key.pem'),
      handshakeFirst: true,
    },
    stream: 'FLEET',
    prefix: 'site.edge',
    create: true,
    keepAliveMs: 5000,
    reconnectMaxMs: 60_000,
  });
  expect(config.forwards).toEqual([
    { stream: 'PLANT', mode: 'atomic', order: 'strict', graceMs: 0 },
  ]);
});
