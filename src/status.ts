// What /healthz, /varz and /jsz say, read from the live parts at the moment they are asked. Knows the parts by shape only.

import type { Health, HealthProblem } from './monitor/health.ts';
import type { JszInput, StreamSnapshot } from './monitor/jsz.ts';
import type { ProcessUsage } from './monitor/process-usage.ts';
import type { VarzInput } from './monitor/varz.ts';
import type { ConnzClient, ConnzInput } from './monitor/connz.ts';
import type { MetricsInput } from './monitor/metrics.ts';
import type { LeafzInput, LeafzStatus } from './monitor/leafz.ts';
import type { MqttzInput, MqttzSession } from './monitor/mqttz.ts';
import type { SubszInput } from './monitor/subsz.ts';
import type { Broker } from './broker.ts';
import type { Clock } from './clock.ts';
import type { Config } from './config.ts';
import type { JetStreamApi } from './jetstream/api/api.ts';
import type { JetStream } from './jetstream/jetstream.ts';
import { consumerInfo } from './jetstream/consumers/info.ts';
import type { Stream } from './jetstream/stream.ts';
import { PROTOCOL_VERSION } from './nats/info.ts';
import type { NatsListener } from './nats/listener.ts';
import { clientView } from './nats/options.ts';
import { VERSION } from './version.ts';

/** NATS clients have numbers of their own: those of MQTT begin here, so that `cid` names one client. */
const MQTT_CIDS = 1_000_000_000;

/** A sync that takes this long is a card that does not answer. */
const STALLED_MS = 10_000;

/** A forwarder, as far as it is shown. */
export interface ForwarderView {
  readonly stream: string;
  status(): {
    readonly state: string;
    readonly detail: string;
    readonly problem: string | null;
    readonly confirmedSeq: number;
    readonly hubSeq: number;
    readonly pending: number;
    /** Counts what it does; see heartbeat.ts. */
    readonly steps: number;
  };
}

/** An MQTT client that is connected. Its times are monotonic. */
export interface MqttClientView {
  readonly id: number;
  readonly clientId: string;
  readonly user: string | undefined;
  readonly peer: { readonly ip: string; readonly port: number };
  readonly openedMs: number;
  readonly lastInMs: number;
  readonly unreadBytes: number;
  readonly traffic: ConnzClient['counters'];
  readonly version: 3 | 4 | 5;
  readonly subscriptions: readonly {
    readonly filter: string;
    readonly subject: string;
    readonly share: string | undefined;
  }[];
}

/** The MQTT listener, as far as it is shown. */
export interface MqttView {
  stats(): { readonly connections: number } & object;
  clients(): Iterable<MqttClientView>;
  sessions(): Iterable<MqttzSession>;
}

/** The leafnode link. */
export interface LeafView {
  status(): LeafzStatus;
}

export interface Parts {
  readonly config: Config;
  readonly serverId: string;
  readonly clock: Clock;
  readonly startedMs: number;
  readonly broker: Broker;
  readonly jetstream: JetStream;
  readonly usage: ProcessUsage;
  readonly forwarders: readonly ForwarderView[];
  readonly mqtt: MqttView | undefined;
  readonly nats: NatsListener | undefined;
  readonly api: JetStreamApi | undefined;
  readonly serial: readonly { stats(): object }[];
  readonly mqttSources: readonly {
    stats(): { readonly name: string; readonly problem: string | null };
  }[];
  readonly hub:
    | {
        readonly connected: boolean;
        readonly detail: string;
        readonly answers: number;
        readonly problem: string | null;
      }
    | undefined;
  readonly leaf: LeafView | undefined;
}

