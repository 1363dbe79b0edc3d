// Hubs with a leafnode port over real sockets for tests of the leafnode link: what they show of us, the log, stubs that
// speak for a hub.

import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { pino } from 'pino';
import { Broker } from '../../src/broker.ts';
import { systemClock } from '../../src/clock.ts';
import { LeafLink, type LeafConfig, type LeafParts } from '../../sync/leaf/leaf-link.ts';
import {
  freePort,
  startNatsServer,
  type NatsServer,
  type NatsServerOptions,
} from '../support/nats-server.ts';
import { until } from '../support/until.ts';

export interface Line {
  readonly level: number;
  readonly msg: string;
  readonly kind?: string;
  readonly error?: string;
  readonly hint?: string;
  readonly [key: string]: unknown;
}

/** A connection as the hub's /leafz shows it. */
export interface LeafzEntry {
  readonly name: string;
  readonly account: string;
  readonly ip: string;
  readonly port: number;
  readonly compression?: string;
  readonly subscriptions_list?: readonly string[];
}

export interface LeafHub {
  readonly server: NatsServer;
  readonly port: number;
  /** `127.0.0.1:port` */
  readonly url: string;
  leafs(): Promise<readonly LeafzEntry[]>;
}

/** What the links of a test have logged. */
export const at = { lines: [] as Line[] };
const ends: (() => Promise<unknown> | void)[] = [];

/** For afterEach: ends everything that the test began. */
export async function tearDown(): Promise<void> {
  for (const end of ends.splice(0).toReversed()) await end();
  at.lines = [];
}

/** Runs `end` after the test. */
export function afterwards(end: () => Promise<unknown> | void): void {
  ends.push(end);
}

interface HubOptions extends NatsServerOptions {
  /** Lines of the `leafnodes { … }` block. */
  readonly leafnodes?: string;
}

/** A nats-server with the domain `hub` and a leafnode port. It ends after the test. */
export async function startHub(options: HubOptions = {}): Promise<LeafHub> {
  const { leafnodes = '', config = '', ...more } = options;
  const port = await freePort();
  const server = await startNatsServer({
    jetstream: 'domain: hub',
    ...more,
    config: `${config}\nleafnodes { listen: "127.0.0.1:${port}"\n${leafnodes}\n}`,
  });
  afterwards(() => server.dispose());
  return {
    server,
    port,
    url: `127.0.0.1:${port}`,
    leafs: async () => {
      const answer = await fetch(`${server.monitorUrl}/leafz?subs=1`);
      return ((await answer.json()) as { leafs?: LeafzEntry[] }).leafs ?? [];
    },
  };
}

/** A link that is started, with the name and the domain `gw7`. It is stopped after the test. */
export function newLink(
  config: Partial<LeafConfig> & Pick<LeafConfig, 'urls'>,
  parts: Partial<LeafParts> = {},
): LeafLink {
  const log = pino(
    { level: 'debug', base: null },
    { write: (line) => void at.lines.push(JSON.parse(line) as Line) },
  );
  const link = new LeafLink(
    {
      name: 'gw7',
      serverId: `GW7${Math.random().toString(36).slice(2)}`,
      boundary: { exports: [], imports: [], domain: 'gw7' },
      keepAliveMs: 5_000,
      reconnectMaxMs: 200,
      compression: 'on',
      ...config,
    },
    { clock: systemClock, log, random: Math.random, broker: new Broker(), ...parts },
  );
  ends.push(() => link.stop());
  link.start();
  return link;
}

export async function connected(link: LeafLink): Promise<LeafLink> {
  await until('a leafnode connection', () => link.status().connected);
  return link;
}

export function logged(part: string): Line[] {
  return at.lines.filter(({ msg }) => msg.includes(part));
}

/** The first line that says why there is no connection. */
export async function refusal(kind?: string): Promise<Line> {
  return until('a refusal', () =>
    logged('no leafnode connection').find((line) => kind === undefined || line.kind === kind),
  );
}

export interface Stub {
  readonly url: string;
  readonly sockets: readonly Socket[];
  /** All that came in, on all connections. */
  heard(): string;
}

/** INFO as a hub's leafnode port says it. */
export function infoLine(more: object = {}): string {
  const info = { server_id: 'HUB', client_id: 5, leafnode_urls: [], nonce: 'n', headers: true };
  return `INFO ${JSON.stringify({ ...info, auth_required: true, max_payload: 1048576, ...more })}\r\n`;
}

/** A server of a few words. It ends after the test. */
export async function stub(speak: (socket: Socket) => void): Promise<Stub> {
  const sockets: Socket[] = [];
  let heard = '';
  const server: Server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => void (heard += bytes.toString('latin1')));
    speak(socket);
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  ends.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise<void>((resolve) => void server.close(() => resolve()));
  });
  const { port } = server.address() as AddressInfo;
  return { url: `127.0.0.1:${port}`, sockets, heard: () => heard };
}
