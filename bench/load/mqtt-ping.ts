// How long the event loop makes a client wait: a PINGREQ every few milliseconds on a connection of its own, while others
// load the agent. A ping is due at its time whether or not the one before it was answered, so a stall of 50 ms counts
// for every ping that was due in it. Prints {"p50", "p99", "max"} in ms, and how late this process itself was (p99).

import { connect } from 'node:net';
import { quantile } from '../rounds.ts';

export interface MqttPingOptions {
  readonly port: number;
  readonly everyMs: number;
  readonly seconds: number;
}

const { port, everyMs, seconds } = JSON.parse(process.argv[2] ?? '') as MqttPingOptions;
const count = Math.floor((seconds * 1000) / everyMs);
const due: number[] = [];
const latencies: number[] = [];
const own: number[] = [];

const socket = connect({ port, host: '127.0.0.1', noDelay: true });
const client = `ping-${process.pid}`;
socket.write(
  Buffer.concat([
    Buffer.from([0x10, 12 + client.length, 0, 4]),
    Buffer.from('MQTT'),
    Buffer.from([4, 2, 0, 0, 0, client.length]),
    Buffer.from(client),
  ]),
);
await new Promise<void>((resolve) => void socket.once('data', () => resolve()));

const startedMs = performance.now();
await new Promise<void>((resolve) => {
  let answered = 0;
  socket.on('data', (chunk: Buffer) => {
    const nowMs = performance.now();
    // PINGRESP has two bytes; two answers may come as one chunk, never half of one so far.
    for (let n = chunk.length / 2; n > 0; n--) latencies.push(nowMs - (due[answered++] ?? nowMs));
    if (answered >= count) resolve();
  });
  const timer = setInterval(() => {
    const nowMs = performance.now();
    for (
      let at = startedMs + due.length * everyMs;
      at <= nowMs;
      at = startedMs + due.length * everyMs
    ) {
      if (due.length >= count) return clearInterval(timer);
      own.push(nowMs - at);
      // What this process was late itself is not the agent's fault.
      due.push(nowMs);
      socket.write(Buffer.from([0xc0, 0]));
    }
  }, 1);
});
socket.destroy();
console.log(
  JSON.stringify({
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99),
    max: Math.max(...latencies),
    lateP99: quantile(own, 0.99),
  }),
);
