// Notices another machine that is connected to the hub under this gateway's name, also while neither has anything to
// send: perhaps a copied card. At each connection, and while a twin is about, we send a greeting that the hub stream
// refuses; its refusal goes to a subject that all machines of this name hear. So it needs no permission beyond those that
// forwarding needs. It only tells; what a twin must not do, the fences prevent.

import { every, type Cancel, type Clock } from '../src/clock.ts';
import { RepeatGuard, type Logger } from '../src/log.ts';
import type { Random } from './backoff.ts';
import { ORDER_HEADERS } from './fast-batch.ts';
import type { LinkConnection } from './nats-connection.ts';
import type { NatsLink } from './nats-link.ts';
import { randomToken } from './random-token.ts';

/** While a twin was heard, it is asked for again this often. */
const REPEAT_MS = 30_000;
/** A twin that was not heard for this long has gone. */
const GONE_MS = 100_000;
/** A greeting is answered by one of our own, but greetings are this far apart. */
const ANSWER_MS = 1_000;

export interface TwinWatchOptions {
  readonly gateway: string;
  /** Under which answers to this gateway come. */
  readonly inboxPrefix: string;
  /** One of the hub stream's subjects; nothing is stored under it. */
  readonly subject: string;
}

export interface TwinWatchParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: Random;
}

export class TwinWatch {
  readonly #link: NatsLink;
  readonly #options: TwinWatchOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #guard: RepeatGuard;
  /** Ours in every greeting. */
  readonly #token: string;
  readonly #cancels: Cancel[];
  #connection: LinkConnection | undefined;
  #heardMs = Number.NEGATIVE_INFINITY;
  #greetedMs = Number.NEGATIVE_INFINITY;
  #cancelAnswer: Cancel | undefined;

  constructor(link: NatsLink, options: TwinWatchOptions, { clock, log, random }: TwinWatchParts) {
    this.#link = link;
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.#guard = new RepeatGuard(clock);
    this.#token = randomToken(random);
    this.#cancels = [
      link.onChange(() => this.#changed()),
      every(clock, REPEAT_MS, () => {
        if (this.present) this.#greet();
      }),
    ];
  }

  /** Another machine of this name was heard of late. */
  get present(): boolean {
    return this.#clock.monotonicMs() - this.#heardMs < GONE_MS;
  }

  stop(): void {
    for (const cancel of this.#cancels) cancel();
    this.#cancelAnswer?.();
  }

  #changed(): void {
    const { connection } = this.#link;
    if (connection === this.#connection) return;
    this.#connection = connection;
    if (connection === undefined) return;
    const greetings = `${this.#options.inboxPrefix}.hello`;
    connection.subscribe(`${greetings}.*`, ({ subject }) =>
      this.#heard(subject.slice(greetings.length + 1)),
    );
    this.#greet();
  }

  #greet(): void {
    const { subject, inboxPrefix } = this.#options;
    this.#greetedMs = this.#clock.monotonicMs();
    try {
      const reply = `${inboxPrefix}.hello.${this.#token}`;
      this.#connection?.publish(subject, Buffer.alloc(0), ORDER_HEADERS, reply);
    } catch {
      // The connection has just ended; the next one greets again.
    }
  }

  #heard(token: string): void {
    if (token === this.#token) return;
    const nowMs = this.#clock.monotonicMs();
    const known = this.present;
    this.#heardMs = nowMs;
    const { gateway } = this.#options;
    const hint = `two machines run as gateway "${gateway}", one of them perhaps from a copied card: give one another gateway.name, then restart it`;
    this.#guard.run('twin', (times) =>
      this.#log.error({ gateway, times, hint }, 'another machine is connected under our name'),
    );
    // A newcomer has not heard our last one.
    if (known) return;
    this.#cancelAnswer ??= this.#clock.after(this.#greetedMs + ANSWER_MS - nowMs, () => {
      this.#cancelAnswer = undefined;
      this.#greet();
    });
  }
}
