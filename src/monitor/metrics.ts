// /metrics: what an operator alarms on, in the text format of Prometheus. The pages in JSON say more.

import type { Health } from './health.ts';
import type { LeafzStatus } from './leafz.ts';
import type { VarzInput } from './varz.ts';

export interface MetricsInput {
  readonly health: Health;
  readonly varz: Pick<VarzInput, 'agentVersion' | 'uptimeMs' | 'usage' | 'connections' | 'broker'>;
  /** Whether the disk takes messages. */
  readonly diskFull: boolean;
  readonly streams: readonly {
    readonly name: string;
    readonly messages: number;
    readonly bytes: number;
  }[];
  /** Absent where nothing is forwarded. */
  readonly hub: { readonly connected: boolean } | undefined;
  readonly forwards: readonly { readonly stream: string; readonly pending: number }[];
  /** Absent where there is no `[leaf]`. */
  readonly leaf: Pick<LeafzStatus, 'connected' | 'hub' | 'counters'> | undefined;
  /** What hubs that fill their streams from ours have missed. */
  readonly sourcing: {
    readonly missedMsgs: number;
    readonly oversizeMsgs: number;
    readonly jumps: number;
  };
  /** As in /varz; undefined where MQTT is off. */
  readonly mqtt: Readonly<Record<string, unknown>> | undefined;
}

type Labels = Readonly<Record<string, string>>;
type Samples = readonly (readonly [Labels, number])[];

/** Of the leafnode link, since the start. */
const LEAF_COUNTERS = {
  connects: ['connects', 'Times that the hub let the gateway in.'],
  inMsgs: ['received_messages', 'Messages that came from the hub.'],
  inBytes: ['received_bytes', 'Bytes of them.'],
  outMsgs: ['sent_messages', 'Messages that went to the hub.'],
  outBytes: ['sent_bytes', 'Bytes of them.'],
  droppedMsgs: ['dropped_messages', 'Messages that were not sent, as the link was behind.'],
  deniedOutMsgs: ['denied_sent_messages', 'Messages that were kept back, as they may not go out.'],
  deniedInMsgs: [
    'denied_received_messages',
    'Messages that were dropped, as they may not come in.',
  ],
  oversizeMsgs: ['oversize_messages', 'Messages that are larger than the hub takes.'],
} as const;

/** Of the moment, with their names in /varz. */
const MQTT_GAUGES: Readonly<Record<string, readonly [name: string, help: string]>> = {
  connections: ['connections', 'Clients connected now.'],
  sessions: ['sessions', 'Sessions, those of clients that are away included.'],
  subscriptions: ['subscriptions', 'Subscriptions of all sessions.'],
  queuedMessages: ['queued_messages', 'Messages that clients have not acknowledged.'],
  queuedBytes: ['queued_bytes', 'Bytes on the disk for clients.'],
  retained: ['retained_messages', 'Retained messages.'],
  publishesInFlight: ['publishes_in_flight', 'PUBLISHes that wait for the disk.'],
};

const MQTT_COUNTERS: Readonly<Record<string, readonly [name: string, help: string]>> = {
  connects: ['connects', 'CONNECTs accepted.'],
  connectsRefused: ['connects_refused', 'CONNECTs refused.'],
  protocolErrors: ['protocol_errors', 'Connections closed for breaking the protocol.'],
  keepAliveTimeouts: ['keep_alive_timeouts', 'Connections closed for silence.'],
  slowReaders: ['slow_readers', 'Connections closed as the client did not read.'],
  sessionsExpired: ['sessions_expired', 'Sessions that ended because nobody came back.'],
  inMsgs: ['received_messages', 'PUBLISHes that came.'],
  inBytes: ['received_bytes', 'Bytes of their data.'],
  outMsgs: ['sent_messages', 'PUBLISHes that were sent.'],
  outBytes: ['sent_bytes', 'Bytes of their data.'],
  unroutedMsgs: ['unrouted_messages', 'PUBLISHes that no stream took.'],
  refusedMsgs: ['refused_messages', 'PUBLISHes that a stream or the disk refused.'],
  notPermittedMsgs: ['not_permitted_messages', 'PUBLISHes that were not permitted.'],
  retainedRefused: ['retained_refused', 'Messages that were not retained, for lack of room.'],
};

/** Of dropped deliveries. */
const REASONS: Readonly<Record<string, string>> = {
  droppedSlowMsgs: 'slow',
  droppedQueueMsgs: 'queue_full',
  droppedRefusedMsgs: 'refused',
  droppedExpiredMsgs: 'expired',
  droppedLargeMsgs: 'too_large',
  droppedForbiddenMsgs: 'forbidden',
  sharedDroppedMsgs: 'shared',
};

