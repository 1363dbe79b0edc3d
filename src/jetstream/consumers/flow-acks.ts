// Acknowledging by answers to flow control (ADR-8, of nats-server 2.14): whoever reads a stream into another says with each
// answer up to which sequence it has stored it.
//
// Why nothing is acknowledged that the other side does not have: its answer carries the sequence it has stored, and goes
// through its log behind the data. Hubs before 2.14 answer with nothing in it, behind what they had got when they were
// asked; but one that could not store a message answers the questions that follow nevertheless, and asks for the
// consumer anew within some two seconds. So their answer counts OLD_HUB_MS later, where it has not done that: the deliver
// subject is listened to all the time. A newer one that answers with nothing has stored nothing.

import type { Cancel, Clock } from '../../clock.ts';
import { headerValue } from '../../headers.ts';

/** Asks each time that much more is delivered: what a cut brings a second time where the hub cannot say what it has. */
const ASK_MESSAGES = 256;
const ASK_BYTES = 64 * 1024;
/** More than twice what an old hub takes to ask anew. */
const OLD_HUB_MS = 5_000;

export interface FlowAckHost {
  /** The last sequence that was delivered. */
  readonly deliveredSeq: number;
  readonly isOldHub: boolean;
  /** Everything that was delivered up to `seq` is stored. */
  confirmed(seq: number): void;
}

export class FlowAcks {
  readonly #host: FlowAckHost;
  readonly #clock: Clock;
  #messages = 0;
  #bytes = 0;
  #askedSeq = 0;
  /** An old hub's answer that is not believed yet, and the last one behind it. */
  #doubted: { readonly cancel: Cancel; next: number } | undefined;

  constructor(host: FlowAckHost, clock: Clock) {
    this.#host = host;
    this.#clock = clock;
  }

  /** A message is delivered; whether it is time to ask. */
  sent(bytes: number): boolean {
    this.#bytes += bytes;
    return ++this.#messages >= ASK_MESSAGES || this.#bytes >= ASK_BYTES;
  }

  /** The question goes out now. */
  asked(): void {
    this.#messages = 0;
    this.#bytes = 0;
    this.#askedSeq = this.#host.deliveredSeq;
  }

  /** The answer to it. */
  answered(headers: Buffer | undefined): void {
    const said = headerValue(headers, 'Nats-Last-Stream');
    if (said !== undefined) {
      if (/^[0-9]{1,16}$/.test(said)) this.#host.confirmed(Number(said));
    } else if (this.#host.isOldHub) this.#doubt(this.#askedSeq);
  }

  #doubt(seq: number): void {
    if (this.#doubted !== undefined) {
      this.#doubted.next = seq;
      return;
    }
    const cancel = this.#clock.after(OLD_HUB_MS, () => {
      const next = this.#doubted?.next ?? 0;
      this.#doubted = undefined;
      this.#host.confirmed(seq);
      if (next > seq) this.#doubt(next);
    });
    this.#doubted = { cancel, next: 0 };
  }

  /** Nobody listens any more, or somebody else. */
  reset(): void {
    this.#doubted?.cancel();
    this.#doubted = undefined;
    this.#messages = 0;
    this.#bytes = 0;
  }
}
