// The base of forwarding: one publish in flight, each fenced, each begun from what the hub was last known to hold.
// It is strict on every hub and copes with every error, so that the accelerators need not: they stop, and leave what
// stopped them to it. An attempt whose outcome is unknown is followed by a reading, never by a second try.

import { assert } from '../src/assert.ts';
import type { Entry } from '../src/jetstream/stream-types.ts';
import type { Batch, BatchLimits } from './batch.ts';
import type { Checkpoints } from './checkpoints.ts';
import { HubError, isExplained, LOCAL_ERROR, localError } from './hub-error.ts';
import { filterOf, positionOf } from './hub-message.ts';
import type { Fence, HubAck } from './hub.ts';
import { ReadAhead } from './read-ahead.ts';
import { SubjectFences } from './subject-fences.ts';
import type { Errand, Progress } from './way.ts';

/** Names the most messages that a batch may have (max_batch_size of the hub). */
const TOO_LARGE_BATCH = 10199;
/** Refusals of one message alone, each with the hub's stream looked at again, until it is set aside. */
const REFUSALS = { explained: 2, unexplained: 3 } as const;

/** 'sealed': sent, and a fast batch that was killed is gone from every replica. */
type Step = 'nothing' | 'sent' | 'sealed' | 'read back';

export class StopAndWait {
  readonly #errand: Errand;
  readonly #checkpoints: Checkpoints;
  readonly #ahead: ReadAhead;
  readonly #fences: SubjectFences;
  /** The entry whose publish failed last, how often in a row it was refused alone, and by what. */
  #head = { seq: 0, refusals: 0, errCode: 0 };

  constructor(errand: Errand, checkpoints: Checkpoints) {
    const { origin, stream, hub, hubStream, clock } = errand;
    this.#errand = errand;
    this.#checkpoints = checkpoints;
    this.#ahead = new ReadAhead(origin, stream, clock);
    this.#fences = new SubjectFences(hub, hubStream, filterOf(origin));
  }

  /** Forgets what was read ahead, and what was known of the hub. */
  drop(): void {
    this.#ahead.drop();
    this.#fences.drop();
  }

