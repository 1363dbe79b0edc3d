// Publishes MQTT QoS 1 as fast as it is acknowledged: pre-built frames, a window in flight on each connection, PUBACKs
// counted by their bytes. Prints {"rate": messages a second}.

import { connect, type Socket } from 'node:net';

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
}

const CONNACK_BYTES = 4;
const PUBACK_BYTES = 4;
/** Pre-built frames: packet identifiers 1 to 65,535, again and again. */
const FRAMES = 65_535;

const options = JSON.parse(process.argv[2] ?? '') as MqttPublishOptions;
const frame = publishFrame(options.topic, options.dataBytes);
const frames = Buffer.alloc(frame.bytes.length * FRAMES);
for (let id = 1; id <= FRAMES; id++) {
  const at = (id - 1) * frame.bytes.length;
  frame.bytes.copy(frames, at);
  frames.writeUInt16BE(id, at + frame.idAt);
}

const share = Math.ceil(options.count / options.connections);
const publishers = await Promise.all(
  Array.from({ length: options.connections }, (_, i) => open(`bench-${process.pid}-${i}`)),
);
const startedMs = performance.now();
await Promise.all(publishers.map((socket) => publish(socket, share)));
const seconds = (performance.now() - startedMs) / 1000;
console.log(JSON.stringify({ rate: (share * options.connections) / seconds, seconds }));
for (const socket of publishers) socket.destroy();

function publishFrame(topic: string, dataBytes: number): { bytes: Buffer; idAt: number } {
  const name = Buffer.from(topic);
  const remaining = 2 + name.length + 2 + dataBytes;
  const length = remaining < 128 ? [remaining] : [(remaining & 0x7f) | 0x80, remaining >> 7];
  const head = Buffer.from([0x32, ...length, name.length >> 8, name.length & 0xff]);
  const bytes = Buffer.concat([head, name, Buffer.alloc(2), Buffer.alloc(dataBytes, 'x')]);
  return { bytes, idAt: head.length + name.length };
}

function open(clientId: string): Promise<Socket> {
  const socket = connect({ port: options.port, host: '127.0.0.1', noDelay: true });
  const id = Buffer.from(clientId);
  const connectPacket = Buffer.concat([
    Buffer.from([0x10, 12 + id.length, 0, 4]),
    Buffer.from('MQTT'),
    Buffer.from([4, 2, 0, 0, 0, id.length]),
    id,
  ]);
  socket.write(connectPacket);
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('data', (connack: Buffer) => {
      if (connack.length !== CONNACK_BYTES || connack[3] !== 0)
        return reject(new Error(`refused: ${connack.toString('hex')}`));
      resolve(socket);
    });
  });
}

function publish(socket: Socket, count: number): Promise<void> {
  const size = frame.bytes.length;
  let sent = 0;
  let ackBytes = 0;
  const send = (messages: number): void => {
    for (let left = messages; left > 0;) {
      const from = sent % FRAMES;
      const n = Math.min(left, FRAMES - from);
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
