// A hub set up as docs/hub.md says, from the very files of that page, with gateways that log in by NKey. Only where it keeps its
// streams and where it listens are its own.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, nkeyAuthenticator, nkeys, type NatsConnection } from '@nats-io/transport-node';
import { freePort, startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { agentGateway, type AgentGateway } from './gateway.ts';

export type Page = 'leaf-fleet' | 'leaf-accounts';

const PAGES = join(import.meta.dirname, '../../docs/hub');
const STORE = '"/var/lib/nats"';
const LISTEN = '"0.0.0.0:7422"';

/** The users of the pages, which leave the keys to the environment of nats-server. */
const KEYS = { GW7: nkeys.createUser(), GW8: nkeys.createUser(), FLEET: nkeys.createUser() };
for (const [name, key] of Object.entries(KEYS)) process.env[name] = key.getPublicKey();

/** The text of a file beside docs/hub.md. */
export function pageText(file: string): string {
  return readFileSync(join(PAGES, file), 'utf8');
}

export class PageHub implements AsyncDisposable {
  readonly server: NatsServer;
  /** Who may use JetStream of the hub: the user FLEET. */
  readonly fleet: NatsConnection;
  readonly #dial: string;
  readonly #path: string;

  private constructor(
    { server, fleet }: { server: NatsServer; fleet: NatsConnection },
    dial: string,
    path: string,
  ) {
    this.server = server;
    this.fleet = fleet;
    this.#dial = dial;
    this.#path = path;
  }

  /** `binary`: of an old nats-server. */
  static async start(page: Page, binary?: string): Promise<PageHub> {
    const path = mkdtempSync(join(tmpdir(), 'mangrove-page-'));
    const dial = `127.0.0.1:${await freePort()}`;
    const text = pageText(`${page}.conf`);
    if (!text.includes(STORE) || !text.includes(LISTEN)) throw new Error(`${page} is another page`);
    const config = text.replace(STORE, `"${path}/store"`).replace(LISTEN, `"${dial}"`);
    const server = await startNatsServer({
      jetstream: null,
      config,
      ...(binary === undefined ? {} : { binary }),
    });
    const fleet = await connect({
      servers: server.url,
      authenticator: nkeyAuthenticator(KEYS.FLEET.getSeed()),
    });
    return new PageHub({ server, fleet }, dial, path);
  }

  /** A gateway of the page, with these further tables and exports. */
  async gateway(
    name: 'gw7' | 'gw8',
    tables: string,
    exports: readonly string[],
  ): Promise<AgentGateway> {
    const file = join(this.#path, `${name}.nk`);
    const key = name === 'gw7' ? KEYS.GW7 : KEYS.GW8;
    writeFileSync(file, `${Buffer.from(key.getSeed()).toString()}\n`, { mode: 0o600 });
    const gateway = await agentGateway({
      hubs: [this.#dial],
      name,
      domain: name,
      exports,
      leaf: `nkey_file = "${file}"\n${tables}`,
    });
    await gateway.start();
    return gateway;
  }

  /** A request to JetStream, of the hub or of a gateway; throws its error. */
  async api<T>(subject: string, body?: unknown): Promise<T> {
    const data = body === undefined ? '' : JSON.stringify(body);
    const reply = await this.fleet.request(subject, data, { timeout: 5_000 });
    const answer = reply.json<T & { error?: { description: string } }>();
    if (answer.error !== undefined) throw new Error(`${subject}: ${answer.error.description}`);
    return answer;
  }

  /** Makes the stream of a file of the page. */
  async make(file: string): Promise<void> {
    const config = JSON.parse(pageText(file)) as { name: string };
    await this.api(`$JS.API.STREAM.CREATE.${config.name}`, config);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fleet.close();
    await this.server.dispose();
    rmSync(this.#path, { recursive: true, force: true });
  }
}
