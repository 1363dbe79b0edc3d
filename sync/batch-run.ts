// One ordered fast batch from its opening to its end: sends as much as the window lets, listens, and confirms when the hub
// has ended it. Where the hub stays silent it asks, and gives up in the end.

import { delay } from '../src/clock.ts';
import type { Entry } from '../src/jetstream/stream-types.ts';
import type { Batch } from './batch.ts';
import type { FlowWindow } from './flow-window.ts';
import { localError } from './hub-error.ts';
import { positionOf, type Position } from './hub-message.ts';
import type { FastBatch } from './hub.ts';
import type { Errand, Progress } from './way.ts';

/** Waiting in our own memory at most before more is read. */
export const UNSENT_BYTES_MAX = 1024 * 1024;
/** A batch is ended and the next one opened after this time: then it is confirmed, and a clone of us is noticed. */
const BATCH_MS = 8_000;
/** The flow is set when a batch opens: one whose flow does not suit the line any more ends after so many round trips. */
const UNSUITED_ROUND_TRIPS = 10;
const UNSUITED_MS = 50;
/** Without an acknowledgement for this long, or two round trips, the hub is asked for a sign. */
const PING_MS = 400;
/** In flight at most: what the kernel does not take of it waits in memory. */
export const FLIGHT_BYTES_MAX = 8 * 1024 * 1024;
/** The hub acknowledges at most this many at once (nats-server caps it so). */
const FLOW_MAX = 500;

/** The flow to ask for: four acknowledgements per window, and none that more bytes than may be in flight must wait for. */
export function flowFor(windowMessages: number, messageBytes: number): number {
  const byBytes = FLIGHT_BYTES_MAX / 4 / Math.max(1, messageBytes);
  return Math.max(1, Math.min(FLOW_MAX, Math.floor(windowMessages / 4), Math.floor(byBytes)));
}

/** Messages on their way, sent together. */
interface Flight {
  /** Number of the last of them in its batch. */
  readonly lastSent: number;
  readonly bytes: number;
  readonly sentMs: number;
}

/** One batch from its opening to its end. */
export class BatchRun {
  readonly #batch: FastBatch;
  readonly #flow: number;
  readonly #errand: Errand;
  readonly #window: FlowWindow;
  readonly #silenceMs: number;
  readonly #openedMs: number;
  #flights: Flight[] = [];
  #flightBytes = 0;
  #acked = 0;
  #progressMs: number;
  #unsent = 0;
  /** The window was what held us up since the last acknowledgement. */
  #full = false;
  #last: Position | undefined;
  #bytes = 0;
  #gaps = 0;

  constructor(
    batch: FastBatch,
    flow: number,
    errand: Errand,
    { window, silenceMs }: { window: FlowWindow; silenceMs: number },
  ) {
    this.#batch = batch;
    this.#flow = flow;
    this.#errand = errand;
    this.#window = window;
    this.#silenceMs = silenceMs;
    this.#openedMs = this.#progressMs = errand.clock.monotonicMs();
  }

