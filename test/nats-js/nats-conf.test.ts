import { expect, test } from 'vitest';
import { NotApplicableError, toLaunch } from './agent-config.ts';
import { NatsConfError, parseNatsConf } from './nats-conf.ts';

test('a configuration of nats-server is read with its maps, lists, words and numbers', () => {
  expect(
    parseNatsConf(`
# a comment
host: 127.0.0.1   // another
port = -1
http "127.0.0.1:-1"
max_payload: 2KB; max_pending 1mb, ping_interval: "2s"
debug: true
authorization {
  users [
    { user: a, password: "s3#c}r\\"et", permissions: { subscribe: ["q A", 'b.>'] } }
   {
      user: b
      nkey: UABC
   }
  ]
}
"a key": {}
`),
  ).toEqual({
    host: '127.0.0.1',
    port: -1,
    http: '127.0.0.1:-1',
    max_payload: 2048,
    max_pending: 1024 * 1024,
    ping_interval: '2s',
    debug: true,
    authorization: {
      users: [
        { user: 'a', password: 's3#c}r"et', permissions: { subscribe: ['q A', 'b.>'] } },
        { user: 'b', nkey: 'UABC' },
      ],
    },
    'a key': {},
  });
});

test.each([
  ['a {', 'line 1: found the end, and no }'],
  ['\na [1', 'line 2: found the end, and no ]'],
  ['a "b', 'line 1: found a " without its end'],
  ['a: $VARIABLE', 'line 1: found the variable $VARIABLE'],
  ['a }', 'line 1: found } where a value is expected'],
  ['}', 'line 1: found } where a key is expected'],
  ['a ['.repeat(50), 'line 1: found too many maps in one another'],
])('what nats-server would not read is refused with its line: %j', (text, message) => {
  expect(() => parseNatsConf(text)).toThrow(new NatsConfError(message));
});

test('an agent gets the listeners, users and limits of the file', () => {
  const { config, portsDir } = toLaunch(
    parseNatsConf(`
host: 127.0.0.1, port: -1, http: "127.0.0.1:-1", ports_file_dir: /tmp/x
websocket { port: -1, no_tls: true }
max_payload: 2048, ping_interval: 250ms, ping_max: 1
jetstream { store_dir: /tmp/store, max_file_store: 1048576, max_memory_store: -1 }
authorization { token: s3cret, timeout: 3, users: [
  { user: a, password: a, permissions: { publish: foo, subscribe: { deny: ["x.>"] }, allow_responses: true } }
] }`),
    '/tmp/a.conf',
  );
  expect(portsDir).toBe('/tmp/x');
  expect(config).toMatchObject({
    gateway: { dataDir: '/tmp/store' },
    jetstream: { fileBytesMax: 1_048_576 },
    monitor: { listen: { host: '127.0.0.1', port: 0 } },
    nats: {
      listen: { host: '127.0.0.1', port: 0 },
      allowAnonymous: false,
      websocket: { listen: { host: '127.0.0.1', port: 0 } },
      limits: { payloadBytesMax: 2048, pingIntervalMs: 250, pingsOutMax: 1, authTimeoutMs: 3000 },
      users: [
        {
          user: 'a',
          login: { type: 'password', password: 'a' },
          permissions: {
            publish: ['foo'],
            denyPublish: [],
            subscribe: undefined,
            denySubscribe: ['x.>'],
            allowResponses: true,
          },
        },
        { user: 'token', login: { type: 'token', password: 's3cret' } },
      ],
    },
  });
});

test.each([
  'accounts { A: {} }',
  'operator: x',
  'no_auth_user: a',
  'cluster { name: c }',
  'leafnodes { remotes: [] }',
  'tls { cert_file: a, key_file: b, handshake_first: auto }',
  'authorization { auth_callout: {} }',
  'authorization { user: a, password: "$2a$11$abc" }',
])('what an agent does not have is refused: %s', (text) => {
  expect(() => toLaunch(parseNatsConf(text), 'a.conf')).toThrow(NotApplicableError);
});
