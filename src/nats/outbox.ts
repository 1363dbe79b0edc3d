// What leaves for one client: gathered during a turn and written at its end, so that a thousand deliveries are one write.
// It knows how much the client has not read; who sends is told when that is much.
//
// Bytes are gathered as text, one character a byte ("latin1"): V8 joins strings by reference, which makes a delivery as
// cheap as two additions, and the line and message that a hundred subscribers get exist once.

import type { Duplex } from 'node:stream';
import type { Clock } from '../clock.ts';
import type { Budget } from './limits.ts';

/** What is gathered is written once it is this much, also within a turn. */
const FLUSH_BYTES = 64 * 1024;

/** Writes all outboxes that have something at the end of the turn. */
export class Turn {
  readonly #clock: Clock;
  #outboxes: Outbox[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(outbox: Outbox): void {
    this.#outboxes.push(outbox);
    if (this.#outboxes.length > 1) return;
    this.#clock.soon(() => this.flush());
  }

  /** Writes at once what was going to be written at the end of the turn. */
  flush(): void {
    const outboxes = this.#outboxes;
    this.#outboxes = [];
    for (const each of outboxes) each.flush();
  }
}

export interface OutboxLimits {
  readonly pendingBytesMax: number;
}

export class Outbox {
  /** Three quarters of what may wait do: who publishes to this client should wait a moment. */
  congested = false;
  readonly #stream: Duplex;
  readonly #turn: Turn;
  readonly #total: Budget;
  readonly #congestedBytes: number;
  /** Called after a write and after what was written left: look at `pendingBytes`. */
  readonly #changed: (left: boolean) => void;
  #text = '';
  /** What was gathered before `#text`; buffers are too large to be copied. */
  #parts: (string | Buffer)[] = [];
  #gathered = 0;
  /** What the system has not taken yet. */
  #unread = 0;
  #waits = false;
  #closed = false;

  constructor(
    stream: Duplex,
    shared: { readonly turn: Turn; readonly pending: Budget; readonly limits: OutboxLimits },
    changed: (left: boolean) => void,
  ) {
    this.#stream = stream;
    this.#turn = shared.turn;
    this.#total = shared.pending;
    this.#congestedBytes = 0.75 * shared.limits.pendingBytesMax;
    this.#changed = changed;
  }

  /** Bytes that the client has not read, as far as we can know. */
  get pendingBytes(): number {
    return this.#gathered + this.#unread;
  }

  /** Sends bytes given as latin1 text. */
  send(text: string): void {
    if (this.#closed) return;
    this.#text += text;
    this.#gathered += text.length;
    if (!this.#waits) this.#wait();
    if (this.#gathered >= FLUSH_BYTES) this.flush();
  }

  /** Sends bytes that must not change any more. */
  sendBuffer(bytes: Buffer): void {
    if (this.#closed) return;
    this.#parts.push(this.#text, bytes);
    this.#text = '';
    this.#gathered += bytes.length;
    if (!this.#waits) this.#wait();
    if (this.#gathered >= FLUSH_BYTES) this.flush();
  }

  /** Writes what is gathered. */
  flush(): void {
    if (this.#write()) this.#changed(false);
  }

  /** False where there is nothing to write. */
  #write(): boolean {
    this.#waits = false;
    if (this.#closed || this.#gathered === 0) return false;
    const text = this.#text;
    const parts = this.#parts;
    this.#text = '';
    this.#gathered = 0;
    if (parts.length === 0) {
      this.#stream.write(text, 'latin1', this.#left);
    } else {
      this.#parts = [];
      this.#stream.cork();
      for (const part of parts) if (part.length > 0) this.#stream.write(part, 'latin1');
      this.#stream.write(text, 'latin1', this.#left);
      this.#stream.uncork();
    }
    this.#count();
    return true;
  }

  /** Sends no more; what is gathered is written if the client is to get it still. */
  close(write: boolean): void {
    if (write) this.#write();
    this.#closed = true;
    this.#text = '';
    this.#parts = [];
    this.#gathered = 0;
    this.#total.add(-this.#unread);
    this.#unread = 0;
  }

  #wait(): void {
    this.#waits = true;
    this.#turn.add(this);
  }

  readonly #left = (): void => {
    if (this.#closed) return;
    this.#count();
    this.#changed(true);
  };

  #count(): void {
    const unread = this.#stream.writableLength;
    this.#total.add(unread - this.#unread);
    this.#unread = unread;
    this.congested = unread > this.#congestedBytes;
  }
}
