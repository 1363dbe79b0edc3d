// Reads the headers of many hub messages at once, through a consumer of our own that is deleted afterwards. What such a
// consumer shows may be old: it lives on one replica. So the rest up to a given sequence is read from the leader.

import { delay, type Clock } from '../src/clock.ts';
import type { Random } from './backoff.ts';
import { HubError, LOCAL_ERROR, localError } from './hub-error.ts';
import type { HubStored } from './hub.ts';
import type { JetStreamApi } from './jetstream-api.ts';
import type { Reply } from './nats-connection.ts';
import { noResponders, type NatsLink } from './nats-link.ts';
import { randomToken } from './random-token.ts';

/** Messages asked for at a time. */
const PAGE_MESSAGES = 500;
/** Times that a new consumer is asked until it listens, and the time between. */
const ATTEMPTS = 40;
const RETRY_MS = 50;
/** The hub forgets the consumer after this time without a request. */
const IDLE_NS = 60 * 1_000_000_000;

export interface ScanParts {
  readonly link: NatsLink;
  readonly api: JetStreamApi;
  readonly clock: Clock;
  readonly random: Random;
}

/** One message by its sequence or place, from the leader. */
export interface LeaderReads {
  messageAt(stream: string, seq: number): Promise<HubStored | null>;
  nextBySubject(stream: string, filter: string, fromSeq: number): Promise<HubStored | null>;
}

export interface ScanRange {
  readonly stream: string;
  readonly filter: string;
  readonly fromSeq: number;
  readonly toSeq: number;
}

interface Page {
  readonly messages: readonly HubStored[];
  /** Messages that remain. */
  readonly pending: number;
}

/** All messages of the range, in order, some at a time; see Hub.scanHeaders. */
export class HeaderScan {
  readonly #parts: ScanParts;
  readonly #leader: LeaderReads;
  readonly #range: ScanRange;

  constructor(parts: ScanParts, leader: LeaderReads, range: ScanRange) {
    this.#parts = parts;
    this.#leader = leader;
    this.#range = range;
  }

  async *pages(): AsyncIterable<readonly HubStored[]> {
    const { fromSeq, toSeq } = this.#range;
    let reached = fromSeq - 1;
    for await (const page of this.#consume()) {
      reached = page.at(-1)?.seq ?? reached;
      yield page;
    }
    // The replica may not have heard of the newest messages yet. Tried: it does happen.
    if (reached < toSeq) yield* this.#walk(reached + 1);
  }

  /** The messages that a consumer of our own is given; none where the hub allows us no consumer. */
  async *#consume(): AsyncIterable<readonly HubStored[]> {
    const { api, random } = this.#parts;
    const { stream, filter, fromSeq } = this.#range;
    const consumer = `mangrove-${randomToken(random)}`;
    try {
      await api.request(`CONSUMER.CREATE.${stream}.${consumer}.${filter}`, {
        stream_name: stream,
        config: {
          name: consumer,
          deliver_policy: 'by_start_sequence',
          opt_start_seq: fromSeq,
          ack_policy: 'none',
          filter_subject: filter,
          headers_only: true,
          replay_policy: 'instant',
          inactive_threshold: IDLE_NS,
          mem_storage: true,
          num_replicas: 1,
        },
      });
    } catch (error) {
      // A work queue allows no second consumer for these subjects, and an account perhaps none.
      if (!(error instanceof HubError) || error.kind === 'retry') throw error;
      return;
    }
    try {
      let delivered = 0;
      for (;;) {
        const { messages, pending } = await this.#pulled(consumer, delivered);
        delivered += messages.length;
        yield await this.#withIds(messages);
        if (pending === 0) return;
      }
    } finally {
      void api.request(`CONSUMER.DELETE.${stream}.${consumer}`).catch(() => undefined);
    }
  }

  /** The library reads some headers as none: those messages are asked for one by one. */
  async #withIds(messages: readonly HubStored[]): Promise<HubStored[]> {
    const complete: HubStored[] = [];
    for (const stored of messages)
      complete.push(
        stored.id === undefined
          ? ((await this.#leader.messageAt(this.#range.stream, stored.seq)) ?? stored)
          : stored,
      );
    return complete;
  }

  /** One message at a time, from the leader. */
  async *#walk(fromSeq: number): AsyncIterable<readonly HubStored[]> {
    const { stream, filter } = this.#range;
    for (let seq = fromSeq; ;) {
      const stored = await this.#leader.nextBySubject(stream, filter, seq);
      if (stored === null) return;
      yield [stored];
      seq = stored.seq + 1;
    }
  }

  /** As #pull; in a cluster a consumer may be there before it listens. */
  async #pulled(consumer: string, delivered: number): Promise<Page> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#pull(consumer, delivered);
      } catch (error) {
        const early = error instanceof HubError && error.errCode === LOCAL_ERROR.noResponders;
        if (!early || attempt >= ATTEMPTS) throw error;
        await delay(this.#parts.clock, RETRY_MS);
      }
    }
  }

  /** The next messages of a scan, without a gap, and how many remain. */
  async #pull(consumer: string, delivered: number): Promise<Page> {
    const { link, api } = this.#parts;
    const subject = `$JS.API.CONSUMER.MSG.NEXT.${this.#range.stream}.${consumer}`;
    const messages: HubStored[] = [];
    let next = delivered + 1;
    let pending = 0;
    const request = Buffer.from(JSON.stringify({ batch: PAGE_MESSAGES, no_wait: true }));
    await link.exchange<true>({
      covers: (denied) => denied === subject,
      timeoutMs: api.timeoutMs,
      deliveries: true,
      send: (connection, reply) => connection.publish(subject, request, undefined, reply(1)),
      receive: (reply) => {
        if (reply.status === 503) throw noResponders(subject);
        if (reply.status === 404 || reply.status === 408) {
          // Nothing left, as far as this replica knows: it may have announced more than it has.
          pending = 0;
          return true;
        }
        if (reply.status !== 0)
          throw localError('badAnswer', `the scan was ended: ${reply.description}`);
        const place = placeOf(reply.reply);
        if (place === undefined || place.delivered !== next)
          throw localError('badAnswer', 'the scan has a gap');
        next++;
        pending = place.pending;
        messages.push({ seq: place.seq, subject: reply.subject, id: idOf(reply) });
        return pending === 0 || messages.length === PAGE_MESSAGES ? true : undefined;
      },
    });
    return { messages, pending };
  }
}

/** Sequence, delivery count and rest from a delivery's reply subject: $JS.ACK.<stream>.<consumer>.<n>.<seq>.<delivered>.<time>.<pending>, newer ones with domain and account before the stream. */
function placeOf(reply: string): { seq: number; delivered: number; pending: number } | undefined {
  const tokens = reply.split('.');
  const at = tokens.length >= 11 ? 7 : 5;
  const [seq, delivered, , pending] = tokens.slice(at).map(Number);
  if (!reply.startsWith('$JS.ACK.') || tokens.length < 9) return undefined;
  if (seq === undefined || delivered === undefined || pending === undefined) return undefined;
  return { seq, delivered, pending };
}

/** The message ID of a scanned message; undefined where it has none or the library cannot read its headers. */
function idOf(reply: Reply): string | undefined {
  try {
    const id = reply.header('Nats-Msg-Id');
    return id === '' ? undefined : id;
  } catch {
    return undefined;
  }
}
