// A hub set up as docs/hub.md says, from the very files of that page, with gateways and an administrator who log in by
// NKey. Entries can be taken out of a gateway's permissions and put back while everything runs.

import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jetstream } from '@nats-io/jetstream';
import { connect, nkeyAuthenticator, nkeys, type NatsConnection } from '@nats-io/transport-node';
import type { NatsHub } from '../../sync/nats-hub.ts';
import { GatewayDir, TestAgent } from '../support/agent.ts';
import type { LogLine } from '../support/agent-process.ts';
import { Ledger, type HubRecord } from '../support/audit.ts';
import { startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { until } from '../support/until.ts';
import { burst } from './traffic.ts';

export type Page = 'account-per-gateway' | 'shared-stream';

const PAGES = join(import.meta.dirname, '../../docs/hub');

/** The users of the pages. */
const KEYS = { GW7: nkeys.createUser(), GW8: nkeys.createUser(), FLEET: nkeys.createUser() };
export type User = keyof typeof KEYS;

// The pages leave the keys to the environment of nats-server.
for (const [name, key] of Object.entries(KEYS)) process.env[name] = key.getPublicKey();

/** The text of a file beside docs/hub.md. */
export function pageText(file: string): string {
  return readFileSync(join(PAGES, file), 'utf8');
}

/** The entries under `publish` and `subscribe` that a page has for gw7. */
export function entriesOf(page: Page): string[] {
  const text = pageText(`${page}.conf`);
  const [, block = ''] = /nkey: \$GW7, permissions: \{(.*?)\} \}/s.exec(text) ?? [];
  return [...block.matchAll(/"([^"]+)"/g)].map(([, entry = '']) => entry);
}

export class PermissionRig {
  readonly hub: NatsServer;
  readonly ledger = new Ledger();
  readonly page: Page;
  readonly dir = new GatewayDir();
  /** Further keys of `[[forward]]`. */
  forward = '';
  readonly #path: string;
  readonly #connections: NatsConnection[] = [];
  #agent: TestAgent | undefined;

  private constructor(hub: NatsServer, page: Page, path: string) {
    this.hub = hub;
    this.page = page;
    this.#path = path;
  }

  static async start(page: Page): Promise<PermissionRig> {
    const path = mkdtempSync(join(tmpdir(), 'mangrove-permissions-'));
    const hub = await startNatsServer({
      config: pageText(`${page}.conf`),
    });
    return new PermissionRig(hub, page, path);
  }

  /** The stream that gw7 writes to. */
  get edge(): string {
    return this.page === 'shared-stream' ? 'EDGE' : 'EDGE_gw7';
  }

  /** The agent's connection to the hub. */
  get link(): NatsHub {
    return this.agent.agent.parts.hub as NatsHub;
  }

  get agent(): TestAgent {
    if (this.#agent === undefined) throw new Error('the agent is stopped');
    return this.#agent;
  }

  /** Starts gw7's agent, with these further keys of `[hub]`. */
  async startAgent({ hub = '' } = {}): Promise<TestAgent> {
    const file = join(this.#path, 'gw7.nk');
    writeFileSync(file, `${Buffer.from(KEYS.GW7.getSeed()).toString()}\n`, { mode: 0o600 });
    const login = `nkey_file = "${file}"\nstream = "${this.edge}"\n${hub}`;
    this.dir.configure({ servers: [this.hub.url], hub: login, forward: this.forward });
    this.#agent = await TestAgent.start(this.dir);
    return this.#agent;
  }

  async stopAgent(): Promise<void> {
    await this.#agent?.stop();
    this.#agent = undefined;
  }

  /** An older image of the card is put back: what is at the hub now has an epoch that the store does not know. */
  async restoreCard(): Promise<void> {
    await this.stopAgent();
    const image = join(this.#path, 'image');
    cpSync(this.dir.dataDir, image, { recursive: true });
    await this.startAgent();
    await burst(this.agent, this.ledger, 20);
    await this.agent.drained();
    await this.stopAgent();
    rmSync(this.dir.dataDir, { recursive: true });
    renameSync(image, this.dir.dataDir);
  }

  /** A plain client. */
  async as(user: User): Promise<NatsConnection> {
    const inboxPrefix = user === 'FLEET' ? '_INBOX' : `_INBOX.${user.toLowerCase()}`;
    const connection = await connect({
      servers: this.hub.url,
      authenticator: nkeyAuthenticator(KEYS[user].getSeed()),
      inboxPrefix,
      reconnectTimeWait: 50,
      maxReconnectAttempts: -1,
    });
    this.#connections.push(connection);
    return connection;
  }

  /** Hands the server its configuration anew, without `entry` in gw7's permissions, and resolves when that holds. */
  async without(entry: string): Promise<void> {
    const nc = await this.as('GW7');
    let denied = false;
    void (async () => {
      for await (const status of nc.status())
        if (status.type === 'error' && status.error.name === 'PermissionViolationError')
          denied = true;
    })();
    // An empty list would allow everything.
    this.#reload((block) => block.replace(`"${entry}"`, '"nothing"'));
    await until(`${entry} to be denied`, async () => {
      // Not a subject of the agent's own stream, and nothing that does harm while it is still allowed.
      const subject = entry.replace('*', 'probe').replace('>', 'probe.x');
      if (entry.startsWith('_INBOX')) nc.subscribe(subject).unsubscribe();
      else nc.publish(subject, 'x');
      await nc.flush().catch(() => undefined);
      return denied;
    });
  }

  whole(): void {
    this.#reload((block) => block);
  }

  #reload(edit: (block: string) => string): void {
    const text = pageText(`${this.page}.conf`);
    const config = text.replace(/nkey: \$GW7, permissions: \{.*?\} \}/s, edit);
    this.hub.configure({ config });
    this.hub.reload();
  }

  /** The first line that tells the operator what to do with `hint`. */
  told(hint: RegExp): LogLine | undefined {
    return this.agent.log.find((line) => line.level >= 40 && hint.test(line.hint ?? ''));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAgent();
    for (const connection of this.#connections) await connection.close();
    await this.hub.dispose();
    this.dir.remove();
    rmSync(this.#path, { recursive: true, force: true });
  }
}

/** A request to JetStream's API; throws its error. */
export async function api<T>(nc: NatsConnection, subject: string, body?: unknown): Promise<T> {
  const data = body === undefined ? '' : JSON.stringify(body);
  const reply = await nc.request(subject, data, { timeout: 5_000 });
  const answer = reply.json<T & { error?: { description: string; err_code: number } }>();
  if (answer.error !== undefined)
    throw new Error(`${subject}: ${answer.error.description} (${answer.error.err_code})`);
  return answer;
}

/** Everything in `stream` of the account of `nc`. */
export async function readAll(nc: NatsConnection, stream: string): Promise<HubRecord[]> {
  const { state } = await api<{ state: { messages: number } }>(nc, `$JS.API.STREAM.INFO.${stream}`);
  const found: HubRecord[] = [];
  if (state.messages === 0) return found;
  const consumer = await jetstream(nc).consumers.get(stream);
  const options = { max_messages: state.messages, expires: 10_000 };
  for await (const message of await consumer.fetch(options)) {
    const headers = new Map<string, string>();
    for (const [name, values] of message.headers ?? []) headers.set(name, values.join(', '));
    const { seq, subject } = message;
    const id = headers.get('Nats-Msg-Id') ?? '';
    found.push({ seq, subject, id, data: Buffer.from(message.data), headers });
  }
  return found;
}
