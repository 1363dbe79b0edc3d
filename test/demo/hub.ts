// The hub of the demo: a real nats-server where this machine has one or may fetch one, otherwise the stand-in of
// stand-in-hub.ts, which is called that. And a look at its stream that does not go through the gateway or the WAN.

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { headerValue } from '../../src/headers.ts';
import { startNatsServer } from '../support/nats-server.ts';
import { StandInHub } from './stand-in-hub.ts';

const SCRIPT = join(import.meta.dirname, '../../scripts/fetch-nats-server.sh');
/** Fetching a server may take this long; a slow line gets the stand-in. */
const FETCH_MS = 60_000;
/** Reads under way at once. */
const READ_WINDOW = 256;

export interface DemoHub {
  readonly port: number;
  /** For people: what it is, and where it came from. */
  readonly told: string;
  /** Whether it is a real nats-server. */
  readonly real: boolean;
  stop(): Promise<void>;
}

/** `choice` is MANGROVE_DEMO_HUB: `stand-in`, `nats-server` (no stand-in), or nothing. */
export async function startHub(choice: string | undefined, onWait: () => void): Promise<DemoHub> {
  if (choice === 'stand-in') return standIn('as MANGROVE_DEMO_HUB asks for');
  const found = await findServer(onWait);
  if ('binary' in found) {
    const server = await startNatsServer({ binary: found.binary });
    const { port } = server;
    return { port, told: found.told, real: true, stop: () => server.dispose() };
  }
  if (choice === 'nats-server') throw new Error(`no nats-server can be had: ${found.why}`);
  return standIn(`because no nats-server can be had here: ${found.why}`);
}

async function standIn(why: string): Promise<DemoHub> {
  const hub = new StandInHub();
  const port = await hub.listen();
  const told = `a stand-in inside this program, not a nats-server, ${why}`;
  return { port, told, real: false, stop: () => hub.close() };
}

async function findServer(
  onWait: () => void,
): Promise<{ binary: string; told: string } | { why: string }> {
  const child = spawn('sh', [SCRIPT], { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => {
    if (/fetching/.test(chunk.toString())) onWait();
    err = (err + chunk.toString()).slice(-4_000);
  });
  let late = false;
  const end = (): void => {
    // Its own process group: apt-get ends with it.
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGTERM');
  };
  const timer = setTimeout(() => {
    late = true;
    end();
  }, FETCH_MS);
  process.once('exit', end);
  const code = await new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(null));
    child.once('close', resolve);
  });
  clearTimeout(timer);
  process.off('exit', end);
  const binary = out.trim();
  if (code !== 0 || binary === '') {
    const complaint = /^fetch-nats-server: (?!fetching)(.*)$/m.exec(err)?.[1];
    return {
      why: late ? 'fetching one took too long' : (complaint ?? 'the search for one failed'),
    };
  }
  const fetched = /fetching/.test(err) ? 'fetched from Debian' : `found at ${binary}`;
  return { binary, told: `a real nats-server ${await versionOf(binary)}, ${fetched}` };
}

async function versionOf(binary: string): Promise<string> {
  const child = spawn(binary, ['--version'], { stdio: ['ignore', 'pipe', 'ignore'] });
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  await new Promise((resolve) => void child.once('close', resolve));
  return /v(\d\S*)/.exec(out)?.[1] ?? '';
}

/** A message as the hub's stream holds it. */
export interface HubRecord {
  readonly seq: number;
  readonly subject: string;
  readonly id: string;
  readonly data: string;
}

interface InfoAnswer {
  readonly state?: {
    readonly messages: number;
    readonly first_seq: number;
    readonly last_seq: number;
  };
}

interface MessageAnswer {
  readonly message?: {
    readonly seq: number;
    readonly subject: string;
    readonly hdrs?: string;
    readonly data?: string;
  };
}

export class HubView {
  readonly #connection: NatsConnection;
  readonly #stream: string;

  private constructor(connection: NatsConnection, stream: string) {
    this.#connection = connection;
    this.#stream = stream;
  }

  static async open(port: number, stream: string): Promise<HubView> {
    return new HubView(await connect({ servers: `127.0.0.1:${port}`, name: 'demo audit' }), stream);
  }

  /** How many messages the stream holds; 0 while there is none. */
  async messages(): Promise<number> {
    return (await this.#ask<InfoAnswer>('INFO')).state?.messages ?? 0;
  }

  /** The whole stream, message by message, in its order. */
  async all(): Promise<HubRecord[]> {
    const { state } = await this.#ask<InfoAnswer>('INFO');
    const records: HubRecord[] = [];
    const lastSeq = state?.last_seq ?? 0;
    for (let from = state?.first_seq ?? 1; from <= lastSeq; from += READ_WINDOW) {
      const length = Math.min(READ_WINDOW, lastSeq - from + 1);
      const read = await Promise.all(Array.from({ length }, (_, i) => this.#at(from + i)));
      records.push(...read.filter((record) => record !== undefined));
    }
    return records;
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #at(seq: number): Promise<HubRecord | undefined> {
    const { message } = await this.#ask<MessageAnswer>('MSG.GET', { seq });
    if (message === undefined) return undefined;
    const headers = Buffer.from(message.hdrs ?? '', 'base64');
    return {
      seq,
      subject: message.subject,
      id: headerValue(headers, 'Nats-Msg-Id') ?? '',
      data: Buffer.from(message.data ?? '', 'base64').toString('utf8'),
    };
  }

  async #ask<T>(operation: string, request?: object): Promise<T> {
    const answer = await this.#connection.request(
      `$JS.API.STREAM.${operation}.${this.#stream}`,
      request === undefined ? '' : JSON.stringify(request),
      { timeout: 10_000 },
    );
    return answer.json<T>();
  }
}
