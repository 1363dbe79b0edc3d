// The consumers of hubs before 2.14 on a stream that keeps what is not consumed. Such a hub asks anew under no name that would
// tell which of its streams it is for, and never deletes what it had before. Where it says how far it is, it goes on with one
// that nobody listens to. Where it does not (it has stored nothing of ours, as when the answer to its last request was lost), it
// gets a new one, and one that is there may be its former one, or that of another stream of a hub.
//
// Why nothing goes that somebody needs: a hub that lives asks within some 150 s of its reaching us (from 2.10 on it waits 30 s
// for an answer, and then two minutes at most; earlier ones 7 s). So one that may have been left goes when nobody has listened
// to it for LEFT_MS, while all that time somebody listened to another of its kind: there was a link. One that a hub has read
// with is what an outage of any length must not cost: it is doubted only where none but it can be the former one.

import type { Logger } from '../../log.ts';
import type { Consumer } from './consumer.ts';
import type { ConsumerConfig } from './types.ts';

/** More than any hub takes to ask again. */
const LEFT_MS = 180_000;
/** Of those that nobody has read with: an answer that is lost leaves one, and a link may break often. */
const UNREAD_KEPT = 8;

/** What a new consumer means for those that are there. */
export interface Formers {
  /** It may have succeeded them. */
  readonly doubted: readonly Consumer[];
  /** There are enough that keep all that they keep, and nobody has read with any. */
  readonly spare: readonly Consumer[];
}

export class OldHubs {
  readonly #consumers: ReadonlyMap<string, Consumer>;
  readonly #log: Logger;

  /** `consumers`: those of the stream, by name. */
  constructor(consumers: ReadonlyMap<string, Consumer>, log: Logger) {
    this.#consumers = consumers;
    this.#log = log;
  }

  /**
   * What a hub asks for, with the name of the one that it goes on with. To one before 2.14 that is one which nobody listens to
   * any more, with the same filters, and acknowledged no further than the hub says it has everything; of several, the
   * one that is nearest: so two streams of a hub that come back at the same time go on with their own, or with what is as good.
   */
  placed(
    config: ConsumerConfig,
    askedSeq: number | undefined,
    isInterest: boolean,
  ): ConsumerConfig {
    if (config.asked?.oldHub !== true) return config;
    // One that begins at the start is new: on an interest stream another one's is not for it.
    if (askedSeq === undefined)
      return isInterest ? config : { ...config, name: this.#nearest(config, Infinity) };
    // Who says how far it is has stored what it was sent.
    const asked = { ...config.asked, read: true };
    return { ...config, name: this.#nearest(config, askedSeq), asked };
  }

  #nearest(config: ConsumerConfig, askedSeq: number): string {
    let nearest: Consumer | undefined;
    for (const consumer of this.#consumers.values()) {
      if (!isOfOldHub(consumer) || filtersOf(consumer.config) !== filtersOf(config)) continue;
      const { streamSeq } = consumer.progress.floor;
      if (consumer.inUse || streamSeq >= askedSeq) continue;
      if (nearest === undefined || streamSeq > nearest.progress.floor.streamSeq) nearest = consumer;
    }
    return nearest?.name ?? config.name;
  }

  /** Which of the others whoever asked for `made` may have left. */
  formersOf(made: Consumer, askedSeq: number | undefined): Formers {
    const others = this.#like(made).filter(isOfOldHub);
    const unread = others.filter((other) => !isRead(other));
    // Of those with the same floor the newest come first: their hubs may be about to listen.
    const spare = unread
      .filter(({ inUse }) => !inUse)
      .toReversed()
      .toSorted((x, y) => x.progress.floor.streamSeq - y.progress.floor.streamSeq)
      .slice(UNREAD_KEPT);
    const doubted = unread.filter((other) => !spare.includes(other));
    // Who says nothing of where it is may be a new stream of a hub: nobody is its former one.
    if (askedSeq === undefined) return { doubted, spare };
    const fitting = others.filter(
      (other) => isRead(other) && other.progress.floor.streamSeq < askedSeq,
    );
    if (fitting.length === 1) doubted.push(...fitting);
    return { doubted, spare };
  }

  /** It may have been left: then its time runs. */
  async doubt(consumer: Consumer): Promise<void> {
    await this.#amend(consumer, (config) => ({ ...config, inactiveThresholdMs: LEFT_MS }));
  }

  /** A hub has answered, and has stored something that came by it (`moved`) or nothing new. */
  confirmed(consumer: Consumer, moved: boolean): void {
    const isNews = isDoubted(consumer.config) || (moved && !isRead(consumer));
    if (!isOfOldHub(consumer) || !isNews) return;
    void this.#amend(consumer, (config) => ({
      ...config,
      inactiveThresholdMs: undefined,
      asked: { ...config.asked, ...(moved ? { read: true } : {}) },
    }));
  }

  /** Unless a hub has asked for it anew meanwhile. */
  async #amend(
    consumer: Consumer,
    change: (config: ConsumerConfig) => ConsumerConfig,
  ): Promise<void> {
    const listener = consumer.config.push?.deliverSubject;
    try {
      await consumer.amend((config) =>
        config.push?.deliverSubject === listener ? change(config) : config,
      );
    } catch (error) {
      // On a full disk it stays as it is: too much is kept, not too little.
      this.#log.debug({ err: error }, 'a consumer of a hub could not be changed');
    }
  }

  /** Somebody listens to it now, or nobody any more: for those that may be left the time begins anew. */
  moved(consumer: Consumer): void {
    if (!isOfHub(consumer)) return;
    for (const other of this.#like(consumer)) if (isDoubted(other.config)) other.waitAnew();
  }

  /** Whether it may not go yet: nobody listens to another of its kind, so perhaps there is no link by which its hub could ask. */
  keeps(consumer: Consumer): boolean {
    return isOfOldHub(consumer) && !this.#like(consumer).some(({ inUse }) => inUse);
  }

  /** The others that might belong to the same stream of a hub. */
  #like(consumer: Consumer): Consumer[] {
    const kind = kindOf(consumer.config);
    return [...this.#consumers.values()].filter(
      (other) => other !== consumer && isOfHub(other) && kindOf(other.config) === kind,
    );
  }
}

/** Whether it may have been left. */
export function isDoubted({ asked, inactiveThresholdMs }: ConsumerConfig): boolean {
  return asked?.oldHub === true && inactiveThresholdMs !== undefined;
}

/** Whether a stream of a hub is read into with it. */
function isOfHub({ config }: Consumer): boolean {
  return config.sourcing === true;
}

function isOfOldHub({ config }: Consumer): boolean {
  return config.asked?.oldHub === true;
}

/** Whether a hub has stored something that came by it, or has said what it has. */
function isRead({ config }: Consumer): boolean {
  return config.asked?.read === true;
}

function filtersOf({ filterSubjects }: ConsumerConfig): string {
  return String(filterSubjects);
}

/** A mirror listens elsewhere than a source, and a source with a prefix of its own there. */
function kindOf(config: ConsumerConfig): string {
  const subject = config.push?.deliverSubject ?? '';
  return `${subject.slice(0, subject.lastIndexOf('.'))} ${filtersOf(config)}`;
}
