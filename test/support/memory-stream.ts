// A local stream in memory, as the forwarder needs it: for tests of forwarding that want no disk. It can lose its
// newest messages, be put back from a copy, drop its oldest, and refuse dead letters.

import type { Cancel } from '../../src/clock.ts';
import { PublishError } from '../../src/message.ts';
import type {
  Entry,
  Epoch,
  ForwardMark,
  Gap,
  StoredMessage,
} from '../../src/jetstream/stream-types.ts';
import type { LocalStream } from '../../sync/local-stream.ts';

interface Numbering {
  epoch: string;
  firstSeq: number;
  incarnation: number;
}

/** What a copy of the data directory holds. */
export interface Image {
  readonly messages: readonly StoredMessage[];
  readonly epochs: readonly Numbering[];
  readonly gaps: readonly (readonly [number, Gap['reason']])[];
  readonly durableSeq: number;
  readonly mark: ForwardMark | null;
}

let started = 0;

export class MemoryStream implements LocalStream {
  readonly name: string;
  durableSeq = 0;
  mark: ForwardMark | null = null;
  /** Where the mark stood a grace ago. */
  graceSeq = 0;
  /** Refuses the next dead letters. */
  noRoom = 0;
  readonly deadLetters: { seq: number; reason: string }[] = [];
  readonly confirmed: ForwardMark[] = [];
  #messages = new Map<number, StoredMessage>();
  #gaps = new Map<number, Gap['reason']>();
  #epochs: Numbering[] = [];
  #incarnation = 0;
  readonly #listeners = new Set<() => void>();

  /** Starts as a process does: with a new epoch, on what `image` holds. */
  constructor(name: string, image?: Image) {
    this.name = name;
    if (image !== undefined) {
      this.#messages = new Map(image.messages.map((message) => [message.seq, message]));
      this.#gaps = new Map(image.gaps);
      this.#epochs = image.epochs.map((epoch) => ({ ...epoch }));
      this.durableSeq = image.durableSeq;
      this.mark = image.mark;
      this.#incarnation = Math.max(0, ...image.epochs.map(({ incarnation }) => incarnation));
    }
    this.#begin();
  }

  get firstSeq(): number {
    return this.#messages.keys().next().value ?? this.durableSeq + 1;
  }

  get currentEpoch(): string {
    return this.#epochs.at(-1)?.epoch ?? '';
  }

  /** A copy of the data directory, as a running or a killed process leaves it. */
  image(): Image {
    return {
      messages: [...this.#messages.values()],
      epochs: this.#epochs.map((epoch) => ({ ...epoch })),
      gaps: [...this.#gaps],
      durableSeq: this.durableSeq,
      mark: this.mark,
    };
  }

  /** The stream is deleted and made anew under its name. */
  static recreated(old: MemoryStream): MemoryStream {
    const epochs = old.image().epochs;
    const fresh = new MemoryStream(old.name);
    const incarnation = old.#incarnation + 1;
    fresh.#epochs = [...epochs, { epoch: fresh.currentEpoch, firstSeq: 1, incarnation }];
    fresh.#incarnation = incarnation;
    return fresh;
  }

  /** Stores a message; it is durable at once. */
  publish(message: Partial<StoredMessage> = {}): number {
    const seq = this.durableSeq + 1;
    this.#messages.set(seq, {
      subject: 'plant1.temp',
      data: Buffer.from(`message ${seq} of ${this.currentEpoch}`),
      timeMs: Date.UTC(2026, 0, 1) + seq,
      timeSynced: true,
      ...message,
      seq,
      epoch: this.currentEpoch,
    });
    this.durableSeq = seq;
    for (const listener of this.#listeners) listener();
    return seq;
  }

  publishMany(count: number): void {
    for (let i = 0; i < count; i++) this.publish();
  }

  /** The oldest `count` messages go, by a limit. */
  trim(count: number, reason: Gap['reason'] = 'max_msgs'): void {
    for (const seq of [...this.#messages.keys()].slice(0, count)) {
      this.#messages.delete(seq);
      if (seq > (this.mark?.seq ?? 0)) this.#gaps.set(seq, reason);
    }
  }

  epochs(): readonly Epoch[] {
    return this.#epochs.map(({ epoch, firstSeq, incarnation }, i) => {
      const next = this.#epochs[i + 1];
      const retired = incarnation !== this.#incarnation;
      const ownNext = next?.incarnation === incarnation ? next.firstSeq - 1 : this.durableSeq;
      return {
        epoch,
        firstSeq,
        lastSeq: retired ? firstSeq - 1 : ownNext,
        current: epoch === this.currentEpoch,
        retired,
      };
    });
  }

  read(afterSeq: number, max: number, bytesMax: number): Entry[] {
    const entries: Entry[] = [];
    let bytes = 0;
    for (let seq = afterSeq + 1; seq <= this.durableSeq && entries.length < max; seq++) {
      const message = this.#messages.get(seq);
      if (message === undefined) {
        const gap = this.#gapFrom(seq);
        entries.push({ kind: 'gap', gap });
        seq = gap.lastSeq;
      } else {
        bytes += message.data.length + (message.headers?.length ?? 0);
        if (entries.length > 0 && bytes > bytesMax) break;
        entries.push({ kind: 'message', message });
      }
    }
    return entries;
  }

  confirm(mark: ForwardMark): void {
    this.mark = mark;
    this.confirmed.push(mark);
  }

  onDurable(fn: () => void): Cancel {
    this.#listeners.add(fn);
    return () => void this.#listeners.delete(fn);
  }

  async deadLetter(seq: number, reason: string): Promise<void> {
    await Promise.resolve();
    if (this.noRoom > 0) {
      this.noRoom--;
      throw new PublishError(503, 10077, 'the disk is full');
    }
    this.deadLetters.push({ seq, reason });
    this.#messages.delete(seq);
    this.#gaps.set(seq, 'dead_letter');
  }

  #begin(): void {
    const firstSeq = this.durableSeq + 1;
    // An epoch that gave out nothing is replaced.
    this.#epochs = this.#epochs.filter(
      (epoch) => epoch.incarnation !== this.#incarnation || epoch.firstSeq < firstSeq,
    );
    this.#epochs.push({ epoch: `e${++started}`, firstSeq, incarnation: this.#incarnation });
  }

  #gapFrom(firstSeq: number): Gap {
    const reason = this.#gaps.get(firstSeq) ?? 'lost';
    let lastSeq = firstSeq;
    while (
      lastSeq < this.durableSeq &&
      !this.#messages.has(lastSeq + 1) &&
      (this.#gaps.get(lastSeq + 1) ?? 'lost') === reason
    )
      lastSeq++;
    const epoch = this.#epochs.findLast(
      (one) => one.incarnation === this.#incarnation && one.firstSeq <= lastSeq,
    );
    return {
      firstSeq,
      lastSeq,
      count: lastSeq - firstSeq + 1,
      reason,
      epoch: epoch?.epoch ?? this.currentEpoch,
      firstTimeMs: null,
      lastTimeMs: null,
    };
  }
}