/** What keeps the agent from doing its job. A hub that is away does not: the streams wait for it. */
export function health({ jetstream, hub, leaf, forwarders, mqttSources }: Parts): Health {
  const { store } = jetstream;
  const problems: HealthProblem[] = [];
  if (store.failed !== undefined) {
    problems.push({ part: 'disk', text: `the disk failed: ${store.failed.message}` });
  }
  if (store.full !== null) {
    problems.push({
      part: 'disk',
      text: store.full.message,
      hint: 'free space on the disk; the agent takes messages again by itself',
    });
  }
  if (store.stalledMs > STALLED_MS) {
    const seconds = Math.round(store.stalledMs / 1000);
    problems.push({
      part: 'disk',
      text: `the disk has not answered for ${seconds} s; nothing is acknowledged meanwhile`,
      hint: 'check the card, and what else writes to it',
    });
  }
  if (hub !== undefined && hub.problem !== null) problems.push({ part: 'hub', text: hub.problem });
  for (const forwarder of forwarders) {
    const { problem } = forwarder.status();
    if (problem !== null) problems.push({ part: `hub ${forwarder.stream}`, text: problem });
  }
  const link = leaf?.status().problem ?? null;
  if (link !== null) problems.push({ part: 'leaf', text: link });
  const { problem: sourcing } = jetstream.sourcing;
  if (sourcing !== undefined) problems.push({ part: 'sourcing', text: sourcing });
  for (const source of mqttSources) {
    const { name, problem } = source.stats();
    if (problem !== null) problems.push({ part: `mqtt_source ${name}`, text: problem });
  }
  return { ok: problems.length === 0, problems };
}

/** One line for `systemctl status`: what is wrong, or how far the hub is. */
export function statusLine(parts: Parts): string {
  const [problem] = health(parts).problems;
  if (problem !== undefined) return `${problem.part}: ${problem.text}`;
  const { hub, forwarders } = parts;
  const leaf = leafLine(parts);
  if (hub === undefined)
    return leaf === undefined ? 'storing; there is no hub to forward to' : `storing; ${leaf}`;
  const waiting = forwarders.reduce((sum, forwarder) => sum + forwarder.status().pending, 0);
  const link = hub.connected ? 'connected to the hub' : `no connection to the hub (${hub.detail})`;
  const wait = waiting === 0 ? 'nothing waits' : `${waiting} messages wait for it`;
  return [link, wait, ...(leaf === undefined ? [] : [leaf])].join(', ');
}

/** Undefined where there is no such link. */
function leafLine({ leaf }: Parts): string | undefined {
  if (leaf === undefined) return undefined;
  const { hub, detail } = leaf.status();
  return hub === undefined ? `no leafnode link (${detail})` : `leaf node of ${hub.name}`;
}

export function varz(parts: Parts): VarzInput {
  const { api, broker, clock, config, jetstream, hub, mqtt, nats, mqttSources, serial } = parts;
  const leaf = parts.leaf?.status();
  const { store } = jetstream;
  const local = nats?.stats();
  const connections = (mqtt?.stats().connections ?? 0) + (local?.connections ?? 0);
  return {
    serverId: parts.serverId,
    serverName: config.gateway.name,
    version: PROTOCOL_VERSION,
    agentVersion: VERSION,
    wallMs: clock.wallMs(),
    uptimeMs: clock.monotonicMs() - parts.startedMs,
    usage: parts.usage.read(),
    broker: broker.counters,
    subscriptions: broker.subscriptions,
    connections,
    leafnodes: leaf?.connected === true ? 1 : 0,
    slowConsumers: local?.slowConsumers,
    sections: {
      mqtt: mqtt?.stats(),
      nats: local,
      serial: serial.length === 0 ? undefined : serial.map((port) => port.stats()),
      mqttSources:
        mqttSources.length === 0 ? undefined : mqttSources.map((source) => source.stats()),
      hub:
        hub === undefined
          ? undefined
          : {
              connected: hub.connected,
              detail: hub.detail,
              problem: hub.problem,
              forwards: parts.forwarders.map((forwarder) => ({
                stream: forwarder.stream,
                ...forwarder.status(),
              })),
            },
      leaf: leaf === undefined ? undefined : leafSection(config, leaf),
      jetstream: {
        config: {
          maxMemory: jetstream.limits.memoryBytesMax,
          maxStorage: jetstream.limits.fileBytesMax,
          storeDir: config.gateway.dataDir,
          domain: config.domain,
        },
        sourcing: jetstream.sourcing.counters,
        stats: { ...jetstream.usage(), ...(api === undefined ? {} : { api: api.counters }) },
      },
      store: {
        ...store.counters,
        ...store.usage(),
        undurableMessages: store.undurableMessages,
        full: store.full?.message ?? null,
        clockSynced: jetstream.timeline.synced,
      },
    },
  };
}

