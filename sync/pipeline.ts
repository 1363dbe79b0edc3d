// Many single publishes in flight on one connection, each with its own answer, confirmed in the order in which they were
// handed over: only what has nothing unanswered before it. What that is worth depends on the fences that they carry, which
// is the caller's to choose.

import type { Entry } from '../src/jetstream/stream-types.ts';
import { takeBatch, type TooLarge } from './batch.ts';
import { HubError, LOCAL_ERROR, localError } from './hub-error.ts';
import { filterOf, positionOf } from './hub-message.ts';
import type { Fence, HubAck, HubMessage, HubStored } from './hub.ts';
import type { Errand, Progress } from './way.ts';

/** In flight at once: at 100 ms to the hub 5,000 msg/s. The link has room for several forwarders that do this. */
export const FLIGHT_MESSAGES_MAX = 500;
/** Read from the disk at once. */
const CHUNK_MESSAGES = 250;
const CHUNK_BYTES = 256 * 1024;
/** What a publish adds to subject, ID, headers and data: verb, reply subject, sizes, header names. */
const OVERHEAD = 180;
/** Digits of the largest sequence. */
const DIGITS = 20;

/** Messages that are at the hub behind one that is not, by ID. */
export type Ahead = ReadonlyMap<string, HubStored>;

/** A message that is about to go, or on its way. */
interface Flight {
  readonly entry: Entry;
  readonly message: HubMessage;
  readonly bytes: number;
  sentMs: number;
  /** Under way together when this one was sent. */
  windowBytes: number;
  ack?: HubAck;
  error?: HubError;
}

export interface Failure {
  readonly entry: Entry;
  readonly error: HubError;
}

export class Pipeline {
  readonly #errand: Errand;
  readonly #progress: Progress;
  /** Handed over, not confirmed yet. */
  #flights: Flight[] = [];
  /** Read, not handed over. */
  #waiting: Flight[] = [];
  #readSeq: number;
  #sentSeq = 0;
  #unanswered = 0;
  #unansweredBytes = 0;
  /** The window was measured by a message that was sent before this time. */
  #measuredMs = Number.NEGATIVE_INFINITY;
  #wake: () => void = () => undefined;
  #news = false;

  constructor(errand: Errand, progress: Progress) {
    this.#errand = errand;
    this.#progress = progress;
    this.#readSeq = progress.afterSeq;
  }

  /** Publishes that no answer has come to. */
  get unanswered(): number {
    return this.#unanswered;
  }

  /** The last local sequence that was handed over; 0 for none. */
  get sentSeq(): number {
    return this.#sentSeq;
  }

  /** What the hub has acknowledged of what is not confirmed, in order. */
  get acks(): HubAck[] {
    return this.#flights.flatMap(({ ack }) => (ack === undefined ? [] : [ack]));
  }

