// The queue of a persistent session, in a table: it survives the process and the power. In memory are counters, and the
// newest messages while their client keeps up.
//
// The messages that were not taken yet lie in three places, always in this order:
//
//   page (read back from the table)  |  cold (in the table only)  |  hot (in the table and in memory)
//
// A new message may become hot only while nothing is cold, and hot ones become cold all at once, so the order holds.
// What is cold is read back only up to the durable mark: the table also shows rows that are committed and not yet safe.

import { Fifo } from './fifo.ts';
import type { Budget } from './limits.ts';
import type { DeliveryQueue, QueuedMessage } from './queue.ts';
import { scan, type Table } from './tables.ts';

/** Messages kept at hand for one client that keeps up. */
const HOT_BYTES_MAX = 256 * 1024;
/** Read back at a time: rows, and about how many bytes. */
const PAGE_ROWS_MAX = 64;
const PAGE_BYTES = 64 * 1024;
/** No Client Identifier holds it, so no key of one client lies among another's. */
const SEPARATOR = '\x1f';
const SEQ_DIGITS = 14;

export interface QueueLimits {
  readonly messagesMax: number;
  readonly bytesMax: number;
  /** Bytes of all durable queues. */
  readonly disk: Budget;
  /** Bytes of all queues in memory. */
  readonly memory: Budget;
}

export class DurableQueue implements DeliveryQueue {
  readonly #table: Table;
  readonly #clientId: string;
  readonly #limits: QueueLimits;
  #messages = 0;
  #bytes = 0;
  #lastSeq = 0;
  #durableSeq = 0;
  readonly #taken = new Set<number>();
  readonly #page = new Fifo<QueuedMessage>();
  #coldFrom = 1;
  #cold = 0;
  readonly #hot = new Fifo<QueuedMessage>();
  #hotBytes = 0;
  #batch = { from: 0, messages: 0, bytes: 0 };
  #awake = false;
  #ended = false;

  constructor(table: Table, clientId: string, limits: QueueLimits) {
    this.#table = table;
    this.#clientId = clientId;
    this.#limits = limits;
  }

