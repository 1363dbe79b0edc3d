// The operator's side of a test's hub: makes and changes streams, and reads all that a stream holds. Connected to the
// hub itself, not through the WAN.

import { jetstream } from '@nats-io/jetstream';
import { connect, type MsgHdrs, type NatsConnection } from '@nats-io/transport-node';
import { until } from '../support/until.ts';
import type { HubRecord } from '../support/audit.ts';

export type StreamConfig = Readonly<Record<string, unknown>>;

export interface StreamInfo {
  readonly config: Record<string, unknown>;
  readonly created: string;
  readonly state: {
    readonly messages: number;
    readonly first_seq: number;
    readonly last_seq: number;
  };
  readonly cluster?: { readonly leader?: string };
}

/** The hub stream of most tests: IDs are forgotten after a second, as after two minutes of outage with the default. */
export const EDGE: StreamConfig = {
  name: 'EDGE',
  subjects: ['edge.>'],
  storage: 'file',
  discard: 'new',
  duplicate_window: 1_000_000_000,
  allow_atomic: true,
};

/** Longer than EDGE remembers IDs. */
export const LONGER_THAN_WINDOW_MS = 1_600;

const FETCH_MS = 10_000;
/** Of a cluster whose leaders were killed a moment ago. */
const READINGS = 5;

export class HubAdmin {
  readonly nc: NatsConnection;

  private constructor(nc: NatsConnection) {
    this.nc = nc;
  }

  static async connect(
    servers: string | readonly string[],
    auth: { user?: string; pass?: string } = {},
  ): Promise<HubAdmin> {
    const list = typeof servers === 'string' ? [servers] : [...servers];
    return new HubAdmin(
      await connect({ servers: list, reconnectTimeWait: 50, maxReconnectAttempts: -1, ...auth }),
    );
  }

  close(): Promise<void> {
    return this.nc.close();
  }

  /** A request to JetStream's API; throws its error. */
  async api<T>(operation: string, body?: unknown, timeoutMs = 5_000): Promise<T> {
    const data = body === undefined ? '' : JSON.stringify(body);
    const reply = await this.nc.request(`$JS.API.${operation}`, data, { timeout: timeoutMs });
    const answer = reply.json<T & { error?: { description: string; err_code: number } }>();
    if (answer.error !== undefined)
      throw new Error(`${operation}: ${answer.error.description} (${answer.error.err_code})`);
    return answer;
  }

  /** Resolves when JetStream answers: after a restart the first requests may go nowhere. */
  async answers(): Promise<void> {
    await until('the hub to answer', () =>
      this.api('INFO', undefined, 300).then(
        () => true,
        () => false,
      ),
    );
  }

  create(config: StreamConfig = EDGE): Promise<StreamInfo> {
    return this.api(`STREAM.CREATE.${String(config['name'])}`, config);
  }

  async update(name: string, change: StreamConfig): Promise<void> {
    const { config } = await this.info(name);
    await this.api(`STREAM.UPDATE.${name}`, { ...config, ...change });
  }

  info(name = 'EDGE'): Promise<StreamInfo> {
    return this.api(`STREAM.INFO.${name}`);
  }

  async messages(name = 'EDGE'): Promise<number> {
    return (await this.info(name)).state.messages;
  }

  /** Whether the stream holds nothing under `filter`. */
  async isEmpty(filter: string, name = 'EDGE'): Promise<boolean> {
    const { state } = await this.api<{ state: { subjects?: object } }>(`STREAM.INFO.${name}`, {
      subjects_filter: filter,
    });
    return state.subjects === undefined;
  }

  async purge(name = 'EDGE'): Promise<void> {
    await this.api(`STREAM.PURGE.${name}`);
  }

  async delete(name = 'EDGE'): Promise<void> {
    await this.api(`STREAM.DELETE.${name}`);
  }

  /** Everything in the stream, in its order. Begins anew where the leader goes while it is read. */
  async readAll(name = 'EDGE'): Promise<HubRecord[]> {
    for (let attempt = 1; ; attempt++)
      try {
        return await this.#readOnce(name);
      } catch (error) {
        const isLeaderGone = error instanceof Error && error.message.includes('no responders');
        if (!isLeaderGone || attempt === READINGS) throw error;
      }
  }

  async #readOnce(name: string): Promise<HubRecord[]> {
    const found: HubRecord[] = [];
    await this.answers();
    const { state } = await this.info(name);
    if (state.messages === 0) return found;
    const consumer = await jetstream(this.nc).consumers.get(name);
    while (found.length < state.messages) {
      const before = found.length;
      const max_messages = Math.min(1_000, state.messages - found.length);
      for await (const message of await consumer.fetch({ max_messages, expires: FETCH_MS }))
        found.push(hubRecord(message.seq, message.subject, message));
      if (found.length === before)
        throw new Error(
          `read ${before} of ${state.messages} messages of ${name}, then no more came`,
        );
    }
    return found;
  }

  /** Makes the consumer `worker` of what is under `filter`; it gets everything, and must acknowledge. */
  async consumer(filter: string, worker = 'worker', name = 'EDGE'): Promise<void> {
    await this.api(`CONSUMER.CREATE.${name}.${worker}.${filter}`, {
      stream_name: name,
      config: { durable_name: worker, filter_subject: filter, ack_policy: 'explicit' },
    });
  }

  /** Takes and acknowledges the next `count` messages of a consumer; the hub then has the acknowledgements. */
  async consume(count: number, worker = 'worker', name = 'EDGE'): Promise<HubRecord[]> {
    const found: HubRecord[] = [];
    const consumer = await jetstream(this.nc).consumers.get(name, worker);
    while (found.length < count) {
      const before = found.length;
      const max_messages = count - found.length;
      for await (const message of await consumer.fetch({ max_messages, expires: FETCH_MS })) {
        found.push(hubRecord(message.seq, message.subject, message));
        await message.ackAck();
      }
      if (found.length === before) throw new Error(`consumed ${before} of ${count} messages`);
    }
    return found;
  }

  /**
   * Records from now on all that `name` (created with `republish` to `seen.>`) ever stores, also what it removes again.
   */
  async recordAll(): Promise<HubRecord[]> {
    const found: HubRecord[] = [];
    this.nc.subscribe('seen.>', {
      callback: (_error, message) => {
        const seq = Number(message.headers?.get('Nats-Sequence'));
        found.push(hubRecord(seq, message.headers?.get('Nats-Subject') ?? '', message));
      },
    });
    await this.nc.flush();
    return found;
  }
}

function hubRecord(
  seq: number,
  subject: string,
  { headers, data }: { headers?: MsgHdrs | undefined; data: Uint8Array },
): HubRecord {
  const lines = new Map<string, string>();
  for (const [name, values] of headers ?? []) lines.set(name, values.join(', '));
  return {
    seq,
    subject,
    id: lines.get('Nats-Msg-Id') ?? '',
    data: Buffer.from(data),
    headers: lines,
  };
}
