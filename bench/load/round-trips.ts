// How long others wait while a server is busy: on connections of their own a PING, a request with its answer, and an MQTT
// PINGREQ, each every few milliseconds. Prints {"ping", "request", "mqtt"}, each with p50, p99 and the longest, in ms.

import { connect, type Socket } from 'node:net';
import { quantile } from '../rounds.ts';

export interface RoundTripsOptions {
  readonly port: number;
  readonly mqttPort: number;
  readonly everyMs: number;
  readonly seconds: number;
}

export interface RoundTrips {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

const PINGRESP_BYTES = 2;
const CONNACK_BYTES = 4;
const options = JSON.parse(process.argv[2] ?? '') as RoundTripsOptions;

/** What was asked and not answered, and how long answers took. */
class Trips {
  readonly #asked: number[] = [];
  readonly #latencies: number[] = [];

  ask(): void {
    this.#asked.push(performance.now());
  }

  answered(): void {
    const askedMs = this.#asked.shift();
    if (askedMs !== undefined) this.#latencies.push(performance.now() - askedMs);
  }

  get result(): RoundTrips {
    // Who was not answered to the end has waited until now.
    const nowMs = performance.now();
    const all = [...this.#latencies, ...this.#asked.map((askedMs) => nowMs - askedMs)];
    return { p50: quantile(all, 0.5), p99: quantile(all, 0.99), max: Math.max(...all) };
  }
}

const [ping, request, mqtt] = [new Trips(), new Trips(), new Trips()];
const nats = open(options.port);
nats.write('CONNECT {"verbose":false,"headers":true}\r\nSUB trips.ask 1\r\nSUB trips.answer 2\r\n');
let text = '';
nats.on('data', (chunk: Buffer) => {
  const lines = (text + chunk.toString('latin1')).split('\r\n');
  text = lines.pop() ?? '';
  for (const line of lines)
    if (line === 'PONG') ping.answered();
    else if (line === 'PING') nats.write('PONG\r\n');
    else if (line.startsWith('MSG trips.ask ')) nats.write('PUB trips.answer 2\r\nok\r\n');
    else if (line.startsWith('MSG trips.answer ')) request.answered();
});
const device = open(options.mqttPort);
device.write(Buffer.from([0x10, 13, 0, 4, 77, 81, 84, 84, 4, 2, 0, 0, 0, 1, 114]));
let greeting = CONNACK_BYTES;
device.on('data', (chunk: Buffer) => {
  const rest = Math.max(0, chunk.length - greeting);
  greeting = Math.max(0, greeting - chunk.length);
  for (let n = rest / PINGRESP_BYTES; n > 0; n--) mqtt.answered();
});
const timer = setInterval(() => {
  ping.ask();
  request.ask();
  nats.write('PING\r\nPUB trips.ask 2\r\nhi\r\n');
  mqtt.ask();
  device.write(Buffer.from([0xc0, 0]));
}, options.everyMs);
setTimeout(() => {
  clearInterval(timer);
  console.log(JSON.stringify({ ping: ping.result, request: request.result, mqtt: mqtt.result }));
  process.exit(0);
}, options.seconds * 1000);

function open(port: number): Socket {
  return connect({ port, host: '127.0.0.1', noDelay: true });
}
