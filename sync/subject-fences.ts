// Fences for hubs whose fence cannot name a filter (nats-server before 2.11): the last message under each exact subject,
// as the hub knows it, of which the next message under that subject is the successor.
//
// Why one message in flight, fenced on its own subject, arrives once and in order. As in reconcile.ts, every attempt
// begins behind the last position P that the hub is known to hold, and an attempt whose outcome is unknown is followed by
// a reading. What remains are zombies: late bytes of an attempt of a message m under subject s, fenced at F.
// 1. The attempt that the hub stored, or the one after it, is the last message under s at G > F from then on: nobody else
//    writes under s, later messages of s come later still, and sequences are never given twice. So a zombie of m finds
//    another last sequence than F and is refused. It can be stored only while m is missing; then it is m's own place.
// 2. The reading finds m missing from the last message under the filter, at R. A zombie of m may be stored after that, at more
//    than R. So a last sequence of s that is beyond R is no fence: it may be m's own (this happens: the hub is asked for it
//    after the reading). With one up to R the attempt that we make is refused, and the next reading finds m. And a hub whose
//    last message is no longer R, once a new subject was asked for, may be a stream made anew, where 0 would pass: it is read again.
// 3. A zombie of m needs m to be missing for ever to come out of order: where m is sent no more because this store dropped it
//    (a limit that the operator set) in the moment when it was under way. The hub then holds it behind its gap record.
// 4. With one replica, and for F = 0, the hub checks and stores in one step. With three replicas a leader before 2.11
//    checks F > 0 when it proposes, against what it has applied. Two attempts of m that are proposed within that moment, or
//    by a leader that has not applied what its predecessor committed, both pass. Then their ID tells: the duplicate
//    window is looked up where messages are applied, in the log's order, and such a moment is shorter than any window.
// 5. A hub that removes messages by itself (age, consumers) may remove m, and F = 0 holds again: there a zombie is refused
//    by the duplicate window only.

import type { Fence, Hub } from './hub.ts';

/** Subjects whose last sequence is remembered: about 2 MB. Beyond it the longest unused one is asked for again. */
export const SUBJECT_FENCES_MAX = 10_000;

export class SubjectFences {
  readonly #hub: Hub;
  readonly #hubStream: string;
  readonly #filter: string;
  readonly #max: number;
  /** Longest unused first. */
  readonly #last = new Map<string, number>();

  /** `filter` covers all messages of ours. */
  constructor(hub: Hub, hubStream: string, filter: string, max = SUBJECT_FENCES_MAX) {
    this.#hub = hub;
    this.#hubStream = hubStream;
    this.#filter = filter;
    this.#max = max;
  }

  /**
   * The fence for the next message under `subject`, asked of the hub where it is not known. Null: something of ours was
   * stored behind `readSeq`, the last message under the filter as we know it, and the hub must be read again. Rejects with a
   * HubError.
   */
  async fence(subject: string, readSeq: number): Promise<Fence | null> {
    const known = this.#last.get(subject);
    const seq = known ?? (await this.#hub.lastBySubject(this.#hubStream, subject))?.seq ?? 0;
    if (seq > readSeq) return null;
    if (known === undefined) {
      const last = await this.#hub.lastBySubject(this.#hubStream, this.#filter);
      if ((last?.seq ?? 0) !== readSeq) return null;
    }
    this.#note(subject, seq);
    return { kind: 'subject', seq };
  }

  /** The hub has stored a message under `subject`. */
  stored(subject: string, hubSeq: number): void {
    this.#note(subject, hubSeq);
  }

  /** Forgets everything: after any failure only the hub knows what it holds. */
  drop(): void {
    this.#last.clear();
  }

  #note(subject: string, seq: number): void {
    this.#last.delete(subject);
    this.#last.set(subject, seq);
    if (this.#last.size <= this.#max) return;
    const [oldest] = this.#last.keys();
    if (oldest !== undefined) this.#last.delete(oldest);
  }
}
