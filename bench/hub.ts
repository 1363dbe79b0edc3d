// The hub as a bench sees it: a real nats-server, asked over a connection of its own how far a drain has come, and
// audited afterwards. Leaves of nats-server attach to it beside our agents.

import { connect, type NatsConnection } from '@nats-io/transport-node';
import { freePort, runLoad, startNats, type Nats, type NatsOptions } from './contestants.ts';
import type { HubAudit, HubAuditOptions } from './load/hub-audit.ts';

/** How often the hub is asked how far it is. */
const POLL_MS = 10;
const REQUEST_MS = 10_000;

export interface Hub extends Nats {
  readonly host: string;
  /** Where leaves attach. */
  readonly leafPort: number;
  /** A request to the JetStream API, `$JS.API.` left out. Throws what it answers with. */
  api<T>(subject: string, request?: object): Promise<T>;
  /** Waits until a stream is there. */
  stream(name: string): Promise<void>;
  /** Creates a stream of the leaf's, once the leaf is attached. */
  leafStream(config: { readonly name: string } & object): Promise<void>;
  /** Messages in a stream; 0 while there is none. */
  messages(stream: string): Promise<number>;
  /** Watches a stream until it holds `count` messages; `meter` is read each time it has moved. */
  watch(stream: string, count: number, patienceMs: number, meter?: () => number): Promise<Drain>;
  /** Audits the messages under a filter; throws unless each is there once and in order. */
  audit(options: Omit<HubAuditOptions, 'server'>): Promise<HubAudit>;
}

/** What was seen of a drain. */
export interface Drain {
  /** Messages a second, from the first seen at the hub to the last. */
  readonly rate: number;
  /** Of performance.now(). */
  readonly firstMs: number;
  readonly lastMs: number;
  /** Messages and seconds between those two, and what the meter ran through meanwhile. */
  readonly messages: number;
  readonly seconds: number;
  readonly metered: number;
}

export interface HubOptions extends NatsOptions {
  readonly leafPort?: number;
  /** Where this bench reaches it, when it listens on all addresses of a namespace. */
  readonly watchHost?: string;
}

/** Starts a hub with the domain `hub`, on loopback or on `host`. */
export async function startHub(options: HubOptions = {}): Promise<Hub> {
  const host = options.host ?? '127.0.0.1';
  const watchHost = options.watchHost ?? host;
  const leafPort = options.leafPort ?? (await freePort());
  const nats = await startNats({
    name: 'hub',
    ...options,
    jetstream: `domain: hub\n${options.jetstream ?? ''}`,
    config: `leafnodes { listen: "${host}:${leafPort}" }\n${options.config ?? ''}`,
  });
  const connection = await connect({
    servers: `${watchHost}:${nats.port}`,
    timeout: REQUEST_MS,
    // In a namespace nobody has waited until it listens.
    waitOnFirstConnect: true,
    reconnectTimeWait: 50,
    maxReconnectAttempts: 200,
  });
  const client = new HubClient(connection);
  return {
    ...nats,
    host: watchHost,
    leafPort,
    api: (subject, request) => client.api(subject, request),
    stream: (name) => retried(() => client.api(`STREAM.INFO.${name}`)),
    leafStream: (config) => retried(() => client.api(`leaf:STREAM.CREATE.${config.name}`, config)),
    messages: (stream) => client.messages(stream),
    watch: (stream, count, patienceMs, meter) => client.watch(stream, count, patienceMs, meter),
    audit: (audit) => auditHub({ ...audit, server: `${watchHost}:${nats.port}` }),
    stop: async (remove) => {
      await connection.close();
      await nats.stop(remove);
    },
  };
}

/** The configuration with which a nats-server becomes a leaf of the hub, with a JetStream domain of its own. */
export function leafOptions(url: string, compression?: string): NatsOptions {
  const more = compression === undefined ? '' : `, compression: ${compression}`;
  return {
    name: 'leaf',
    jetstream: 'domain: leaf',
    config: `leafnodes { remotes: [{ url: "${url}"${more} }] }`,
  };
}

/** A stream of the hub's that sources the leaf's stream `name`. Waits for the leaf. */
export async function sourceFromLeaf(hub: Hub, stream: string, name: string): Promise<void> {
  // The leaf answers through the hub: now the link is up.
  await retried(() => hub.api(`leaf:STREAM.INFO.${name}`));
  await hub.api(`STREAM.CREATE.${stream}`, {
    name: stream,
    storage: 'file',
    retention: 'limits',
    num_replicas: 1,
    sources: [{ name, external: { api: '$JS.leaf.API', deliver: '' } }],
  });
}

/** Tries until it works, for as long as one request may take. */
async function retried(attempt: () => Promise<unknown>): Promise<void> {
  const giveUpMs = performance.now() + REQUEST_MS;
  for (;;) {
    try {
      await attempt();
      return;
    } catch (error) {
      if (performance.now() > giveUpMs) throw error;
      await sleep(50);
    }
  }
}

class HubClient {
  readonly #connection: NatsConnection;

  constructor(connection: NatsConnection) {
    this.#connection = connection;
  }

  /** `leaf:` in front asks the leaf's JetStream. */
  async api<T>(subject: string, request?: object): Promise<T> {
    const full = subject.startsWith('leaf:')
      ? `$JS.leaf.API.${subject.slice(5)}`
      : `$JS.API.${subject}`;
    const data = request === undefined ? '' : JSON.stringify(request);
    const answer = await this.#connection.request(full, data, { timeout: REQUEST_MS });
    const result = answer.json<T & { error?: { description?: string } }>();
    if (result.error !== undefined) throw new Error(`${full}: ${result.error.description}`);
    return result;
  }

  async messages(stream: string): Promise<number> {
    try {
      const info = await this.api<{ state: { messages: number } }>(`STREAM.INFO.${stream}`);
      return info.state.messages;
    } catch {
      return 0;
    }
  }

  async watch(
    stream: string,
    count: number,
    patienceMs: number,
    meter = (): number => 0,
  ): Promise<Drain> {
    type Point = { readonly ms: number; readonly messages: number; readonly meter: number };
    let first: Point | undefined;
    const giveUpMs = performance.now() + patienceMs;
    for (;;) {
      const messages = await this.messages(stream);
      const point = { ms: performance.now(), messages, meter: meter() };
      if (messages > 0) first ??= point;
      if (first !== undefined && messages >= count) return drainBetween(first, point);
      if (point.ms > giveUpMs) throw new Error(`${messages} of ${count} messages came in time`);
      await sleep(POLL_MS);
    }
  }
}

function drainBetween(
  first: { readonly ms: number; readonly messages: number; readonly meter: number },
  last: typeof first,
): Drain {
  const messages = last.messages - first.messages;
  const seconds = (last.ms - first.ms) / 1000;
  return {
    rate: messages / seconds,
    firstMs: first.ms,
    lastMs: last.ms,
    messages,
    seconds,
    metered: last.meter - first.meter,
  };
}

async function auditHub(options: HubAuditOptions): Promise<HubAudit> {
  const audit = await runLoad<HubAudit>('hub-audit', options);
  const { messages, missing, twice, behind } = audit;
  const expected = options.count * audit.gateways;
  if (messages !== expected || missing + twice + behind > 0)
    throw new Error(`the hub holds ${expected} messages otherwise: ${JSON.stringify(audit)}`);
  return audit;
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
