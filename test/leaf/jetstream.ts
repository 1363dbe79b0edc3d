// JetStream of a gateway or a hub, as a client uses it that is connected there.

import { jetstream } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { until } from '../support/until.ts';
import { digest, type Kept } from './ledger.ts';
import { entries } from './publisher.ts';

const FETCH = 1_000;
const FETCH_MS = 10_000;
/** A leader may go, or a gateway restart, while it is read. */
const READINGS = 5;
const READY_MS = 60_000;

export interface State {
  readonly messages: number;
  readonly first_seq: number;
  readonly last_seq: number;
  readonly num_deleted?: number;
}

export interface StreamInfo {
  readonly config: Record<string, unknown>;
  readonly state: State;
  readonly cluster?: { readonly leader?: string };
  readonly sources?: readonly {
    readonly name: string;
    readonly lag: number;
    readonly active: number;
  }[];
  readonly mirror?: { readonly lag: number; readonly active: number };
}

export class JetStreamClient implements AsyncDisposable {
  readonly nc: NatsConnection;

  private constructor(nc: NatsConnection) {
    this.nc = nc;
  }

  static async connect(
    servers: readonly string[] | string,
    login: { readonly user?: string; readonly pass?: string } = {},
  ): Promise<JetStreamClient> {
    const list = typeof servers === 'string' ? [servers] : [...servers];
    const options = { reconnectTimeWait: 50, maxReconnectAttempts: -1, ...login };
    return new JetStreamClient(await connect({ servers: list, ...options }));
  }

  /** A request to JetStream's API, of `domain` where it is another one; throws its error. */
  async api<T>(
    operation: string,
    body?: unknown,
    { domain, timeoutMs = 5_000 }: { domain?: string; timeoutMs?: number } = {},
  ): Promise<T> {
    const data = body === undefined ? '' : JSON.stringify(body);
    const subject = `$JS.${domain === undefined ? '' : `${domain}.`}API.${operation}`;
    const reply = await this.nc.request(subject, data, { timeout: timeoutMs });
    const answer = reply.json<T & { error?: { description: string; err_code: number } }>();
    if (answer.error !== undefined)
      throw new Error(`${operation}: ${answer.error.description} (${answer.error.err_code})`);
    return answer;
  }

  /** Makes a stream; again and again where the servers have no leader yet. */
  async create(config: Readonly<Record<string, unknown>>): Promise<void> {
    await until(
      `the stream ${String(config['name'])}`,
      () =>
        this.api(`STREAM.CREATE.${String(config['name'])}`, config).then(
          () => true,
          (error: unknown) => {
            if (/timeout|responders|no suitable peers|not available/i.test(String(error)))
              return false;
            throw error;
          },
        ),
      READY_MS,
    );
  }

  info(name: string): Promise<StreamInfo> {
    return this.api(`STREAM.INFO.${name}`);
  }

  /** State of a stream; undefined while nobody answers. */
  async state(name: string): Promise<State | undefined> {
    const info = await this.api<StreamInfo>(`STREAM.INFO.${name}`, undefined, {
      timeoutMs: 2_000,
    }).catch(() => undefined);
    return info?.state;
  }

  /** All that a stream holds, in its order. */
  async readAll(name: string): Promise<Kept[]> {
    for (let reading = 1; ; reading++)
      try {
        return await this.#readOnce(name);
      } catch (error) {
        if (reading === READINGS) throw error;
      }
  }

  async #readOnce(name: string): Promise<Kept[]> {
    const kept: Kept[] = [];
    const { state } = await this.info(name);
    if (state.messages === 0) return kept;
    const consumer = await jetstream(this.nc).consumers.get(name);
    while (kept.length < state.messages) {
      const before = kept.length;
      const max_messages = Math.min(FETCH, state.messages - kept.length);
      for await (const message of await consumer.fetch({ max_messages, expires: FETCH_MS }))
        kept.push({
          seq: message.seq,
          subject: message.subject,
          headers: entries(message.headers),
          data: digest(message.data),
          timeNs: message.timestampNanos,
        });
      if (kept.length === before)
        throw new Error(`read ${before} of ${state.messages} messages of ${name}, then no more`);
    }
    return kept;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.nc.close();
  }
}