/** nats-server has the `remotes`; the rest is ours. */
function leafSection(
  { leaf, domain }: Config,
  { connected, detail, problem, counters }: LeafzStatus,
): object {
  const { urls = [], exports = [], imports = [], tls } = leaf ?? {};
  const scheme = tls === undefined ? 'nats-leaf' : 'tls';
  return {
    remotes: [{ localAccount: '$G', urls: urls.map((url) => `${scheme}://${url}`) }],
    connected,
    detail,
    problem,
    domain: leaf?.domain === undefined ? undefined : domain,
    exports,
    imports,
    ...counters,
  };
}

export function leafz({ leaf, serverId, clock }: Parts): LeafzInput {
  return { serverId, wallMs: clock.wallMs(), link: leaf?.status() };
}

/** The clients of NATS, then those of MQTT. */
export function connz({ nats, mqtt, clock, serverId }: Parts): ConnzInput {
  const clients: ConnzClient[] = nats === undefined ? [] : [...nats.connections].map(clientView);
  for (const client of mqtt?.clients() ?? []) clients.push(mqttClient(client));
  return { serverId, wallMs: clock.wallMs(), nowMs: clock.monotonicMs(), clients };
}

function mqttClient(view: MqttClientView): ConnzClient {
  return {
    cid: MQTT_CIDS + view.id,
    type: 'mqtt',
    mqttClient: view.clientId,
    ip: view.peer.ip,
    port: view.peer.port,
    sinceMs: view.openedMs,
    lastInMs: view.lastInMs,
    rttMs: undefined,
    pendingBytes: view.unreadBytes,
    counters: view.traffic,
    get subscriptions() {
      return view.subscriptions.map(({ filter, subject, share }) => ({
        subject,
        queue: share,
        sid: filter,
        delivered: undefined,
        max: 0,
      }));
    },
    name: '',
    lang: '',
    version: '',
    user: view.user,
  };
}

export function mqttz({ mqtt, serverId, clock }: Parts): MqttzInput {
  return { serverId, wallMs: clock.wallMs(), sessions: mqtt?.sessions() ?? [] };
}

export function metrics(parts: Parts): MetricsInput {
  const { jetstream, hub, leaf, forwarders, mqtt } = parts;
  return {
    health: health(parts),
    varz: varz(parts),
    diskFull: jetstream.store.full !== null,
    streams: jetstream.streams.map((stream) => {
      const { messages, bytes } = stream.state();
      return { name: stream.name, messages, bytes };
    }),
    hub,
    forwards: forwarders.map((forwarder) => ({
      stream: forwarder.stream,
      pending: forwarder.status().pending,
    })),
    leaf: leaf?.status(),
    sourcing: jetstream.sourcing.counters,
    mqtt: mqtt === undefined ? undefined : { ...mqtt.stats() },
  };
}

export function subsz({ broker, serverId, clock }: Parts): SubszInput {
  const { subscriptions, cachedSubjects } = broker;
  return { serverId, wallMs: clock.wallMs(), subscriptions, cachedSubjects };
}

export function jsz(parts: Parts): JszInput {
  const { config, jetstream, serverId, clock } = parts;
  const forwarders = new Map(parts.forwarders.map((view) => [view.stream, view]));
  return {
    serverId,
    wallMs: clock.wallMs(),
    storeDir: config.gateway.dataDir,
    limits: {
      maxMemory: jetstream.limits.memoryBytesMax,
      maxStorage: jetstream.limits.fileBytesMax,
      domain: config.domain,
    },
    streams: jetstream.streams.map((stream) => ({
      ...snapshot(stream, forwarders.get(stream.name)),
      mirror: stream.mirrorInfo?.(),
      consumers: jetstream.consumers(stream.name)?.count ?? 0,
      consumerDetails: () =>
        (jetstream.consumers(stream.name)?.all ?? []).map((consumer) =>
          consumerInfo(consumer, { nowMs: clock.wallMs(), version: undefined }),
        ),
    })),
  };
}

function snapshot(
  stream: Stream,
  forwarder: ForwarderView | undefined,
): Omit<StreamSnapshot, 'consumers' | 'consumerDetails'> {
  return {
    ...stream.state(),
    config: stream.config,
    createdMs: stream.createdMs,
    forward: forwarder?.status() ?? null,
  };
}