/** The text of /metrics. */
export function metrics(input: MetricsInput): string {
  const { health, varz, streams, hub, forwards, leaf, mqtt } = input;
  const text = new Exposition();
  text.gauge('info', 'The agent.', [[{ version: varz.agentVersion }, 1]]);
  text.gauge('uptime_seconds', 'Time since the start.', [[{}, Math.floor(varz.uptimeMs / 1000)]]);
  text.gauge('memory_bytes', 'Resident memory.', [[{}, varz.usage.memBytes]]);
  text.gauge('healthy', 'Whether /healthz answers 200.', [[{}, health.ok ? 1 : 0]]);
  text.gauge('problem', 'What an operator must mend.', [
    ...new Map(health.problems.map(({ part }) => [part, [{ part }, 1] as const])).values(),
  ]);
  text.gauge('disk_full', 'Whether messages are refused for want of room.', [
    [{}, input.diskFull ? 1 : 0],
  ]);
  text.gauge('connections', 'Clients connected now, of all protocols.', [[{}, varz.connections]]);
  text.counter('received_messages', 'Messages published here.', [[{}, varz.broker.inMsgs]]);
  text.counter('unrouted_messages', 'Messages that nobody took.', [[{}, varz.broker.nobodyMsgs]]);
  text.gauge(
    'stream_messages',
    'Messages in a stream.',
    streams.map(({ name, messages }) => [{ stream: name }, messages]),
  );
  text.gauge(
    'stream_bytes',
    'Bytes in a stream.',
    streams.map(({ name, bytes }) => [{ stream: name }, bytes]),
  );
  if (hub !== undefined)
    text.gauge('hub_connected', 'Whether the hub is reached.', [[{}, hub.connected ? 1 : 0]]);
  text.gauge(
    'forward_pending_messages',
    'Messages of a stream that wait for the hub.',
    forwards.map(({ stream, pending }) => [{ stream }, pending]),
  );
  if (leaf !== undefined) {
    addLeaf(text, leaf);
    addSourcing(text, input.sourcing);
  }
  if (mqtt !== undefined) addMqtt(text, mqtt);
  return text.text;
}

function addLeaf(
  text: Exposition,
  { connected, hub, counters }: NonNullable<MetricsInput['leaf']>,
): void {
  text.gauge('leaf_connected', 'Whether the leafnode link stands.', [[{}, connected ? 1 : 0]]);
  if (hub !== undefined) {
    text.gauge('leaf_pending_bytes', 'Bytes that wait for the link.', [[{}, hub.waitingBytes]]);
    if (hub.rttMs !== undefined)
      text.gauge('leaf_rtt_seconds', 'Round trip of the last PING.', [
        [{}, Math.round(hub.rttMs * 1000) / 1e6],
      ]);
  }
  for (const [key, [name, help]] of Object.entries(LEAF_COUNTERS))
    text.counter(`leaf_${name}`, help, [[{}, counters[key as keyof typeof LEAF_COUNTERS]]]);
}

function addSourcing(text: Exposition, counters: MetricsInput['sourcing']): void {
  text.counter(
    'sourcing_missed_messages',
    'Messages that limits removed before the hub had them.',
    [[{}, counters.missedMsgs]],
  );
  text.counter('sourcing_oversize_messages', 'Messages of streams that the hub does not take.', [
    [{}, counters.oversizeMsgs],
  ]);
  text.counter('sourcing_jumps', 'Times that the hub had more of a stream than was here.', [
    [{}, counters.jumps],
  ]);
}

function addMqtt(text: Exposition, mqtt: Readonly<Record<string, unknown>>): void {
  const valueOf = (key: string): Samples => {
    const value = mqtt[key];
    return typeof value === 'number' ? [[{}, value]] : [];
  };
  for (const [key, [name, help]] of Object.entries(MQTT_GAUGES))
    text.gauge(`mqtt_${name}`, help, valueOf(key));
  for (const [key, [name, help]] of Object.entries(MQTT_COUNTERS))
    text.counter(`mqtt_${name}`, help, valueOf(key));
  const dropped = Object.entries(REASONS).flatMap(([key, reason]): Samples =>
    valueOf(key).map(([, value]) => [{ reason }, value] as const),
  );
  text.counter('mqtt_dropped_messages', 'Deliveries that were dropped.', dropped);
}

/** Lines of the format; a metric without samples is left out. */
class Exposition {
  text = '';

  gauge(name: string, help: string, samples: Samples): void {
    this.#add(`mangrove_${name}`, 'gauge', help, samples);
  }

  counter(name: string, help: string, samples: Samples): void {
    this.#add(`mangrove_${name}_total`, 'counter', help, samples);
  }

  #add(name: string, type: string, help: string, samples: Samples): void {
    if (samples.length === 0) return;
    this.text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
    for (const [labels, value] of samples) this.text += `${name}${labelled(labels)} ${value}\n`;
  }
}

function labelled(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
