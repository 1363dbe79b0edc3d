// Publishes by MQTT as fast as it is acknowledged: pre-built frames, a window in flight on each connection. QoS 1 counts
// PUBACKs by their bytes; QoS 2 answers each PUBREC and counts PUBCOMPs; QoS 0 has no window, and ends when the broker has
// answered a PINGREQ behind the last message. Prints {"rate": messages a second}.

import { once } from 'node:events';
import type { Socket } from 'node:net';
import { dataPool, NUMBER_DIGITS, numberAt, type DataKind } from './data.ts';
import {
  ACK_BYTES,
  openMqtt,
  PINGREQ,
  PINGRESP_BYTES,
  PUBCOMP,
  publishFrame,
  publishFrames,
  PUBREC,
  PUBREL,
  type QoS,
} from './mqtt.ts';

export interface MqttPublishOptions {
  readonly port: number;
  readonly connections: number;
  /** Messages in all. */
  readonly count: number;
  /** Unacknowledged messages on each connection; without meaning for QoS 0. */
  readonly window: number;
  readonly dataBytes: number;
  readonly topic: string;
  /** 1 without. */
  readonly qos?: QoS;
  /** The publishers' sessions outlive their connections, as QoS 2 wants it: what was taken is known after a power cut. */
  readonly persistent?: boolean;
  /** Messages a second, spread evenly; as fast as possible without. */
  readonly rate?: number;
  /** What the data is; `x` without. */
  readonly data?: DataKind;
  /** Number the messages of the (only) connection from 0 on, in their data. */
  readonly numbered?: boolean;
}

/** Pre-built frames: packet identifiers 1 to 65,535, again and again. */
const FRAMES = 65_535;
/** Messages of QoS 0 written at once. */
const BATCH = 500;

const options = JSON.parse(process.argv[2] ?? '') as MqttPublishOptions;
const qos = options.qos ?? 1;
const frame = publishFrame(options.topic, options.dataBytes, qos);
const frames = publishFrames(frame, FRAMES, qos);
const kind = options.data ?? 'x';
const pool = dataPool(kind, options.dataBytes, FRAMES);
for (let id = 1; id <= FRAMES; id++) {
  const at = (id - 1) * frame.bytes.length;
  pool.copy(frames, at + frame.dataAt, (id - 1) * options.dataBytes, id * options.dataBytes);
}

const share = Math.ceil(options.count / options.connections);
const publishers = await Promise.all(
  Array.from({ length: options.connections }, (_, i) =>
    options.persistent === true
      ? openMqtt(options.port, `bench-${i}`, false)
      : openMqtt(options.port, `bench-${process.pid}-${i}`),
  ),
);
const startedMs = performance.now();
await Promise.all(
  publishers.map((socket) => (qos === 0 ? pour(socket, share) : publish(socket, share))),
);
const seconds = (performance.now() - startedMs) / 1000;
console.log(JSON.stringify({ rate: (share * options.connections) / seconds, seconds }));
for (const socket of publishers) socket.destroy();

/** Numbers `n` frames behind `from`. None of them is still being sent: the window is smaller than the frames are many. */
function number(from: number, n: number, first: number): void {
  for (let i = 0; i < n; i++) {
    const at = (from + i) * frame.bytes.length + frame.dataAt + numberAt(kind);
    frames.write(String(first + i).padStart(NUMBER_DIGITS, '0'), at, 'latin1');
  }
}

/** QoS 0: as fast as the socket takes it. */
async function pour(socket: Socket, count: number): Promise<void> {
  const size = frame.bytes.length;
  for (let sent = 0; sent < count; sent += BATCH) {
    const n = Math.min(BATCH, count - sent);
    if (!socket.write(frames.subarray(0, n * size))) await once(socket, 'drain');
  }
  socket.write(PINGREQ);
  for (let bytes = 0; bytes < PINGRESP_BYTES;)
    bytes += ((await once(socket, 'data')) as [Buffer])[0].length;
}

/** How many messages `chunk` ends; QoS 2 answers what is received. */
function acknowledged(socket: Socket): (chunk: Buffer) => number {
  let bytes = 0;
  if (qos === 1)
    return (chunk) => {
      const before = Math.floor(bytes / ACK_BYTES);
      bytes += chunk.length;
      return Math.floor(bytes / ACK_BYTES) - before;
    };
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    const acks = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const whole = acks.length - (acks.length % ACK_BYTES);
    const releases = Buffer.allocUnsafe(whole);
    let [used, completed] = [0, 0];
    for (let at = 0; at < whole; at += ACK_BYTES) {
      if (acks[at] === PUBCOMP) completed++;
      else if (acks[at] === PUBREC) {
        releases[used] = PUBREL;
        acks.copy(releases, used + 1, at + 1, at + ACK_BYTES);
        used += ACK_BYTES;
      } else throw new Error(`an unexpected packet: ${acks[at]?.toString(16)}`);
    }
    rest = acks.subarray(whole);
    if (used > 0) socket.write(releases.subarray(0, used));
    return completed;
  };
}

function publish(socket: Socket, count: number): Promise<void> {
  const size = frame.bytes.length;
  const ended = acknowledged(socket);
  let sent = 0;
  let done = 0;
  const send = (messages: number): void => {
    for (let left = messages; left > 0;) {
      const from = sent % FRAMES;
      const n = Math.min(left, FRAMES - from);
      if (options.numbered === true) number(from, n, sent);
      socket.write(frames.subarray(from * size, (from + n) * size));
      sent += n;
      left -= n;
    }
  };
  return new Promise((resolve, reject) => {
    const began = performance.now();
    let timer: NodeJS.Timeout | undefined;
    const fill = (): void => {
      const rate = options.rate === undefined ? Infinity : options.rate / options.connections;
      const due = Math.min(count, Math.floor(((performance.now() - began) / 1000) * rate));
      send(Math.min(options.window - (sent - done), (rate === Infinity ? count : due) - sent));
    };
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`closed after ${sent} messages`)));
    socket.on('data', (chunk: Buffer) => {
      done += ended(chunk);
      if (done >= count) {
        clearInterval(timer);
        socket.removeAllListeners('close');
        return resolve();
      }
      if (options.rate === undefined) fill();
    });
    if (options.rate !== undefined) timer = setInterval(fill, 1);
    else fill();
  });
}
