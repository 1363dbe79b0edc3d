// Drains a backlog through ordered fast batches: many messages on their way at once, in order, each stored once. The
// argument of reconcile.ts holds with one addition. A batch is fenced where it opens, and what follows is a prefix of
// what we sent (the hub's promise for gap mode "fail"); but while it is open, the hub takes its bytes from any connection. So
// its ID is on our disk before it opens, and before every reading of the hub the batch of that ID is killed: from then
// on the last message under the filter is again the last one that can come. The kill is heard by the leader alone, and the
// next leader opens the batch again where it stood: so the first message after it is stored as a batch of that ID, begun and
// ended in one, which is replicated and ends it everywhere (the seal). Nothing is confirmed before the batch has
// ended, when the hub names the sequence of its last message: an acknowledgement on the way names none, and
// without one a loss at the hub could not be told from a removal. Batches end often enough that this is no delay.

import type { Random } from './backoff.ts';
import { BatchRun, flowFor } from './batch-run.ts';
import { takeBatch, type Batch } from './batch.ts';
import { FlowWindow } from './flow-window.ts';
import type { ForwardState } from './forward-state.ts';
import { HubError } from './hub-error.ts';
import { filterOf } from './hub-message.ts';
import type { FastBatch, FastBatchOptions, HubMessage } from './hub.ts';
import { randomToken } from './random-token.ts';
import type { Accelerator, Errand, Progress } from './way.ts';

/** Read and written at a time; between two of them the loop turns. */
const CHUNK_MESSAGES = 500;
const CHUNK_BYTES = 256 * 1024;
/** Too many batches are open at the hub. */
const CROWDED = 10211;

export class FastDrain implements Accelerator {
  readonly #errand: Errand;
  readonly #state: ForwardState;
  readonly #random: Random;
  readonly #silenceMs: number;
  readonly #window = new FlowWindow();

  /** A hub that makes no progress for `silenceMs` is given up. */
  constructor(
    errand: Errand,
    state: ForwardState,
    { random, silenceMs }: { random: Random; silenceMs: number },
  ) {
    this.#errand = errand;
    this.#state = state;
    this.#random = random;
    this.#silenceMs = silenceMs;
  }

  restart(): void {
    this.#window.restart();
  }

  async run(progress: Progress): Promise<'caught up' | 'read back'> {
    const { stopped, hubStream, origin, clock } = this.#errand;
    while (!stopped.aborted) {
      const first = this.#read(progress.afterSeq, progress);
      const [head] = first?.messages ?? [];
      if (first === undefined || head === undefined) return 'caught up';
      const id = randomToken(this.#random);
      if (!(await this.#noted(id))) return 'caught up';
      if (stopped.aborted) break;
      const fence = { filter: filterOf(origin), seq: progress.fenceSeq };
      const flow = flowFor(this.#window.messages, first.bytes / first.messages.length);
      const openedMs = clock.monotonicMs();
      const batch = await this.#open(head, { stream: hubStream, id, fence, flow });
      this.#window.opened(clock.monotonicMs() - openedMs);
      const run = new BatchRun(batch, flow, this.#errand, {
        window: this.#window,
        silenceMs: this.#silenceMs,
      });
      try {
        const end = await run.fill(first, (afterSeq) => this.#read(afterSeq, progress));
        await run.commit(progress);
        if (end === 'caught up') return 'caught up';
      } catch (error) {
        batch.abandon();
        this.#window.failed();
        throw error;
      }
    }
    return 'read back';
  }

  async #open(first: HubMessage, options: FastBatchOptions): Promise<FastBatch> {
    try {
      return await this.#errand.hub.openBatch(first, options);
    } catch (error) {
      // One that the hub has no room for was never there; to seal it would need the same room.
      if (error instanceof HubError && error.errCode === CROWDED) await this.#noted(null);
      throw error;
    }
  }

  /** Whether the ID is on our disk. A full disk takes none: then there is no batch, and the base goes on. */
  async #noted(batchId: string | null): Promise<boolean> {
    try {
      await this.#state.save({ ...this.#state.value, batchId });
      return true;
    } catch {
      return false;
    }
  }

  /** What fits into a batch behind `afterSeq`; undefined when nothing waits, or what comes next is the base's to judge. */
  #read(afterSeq: number, { stream, fenceSeq }: Progress): Batch | undefined {
    const { origin, hub, hubStream, stream: local } = this.#errand;
    const entries = local.read(afterSeq, CHUNK_MESSAGES, CHUNK_BYTES).slice(0, CHUNK_MESSAGES);
    if (entries.length === 0) return undefined;
    const taken = takeBatch(origin, entries, {
      messages: CHUNK_MESSAGES,
      bytes: CHUNK_BYTES,
      messageBytesMax: Math.min(hub.maxPayload, stream.messageBytesMax),
      fenceBytes: hubStream.length + filterOf(origin).length + String(fenceSeq).length,
    });
    return 'tooLarge' in taken || taken.single ? undefined : taken;
  }
}
