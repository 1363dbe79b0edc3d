// A local program that publishes to a stream of the gateway at a steady rate, waits for each acknowledgement, and notes it
// in a ledger. It goes on through restarts of the gateway.

import { connect, headers, type MsgHdrs, type NatsConnection } from '@nats-io/transport-node';
import { randomBytes, randomInt, seededRandom, type Random } from '../support/random.ts';
import { digest, type Ledger, type Sent } from './ledger.ts';

const TICK_MS = 20;
const ACK_MS = 5_000;
/** Sensors' readings, and now and then a picture. */
const SMALL_BYTES = 400;
const LARGE_BYTES = 20_000;
const LARGE_SHARE = 0.01;
/** Without an answer: beyond it the program waits, as a program does. */
const OUTSTANDING_MAX = 2_000;

export interface PublisherOptions {
  readonly port: number;
  /** Messages go to `<prefix>.<something>`. */
  readonly prefix: string;
  /** Messages a second. */
  readonly rate: number;
  readonly seed?: number;
}

export class Publisher {
  readonly ledger: Ledger;
  readonly #options: PublisherOptions;
  readonly #nc: NatsConnection;
  readonly #random: Random;
  #timer: NodeJS.Timeout | undefined;
  #owed = 0;
  #count = 0;
  readonly #outstanding = new Set<Promise<void>>();

  private constructor(nc: NatsConnection, ledger: Ledger, options: PublisherOptions) {
    this.#nc = nc;
    this.ledger = ledger;
    this.#options = options;
    this.#random = seededRandom(options.seed ?? 1);
  }

  static async start(ledger: Ledger, options: PublisherOptions): Promise<Publisher> {
    const nc = await connect({
      servers: `127.0.0.1:${options.port}`,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 50,
    });
    const publisher = new Publisher(nc, ledger, options);
    publisher.#timer = setInterval(() => publisher.#tick(), TICK_MS);
    return publisher;
  }

  /** Publishes `count` messages at once; resolves when all have been answered, or have not. */
  async burst(count: number, bytes?: number): Promise<void> {
    for (let i = 0; i < count; i++) this.#publish(bytes);
    await Promise.all(this.#outstanding);
  }

  /** Resolves when what is under way has been answered, or has not. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#outstanding);
    await this.#nc.close();
  }

  #tick(): void {
    this.#owed += (this.#options.rate * TICK_MS) / 1_000;
    for (; this.#owed >= 1; this.#owed--)
      if (this.#outstanding.size < OUTSTANDING_MAX && !this.#nc.isClosed()) this.#publish();
  }

  #publish(bytes?: number): void {
    const { ledger } = this;
    const { data, lines, sent } = this.#message(bytes);
    ledger.sent(sent);
    const done = this.#nc
      .request(sent.subject, data, {
        timeout: ACK_MS,
        ...(lines === undefined ? {} : { headers: lines }),
      })
      .then((answer) => {
        const { seq, error } = answer.json<{ seq?: number; error?: { description: string } }>();
        if (seq === undefined) throw new Error(error?.description);
        ledger.ack(seq, sent);
      })
      .catch(() => void ledger.failed++)
      .finally(() => this.#outstanding.delete(done));
    this.#outstanding.add(done);
  }

  #message(bytes?: number): { data: Buffer; lines: MsgHdrs | undefined; sent: Sent } {
    const random = this.#random;
    const { prefix } = this.#options;
    const number = ++this.#count;
    const max = random() < LARGE_SHARE ? LARGE_BYTES : SMALL_BYTES;
    const size = bytes ?? 1 + randomInt(random, max);
    const data = Buffer.concat([Buffer.from(`${prefix} ${number} `), randomBytes(random, size)]);
    const subject = `${prefix}.${'abc'[number % 3]}.${number % 7}`;
    let lines: MsgHdrs | undefined;
    if (number % 2 === 0) {
      lines = headers();
      lines.append('Unit', 'kPa');
      lines.append('Nats-Msg-Id', `${prefix}-${this.#options.seed ?? 1}-${number}`);
      if (number % 4 === 0) for (const value of ['one', 'two']) lines.append('Many', value);
    }
    const sent = { subject, headers: entries(lines), data: digest(data) };
    return { data, lines, sent };
  }
}

/** Headers as a ledger has them. */
export function entries(lines: MsgHdrs | undefined): [string, string[]][] {
  return [...(lines ?? [])].map(([name, values]) => [name, [...values]]);
}
