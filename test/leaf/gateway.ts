// The gateway's side of a leafnode link, as a process: our agent, or a nats-server that is a leaf, which is what it is
// compared with. Both have the same name and domain, listen on a port that lasts over restarts, and dial the same places.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { LogLine } from '../support/agent-process.ts';
import { natsAgentProcess } from '../support/nats-agent-process.ts';
import { freePort, startNatsServer } from '../support/nats-server.ts';

export const DOMAIN = 'gw7';

export interface GatewayOptions {
  /** `host:port` of the hub's leafnode ports, as the gateway reaches them. */
  readonly hubs: readonly string[];
  readonly domain?: string;
  /** Default: that of the agents under test. */
  readonly name?: string;
  readonly exports?: readonly string[];
  readonly imports?: readonly string[];
  readonly keepAlive?: string;
  readonly reconnectMax?: string;
  readonly login?: { readonly user: string; readonly password: string };
  /** Further keys of `[leaf]`. */
  readonly leaf?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly dataDir?: string;
}

export interface LeafGateway extends AsyncDisposable {
  /** Where local clients connect. */
  readonly port: number;
  readonly running: boolean;
  /** Resolves when it takes messages. */
  start(): Promise<void>;
  kill(): Promise<void>;
  stop(): Promise<void>;
  freeze(): void;
  thaw(): void;
  /** Lines that it has logged since its last start. */
  readonly linesLogged: number;
  /** Lines of its log at warn or above; all of them where it has no levels. */
  readonly complaints: readonly string[];
}

/** Our agent. */
export async function agentGateway(options: GatewayOptions): Promise<AgentGateway> {
  const { hubs, domain = DOMAIN, name = 'gw7', login } = options;
  const { exports = [], imports = [], keepAlive = '2s', reconnectMax = '300ms' } = options;
  const urls = hubs.map((hub) => `nats-leaf://${hub}`);
  const { agent, port } = await natsAgentProcess({
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.dataDir === undefined ? {} : { dataDir: options.dataDir }),
    gatewayName: name,
    config: `[leaf]
url = ${JSON.stringify(urls)}
domain = "${domain}"
${subjects('exports', exports)}
${subjects('imports', imports)}
keep_alive = "${keepAlive}"
reconnect_max = "${reconnectMax}"
${login === undefined ? '' : loginKeys(login)}
${options.leaf ?? ''}
`,
  });
  return new AgentGateway(agent, port);
}

function subjects(key: string, list: readonly string[]): string {
  return list.length === 0 ? '' : `${key} = ${JSON.stringify(list)}`;
}

function loginKeys({ user, password }: { user: string; password: string }): string {
  const file = join(mkdtempSync(join(tmpdir(), 'mangrove-login-')), 'password');
  process.once('exit', () => rmSync(dirname(file), { recursive: true, force: true }));
  writeFileSync(file, `${password}\n`, { mode: 0o600 });
  return `user = "${user}"\npassword_file = "${file}"`;
}

export class AgentGateway implements LeafGateway {
  readonly agent: Awaited<ReturnType<typeof natsAgentProcess>>['agent'];
  readonly port: number;

  constructor(agent: AgentGateway['agent'], port: number) {
    this.agent = agent;
    this.port = port;
  }

  get running(): boolean {
    return this.agent.running;
  }

  get linesLogged(): number {
    return this.agent.output.split('\n').length - 1;
  }

  get complaints(): readonly string[] {
    return this.warnings.map((line) => JSON.stringify(line));
  }

  /** Its streams are made by programs, and that the file has none is no matter here. */
  get warnings(): readonly LogLine[] {
    return this.agent.log.filter(
      ({ level, msg }) => level >= 40 && !msg.startsWith('Nothing is kept'),
    );
  }

  /** What only an operator can mend, as /healthz tells it; empty for nothing. */
  async problem(): Promise<string> {
    const { status, body } = await this.agent.monitor('/healthz');
    return status === 200 ? '' : JSON.stringify(body);
  }

  async start(): Promise<void> {
    await this.agent.start();
  }

  async kill(): Promise<void> {
    await this.agent.kill();
  }

  async stop(): Promise<void> {
    await this.agent.stop();
  }

  freeze(): void {
    if (this.agent.pid !== undefined) process.kill(this.agent.pid, 'SIGSTOP');
  }

  thaw(): void {
    if (this.agent.pid !== undefined) process.kill(this.agent.pid, 'SIGCONT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent.dispose();
  }
}

/** A nats-server as the leaf. It is running; exports and imports of it are everything. */
export async function peerGateway({
  hubs,
  domain = DOMAIN,
  name = 'gw7',
  login,
}: GatewayOptions): Promise<LeafGateway> {
  const user = login === undefined ? '' : `${login.user}:${login.password}@`;
  const urls = hubs.map((hub) => `"nats-leaf://${user}${hub}"`);
  const server = await startNatsServer({
    port: await freePort(),
    name,
    jetstream: `domain: ${domain}`,
    config: `leafnodes { reconnect: "1s", remotes: [{ urls: [${urls.join(', ')}] }] }`,
  });
  return {
    port: server.port,
    get running() {
      return server.running;
    },
    get linesLogged() {
      return server.linesLogged;
    },
    get complaints() {
      return server.output.split('\n');
    },
    start: () => (server.running ? Promise.resolve() : server.restart('server')),
    kill: () => server.kill(),
    stop: () => server.stop(),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    [Symbol.asyncDispose]: () => server.dispose(),
  };
}
