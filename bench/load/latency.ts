// How long a message takes from a sensor's publish to a consumer at the hub: the sender's time stands in the data, and
// both ends are in this process, so there is one clock. Also how long the acknowledgement takes. Prints quantiles in ms.

import { connect } from '@nats-io/transport-node';
import { quantile } from '../rounds.ts';
import { openMqtt, ACK_BYTES, publishFrame } from './mqtt.ts';

export interface LatencyOptions {
  /** MQTT with QoS 1, or a JetStream publish. */
  readonly by: 'mqtt' | 'nats';
  readonly port: number;
  /** A subject: for MQTT its dots are slashes. */
  readonly subject: string;
  /** Messages a second, one at a time. */
  readonly rate: number;
  readonly seconds: number;
  readonly dataBytes: number;
  /** Where they are awaited; without, only acknowledgements are. */
  readonly hub?: { readonly server: string; readonly stream: string; readonly filter: string };
}

export interface Latency {
  readonly sent: number;
  readonly hub: Quantiles;
  readonly ack: Quantiles;
}

export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

/** Not counted: connections warm up, code is compiled. */
const WARM_SECONDS = 2;
/** Silence after which the rest is given up. */
const PATIENCE_MS = 10_000;
const STAMP_DIGITS = 20;

const options = JSON.parse(process.argv[2] ?? '') as LatencyOptions;
const { rate, seconds } = options;
const warm = options.hub === undefined ? 0 : WARM_SECONDS * rate;
const total = Math.max(1, Math.round(seconds * rate)) + warm;
const atHub: number[] = [];
const acks: number[] = [];
const sentMs: number[] = [];
const connection =
  options.hub === undefined ? undefined : await connect({ servers: options.hub.server });
if (options.hub !== undefined) await consume(options.hub);
await publish();
await arrived();
const sent = { sent: total, hub: quantiles(atHub), ack: quantiles(acks) };
console.log(JSON.stringify(sent satisfies Latency));
await connection?.close();

function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

function quantiles(all: readonly number[]): Quantiles {
  const values = all.slice(warm);
  return {
    p50: quantile(values, 0.5),
    p99: quantile(values, 0.99),
    p999: quantile(values, 0.999),
  };
}

async function consume({ stream, filter }: NonNullable<LatencyOptions['hub']>): Promise<void> {
  const deliver = `_INBOX.latency.${process.pid}`;
  connection?.subscribe(deliver, {
    callback: (_error, { data }) => {
      const stamp = Buffer.from(data.subarray(0, STAMP_DIGITS)).toString('latin1');
      if (data.length > 0) atHub.push(nowMs() - Number(stamp) / 1e6);
    },
  });
  const config = {
    deliver_subject: deliver,
    deliver_policy: 'new',
    ack_policy: 'none',
    filter_subject: filter,
  };
  const request = JSON.stringify({ stream_name: stream, config });
  const answer = await connection?.request(`$JS.API.CONSUMER.CREATE.${stream}`, request);
  const { error } = answer?.json<{ error?: object }>() ?? {};
  if (error !== undefined) throw new Error(`no consumer: ${JSON.stringify(error)}`);
}

/** Something that takes publishes one by one, and calls `acked` for each in order. */
type Publisher = { send(data: Buffer): void; close(): unknown };

async function publish(): Promise<void> {
  const acked = (): void => void acks.push(nowMs() - (sentMs[acks.length] ?? Number.NaN));
  const publisher = await (options.by === 'mqtt' ? overMqtt(acked) : overNats(acked));
  const startMs = nowMs();
  await new Promise<void>((resolve) => {
    const look = (): void => {
      const due = Math.min(total, Math.ceil(((nowMs() - startMs) / 1000) * rate));
      while (sentMs.length < due) {
        const stamp = process.hrtime.bigint();
        const data = Buffer.alloc(options.dataBytes, 'x');
        data.write(String(stamp).padStart(STAMP_DIGITS, '0'), 'latin1');
        sentMs.push(Number(stamp) / 1e6);
        publisher.send(data);
      }
      if (sentMs.length < total || acks.length < total) return;
      clearInterval(timer);
      resolve();
    };
    const timer = setInterval(look, rate > 100 ? 1 : 5);
  });
  await publisher.close();
}

async function overMqtt(acked: () => void): Promise<Publisher> {
  const socket = await openMqtt(options.port, `latency-${process.pid}`);
  const frame = publishFrame(options.subject.replaceAll('.', '/'), options.dataBytes);
  let ackBytes = 0;
  let sends = 0;
  const gone = (error?: Error): never => {
    throw error ?? new Error('the broker closed the connection');
  };
  socket.on('error', gone).on('end', gone);
  socket.on('data', (chunk: Buffer) => {
    for (ackBytes += chunk.length; ackBytes >= ACK_BYTES; ackBytes -= ACK_BYTES) acked();
  });
  return {
    send: (data) => {
      const bytes = Buffer.from(frame.bytes);
      bytes.writeUInt16BE((sends++ % 65_535) + 1, frame.idAt);
      data.copy(bytes, frame.idAt + 2);
      socket.write(bytes);
    },
    close: () => socket.destroy(),
  };
}

async function overNats(acked: () => void): Promise<Publisher> {
  const client = await connect({ servers: `127.0.0.1:${options.port}` });
  const reply = `_INBOX.acks.${process.pid}`;
  client.subscribe(reply, {
    callback: (_error, { data }) => {
      if (!Buffer.from(data).includes('"seq":')) throw new Error(Buffer.from(data).toString());
      acked();
    },
  });
  return {
    send: (data) => client.publish(options.subject, data, { reply }),
    close: () => client.close(),
  };
}

async function arrived(): Promise<void> {
  let seen = atHub.length;
  let sinceMs = nowMs();
  while (connection !== undefined && atHub.length < total) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    if (atHub.length > seen) sinceMs = nowMs();
    seen = atHub.length;
    if (nowMs() - sinceMs > PATIENCE_MS) throw new Error(`${seen} of ${total} arrived`);
  }
}