  /** Sends `first`, of which the first message has opened the batch, and what `read` finds behind it. */
  async fill(
    first: Batch,
    read: (afterSeq: number) => Batch | undefined,
  ): Promise<'caught up' | 'over'> {
    const { stopped, clock } = this.#errand;
    let chunk: Batch = first;
    let at = 1;
    this.#account(first.entries.slice(0, 1), 0);
    while (!stopped.aborted) {
      if (at === chunk.messages.length) {
        const next = read(this.#last?.seq ?? 0);
        if (next === undefined) return 'caught up';
        chunk = next;
        at = 0;
      }
      const room = this.#room();
      if (room === 0) {
        // Nothing more may be sent, and the hub has no reason yet to acknowledge what was: end it here.
        if (
          this.#batch.sent - this.#batch.acked < this.#batch.flow &&
          this.#batch.unsentBytes === 0
        )
          return 'over';
        await this.#sign();
        continue;
      }
      const to = Math.min(chunk.messages.length, at + room);
      this.#batch.send(chunk.messages.slice(at, to));
      this.#account(chunk.entries.slice(at, to), ((to - at) / chunk.messages.length) * chunk.bytes);
      at = to;
      await new Promise<void>((resolve) => clock.soon(resolve));
      this.#look();
      if (this.#due()) return 'over';
    }
    return 'over';
  }

  /** Ends the batch, and confirms what it brought. */
  async commit(progress: Progress): Promise<void> {
    const { clock } = this.#errand;
    const last = this.#last;
    const committed = this.#batch.commit();
    let ack: { seq: number; count: number } | undefined;
    committed.then(
      (answer) => (ack = answer),
      () => undefined,
    );
    while (ack === undefined) {
      const wait = new AbortController();
      await Promise.race([committed, delay(clock, this.#pingMs, wait.signal)]).finally(() =>
        wait.abort(),
      );
      this.#look();
      if (ack === undefined) this.#listen();
    }
    if (last === undefined || ack.count !== this.#batch.sent)
      throw localError('gap', `the hub ended a fast batch with ${ack.count} messages`);
    // After stop() the store may be closed; the next start finds what is at the hub.
    if (!this.#errand.confirm(last, ack.seq, progress.stream.created)) return;
    this.#errand.sent({ messages: this.#batch.sent, bytes: this.#bytes, gaps: this.#gaps });
    progress.afterSeq = last.seq;
    progress.fenceSeq = ack.seq;
  }

  /** Messages that may be sent now. */
  #room(): number {
    const { sent, acked, flow, unsentBytes } = this.#batch;
    if (this.#flightBytes >= FLIGHT_BYTES_MAX || unsentBytes >= UNSENT_BYTES_MAX) return 0;
    // The hub says nothing before it has got a flow of messages.
    const room = Math.floor(Math.max(this.#window.messages, flow)) - (sent - acked);
    if (room <= 0) this.#full = true;
    return Math.max(0, room);
  }

  #account(entries: readonly Entry[], bytes: number): void {
    const last = entries.at(-1);
    if (last === undefined) return;
    this.#last = positionOf(last);
    this.#bytes += bytes;
    for (const { kind } of entries) if (kind === 'gap') this.#gaps++;
    this.#flightBytes += bytes;
    this.#flights.push({
      lastSent: this.#batch.sent,
      bytes,
      sentMs: this.#errand.clock.monotonicMs(),
    });
  }

  /** Whether it is time to end the batch and open the next one. */
  #due(): boolean {
    const ageMs = this.#errand.clock.monotonicMs() - this.#openedMs;
    if (ageMs >= BATCH_MS) return true;
    if (ageMs < Math.max(UNSUITED_MS, UNSUITED_ROUND_TRIPS * this.#window.roundTripMs))
      return false;
    const wanted = flowFor(this.#window.messages, this.#bytes / this.#batch.sent);
    return wanted >= 4 * this.#flow || this.#flow >= 4 * wanted;
  }

  get #pingMs(): number {
    return Math.max(PING_MS, 2 * this.#window.roundTripMs);
  }

  /** Waits for a sign of the hub, and asks for one where none comes. Rejects when the batch is over. */
  async #sign(): Promise<void> {
    const { clock, stopped } = this.#errand;
    const acked = this.#batch.acked;
    const wait = new AbortController();
    const abort = (): void => wait.abort();
    stopped.addEventListener('abort', abort, { once: true });
    await Promise.race([this.#batch.news(), delay(clock, this.#pingMs, wait.signal)]).finally(
      () => {
        stopped.removeEventListener('abort', abort);
        wait.abort();
      },
    );
    this.#look();
    if (this.#batch.acked === acked) this.#listen();
  }

  /** Takes in what the hub has acknowledged since the last look. */
  #look(): void {
    const nowMs = this.#errand.clock.monotonicMs();
    const { acked, unsentBytes } = this.#batch;
    if (acked > this.#acked || unsentBytes < this.#unsent) this.#progressMs = nowMs;
    this.#unsent = unsentBytes;
    if (acked === this.#acked) return;
    let reached: Flight | undefined;
    while (this.#flights[0] !== undefined && this.#flights[0].lastSent <= acked) {
      reached = this.#flights.shift();
      this.#flightBytes -= reached?.bytes ?? 0;
    }
    const [under] = this.#flights;
    const sentMs = (reached?.lastSent === acked ? reached : under)?.sentMs ?? nowMs;
    this.#window.acknowledged(acked - this.#acked, nowMs - sentMs, this.#full);
    this.#full = false;
    this.#acked = acked;
  }

  /** Nothing came: ask, or give up. */
  #listen(): void {
    const silentMs = this.#errand.clock.monotonicMs() - this.#progressMs;
    if (silentMs >= this.#silenceMs)
      throw localError('timeout', `a fast batch made no progress for ${Math.round(silentMs)} ms`);
    if (silentMs >= this.#pingMs) this.#batch.ping();
  }
}
