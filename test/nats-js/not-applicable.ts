// Tests of nats.js that say nothing of an agent, by suite and by what they need. They are not run, and counted apart.

/** Why a test says nothing of an agent. */
export const REASONS = {
  internet: 'needs a server in the internet',
  operator: 'logs in by a JWT of an operator',
  account: 'needs several accounts',
  cluster: 'starts a cluster',
  leaf: 'starts a leaf node',
  log: 'reads the log lines of nats-server',
  trace: 'asks for message traces',
  always: 'needs a server without JetStream, which an agent always has',
} as const;

export type Reason = keyof typeof REASONS;

/** Names of tests, as the suites have them. */
export const NOT_APPLICABLE: Readonly<
  Record<string, Readonly<Partial<Record<Reason, readonly string[]>>>>
> = {
  core: {
    internet: [
      'basics - bad auth',
      'basics - connect host',
      'basics - connect hostport',
      'basics - scott',
      'basics - resolve',
      'basics - resolve false',
      'bench - no opts toss',
      'bench - pubsub',
      'bench - pubsub async',
      'bench - req',
      'bench - req async',
      'reconnect - should receive when some servers are invalid',
      'tls - connects to tls without option',
      'ws - wss connection',
    ],
    operator: [
      'auth - creds',
      'auth - custom',
      'auth - jwt',
      'auth - expiration is notified',
      'auth - expiration is notified and recovered',
      'auth - creds and un and pw and token',
      'auth - account expired',
      'authenticator - jwt bearer fn',
      'authenticator - jwt fn',
      'authenticator - creds fn',
    ],
    account: ['auth - request context'],
    cluster: [
      'events - disreconnect',
      'events - update',
      'events - ldm',
      'events - ignore server updates',
    ],
    log: ['doublesubs - standard', 'doublesubs - tls'],
    trace: [
      'basics - publish tracing',
      'basics - request tracing',
      'basics - request many tracing',
    ],
  },
  jetstream: {
    internet: ['jsmsg - acks'],
    operator: ['jsm - account limits'],
    account: [
      'jetstream - account domain',
      'jetstream - cross account pull',
      'jetstream - cross account subscribe',
      'jsm - account not enabled',
      'jsm - cross account consumers',
      'jsm - cross account streams',
    ],
    cluster: [
      'jetstream - mirror alternates',
      'jetstream - repub on 503',
      'jsm - stream update properties',
      'streams - mirrors',
    ],
    always: ['jsm - jetstream not enabled'],
  },
  kv: {
    account: ['kv - cross account history', 'kv - cross account watch'],
    cluster: ['kv - replicas'],
    leaf: ['kv - mirror cross domain'],
  },
  obj: {
    internet: ['objectstore - hashtests'],
    cluster: ['os - objm creates right number of replicas'],
  },
  'transport-node': {
    internet: [
      'basics - tls connect',
      'basics - connect host',
      'basics - connect hostport',
      'basics - connect servers',
      'basics - pubsub',
      'basics - request',
      'jetstream is a function',
      'jetstreamManager is a function',
      'kvm is a function',
      'objm is a function',
      'reconnect - should receive when some servers are invalid',
      'connects to tls without option',
    ],
    cluster: ['reconnect via tls by ip'],
  },
};

/** Files without a server: they test the client alone, and are neither run nor counted. */
export const CLIENT_ALONE: ReadonlySet<string> = new Set([
  'buffer_test.ts',
  'databuffer_test.ts',
  'encoders_test.ts',
  'idleheartbeats_test.ts',
  'parseip_test.ts',
  'parser_test.ts',
  'protocol_test.ts',
  'semver_test.ts',
  'servers_test.ts',
  'util_test.ts',
  'b64_test.ts',
  'sha256_test.ts',
  'sha_digest_test.ts',
]);
