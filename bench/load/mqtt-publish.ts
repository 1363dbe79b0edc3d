// Publishes MQTT QoS 1 as fast as it is acknowledged: pre-built frames, a window in flight on each connection, PUBACKs
// counted by their bytes. Prints {"rate": messages a second}.

import type { Socket } from 'node:net';
import { dataPool, NUMBER_DIGITS, numberAt, type DataKind } from './data.ts';
import { openMqtt, PUBACK_BYTES, publishFrame } from './mqtt.ts';

export interface MqttPublishOptions {
  readonly port: number;
  readonly connections: number;
  /** Messages in all. */
  readonly count: number;
  /** Unacknowledged messages on each connection. */
  readonly window: number;
  readonly dataBytes: number;
  readonly topic: string;
  /** Messages a second, spread evenly; as fast as possible without. */
  readonly rate?: number;
  /** What the data is; `x` without. */
  readonly data?: DataKind;
  /** Number the messages of the (only) connection from 0 on, in their data. */
  readonly numbered?: boolean;
}

/** Pre-built frames: packet identifiers 1 to 65,535, again and again. */
const FRAMES = 65_535;

const options = JSON.parse(process.argv[2] ?? '') as MqttPublishOptions;
const frame = publishFrame(options.topic, options.dataBytes);
const frames = Buffer.alloc(frame.bytes.length * FRAMES);
const kind = options.data ?? 'x';
const pool = dataPool(kind, options.dataBytes, FRAMES);
for (let id = 1; id <= FRAMES; id++) {
  const at = (id - 1) * frame.bytes.length;
  frame.bytes.copy(frames, at);
  frames.writeUInt16BE(id, at + frame.idAt);
  pool.copy(frames, at + frame.idAt + 2, (id - 1) * options.dataBytes, id * options.dataBytes);
}

const share = Math.ceil(options.count / options.connections);
const publishers = await Promise.all(
  Array.from({ length: options.connections }, (_, i) =>
    openMqtt(options.port, `bench-${process.pid}-${i}`),
  ),
);
const startedMs = performance.now();
await Promise.all(publishers.map((socket) => publish(socket, share)));
const seconds = (performance.now() - startedMs) / 1000;
console.log(JSON.stringify({ rate: (share * options.connections) / seconds, seconds }));
for (const socket of publishers) socket.destroy();

/** Numbers `n` frames behind `from`. None of them is still being sent: the window is smaller than the frames are many. */
function number(from: number, n: number, first: number): void {
  for (let i = 0; i < n; i++) {
    const at = (from + i) * frame.bytes.length + frame.idAt + 2 + numberAt(kind);
    frames.write(String(first + i).padStart(NUMBER_DIGITS, '0'), at, 'latin1');
  }
}

function publish(socket: Socket, count: number): Promise<void> {
  const size = frame.bytes.length;
  let sent = 0;
  let ackBytes = 0;
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
      const room = options.window - (sent - Math.floor(ackBytes / PUBACK_BYTES));
      const rate = options.rate === undefined ? Infinity : options.rate / options.connections;
      const due = Math.min(count, Math.floor(((performance.now() - began) / 1000) * rate));
      send(Math.min(room, (rate === Infinity ? count : due) - sent));
    };
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`closed after ${sent} messages`)));
    socket.on('data', (chunk: Buffer) => {
      ackBytes += chunk.length;
      if (ackBytes >= count * PUBACK_BYTES) {
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
