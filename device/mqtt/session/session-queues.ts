// The queues of all sessions: which kind a session gets, the bytes that they share, when those in memory may show what was
// put into them, and what is counted and said where messages are lost.

import type { Base } from '../base.ts';
import { Budget } from '../limits.ts';
import { DurableQueue } from './durable-queue.ts';
import { MemoryQueue } from './memory-queue.ts';
import type { DeliveryQueue, Loss } from './queue.ts';
import type { Session } from './session.ts';

export class SessionQueues {
  readonly #base: Base;
  /** Bytes of all queues on the disk, messages of all, and bytes in memory. */
  readonly #disk: Budget;
  readonly #messages: Budget;
  readonly #memory: Budget;
  /** Sessions without a table that something was queued for in this turn. */
  readonly #queued = new Set<Session>();

  constructor(base: Base) {
    this.#base = base;
    this.#disk = new Budget(base.limits.queuedBytesTotalMax);
    this.#messages = new Budget(base.limits.queuedMessagesTotalMax);
    this.#memory = new Budget(base.limits.memoryBytesTotalMax);
  }

  get diskBytes(): number {
    return this.#disk.used;
  }

  get memoryBytes(): number {
    return this.#memory.used;
  }

  /** The queue of a session; `loading`: its rows are still to be read. */
  create(session: Session, loading: boolean): DeliveryQueue {
    const { limits, store } = this.#base;
    const lost = (loss: Loss, messages: number): void => session.lost(loss, messages);
    const discard = limits.queueDiscard;
    if (!session.persistent) {
      const messagesMax = limits.cleanQueuedMessagesMax;
      const total = this.#messages;
      return new MemoryQueue({ messagesMax, total, memory: this.#memory, discard, lost });
    }
    const queue = new DurableQueue(store.queue, session.clientId, {
      messagesMax: limits.queuedMessagesMax,
      bytesMax: limits.queuedBytesMax,
      total: this.#messages,
      disk: this.#disk,
      memory: this.#memory,
      discard,
      lost,
    });
    if (!loading) queue.sweep();
    return queue;
  }

  /** A session in memory writes nothing, but Law 1 holds for it too: the message may be a stream's, on its way to the disk. */
  awaitTurn(session: Session): void {
    if (this.#queued.has(session)) return;
    this.#queued.add(session);
    this.#base.gate.join(() => {
      this.#queued.delete(session);
      const { queue } = session.deliveries;
      const seq = queue.lastSeq;
      return () => {
        queue.settle(seq, null);
        session.pump();
      };
    });
  }

  lost(session: Session, loss: Loss, messages: number): void {
    const { counters } = this.#base;
    if (loss === 'full') counters.droppedQueueMsgs += messages;
    else if (loss === 'expired') counters.droppedExpiredMsgs += messages;
    else if (loss === 'large') counters.droppedLargeMsgs += messages;
    else if (loss === 'forbidden') counters.droppedForbiddenMsgs += messages;
    else counters.droppedRefusedMsgs += messages;
    this.#say(loss, { clientId: session.clientId });
  }

  #say(loss: Loss, who: { readonly clientId: string }): void {
    const base = this.#base;
    switch (loss) {
      case 'full':
        return base.warn('the queue of an MQTT client is full: messages are dropped', who);
      case 'expired':
        return base.warn('messages for an MQTT client have expired: they are dropped', who);
      case 'forbidden':
        return base.warn(
          'queued messages of an MQTT client are no longer permitted: they are dropped',
          who,
        );
      case 'refused':
        return base.warn('the disk is full: messages for an MQTT client are dropped', who);
      case 'large':
        return base.warn('messages are larger than an MQTT client takes: they are dropped', who);
      case 'unreadable':
        return base.warn(
          'messages for an MQTT client cannot be read or put into a packet: they are dropped',
          who,
        );
    }
  }
}
