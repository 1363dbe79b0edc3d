// The queue of a session that outlives its connection, in a table: it survives the process and the power. In memory are
// counters, and the newest messages while their client keeps up.
//
// The messages that were not taken yet lie in four places, always in this order:
//
//   early (in the table; perhaps sent by an earlier process)  |  page (read back)  |  cold (in the table only)  |  hot (both)
//
// A new message may become hot only while nothing is cold, and hot ones become cold all at once, so the order holds. What
// is cold is read back only up to the durable mark: the table also shows rows that are committed and not yet safe. The
// mark moves by good answers alone: a refusal is told at once, and says nothing of the commits before it. What waits for
// its answer is remembered in `unsettled`, because the table may not show it yet. Early ones of
// QoS 2 are never dropped to make room: the client may hold their identifier, and would take a later message for a
// repetition.

import { Fifo } from './fifo.ts';
import type { Budget } from '../limits.ts';
import {
  Delivery,
  isMarker,
  isSharedRow,
  MARKER,
  rowExpiresMs,
  type DeliveryQueue,
  type Loss,
  type QueuedMessage,
} from './queue.ts';
import { scan, type Table } from '../tables.ts';

/** Messages kept at hand for one client that keeps up. */
const HOT_BYTES_MAX = 256 * 1024;
/** Read back at a time: rows, and about how many bytes. */
const PAGE_ROWS_MAX = 64;
const PAGE_BYTES = 64 * 1024;
/** No Client Identifier holds it, so no key of one client lies among another's. */
const SEPARATOR = '\x1f';
const SEQ_DIGITS = 14;

/** A row that an earlier process has left. */
interface Early {
  readonly seq: number;
  readonly qos: 1 | 2;
  readonly bytes: number;
  readonly expiresMs: number;
}

export interface QueueLimits {
  readonly messagesMax: number;
  readonly bytesMax: number;
  /** At the limit the newest goes, or the oldest that was not sent. */
  readonly discard: 'new' | 'old';
  /** Messages of all queues. */
  readonly total: Budget;
  /** Bytes of all durable queues. */
  readonly disk: Budget;
  /** Bytes of all queues in memory. */
  readonly memory: Budget;
  lost(loss: Loss, messages: number): void;
}

export class DurableQueue implements DeliveryQueue {
  readonly durable = true;
  readonly #table: Table;
  readonly #clientId: string;
  readonly #limits: QueueLimits;
  #messages = 0;
  #bytes = 0;
  #lastSeq = 0;
  #durableSeq = 0;
  #doubtfulSeq = 0;
  /** Something in it came by a shared subscription, now or earlier. */
  #shared = false;
  readonly #taken = new Set<number>();
  readonly #early = new Fifo<Early>();
  #earliest: QueuedMessage | undefined;
  /** How many of them are of QoS 1. */
  #earlyDroppable = 0;
  readonly #page = new Fifo<QueuedMessage>();
  #coldFrom = 1;
  #cold = 0;
  readonly #hot = new Fifo<QueuedMessage>();
  #hotBytes = 0;
  readonly #unsettled = new Map<number, Delivery>();
  /** Removed from among the cold ones, where the table may still show them. */
  readonly #gone = new Set<number>();
  #goneUntil = 0;
  /** No waiting message expires before; where the next search for those that have goes on. */
  #expiresMs = Number.POSITIVE_INFINITY;
  #searchFrom = 0;
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

  get lastSeq(): number {
    return this.#lastSeq;
  }

  get doubtfulSeq(): number {
    return this.#doubtfulSeq;
  }