  /** What failed, in order. */
  get failures(): Failure[] {
    const failures: Failure[] = [];
    for (const { entry, error } of this.#flights)
      if (error !== undefined) failures.push({ entry, error });
    return failures;
  }

  /** What the hub has acknowledged behind an entry that it has not. */
  get ahead(): Ahead {
    const ahead = new Map<string, HubStored>();
    for (const { message, ack } of this.#flights) {
      const { id, subject } = message;
      if (ack !== undefined) ahead.set(id, { id, subject, seq: ack.seq });
    }
    return ahead;
  }

  /**
   * Sends what waits up to `upToSeq`, as far as there is room; what is in `ahead` is at the hub already. `fence` is asked
   * for each message as it goes. Returns the next entry where no publish can carry it.
   */
  fill(
    fence: () => Fence | undefined,
    { ahead, upToSeq = Infinity }: { ahead?: Ahead; upToSeq?: number } = {},
  ): TooLarge | undefined {
    const { stopped, size } = this.#errand;
    while (!stopped.aborted && this.#flights.length < FLIGHT_MESSAGES_MAX) {
      const tooLarge = this.#waiting.length === 0 ? this.#read() : undefined;
      if (tooLarge !== undefined) return tooLarge;
      const [next] = this.#waiting;
      if (next === undefined || positionOf(next.entry).seq > upToSeq) return undefined;
      const stored = ahead?.get(next.message.id);
      // The ID of a gap is also that of its last message: only a record under its own subject speaks for all of it.
      if (stored !== undefined && stored.subject === next.message.subject) {
        next.ack = { seq: stored.seq, duplicate: true };
        this.#tell();
      } else {
        // The first always goes, however large it is.
        if (this.#unanswered > 0 && this.#unansweredBytes + next.bytes > size.bytes)
          return undefined;
        this.#send(next, fence());
      }
      this.#waiting.shift();
      this.#flights.push(next);
      this.#sentSeq = positionOf(next.entry).seq;
    }
    return undefined;
  }

  /**
   * Confirms what has been acknowledged without a hole before it. An acknowledgement that is not `right` is a failure.
   * False after stop().
   */
  confirm(right: (ack: HubAck) => boolean = () => true): boolean {
    const counts = { messages: 0, bytes: 0, gaps: 0, duplicates: 0 };
    let tail: Flight | undefined;
    let hubSeq = 0;
    for (const flight of this.#flights) {
      const { ack, entry, bytes } = flight;
      if (ack === undefined || flight.error !== undefined) break;
      if (!right(ack)) {
        flight.error = misplaced(ack);
        break;
      }
      tail = flight;
      hubSeq = ack.seq;
      this.#progress.fenceSeq = Math.max(this.#progress.fenceSeq, ack.seq);
      counts.messages++;
      counts.bytes += bytes;
      if (ack.duplicate) counts.duplicates++;
      if (entry.kind === 'gap') counts.gaps++;
    }
    if (tail === undefined) return true;
    const last = positionOf(tail.entry);
    if (!this.#errand.confirm(last, hubSeq, this.#progress.stream.created)) return false;
    this.#flights.splice(0, counts.messages);
    this.#progress.afterSeq = last.seq;
    this.#errand.sent(counts);
    return true;
  }

  /** Resolves when an answer has come since the last call, something new is durable, or it is time to stop. */
  async happening(): Promise<void> {
    const { stopped, stream } = this.#errand;
    if (!this.#news) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const wake = (): void => resolve();
      this.#wake = wake;
      const cancel = stream.onDurable(wake);
      stopped.addEventListener('abort', wake, { once: true });
      await promise;
      cancel();
      stopped.removeEventListener('abort', wake);
    }
    this.#news = false;
  }

  /** Resolves when every publish has been answered, or given up by the link. */
  async settled(): Promise<void> {
    while (this.#unanswered > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }

  #send(flight: Flight, fence: Fence | undefined): void {
    const { hub, hubStream, size, clock } = this.#errand;
    this.#unanswered++;
    this.#unansweredBytes += flight.bytes;
    flight.sentMs = clock.monotonicMs();
    flight.windowBytes = this.#unansweredBytes;
    const publishing = hub.publish([flight.message], {
      stream: hubStream,
      ...(fence === undefined ? {} : { fence }),
      patienceMs: size.patienceMs(this.#unanswered, flight.bytes),
    });
    const settle = (): void => {
      this.#unanswered--;
      this.#unansweredBytes -= flight.bytes;
      this.#tell();
    };
    publishing.then(
      (ack) => {
        flight.ack = ack;
        this.#measure(flight, true);
        settle();
      },
      (error: unknown) => {
        flight.error =
          error instanceof HubError
            ? error
            : localError('badAnswer', 'a publish failed', { cause: error });
        const { errCode } = flight.error;
        if (errCode === LOCAL_ERROR.timeout || errCode === LOCAL_ERROR.linkDown)
          this.#measure(flight, false);
        settle();
      },
    );
  }

  #tell(): void {
    this.#news = true;
    this.#wake();
  }

  /** A window is measured once, by a message that was sent after the last measure. */
  #measure({ sentMs, windowBytes }: Flight, answered: boolean): void {
    if (sentMs < this.#measuredMs) return;
    const { clock, size } = this.#errand;
    this.#measuredMs = clock.monotonicMs();
    // It came behind what was under way then; where that was little, more has followed it since.
    const bytes = Math.max(windowBytes, this.#unansweredBytes);
    if (answered) size.acknowledged(bytes, this.#measuredMs - sentMs);
    else size.unanswered(this.#unanswered);
  }

  #read(): TooLarge | undefined {
    const { origin, hub, hubStream, stream } = this.#errand;
    const entries = stream.read(this.#readSeq, CHUNK_MESSAGES, CHUNK_BYTES);
    if (entries.length === 0) return undefined;
    const taken = takeBatch(origin, entries, {
      messages: CHUNK_MESSAGES,
      bytes: CHUNK_BYTES,
      messageBytesMax: Math.min(hub.maxPayload, this.#progress.stream.messageBytesMax),
      fenceBytes: hubStream.length + filterOf(origin).length + DIGITS,
    });
    if ('tooLarge' in taken) return taken.tooLarge;
    for (const [i, message] of taken.messages.entries()) {
      const entry = taken.entries[i];
      if (entry === undefined) continue;
      this.#readSeq = positionOf(entry).seq;
      const { subject, id, headerLines, data } = message;
      const bytes = subject.length + id.length + headerLines.length + data.length + OVERHEAD;
      this.#waiting.push({ entry, message, bytes, sentMs: 0, windowBytes: 0 });
    }
    return undefined;
  }
}

function misplaced({ seq }: HubAck): HubError {
  return localError(
    'badAnswer',
    `the hub stored a message at ${seq}, which is not where it belongs`,
    { hint: 'does somebody else write to the hub stream of this gateway?' },
  );
}