  /** Sends the next batch behind `progress`, and moves it. Throws a HubError when back-off shall come before the reading. */
  async step(progress: Progress, seal?: string): Promise<Step> {
    const batch = this.#ahead.take(
      progress.afterSeq,
      this.#limits(progress, progress.afterSeq, seal),
    );
    if (batch === undefined) return 'nothing';
    if (!('tooLarge' in batch)) return this.#send(batch, progress, seal);
    await this.#setAside(batch.tooLarge.entry, batch.tooLarge.reason);
    return 'sent';
  }

  #limits({ stream, fenceSeq }: Progress, afterSeq: number, seal?: string): BatchLimits {
    const { hub, hubStream, origin, size, stream: local } = this.#errand;
    const batches = stream.atomic && stream.filterFence && seal === undefined;
    const messages = size.messagesOf(local.durableSeq - afterSeq);
    return {
      messages: batches ? Math.min(messages, this.#checkpoints.messagesMax) : 1,
      bytes: size.bytes,
      messageBytesMax: Math.min(hub.maxPayload, stream.messageBytesMax),
      fenceBytes: hubStream.length + filterOf(origin).length + String(fenceSeq).length,
    };
  }

  async #send(batch: Batch, progress: Progress, seal?: string): Promise<Step> {
    const { entries, messages, bytes, single } = batch;
    const { hub, hubStream, size, clock } = this.#errand;
    const tail = entries.at(-1);
    const [first] = messages;
    assert(tail !== undefined && first !== undefined, 'a batch is not empty');
    const last = positionOf(tail);
    // After a refusal it is tried quite alone: the checkpoint may be what the hub does not take.
    const bare = single || this.#head.refusals > 0 || seal !== undefined;
    const checkpoint = bare ? undefined : this.#checkpoints.next(last);
    const fence = await this.#fence(first.subject, progress);
    if (fence === null || this.#errand.stopped.aborted) return 'read back';
    const sentMs = clock.monotonicMs();
    let ack: HubAck;
    try {
      const publishing = hub.publish(messages, {
        stream: hubStream,
        fence,
        patienceMs: size.patienceMs(messages.length, bytes),
        ...(checkpoint === undefined ? {} : { checkpoint }),
        ...(seal === undefined ? {} : { seal }),
      });
      this.#ahead.prepare(last.seq, this.#limits(progress, last.seq));
      ack = await publishing;
    } catch (error) {
      this.drop();
      if (!(error instanceof HubError) || this.#errand.stopped.aborted) throw error;
      return this.#failed(error, batch);
    }
    // Sequences that go back are those of another stream under the name: what it has shall be read first.
    if (!ack.duplicate && ack.seq <= progress.fenceSeq)
      throw localError('badAnswer', `the hub stored a message at ${ack.seq}, before its last one`);
    // After stop() the store may be closed. What the hub has stored is found by the next start.
    if (!this.#errand.confirm(last, ack.seq, progress.stream.created)) return 'read back';
    const elapsedMs = clock.monotonicMs() - sentMs;
    size.acknowledged(bytes, elapsedMs);
    size.timed(messages.length, elapsedMs);
    this.#head = { seq: 0, refusals: 0, errCode: 0 };
    const gaps = entries.filter(({ kind }) => kind === 'gap').length;
    const duplicates = ack.duplicate ? 1 : 0;
    this.#errand.sent({ messages: messages.length, bytes, gaps, duplicates });
    // The hub has had it before, so it counts; but what is last there now only a reading can tell.
    if (ack.duplicate) return 'read back';
    progress.afterSeq = last.seq;
    progress.fenceSeq = ack.seq;
    this.#fences.stored(first.subject, ack.seq);
    if (checkpoint !== undefined) this.#checkpoints.acknowledged(ack.seq);
    return seal === undefined ? 'sent' : 'sealed';
  }

  /** The strictest fence that the hub understands; null: it must be read again first. */
  #fence(subject: string, { stream, fenceSeq }: Progress): Fence | Promise<Fence | null> {
    if (!stream.filterFence) return this.#fences.fence(subject, fenceSeq);
    return { kind: 'filter', filter: filterOf(this.#errand.origin), seq: fenceSeq };
  }

  /** What to do about a publish that failed; throws the error where it shall be waited for first. */
  async #failed(error: HubError, { entries, messages }: Batch): Promise<Step> {
    const { kind, errCode } = error;
    const { size } = this.#errand;
    const [head] = entries;
    assert(head !== undefined, 'a batch is not empty');
    const { seq } = positionOf(head);
    const again = this.#head.seq === seq && this.#head.errCode === errCode;
    this.#head = { seq, errCode, refusals: again ? this.#head.refusals : 0 };
    const most =
      errCode === TOO_LARGE_BATCH ? /too large: (\d+)/.exec(error.message)?.[1] : undefined;
    if (most !== undefined && messages.length > 1) {
      // Nothing of the batch was stored, and the fence still says so.
      size.limit(Math.min(Number(most), messages.length));
      return 'sent';
    }
    if (kind === 'poison') return this.#refused(error, head, messages.length);
    if (errCode === LOCAL_ERROR.timeout || errCode === LOCAL_ERROR.linkDown)
      size.unanswered(messages.length);
    // The hub does not say which message of a batch it could not take.
    if (errCode === 10176 && again) size.refused(messages.length);
    // Known IDs refuse a whole batch, and too many gateways at once every batch: one message needs neither.
    if (errCode === 10201 && again) size.alone();
    if (errCode === 10210 && again) size.crowded();
    // The fence moved: consumers removed the last message, or somebody was faster. Look at once, but only once.
    if (errCode === 10071 && !again) return 'read back';
    throw error;
  }

  /** The hub will not take a message: find out which, look at the hub once more, then set it aside. */
  async #refused(error: HubError, head: Entry, messages: number): Promise<Step> {
    if (messages > 1) {
      // Nothing of the batch was stored, and the fence still says so.
      this.#errand.size.refused(messages);
      return 'sent';
    }
    const explained = isExplained(error.errCode);
    this.#head.refusals++;
    if (this.#head.refusals >= (explained ? REFUSALS.explained : REFUSALS.unexplained)) {
      await this.#setAside(head, error.message);
      return 'sent';
    }
    if (explained) return 'read back';
    throw error;
  }

  async #setAside(entry: Entry, reason: string): Promise<void> {
    if (entry.kind === 'gap')
      throw new HubError('configuration', `the hub does not take a gap record: ${reason}`, {
        errCode: LOCAL_ERROR.unfitStream,
        hint: 'a gap record is some 400 bytes: raise max_msg_size of the hub stream',
      });
    await this.#errand.setAside(entry, reason);
    this.#head = { seq: 0, refusals: 0, errCode: 0 };
  }
}
