// For hub streams that nobody else writes to, on hubs that take no batches: many single publishes in flight, each of
// which expects the stream's last sequence to be that of the one before it.
//
// Why this is exactly once and in order, as reconcile.ts has it for one publish in flight:
// 1. A run begins only where the stream's last sequence F is that of a message whose ID we know: the last one under our
//    filter, as the reading or an acknowledgement named it (or F = 0 and the stream has never held anything). A stream
//    whose end was deleted, or whose last sequence was read before a late message came, is the base's: it sends one
//    fenced on its subject, and its acknowledgement is such an F. The k-th message of the run expects F + k - 1.
// 2. The hub stores it only if the stream's last sequence is just that; every replica checks so where it applies the log, with all
//    servers since 2.9. All messages in the stream are ours, so what stands at F + k - 1 is the (k-1)-th message: ours are stored
//    in order, without a hole, and each at the sequence that it was meant for. When one is lost, all behind it are refused.
// 3. A zombie of an earlier run, of any connection or process, expects the sequence at which its predecessor was meant to
//    stand. Each run continues where the reading found the end of the one before, so message and sequence go together in the same way in all
//    of them: the zombie is stored only behind its predecessor, which is its place, and what we then send at that place is refused.
//    Deletions do not matter: a stream's last sequence never goes back.
// 4. Two things undo 3, as they do elsewhere: a hub that loses what it confirmed, and a limit of this store that drops
//    messages in the moment when they are under way, so that one gap record takes the place of several.
// 5. Should somebody write to the stream all the same, a message of his may stand where one of ours was meant to: that one is
//    refused, and those behind it are stored. So a chain too notes on the disk that there may be holes, and the next
//    reading looks for them: then the order suffers, but nothing is lost. (Not where the stream removes messages by itself.)
// `Nats-Expected-Last-Msg-Id` would say the same more directly, but a replica that was restored from a snapshot does not know
// the last ID: it would refuse what the others store, and nobody would notice.

import type { ForwardState } from './forward-state.ts';
import { localError } from './hub-error.ts';
import type { Fence, HubAck } from './hub.ts';
import { Pipeline } from './pipeline.ts';
import type { Accelerator, Errand, Progress } from './way.ts';
import { WindowNote } from './window-note.ts';

export class Chain implements Accelerator {
  readonly #errand: Errand;

  readonly #note: WindowNote;

  constructor(errand: Errand, state: ForwardState) {
    this.#errand = errand;
    this.#note = new WindowNote(errand, state);
  }

  restart(): void {
    // The size of the window is the forwarder's, which has been told.
  }

  /** Ends with the first error: what is still in flight can only go where it belongs, and the next reading finds it. */
  async run(progress: Progress): Promise<'caught up' | 'read back'> {
    const { stopped, hub } = this.#errand;
    // 1.: after the base has sent one, its sequence is beyond what the reading saw.
    if (progress.stream.lastSeq > progress.fenceSeq) return 'caught up';
    // What consumers took away would look like a hole.
    const noted = !progress.stream.removes;
    if (noted && !(await this.#note.open(progress))) return 'caught up';
    const pipeline = new Pipeline(this.#errand, progress);
    let expected = progress.fenceSeq;
    const fence = (): Fence => ({ kind: 'stream', seq: expected++ });
    let place = progress.fenceSeq;
    const right = ({ seq }: HubAck): boolean => seq === ++place;
    for (;;) {
      if (this.#errand.linkLost()) throw localError('linkDown', hub.detail);
      // What no publish can carry is the base's to judge.
      pipeline.fill(fence);
      if (!pipeline.confirm(right)) return 'read back';
      const [failure] = pipeline.failures;
      if (failure !== undefined) throw failure.error;
      if (pipeline.unanswered === 0) return stopped.aborted ? 'read back' : 'caught up';
      if (noted) await this.#note.follow(progress);
      await pipeline.happening();
    }
  }
}
