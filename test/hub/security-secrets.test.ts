// Secrets come from files and go nowhere but to the hub: the whole agent, at its most talkative, against hubs that take
// the login, refuse it, and repeat it. Everything that it writes or shows is searched.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { nkeys } from '@nats-io/transport-node';
import { AgentProcess, ONE_STREAM } from '../support/agent-process.ts';
import { ConfigDir } from '../support/config-dir.ts';
import { startNatsServer } from '../support/nats-server.ts';
import { until } from '../support/until.ts';
import { Operator } from './operator.ts';

const TEST_MS = 180_000;
const dir = mkdtempSync(join(tmpdir(), 'mangrove-secrets-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const USER = nkeys.createUser();
const SEED = Buffer.from(USER.getSeed()).toString();
const OPERATOR = new Operator();
const CREDS = OPERATOR.user();

interface Way {
  readonly name: string;
  readonly content: string;
  /** Keys of [hub], with the path of the file. */
  readonly keys: (file: string) => string;
  readonly secrets: readonly string[];
  /** A hub that takes it. */
  readonly hub: string;
}

const WAYS: Way[] = [
  {
    name: 'password',
    content: 'open-sesame-52',
    keys: (file) => `user = "gw7"\npassword_file = "${file}"`,
    secrets: ['open-sesame-52'],
    hub: 'authorization { user: gw7, password: "open-sesame-52" }',
  },
  {
    name: 'token',
    content: 'sword"fish-77\n',
    keys: (file) => `token_file = "${file}"`,
    secrets: ['sword"fish-77', 'sword\\"fish-77', 'fish-77'],
    hub: 'authorization { token: "sword\\"fish-77" }',
  },
  {
    name: 'nkey',
    content: SEED,
    keys: (file) => `nkey_file = "${file}"`,
    secrets: [SEED],
    hub: `authorization { users: [{ nkey: ${USER.getPublicKey()} }] }`,
  },
  {
    name: 'creds',
    content: CREDS.creds,
    keys: (file) => `credentials = "${file}"`,
    secrets: [CREDS.seed, CREDS.jwt],
    hub: OPERATOR.config(join(dir, 'accounts')),
  },
];

/** Servers that say INFO and then make an answer of what the gateway sends. */
async function repeater(
  answer: (bytes: string) => string,
): Promise<{ port: number; taken: () => number; end: () => void }> {
  const sockets = new Set<Socket>();
  let taken = 0;
  const info = { server_id: 'x', version: '2.15.1', headers: true, proto: 1, nonce: 'nonce' };
  const stub: Server = createServer((socket) => {
    sockets.add(socket);
    taken++;
    socket.on('error', () => undefined);
    socket.write(`INFO ${JSON.stringify({ ...info, max_payload: 1_048_576 })}\r\n`);
    socket.on('data', (bytes: Buffer) => socket.write(answer(bytes.toString('latin1'))));
  });
  await new Promise<void>((resolve) => stub.listen(0, '127.0.0.1', resolve));
  const address = stub.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const end = (): void => {
    for (const socket of sockets) socket.destroy();
    stub.close();
  };
  return { port, end, taken: () => taken };
}

test.concurrent.each(WAYS)('$name: it is nowhere to be seen', { timeout: TEST_MS }, async (way) => {
  const stubs = [
    await repeater((bytes) => bytes),
    await repeater((bytes) => {
      const [connect = ''] = bytes.split('\r\n');
      return `-ERR 'Authorization Violation: ${connect.replaceAll("'", '')}'\r\n`;
    }),
    await repeater((bytes) => `+OK\r\nNONSENSE ${bytes}`),
  ];
  const hub = await startNatsServer({ config: way.hub });
  const secret = join(dir, `${way.name}.secret`);
  writeFileSync(secret, way.content, { mode: 0o600 });
  const servers = (ports: number[]): string => JSON.stringify(ports.map((p) => `127.0.0.1:${p}`));
  const config = (ports: number[]): string => `[log]
level = "trace"
${ONE_STREAM}
[hub]
servers = ${servers(ports)}
keep_alive = "1s"
reconnect_max = "100ms"
create = true
${way.keys(secret)}
[[forward]]
stream = "DATA"
`;
  const agent = await AgentProcess.create({
    config: config(stubs.map(({ port }) => port)),
  });
  const shown: string[] = [];
  const look = async (): Promise<void> => {
    for (const path of ['/varz', '/jsz?streams=true&config=true&consumers=true', '/healthz'])
      shown.push(JSON.stringify((await agent.monitor(path)).body));
    for (const file of ['cmdline', 'environ', 'comm'])
      shown.push(readFileSync(`/proc/${agent.pid}/${file}`, 'latin1'));
    shown.push(agent.output, readFileSync(agent.configFile, 'utf8'));
  };
  try {
    await agent.start();
    await until('a few attempts at each', () => stubs.every(({ taken }) => taken() >= 3));
    await look();
    await agent.stop();
    agent.options = { config: config([hub.port]) };
    await agent.start();
    await until('a connection', () => agent.output.includes('"connected to the hub"'));
    await until('the hub stream', () => agent.output.includes('created the hub stream'));
    await look();
    await agent.stop();
    shown.push(agent.output);
    for (const text of shown)
      for (const word of way.secrets) expect(text.includes(word), text.slice(0, 2_000)).toBe(false);
    // Only the log writes to stdout.
    for (const line of shown.at(-1)?.trim().split('\n') ?? [])
      expect(() => JSON.parse(line)).not.toThrow();
  } finally {
    await agent.dispose();
    for (const stub of stubs) stub.end();
    await hub.dispose();
  }
});

test.each([
  'nats://gw7:open-sesame@hub:4222',
  'tls://gw7:open-sesame@hub',
  'nats://open-sesame@hub',
  'nats://gw7:with@open-sesame@hub',
  'nats://gw7:a/open-sesame/b@hub',
  'nats://gw7:a b#open-sesame?c@hub',
  `nats://gw7:${'x'.repeat(60)}open-sesame@hub`,
])('a secret in a URL is refused, and not repeated: %s', (url) => {
  const configs = new ConfigDir();
  try {
    const file = `[gateway]\nname = "gw7"\n[hub]\nservers = [${JSON.stringify(url)}]\n`;
    const problems = [
      configs.refusal(file),
      configs.refusal('[gateway]\nname = "gw7"\n[hub]\n', { MANGROVE_HUB_SERVERS: url }),
    ];
    for (const { message } of problems) {
      expect(message).toContain('credentials, user, token_file, nkey_file');
      expect(message).not.toMatch(/sesame|x{9}/);
    }
  } finally {
    configs.remove();
  }
});

test('a secret has no key of its own in the configuration', () => {
  const configs = new ConfigDir();
  try {
    for (const key of ['password', 'token', 'nkey', 'seed', 'pass']) {
      const file = `[gateway]\nname = "gw7"\n[hub]\nservers = ["hub"]\n${key} = "open-sesame"\n`;
      const { message } = configs.refusal(file);
      expect(message).toContain(`hub.${key}: unknown key`);
      expect(message).not.toContain('sesame');
    }
    const env = { MANGROVE_HUB_PASSWORD: 'open-sesame' };
    expect(configs.refusal('[gateway]\nname = "gw7"\n', env).message).not.toContain('sesame');
  } finally {
    configs.remove();
  }
});