  get messages(): number {
    return this.#messages;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Counts a row found at start; they come in order. Returns its sequence. */
  recover(seq: number, bytes: number): void {
    if (this.#messages === 0) this.#coldFrom = seq;
    this.#messages++;
    this.#cold++;
    this.#bytes += bytes;
    this.#limits.disk.force(bytes);
    this.#lastSeq = this.#durableSeq = this.#batch.from = seq;
  }

  /** Removes the rows that an earlier session of this client left where the disk refused their removal. */
  sweep(): void {
    const from = this.#key(0);
    const to = this.#key(Number.MAX_SAFE_INTEGER);
    for (const { key } of scan(this.#table, PAGE_ROWS_MAX, from, to)) {
      this.#table.delete(key);
      this.#lastSeq = this.#durableSeq = this.#batch.from = parseQueueKey(key).seq;
    }
  }

  push(value: Buffer): boolean {
    const { messagesMax, bytesMax, disk } = this.#limits;
    if (this.#messages >= messagesMax || this.#bytes + value.length > bytesMax) return false;
    if (!disk.take(value.length)) return false;
    const seq = ++this.#lastSeq;
    this.#table.put(this.#key(seq), value);
    this.#messages++;
    this.#bytes += value.length;
    this.#batch.messages++;
    this.#batch.bytes += value.length;
    this.#keep({ seq, value });
    return true;
  }

  seal(): (error: Error | null) => number {
    const batch = { ...this.#batch, to: this.#lastSeq };
    this.#batch = { from: this.#lastSeq, messages: 0, bytes: 0 };
    return (error) => {
      this.#durableSeq = Math.max(this.#durableSeq, batch.to);
      if (error === null || this.#ended) return 0;
      this.#refuse(batch);
      return batch.messages;
    };
  }

  next(): QueuedMessage | undefined {
    this.#awake = true;
    if (this.#page.length === 0 && this.#cold > 0) this.#readPage();
    const message = this.#page.shift() ?? this.#nextHot();
    if (message !== undefined) this.#taken.add(message.seq);
    return message;
  }

  read(seq: number): Buffer | undefined {
    return this.#table.get(this.#key(seq));
  }

  remove({ seq, bytes }: { seq: number; bytes: number }): void {
    if (!this.#taken.delete(seq)) return;
    this.#table.delete(this.#key(seq));
    this.#messages--;
    this.#release(bytes);
  }

  rest(): void {
    this.#awake = false;
    this.#spill();
    const first = this.#page.peek();
    if (first === undefined) return;
    this.#coldFrom = first.seq;
    this.#cold += this.#page.length;
    this.#page.clear();
  }

  clear(): void {
    this.#ended = true;
    this.rest();
    // The rows of this turn cannot be read yet, so the numbers are counted through.
    const from = this.#cold > 0 ? this.#coldFrom : this.#lastSeq + 1;
    for (const seq of this.#taken) this.#table.delete(this.#key(seq));
    for (let seq = from; seq <= this.#lastSeq; seq++) this.#table.delete(this.#key(seq));
    this.#taken.clear();
    this.#cold = 0;
    this.#messages = 0;
    this.#release(this.#bytes);
  }

  #nextHot(): QueuedMessage | undefined {
    const first = this.#hot.peek();
    if (this.#cold > 0 || first === undefined || first.seq > this.#durableSeq) return undefined;
    this.#cool(first.value.length);
    return this.#hot.shift();
  }

  /** Keeps a new message at hand, or leaves it to the table. */
  #keep(message: QueuedMessage): void {
    const bytes = message.value.length;
    if (this.#awake && this.#cold === 0 && this.#hotBytes + bytes <= HOT_BYTES_MAX)
      if (this.#limits.memory.take(bytes)) {
        this.#hot.push(message);
        this.#hotBytes += bytes;
        return;
      }
    this.#spill();
    if (this.#cold === 0) this.#coldFrom = message.seq;
    this.#cold++;
  }

  /** Leaves all hot messages to the table. */
  #spill(): void {
    const first = this.#hot.peek();
    if (first === undefined) return;
    if (this.#cold === 0) this.#coldFrom = first.seq;
    this.#cold += this.#hot.length;
    this.#hot.clear();
    this.#cool(this.#hotBytes);
  }

  #readPage(): void {
    const mean = Math.max(1, this.#bytes / Math.max(1, this.#messages));
    const rows = Math.max(1, Math.min(PAGE_ROWS_MAX, Math.floor(PAGE_BYTES / mean)));
    const to = this.#key(this.#durableSeq + 1);
    for (const { key, value } of this.#table.range(this.#key(this.#coldFrom), to, rows)) {
      const { seq } = parseQueueKey(key);
      this.#page.push({ seq, value });
      this.#coldFrom = seq + 1;
    }
    this.#cold = Math.max(0, this.#cold - this.#page.length);
  }

  /** Takes back a batch that the disk refused: none of it is in the table. */
  #refuse(batch: { from: number; to: number; messages: number; bytes: number }): void {
    const { from, to } = batch;
    const dropped = this.#hot.extract(({ seq }) => seq > from && seq <= to);
    for (const { value } of dropped) this.#cool(value.length);
    this.#cold = Math.max(0, this.#cold - (batch.messages - dropped.length));
    this.#messages -= batch.messages;
    this.#release(batch.bytes);
  }

  #cool(bytes: number): void {
    this.#hotBytes -= bytes;
    this.#limits.memory.give(bytes);
  }

  #release(bytes: number): void {
    this.#bytes -= bytes;
    this.#limits.disk.give(bytes);
  }

  #key(seq: number): string {
    return queueKey(this.#clientId, seq);
  }
}

function queueKey(clientId: string, seq: number): string {
  return `${clientId}${SEPARATOR}${seq.toString(16).padStart(SEQ_DIGITS, '0')}`;
}

/** The owner and the number of a row. */
export function parseQueueKey(key: string): { clientId: string; seq: number } {
  const at = key.lastIndexOf(SEPARATOR);
  return { clientId: key.slice(0, at), seq: Number.parseInt(key.slice(at + 1), 16) };
}
