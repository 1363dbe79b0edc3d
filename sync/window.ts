// For hubs that take no batches, and hub streams that others write to as well, where an operator chose speed over order
// (`order = "relaxed"`): many single publishes in flight, each with its ID and no fence.
//
// What it claims. Nothing is lost: only what has nothing unanswered before it is confirmed. Nothing is stored twice, however long
// an outage lasts, as long as no attempt of ours comes later than the hub remembers its ID: after any doubt every ID
// behind the last certain place is read, by a reading that shows all attempts (window-probe.ts), and only what is missing
// is sent. What it does not claim. Order: a message that was lost on the way, as a change of leaders loses some, comes
// behind later ones. And without a fence nothing but the hub's duplicate window refuses a late attempt, of an old connection,
// a killed process or a cloned card: one that comes when its message was sent again and the window is over is stored a
// second time.
//
// What strict order relies on, that the last message at the hub tells of all before it, does not hold from the first
// window on. So the disk says that one is open before it opens, every reading is then readWindow()'s, and before a
// strict way goes on, close() fills the holes.

import { HubError, isExplained, LOCAL_ERROR, localError } from './hub-error.ts';
import { positionOf } from './hub-message.ts';
import type { HubAck } from './hub.ts';
import type { ForwardState } from './forward-state.ts';
import { Pipeline, type Ahead, type Failure } from './pipeline.ts';
import { idReader } from './reconcile.ts';
import type { Accelerator, Errand, Progress } from './way.ts';
import { WindowNote } from './window-note.ts';
import { WindowProbe } from './window-probe.ts';

/** Refusals of one message for no known reason, with a reading between, until it is set aside. */
const REFUSALS = 3;

const NONE: Ahead = new Map();

export class Window implements Accelerator {
  readonly #errand: Errand;
  readonly #state: ForwardState;
  readonly #note: WindowNote;
  readonly #probe: WindowProbe;
  /** The last message that was refused for no known reason, and how often in a row. */
  #refused = { seq: 0, errCode: 0, times: 0 };

  constructor(errand: Errand, state: ForwardState) {
    this.#errand = errand;
    this.#state = state;
    this.#note = new WindowNote(errand, state);
    this.#probe = new WindowProbe(errand, state);
  }

  restart(): void {
    // The size of the window is the forwarder's, which has been told.
  }

  async run(progress: Progress): Promise<'caught up' | 'read back'> {
    // A full disk takes no note: then there is no window, and the base goes on.
    if (!(await this.#note.open(progress))) return 'caught up';
    if (!(await this.#probe.assured(progress))) return 'read back';
    return this.#send(progress, Infinity);
  }

  /**
   * Sends what is missing before the last of `progress.ahead`: from then on the hub holds a prefix again ('closed'). Or else
   * the hub must be read first.
   */
  async close(progress: Progress): Promise<'closed' | 'read back'> {
    if (!(await this.#probe.assured(progress, true))) return 'read back';
    const upToSeq = this.#lastSeq(progress.ahead);
    if (upToSeq > progress.afterSeq) await this.#send(progress, upToSeq);
    if (this.#errand.stopped.aborted) return 'read back';
    progress.ahead = NONE;
    // Where the disk takes nothing, the next reading looks for holes that are not there.
    await this.#state.save({ ...this.#state.value, window: null }).catch(() => undefined);
    return 'closed';
  }

  async #send(progress: Progress, upToSeq: number): Promise<'caught up' | 'read back'> {
    const { stopped } = this.#errand;
    while (!stopped.aborted) {
      const pipeline = new Pipeline(this.#errand, progress);
      const failures = await this.#fly(pipeline, progress, upToSeq).finally(() =>
        this.#probe.attempted(pipeline.sentSeq),
      );
      if (failures === undefined || stopped.aborted) return 'read back';
      if (failures.length === 0) return 'caught up';
      progress.ahead = new Map([...(progress.ahead ?? NONE), ...pipeline.ahead]);
      await this.#setAside(failures);
    }
    return 'read back';
  }

  /** Sends until nothing waits, or something failed and all else is settled; undefined after stop(). */
  async #fly(
    pipeline: Pipeline,
    progress: Progress,
    upToSeq: number,
  ): Promise<readonly Failure[] | undefined> {
    const { ahead = NONE } = progress;
    const aheadSeq = this.#lastSeq(ahead);
    // Sequences that go back are those of another stream, or of one that lost its end: no fence notices that here.
    const right = ({ seq, duplicate }: HubAck): boolean => duplicate || seq > progress.fenceSeq;
    for (;;) {
      if (this.#errand.linkLost()) throw localError('linkDown', this.#errand.hub.detail);
      const { afterSeq } = progress;
      const tooLarge = pipeline.fill(() => undefined, { ahead, upToSeq });
      if (!pipeline.confirm(right)) return undefined;
      if (tooLarge !== undefined || pipeline.failures.length > 0) {
        // Without a fence nothing of ours may still be on its way when the hub is read.
        await pipeline.settled();
        if (!pipeline.confirm(right)) return undefined;
        const { failures } = pipeline;
        if (failures.length > 0 || tooLarge === undefined) return failures;
        return [{ entry: tooLarge.entry, error: localError('tooLarge', tooLarge.reason) }];
      }
      if (progress.afterSeq >= aheadSeq) await this.#note.follow(progress);
      if (pipeline.unanswered > 0) await pipeline.happening();
      else if (progress.afterSeq === afterSeq) return [];
    }
  }

  /** Moves what the hub will never take out of the way. Throws where the hub must be looked at first. */
  async #setAside(failures: readonly Failure[]): Promise<void> {
    const passing = failures.find(({ error }) => error.kind !== 'poison');
    if (passing !== undefined) throw passing.error;
    for (const { entry, error } of failures) {
      const { seq } = positionOf(entry);
      if (entry.kind === 'gap')
        throw new HubError(
          'configuration',
          `the hub does not take a gap record: ${error.message}`,
          {
            errCode: LOCAL_ERROR.unfitStream,
            hint: 'a gap record is some 400 bytes: raise max_msg_size of the hub stream',
          },
        );
      if (!isExplained(error.errCode)) {
        const again = this.#refused.seq === seq && this.#refused.errCode === error.errCode;
        const times = again ? this.#refused.times + 1 : 1;
        this.#refused = { seq, errCode: error.errCode, times };
        if (times < REFUSALS) throw error;
      }
      await this.#errand.setAside(entry, error.message);
      if (this.#errand.stopped.aborted) return;
    }
  }

  /** The last local sequence in `ahead`; 0 for none. */
  #lastSeq(ahead: Ahead = NONE): number {
    const { origin, stream } = this.#errand;
    const read = idReader({ origin, epochs: stream.epochs(), durableSeq: stream.durableSeq });
    let last = 0;
    for (const id of ahead.keys()) {
      const meaning = read(id);
      if (meaning.kind === 'ours') last = Math.max(last, meaning.seq);
    }
    return last;
  }
}
