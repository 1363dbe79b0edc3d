// One publishes by MQTT, several get it, all at one QoS (0 or 1): raw sockets that count bytes. Subscribers of QoS 1
// acknowledge each message. Prints {"rate": deliveries a second}.

import type { Socket } from 'node:net';
import {
  ACK_BYTES,
  openMqtt,
  publishFrame,
  publishFrames,
  subscribeMqtt,
  type QoS,
} from './mqtt.ts';

export interface MqttFanoutOptions {
  readonly port: number;
  readonly subscribers: number;
  /** Messages published. */
  readonly count: number;
  readonly dataBytes: number;
  readonly topic: string;
  readonly qos: Exclude<QoS, 2>;
  /** Messages that may be on their way to the slowest subscriber: none is to be dropped as a slow one. */
  readonly window: number;
}

const FRAMES = 65_535;

const { port, subscribers, count, dataBytes, topic, qos, window } = JSON.parse(
  process.argv[2] ?? '',
) as MqttFanoutOptions;
const frame = publishFrame(topic, dataBytes, qos);
const frames = publishFrames(frame, FRAMES, qos);
const size = frame.bytes.length;
const received: number[] = [];
let wake = (): void => undefined;

for (let i = 0; i < subscribers; i++) {
  const socket = await openMqtt(port, `fan-${process.pid}-${i}`);
  await subscribeMqtt(socket, topic, qos);
  received.push(0);
  read(socket, i);
}
const publisher = await openMqtt(port, `fan-${process.pid}-publisher`);
publisher.resume();
const startedMs = performance.now();
for (let sent = 0; sent < count;) {
  const from = sent % FRAMES;
  const room = window - (sent - Math.min(...received));
  const n = Math.min(room, count - sent, FRAMES - from);
  // A fresh half of the window at once: a message at a time would measure the system calls.
  if (n > 0 && (n >= window / 2 || sent + n === count || n === FRAMES - from)) {
    publisher.write(frames.subarray(from * size, (from + n) * size));
    sent += n;
  } else await new Promise<void>((resolve) => (wake = resolve));
}
while (Math.min(...received) < count) await new Promise<void>((resolve) => (wake = resolve));
const seconds = (performance.now() - startedMs) / 1000;
console.log(JSON.stringify({ rate: (count * subscribers) / seconds, seconds }));
process.exit(0);

/** Counts what comes, and acknowledges it. All frames have one size. */
function read(socket: Socket, index: number): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const whole = Math.floor(bytes.length / size);
    rest = bytes.subarray(whole * size);
    received[index] = (received[index] ?? 0) + whole;
    if (qos === 1) acknowledge(socket, bytes, whole);
    wake();
  });
}

function acknowledge(socket: Socket, bytes: Buffer, messages: number): void {
  const acks = Buffer.allocUnsafe(messages * ACK_BYTES);
  for (let i = 0; i < messages; i++) {
    acks[i * ACK_BYTES] = 0x40;
    acks[i * ACK_BYTES + 1] = 2;
    bytes.copy(acks, i * ACK_BYTES + 2, i * size + frame.idAt, i * size + frame.idAt + 2);
  }
  if (messages > 0) socket.write(acks);
}