  /**
   * Counts a row found at start; they come in order. `mayBeSent`: perhaps an earlier process has sent it. True where it
   * is a marker, which counts as taken.
   */
  recover(seq: number, row: Buffer, mayBeSent: boolean): boolean {
    const marker = isMarker(row);
    this.#messages++;
    this.#limits.total.force(1);
    this.#bytes += row.length;
    this.#limits.disk.force(row.length);
    this.#lastSeq = this.#durableSeq = seq;
    if (marker) {
      this.#taken.add(seq);
      this.#doubtfulSeq = seq;
      return true;
    }
    const expiresMs = rowExpiresMs(row);
    this.#expiresMs = Math.min(this.#expiresMs, expiresMs);
    this.#shared ||= isSharedRow(row);
    if (mayBeSent) {
      const { qos } = new Delivery(row);
      this.#early.push({ seq, qos, bytes: row.length, expiresMs });
      if (qos === 1) this.#earlyDroppable++;
      this.#doubtfulSeq = seq;
    } else if (this.#cold++ === 0) this.#coldFrom = seq;
    return false;
  }

  /** Removes the rows that an earlier session of this client left where the disk refused their removal. */
  sweep(): void {
    const to = this.#key(Number.MAX_SAFE_INTEGER);
    for (const { key } of scan(this.#table, PAGE_ROWS_MAX, this.#key(0), to)) {
      this.#table.delete(key);
      this.#lastSeq = this.#durableSeq = parseQueueKey(key).seq;
    }
  }

  push(delivery: Delivery, nowMs: number, mayDrop: boolean): number {
    const { bytes } = delivery;
    const { bytesMax, total, disk, discard } = this.#limits;
    if (!this.#fits(bytes) && nowMs >= this.#expiresMs) this.#dropExpired(bytes, nowMs);
    if (mayDrop && discard === 'old' && bytes <= Math.min(bytesMax, disk.max))
      while (!this.#fits(bytes) && this.#dropOldest());
    if (!this.#fits(bytes)) return 0;
    disk.force(bytes);
    const seq = ++this.#lastSeq;
    this.#table.put(this.#key(seq), delivery.row);
    this.#messages++;
    total.force(1);
    this.#bytes += bytes;
    this.#expiresMs = Math.min(this.#expiresMs, delivery.expiresMs);
    this.#shared ||= delivery.share !== undefined;
    this.#unsettled.set(seq, delivery);
    this.#keep({ seq, delivery });
    return seq;
  }

  settle(seq: number, error: Error | null): void {
    if (error === null) this.#durableSeq = Math.max(this.#durableSeq, seq);
    if (this.#gone.size > 0 && seq >= this.#goneUntil) this.#gone.clear();
    const delivery = this.#unsettled.get(seq);
    if (delivery === undefined) return; // It was dropped meanwhile, or the queue has ended.
    this.#unsettled.delete(seq);
    if (error === null) return;
    // None of it is in the table.
    if (this.#hot.extract((hot) => hot.seq === seq).length > 0) this.#cool(delivery.bytes);
    else this.#cold = Math.max(0, this.#cold - 1);
    this.#forget(delivery.bytes);
  }

  peek(): QueuedMessage | undefined {
    this.#awake = true;
    if (this.#early.length > 0) return this.#peekEarly();
    if (this.#page.length === 0 && this.#cold > 0 && this.#coldFrom <= this.#durableSeq)
      this.#readPage();
    const first = this.#page.peek();
    if (first !== undefined) return first;
    const hot = this.#hot.peek();
    return this.#cold > 0 || hot === undefined || hot.seq > this.#durableSeq ? undefined : hot;
  }

  take(): void {
    const first = this.peek();
    if (first === undefined) return;
    if (first === this.#earliest) {
      if (this.#early.shift()?.qos === 1) this.#earlyDroppable--;
      this.#earliest = undefined;
    } else if (this.#page.length > 0) this.#page.shift();
    else {
      this.#hot.shift();
      this.#cool(first.delivery.bytes);
    }
    this.#taken.add(first.seq);
  }

  read(seq: number): Delivery | undefined {
    const row = this.#table.get(this.#key(seq));
    return row === undefined ? undefined : new Delivery(row);
  }

  mark(seq: number): void {
    this.#table.put(this.#key(seq), MARKER);
  }

  marked(seq: number, bytes: number): number {
    if (!this.#taken.has(seq)) return bytes;
    this.#release(bytes - MARKER.length);
    return MARKER.length;
  }

  remove(seq: number, bytes: number): void {
    if (!this.#taken.delete(seq)) return;
    this.#table.delete(this.#key(seq));
    this.#forget(bytes);
  }

  *waiting(): Iterable<Delivery> {
    if (!this.#shared) return; // Nobody asks for the others.
    for (const { seq } of this.#early.items()) {
      const delivery = this.read(seq);
      if (delivery !== undefined) yield delivery;
    }
    this.rest();
    const to = this.#key(this.#durableSeq + 1);
    if (this.#cold > 0)
      for (const { key, value } of scan(this.#table, PAGE_ROWS_MAX, this.#key(this.#coldFrom), to))
        if (!this.#gone.has(parseQueueKey(key).seq) && !isMarker(value)) yield new Delivery(value);
    for (const [seq, delivery] of this.#unsettled) if (seq > this.#durableSeq) yield delivery;
  }

  rest(): void {
    this.#awake = false;
    this.#earliest = undefined;
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
    for (const { seq } of this.#early.items()) this.#table.delete(this.#key(seq));
    for (let seq = from; seq <= this.#lastSeq; seq++) this.#table.delete(this.#key(seq));
    this.#taken.clear();
    this.#early.clear();
    this.#unsettled.clear();
    this.#cold = 0;
    this.#limits.total.give(this.#messages);
    this.#messages = 0;
    this.#release(this.#bytes);
  }

  #fits(bytes: number): boolean {
    const { messagesMax, total, bytesMax, disk } = this.#limits;
    return (
      this.#messages < messagesMax &&
      total.allows(this.#messages, 1) &&
      this.#bytes + bytes <= bytesMax &&
      disk.allows(this.#bytes, bytes)
    );
  }

  #peekEarly(): QueuedMessage {
    const seq = this.#early.peek()?.seq ?? 0;
    // A row that cannot be read is shown too: whoever takes it finds no form in it.
    this.#earliest ??= { seq, delivery: this.read(seq) ?? new Delivery(Buffer.alloc(0)) };
    return this.#earliest;
  }

  /** Keeps a new message at hand, or leaves it to the table. */
  #keep(message: QueuedMessage): void {
    const { bytes } = message.delivery;
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
      this.#coldFrom = seq + 1;
      if (this.#gone.has(seq) || this.#taken.has(seq)) continue;
      this.#page.push({ seq, delivery: new Delivery(value) });
    }
    this.#cold = Math.max(0, this.#cold - this.#page.length);
  }

  /** Removes what has expired until `bytes` fit: first what is at hand, then the cold rows, each once a round. */
  #dropExpired(bytes: number, nowMs: number): void {
    let expired = 0;
    let leastMs = Number.POSITIVE_INFINITY;
    const look = ({ seq, delivery }: QueuedMessage): boolean => {
      const { expiresMs } = delivery;
      if (expiresMs > nowMs) {
        leastMs = Math.min(leastMs, expiresMs);
        return false;
      }
      this.#drop(seq, delivery.bytes);
      expired++;
      return true;
    };
    const over = this.#takeExpired(nowMs);
    for (const early of over) this.#drop(early.seq, early.bytes);
    expired += over.length;
    this.#page.extract(look);
    for (const { delivery } of this.#hot.extract(look)) this.#cool(delivery.bytes);
    const whole = this.#searchFrom <= this.#coldFrom;
    let ended = this.#search(bytes, look);
    if (ended && !whole && !this.#fits(bytes)) ended = this.#search(bytes, look);
    // The rows of this turn were not seen.
    for (const { expiresMs } of this.#unsettled.values()) leastMs = Math.min(leastMs, expiresMs);
    for (const { qos, expiresMs } of this.#early.items())
      if (qos === 1) leastMs = Math.min(leastMs, expiresMs);
    if (ended) this.#expiresMs = leastMs;
    if (expired > 0) this.#limits.lost('expired', expired);
  }

  /** Looks through the cold rows from where the last search stopped, until `bytes` fit; true at their end. */
  #search(bytes: number, look: (message: QueuedMessage) => boolean): boolean {
    if (this.#cold === 0) return true;
    const from = this.#key(Math.max(this.#coldFrom, this.#searchFrom));
    const to = this.#key(this.#durableSeq + 1);
    for (const { key, value } of scan(this.#table, PAGE_ROWS_MAX, from, to)) {
      const { seq } = parseQueueKey(key);
      if (this.#gone.has(seq) || this.#taken.has(seq)) continue;
      this.#searchFrom = seq + 1;
      if (!look({ seq, delivery: new Delivery(value) })) continue;
      this.#gone.add(seq);
      // The next message to be pushed is settled when the removal is, too.
      this.#goneUntil = this.#lastSeq + 1;
      this.#cold--;
      if (this.#fits(bytes)) return false;
    }
    this.#searchFrom = 0;
    return true;
  }

  /** Removes the oldest message that nobody was sent; false where there is none. */
  #dropOldest(): boolean {
    const early = this.#takeDroppable();
    if (early !== undefined) {
      this.#drop(early.seq, early.bytes);
      this.#limits.lost('full', 1);
      return true;
    }
    let oldest = this.#page.shift();
    if (oldest === undefined && this.#cold > 0) {
      oldest = this.#oldestCold();
      if (oldest === undefined) return false;
      this.#coldFrom = oldest.seq + 1;
      this.#cold--;
    } else if (oldest === undefined) {
      oldest = this.#hot.shift();
      if (oldest === undefined) return false;
      this.#cool(oldest.delivery.bytes);
    }
    this.#drop(oldest.seq, oldest.delivery.bytes);
    this.#limits.lost('full', 1);
    return true;
  }

  /** Takes the oldest early one of QoS 1 out. */
  #takeDroppable(): Early | undefined {
    if (this.#earlyDroppable === 0) return undefined;
    this.#earliest = undefined;
    this.#earlyDroppable--;
    if (this.#early.peek()?.qos === 1) return this.#early.shift();
    let found = false;
    const taken = this.#early.extract(({ qos }) => {
      const take = !found && qos === 1;
      found ||= take;
      return take;
    });
    return taken[0];
  }

  #takeExpired(nowMs: number): Early[] {
    if (this.#earlyDroppable === 0) return [];
    this.#earliest = undefined;
    const taken = this.#early.extract(({ qos, expiresMs }) => qos === 1 && expiresMs <= nowMs);
    this.#earlyDroppable -= taken.length;
    return taken;
  }

  #oldestCold(): QueuedMessage | undefined {
    const from = this.#key(this.#coldFrom);
    for (const { key, value } of scan(this.#table, 1, from, this.#key(this.#durableSeq + 1))) {
      const { seq } = parseQueueKey(key);
      if (!this.#gone.has(seq) && !this.#taken.has(seq))
        return { seq, delivery: new Delivery(value) };
    }
    for (const [seq, delivery] of this.#unsettled)
      if (seq >= this.#coldFrom && seq > this.#durableSeq) return { seq, delivery };
    return undefined;
  }

  #drop(seq: number, bytes: number): void {
    this.#unsettled.delete(seq);
    this.#table.delete(this.#key(seq));
    this.#forget(bytes);
  }

  #forget(bytes: number): void {
    if (this.#ended) return;
    this.#messages--;
    this.#limits.total.give(1);
    this.#release(bytes);
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
