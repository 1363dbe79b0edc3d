// Programs of others that speak MQTT, started against one port and ended with the test: mosquitto's clients, and Python
// scripts with Debian's paho-mqtt. A program that is not there fails the test; nothing is skipped.

import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { until } from './until.ts';

/** Debian's Python, which alone has Debian's packages. */
const PYTHON = '/usr/bin/python3';
/** Stands before each message in the output of `Programs.sub`; what else the program says does not begin so. */
const MARK = '> ';

/** Versions as mosquitto's clients call them. */
export const VERSIONS = ['mqttv31', 'mqttv311', 'mqttv5'] as const;
export type MosquittoVersion = (typeof VERSIONS)[number];

export class Program {
  readonly child: ChildProcessWithoutNullStreams;
  /** The exit code; -1 after a signal. */
  readonly exited: Promise<number>;
  #out = '';
  #err = '';

  constructor(child: ChildProcessWithoutNullStreams) {
    this.child = child;
    child.stdout.setEncoding('utf8').on('data', (text: string) => void (this.#out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => void (this.#err += text));
    this.exited = once(child, 'close').then(([code]) => (code === null ? -1 : Number(code)));
  }

  get out(): string {
    return this.#out;
  }

  get err(): string {
    return this.#err;
  }

  /** What came after the mark, line by line. */
  get messages(): string[] {
    return this.#out
      .split('\n')
      .filter((line) => line.startsWith(MARK))
      .map((line) => line.slice(MARK.length));
  }

  /** Resolves when there are `count` messages; rejects with what was there instead. */
  async received(count: number): Promise<string[]> {
    try {
      await until(`${count} messages`, () => this.messages.length >= count);
    } catch (error) {
      throw new Error(`${String(error)}\n${this.#out}\n${this.#err}`);
    }
    return this.messages;
  }

  /** Resolves when it has ended well; rejects with what it said otherwise. */
  async succeeded(): Promise<this> {
    const code = await this.exited;
    if (code !== 0) throw new Error(`exit code ${code}\n${this.#out}\n${this.#err}`);
    return this;
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.child.kill(signal);
    await this.exited;
  }
}

export class Programs implements AsyncDisposable {
  port: number;
  readonly #all: Program[] = [];

  constructor(port: number) {
    this.port = port;
  }

  /** Starts `name` with `args` alone. */
  async start(name: string, args: readonly string[]): Promise<Program> {
    const child = spawn(name, args);
    const program = new Program(child);
    program.exited.catch(() => undefined);
    await once(child, 'spawn');
    this.#all.push(program);
    return program;
  }

  /** `mosquitto_pub`, to its end. */
  async pub(version: MosquittoVersion, ...args: string[]): Promise<Program> {
    const program = await this.start('mosquitto_pub', this.#args(version, args));
    return program.succeeded();
  }

  /** `mosquitto_sub` that has its subscriptions; each message is a line of `format`. */
  async sub(version: MosquittoVersion, format: string, ...args: string[]): Promise<Program> {
    const out = ['-d', '-F', `${MARK}${format}`];
    // What it says of its SUBACK would otherwise stay in its buffer.
    const program = await this.start('stdbuf', [
      '-oL',
      'mosquitto_sub',
      ...this.#args(version, [...out, ...args]),
    ]);
    try {
      await until('the SUBACK', () => {
        if (program.child.exitCode !== null) throw new Error('it ended');
        return program.out.includes('Subscribed (mid');
      });
    } catch (error) {
      throw new Error(`${String(error)}\n${program.out}\n${program.err}`);
    }
    return program;
  }

  /** A Python script whose `sys.argv[1]` is the port; what it prints behind the mark are its messages. */
  async python(script: string, ...args: string[]): Promise<Program> {
    return this.start(PYTHON, ['-u', '-c', script, String(this.port), ...args]);
  }

  #args(version: MosquittoVersion, args: readonly string[]): string[] {
    return ['-h', '127.0.0.1', '-p', String(this.port), '-V', version, ...args];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child, exited } of this.#all.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await exited;
    }
  }
}
