// A gateway, a hub of one or three nats-servers, and the way in between: on the loopback through proxies that cut, swallow
// and hold back, or over a NetnsPath. Who watches is connected to both sides and never goes that way.

import {
  freePort,
  startCluster,
  startNatsServer,
  type NatsServer,
  type NatsServerOptions,
} from '../support/nats-server.ts';
import { until } from '../support/until.ts';
import { WanProxy } from '../support/wan-proxy.ts';
import {
  agentGateway,
  DOMAIN,
  peerGateway,
  type GatewayOptions,
  type LeafGateway,
} from './gateway.ts';
import { JetStreamClient } from './jetstream.ts';
import type { NetnsPath } from './netns.ts';

/** A hub that has just started elects first, and a peer tries again after a second or more. */
const CONNECTED_MS = 40_000;
const LOOPBACK = '127.0.0.1';

export interface LeafRigOptions {
  /** Of the hub; 1 by default. */
  readonly servers?: 1 | 3;
  /** Of the hub, where it shall be an old one. */
  readonly binary?: string;
  /** A nats-server takes the place of our agent. */
  readonly peer?: boolean;
  /** Further configuration of the hub. */
  readonly hub?: string;
  /** Further lines of the hub's leafnodes block. */
  readonly leafnodes?: string;
  /** How who watches logs in at the hub. */
  readonly admin?: { readonly user: string; readonly pass: string };
  readonly gateway?: Partial<GatewayOptions>;
  /** Instead of the loopback; for a hub of one. */
  readonly path?: NetnsPath;
  /** What stands between gateway and hub instead of a WanProxy: given the hub's port, it says its own. */
  readonly between?: (hubPort: number) => Promise<number>;
}

/** One leafnode as a hub shows it. */
export interface Leaf {
  /** Undefined from old hubs. */
  readonly name?: string;
  readonly account: string;
  readonly ip: string;
  readonly port: number;
  readonly in_msgs: number;
  readonly out_msgs: number;
  readonly subscriptions: number;
  readonly subscriptions_list?: readonly string[];
}

interface Parts {
  readonly hubs: readonly NatsServer[];
  readonly wans: readonly WanProxy[];
  readonly dials: readonly string[];
}

export class LeafRig implements AsyncDisposable {
  readonly hubs: readonly NatsServer[];
  /** One before each server of the hub; none with a path or something else in between. */
  readonly wans: readonly WanProxy[];
  /** `host:port` of the hub's leafnode ports as gateways reach them. */
  readonly dials: readonly string[];
  readonly gateway: LeafGateway;
  readonly hub: JetStreamClient;
  readonly local: JetStreamClient;

  private constructor(
    { hubs, wans, dials }: Parts,
    gateway: LeafGateway,
    { hub, local }: { hub: JetStreamClient; local: JetStreamClient },
  ) {
    this.hubs = hubs;
    this.wans = wans;
    this.dials = dials;
    this.gateway = gateway;
    this.hub = hub;
    this.local = local;
  }

  /** Starts all; with `connected` false it does not wait for the link. */
  static async start(options: LeafRigOptions = {}, connected = true): Promise<LeafRig> {
    const parts = await startHub(options);
    const settings = { hubs: parts.dials, ...options.gateway };
    const gateway = await (options.peer === true ? peerGateway : agentGateway)(settings);
    await gateway.start();
    const local = await JetStreamClient.connect(`${LOOPBACK}:${gateway.port}`);
    const urls = parts.hubs.map(({ url }) => url);
    const hub = await JetStreamClient.connect(urls, options.admin);
    const rig = new LeafRig(parts, gateway, { hub, local });
    if (connected) await rig.connected();
    return rig;
  }

  /** Resolves when the hub has the gateway as a leafnode; with which server of it. */
  connected(timeoutMs = CONNECTED_MS, name = 'gw7'): Promise<NatsServer> {
    return until(
      `${name} among the leafnodes`,
      async () => {
        for (const server of this.hubs)
          if ((await leafz(server)).some((leaf) => (leaf.name ?? name) === name)) return server;
        return undefined;
      },
      timeoutMs,
    ).catch((error: unknown) => {
      const said = this.gateway.complaints.slice(-10).join('\n');
      throw new Error(`${String(error)}; the gateway said:\n${said}`);
    });
  }

  /** How many connections the hub's servers have seen on the way since the start. */
  get dialled(): number {
    return this.wans.reduce((sum, { counters }) => sum + counters.connections, 0);
  }

  /** The connection of the gateway as the hub has it; undefined for none. Every connection has another number. */
  async connection(name = 'gw7'): Promise<number | undefined> {
    for (const server of this.hubs)
      for (const leaf of await leafz(server)) if ((leaf.name ?? name) === name) return leaf.port;
    return undefined;
  }

  /** No way to the hub; open connections are reset. */
  async cut(): Promise<void> {
    for (const wan of this.wans) {
      await wan.refuse();
      wan.resetAll();
    }
  }

  async mend(): Promise<void> {
    for (const wan of this.wans) await wan.restore();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.local[Symbol.asyncDispose]();
    await this.hub[Symbol.asyncDispose]();
    await this.gateway[Symbol.asyncDispose]();
    for (const wan of this.wans) await wan.close();
    await Promise.all(this.hubs.map((server) => server.dispose()));
  }
}

/** The leafnodes of one server of a hub; none where it does not run. */
export async function leafz(server: NatsServer, subscriptions = false): Promise<Leaf[]> {
  const query = subscriptions ? '?subs=true' : '';
  const answer = await fetch(`${server.monitorUrl}/leafz${query}`, {
    signal: AbortSignal.timeout(5_000),
  }).catch(() => undefined);
  const body = (await answer?.json()) as { leafs?: Leaf[] | null } | undefined;
  return [...(body?.leafs ?? [])];
}

/** One server or three, each with a leafnode port behind its own proxy, under which it is also made known. */
async function startHub(options: LeafRigOptions): Promise<Parts> {
  const { servers = 1, binary, path, between, hub = '', leafnodes = '' } = options;
  const wans: WanProxy[] = [];
  const dials: string[] = [];
  const configs: string[] = [];
  for (let i = 0; i < servers; i++) {
    const port = await freePort();
    const host = path?.pathHost ?? LOOPBACK;
    let dial = `${host}:${port}`;
    if (between !== undefined) dial = `${host}:${await between(port)}`;
    else if (path === undefined) {
      const wan = await new WanProxy(port).listen();
      wans.push(wan);
      dial = `${LOOPBACK}:${wan.port}`;
    }
    dials.push(dial);
    configs.push(`leafnodes { listen: "${host}:${port}", advertise: "${dial}", ${leafnodes} }`);
  }
  const common: NatsServerOptions = {
    ...(binary === undefined ? {} : { binary }),
    ...(path === undefined ? {} : { host: path.watchHost, wrapper: path.wrapper }),
    jetstream: 'domain: hub',
  };
  if (servers === 1) {
    const config = `${hub}\n${configs[0]}`;
    return {
      hubs: [await startNatsServer({ ...common, port: await freePort(), config })],
      wans,
      dials,
    };
  }
  const cluster = await startCluster(servers, { ...common, config: hub }, (i) => configs[i] ?? '');
  return { hubs: cluster.servers, wans, dials };
}

/** The source or mirror of `name` as the hub's stream has it. */
export function fromGateway(name: string, domain = DOMAIN): Record<string, unknown> {
  return { name, external: { api: `$JS.${domain}.API` } };
}
