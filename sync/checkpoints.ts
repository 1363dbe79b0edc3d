// The checkpoint of one stream at the hub: a message that says how far we are, for hub streams that remove messages
// by themselves. Each batch brings a new one, in the same atomic write; the older ones are deleted afterwards, at leisure.
// Only a message that a newer checkpoint stands behind is ever deleted, and only by the sequence that the hub itself named.

import type { ForwardLog } from './forward-log.ts';
import { HubError } from './hub-error.ts';
import { checkpoint, checkpointSubject, type Origin, type Position } from './hub-message.ts';
import { covers } from './hub-stream.ts';
import { BATCH_MESSAGES_MAX, type Checkpoint, type Hub, type HubStream } from './hub.ts';

/** Deletes in one sweep; what is left goes with the next one. */
const SWEEP_MAX = 1_000;

export class Checkpoints {
  readonly #origin: Origin;
  readonly #hubStream: string;
  readonly #hub: Hub;
  readonly #log: ForwardLog;
  #active = false;
  /** Consumers of the hub stream took a checkpoint away: no more are sent in this run. */
  #lost = false;
  /** Hub sequence of the newest, 0 for none; after an acknowledgement by arithmetic, which the fence checks. */
  #seq = 0;
  #sweeping = false;
  #sweepFrom = 1;

  constructor(origin: Origin, hubStream: string, hub: Hub, log: ForwardLog) {
    this.#origin = origin;
    this.#hubStream = hubStream;
    this.#hub = hub;
    this.#log = log;
  }

  /** The most messages that fit into a batch beside a checkpoint. */
  get messagesMax(): number {
    return this.#active ? BATCH_MESSAGES_MAX - 1 : BATCH_MESSAGES_MAX;
  }

  /** After a reading: what the hub stream is like, and where the newest checkpoint is (0: there is none). */
  readBack(stream: HubStream, seq: number): void {
    const wasSent = this.#active && this.#seq > 0;
    if (wasSent && seq === 0 && stream.consumed && !this.#lost) {
      this.#lost = true;
      const { prefix, gateway } = this.#origin;
      this.#log.checkpointsLost(this.#hubStream, `${prefix}.${gateway}.*.>`);
    }
    const subject = checkpointSubject(this.#origin);
    this.#seq = seq;
    this.#active =
      !this.#lost &&
      stream.removes &&
      stream.checkpoints &&
      stream.subjects.some((pattern) => covers(pattern, subject));
    this.#sweepFrom = 1;
  }

  /** The checkpoint to send with a batch that ends at `last`; undefined where none is needed. */
  next(last: Position): Checkpoint | undefined {
    if (!this.#active) return undefined;
    return { message: checkpoint(this.#origin, last), previousSeq: this.#seq };
  }

  /** A batch is stored, its last message at `hubSeq` and the checkpoint behind it. */
  acknowledged(hubSeq: number): void {
    this.#seq = hubSeq + 1;
    if (!this.#sweeping) void this.#sweep();
  }

  /** Deletes the checkpoints that a newer one stands behind. One sweep at a time; failures are left to the next. */
  async #sweep(): Promise<void> {
    this.#sweeping = true;
    try {
      const subject = checkpointSubject(this.#origin);
      let old = await this.#hub.nextBySubject(this.#hubStream, subject, this.#sweepFrom);
      for (let deleted = 0; old !== null && deleted < SWEEP_MAX; deleted++) {
        const newer = await this.#hub.nextBySubject(this.#hubStream, subject, old.seq + 1);
        if (newer === null) return;
        await this.#hub.deleteMessage(this.#hubStream, old.seq);
        this.#sweepFrom = newer.seq;
        old = newer;
      }
    } catch (error) {
      if (error instanceof HubError && error.kind === 'configuration')
        this.#log.checkpointsNotDeleted(error);
    } finally {
      this.#sweeping = false;
    }
  }
}
