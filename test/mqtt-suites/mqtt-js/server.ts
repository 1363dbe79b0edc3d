// Takes the place of `test/node/server.ts` in the tests of MQTT.js. Their servers answer by script; these hand every byte to a
// broker (MQTT_SUITES_PORT) and back, and show the test what the client sends. An answer of the test that a broker gives by
// itself is left to it; with any other the test plays the server itself, and its name is noted in MQTT_SUITES_SCRIPTED.

import { appendFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { connect, Server, type Socket } from 'node:net';
import { Duplex } from 'node:stream';

const require = createRequire(`${process.cwd()}/package.json`);
const Connection = require('mqtt-connection') as new (stream: Duplex, ready: () => void) => object;
const { parser } = require('mqtt-packet') as {
  parser: (options?: object) => Parser;
};

interface Parser {
  parse: (data: Buffer) => void;
  on: (event: 'packet', listener: (packet: Packet) => void) => void;
}

interface Packet {
  readonly cmd: string;
  readonly returnCode?: number;
  readonly reasonCode?: number;
  readonly properties?: object;
  readonly granted?: readonly unknown[];
}

/** Answers that a broker gives by itself. */
const OWN = new Set(`connack puback pubrec pubrel pubcomp suback unsuback pingresp`.split(' '));
const PORT = Number(process.env['MQTT_SUITES_PORT']);
const NOTES = process.env['MQTT_SUITES_SCRIPTED'] ?? '';

/** A test that waits for another server's answer waits for ever. */
const TEST_MS = 6_000;

type Body = (context: unknown, done?: (error?: unknown) => void) => unknown;

let test = '';
// Node's own `--test-timeout` would hold for whole groups of tests too.
const tests = require('node:test') as {
  it: (name: string, options: object, body?: Body) => unknown;
};
const { it } = tests;
const patient = (name: string, first: object | Body, second?: Body): unknown => {
  const body = second ?? (first as Body);
  const options = { timeout: TEST_MS, ...(second === undefined ? {} : first) };
  // How many parameters it has says whether it ends by calling back.
  const named: Body =
    body.length > 1
      ? (context, done) => ((test = name), body(context, done))
      : (context) => ((test = name), body(context));
  return it(name, options, named);
};
// What `it` has besides stays.
tests.it = Object.assign(patient, it);

/** One connection: what the client sends is read here, what the test writes here is only looked at. */
class Tap extends Duplex {
  readonly #client: Socket;
  readonly #broker: Socket;
  #version = 4;
  #answers: Parser | undefined;

  constructor(client: Socket) {
    super({ allowHalfOpen: false });
    this.#client = client;
    this.#broker = connect(PORT, '127.0.0.1');
    client.on('data', (data: Buffer) => {
      // The protocol level of a CONNECT of 3.1.1 or 5.0.
      if (data[0] === 0x10) this.#version = data[data.indexOf('MQTT') + 4] ?? 4;
      this.#broker.write(data);
      this.push(data);
    });
    this.#broker.on('data', (data: Buffer) => void client.write(data));
    for (const socket of [client, this.#broker]) {
      socket.on('error', () => undefined);
      socket.on('close', () => this.destroy());
    }
  }

  override _read(): void {
    // It comes as the client sends it.
  }

  override _write(data: Buffer, _encoding: string, done: () => void): void {
    this.#answers ??= this.#parser();
    this.#answers.parse(data);
    done();
  }

  /** A packet comes in several pieces. */
  #parser(): Parser {
    const answers = parser({ protocolVersion: this.#version });
    answers.on('packet', (packet) => {
      if (!isOwn(packet)) appendFileSync(NOTES, `${test}\n`);
    });
    return answers;
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#client.destroy();
    this.#broker.destroy();
    done(error);
  }
}

function isOwn({ cmd, returnCode, reasonCode, granted }: Packet): boolean {
  const failed = [returnCode, reasonCode, ...(granted ?? [])].some(
    (code) => typeof code === 'number' && code >= 0x80,
  );
  return OWN.has(cmd) && !failed && !(cmd === 'connack' && (returnCode ?? reasonCode ?? 0) > 0);
}

type Listener = (connection: object) => void;

export class MqttServer extends Server {
  readonly connectionList: Duplex[] = [];

  constructor(listener?: Listener) {
    super();
    this.on('connection', (socket: Socket) => {
      const tap = new Tap(socket);
      this.connectionList.push(tap);
      const connection = new Connection(tap, () => void this.emit('client', connection));
    });
    if (listener) this.on('client', listener);
  }
}

export class MqttServerNoWait extends MqttServer {}
export class MqttSecureServer extends MqttServer {}
