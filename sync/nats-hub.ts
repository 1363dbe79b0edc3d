// The hub over NATS: JetStream's API by hand, because the requests are few and memory is short. Every read goes to the
// stream's leader. A publish writes its whole batch in one breath and waits for the hub's answer to the last message.

import { headerValue } from '../src/headers.ts';
import { delay, type Cancel, type Clock } from '../src/clock.ts';
import type { Logger } from '../src/log.ts';
import type { Random } from './backoff.ts';
import { HubError, jetStreamError, LOCAL_ERROR, localError } from './hub-error.ts';
import type { Hub, HubAck, HubMessage, HubStored, HubStream, PublishOptions } from './hub.ts';
import { createHubStream } from './hub-create.ts';
import { hubStream, type StreamInfoAnswer } from './hub-stream.ts';
import type { Reply } from './nats-connection.ts';
import {
  NatsLink,
  noResponders,
  randomToken,
  type LinkConfig,
  type LinkParts,
} from './nats-link.ts';

/** How long an API request may take at first. A hub without a leader does not answer at all. */
const REQUEST_MS = 5_000;
/** And at most: each request that was not answered doubles the time of the next, for a line that is that slow. */
const REQUEST_MAX_MS = 60_000;
/** Publishes without an answer on a link that lives, until another server is tried: ours may be cut off from its cluster. */
const UNANSWERED_MAX = 3;
/** Messages asked for at a time in a scan. */
const SCAN_MESSAGES = 500;
/** Times that a new consumer is asked until it listens, and the time between. */
const SCAN_ATTEMPTS = 40;
const SCAN_RETRY_MS = 50;
/** The hub forgets a scan's consumer after this time without a request. */
const SCAN_IDLE_NS = 60 * 1_000_000_000;
/** The first hub whose fences may name a filter, and that takes a header for what it is only by its whole name. */
const OLDEST: readonly [number, number] = [2, 11];

export interface NatsHubConfig extends LinkConfig {
  /** First token of the subjects at the hub. */
  readonly prefix: string;
  /** Create the stream where it is missing. */
  readonly create: boolean;
}

interface ApiError {
  readonly code?: number;
  readonly err_code?: number;
  readonly description?: string;
}

interface Page {
  readonly messages: readonly HubStored[];
  /** Messages that remain. */
  readonly pending: number;
}

interface MessageAnswer {
  readonly message?: { readonly subject?: string; readonly seq?: number; readonly hdrs?: string };
}

export class NatsHub implements Hub {
  readonly #config: NatsHubConfig;
  readonly #link: NatsLink;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #random: Random;
  #creating: Promise<void> | undefined;
  #unanswered = 0;
  #requestMs = REQUEST_MS;

  constructor(config: NatsHubConfig, parts: LinkParts) {
    this.#config = config;
    this.#link = new NatsLink(config, parts);
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#random = parts.random;
  }

  start(): void {
    this.#link.start();
  }

  stop(): Promise<void> {
    return this.#link.stop();
  }

  get connected(): boolean {
    return this.#link.connection !== undefined;
  }

  get detail(): string {
    return this.#link.detail;
  }

  get maxPayload(): number {
    return this.#link.connection?.maxPayload ?? 1024 * 1024;
  }

  /** For monitoring. */
  status(): {
    connected: boolean;
    detail: string;
    server: string;
    version: string;
    connects: number;
    failures: number;
  } {
    const { connection, detail, counters } = this.#link;
    return {
      connected: connection !== undefined,
      detail,
      server: connection?.server ?? '',
      version: connection?.version ?? '',
      ...counters,
    };
  }

  onChange(fn: () => void): Cancel {
    return this.#link.onChange(fn);
  }

  reconnect(reason: string): void {
    this.#link.reconnect(reason);
  }

  async stream(name: string): Promise<HubStream> {
    this.#refuseOldHub();
    try {
      return hubStream(await this.#api<StreamInfoAnswer>(`STREAM.INFO.${name}`));
    } catch (error) {
      if (!(error instanceof HubError) || error.errCode !== 10059) throw error;
      const { prefix, create } = this.#config;
      if (!create)
        throw new HubError('configuration', `the hub has no stream ${name}`, {
          errCode: error.errCode,
          hint: `create it there with the subjects "${prefix}.>", or set create = true in [hub]; data waits meanwhile`,
        });
    }
    // Several local streams may find it missing at once.
    this.#creating ??= this.#create(name).finally(() => (this.#creating = undefined));
    await this.#creating;
    return hubStream(await this.#api<StreamInfoAnswer>(`STREAM.INFO.${name}`));
  }

  lastBySubject(stream: string, filter: string): Promise<HubStored | null> {
    return this.#message(stream, { last_by_subj: filter });
  }

  nextBySubject(stream: string, filter: string, fromSeq: number): Promise<HubStored | null> {
    return this.#message(stream, { next_by_subj: filter, seq: fromSeq });
  }

  messageAt(stream: string, seq: number): Promise<HubStored | null> {
    return this.#message(stream, { seq });
  }

  async deleteMessage(stream: string, seq: number): Promise<void> {
    await this.#api(`STREAM.MSG.DELETE.${stream}`, { seq, no_erase: true });
  }

  async *scanHeaders(
    stream: string,
    filter: string,
    fromSeq: number,
    toSeq: number,
  ): AsyncIterable<readonly HubStored[]> {
    let reached = fromSeq - 1;
    for await (const page of this.#consume(stream, filter, fromSeq)) {
      reached = page.at(-1)?.seq ?? reached;
      yield page;
    }
    // The consumer may live on a replica that has not heard of the newest messages yet. Tried: it does happen.
    if (reached < toSeq) yield* this.#walk(stream, filter, reached + 1);
  }

  /** The messages that a consumer of our own is given; none where the hub allows us no consumer. */
  async *#consume(
    stream: string,
    filter: string,
    fromSeq: number,
  ): AsyncIterable<readonly HubStored[]> {
    const consumer = `mangrove-${randomToken(this.#random)}`;
    try {
      await this.#api(`CONSUMER.CREATE.${stream}.${consumer}.${filter}`, {
        stream_name: stream,
        config: {
          name: consumer,
          deliver_policy: 'by_start_sequence',
          opt_start_seq: fromSeq,
          ack_policy: 'none',
          filter_subject: filter,
          headers_only: true,
          replay_policy: 'instant',
          inactive_threshold: SCAN_IDLE_NS,
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
        const { messages, pending } = await this.#pulled(stream, consumer, delivered);
        delivered += messages.length;
        yield await this.#withIds(stream, messages);
        if (pending === 0) return;
      }
    } finally {
      void this.#api(`CONSUMER.DELETE.${stream}.${consumer}`).catch(() => undefined);
    }
  }

  async publish(messages: readonly HubMessage[], options: PublishOptions): Promise<HubAck> {
    const all =
      options.checkpoint === undefined ? messages : [options.checkpoint.message, ...messages];
    const blocks = headerBlocks(all, options, all.length > 1 ? randomToken(this.#random) : '');
    const last = all.length;
    try {
      const ack = await this.#link.exchange<HubAck>({
        covers: (denied) => all.some(({ subject }) => subject === denied),
        timeoutMs: this.#config.keepAliveMs,
        patienceMs: options.patienceMs,
        send: (connection, reply) => {
          for (let n = 1; n <= last; n++) {
            const message = all[n - 1];
            if (message === undefined) continue;
            const answer = n === 1 || n === last ? reply(n) : undefined;
            connection.publish(message.subject, message.data, blocks[n - 1], answer);
          }
        },
        receive: (reply, n) => publishAnswer(reply, n, last),
      });
      this.#unanswered = 0;
      return ack;
    } catch (error) {
      this.#noteUnanswered(error);
      throw error;
    }
  }

  #noteUnanswered(error: unknown): void {
    if (!(error instanceof HubError)) return;
    this.#unanswered =
      error.errCode === localError('timeout', '').errCode ? this.#unanswered + 1 : 0;
    if (this.#unanswered < UNANSWERED_MAX) return;
    this.#unanswered = 0;
    this.#link.reconnect(`it lives, but ${UNANSWERED_MAX} publishes were not answered`);
  }

  #refuseOldHub(): void {
    const version = this.#link.connection?.version;
    if (version === undefined) return;
    const [major = 0, minor = 0] = version.split('.').map(Number);
    if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return;
    throw localError('hubTooOld', `the hub is nats-server ${version}`, {
      hint: `upgrade it to ${OLDEST.join('.')} or later, better 2.15: older ones have no fence that names a filter`,
    });
  }

  async #create(name: string): Promise<void> {
    const clustered = this.#link.connection?.clustered ?? false;
    await createHubStream(name, this.#config.prefix, {
      clustered,
      log: this.#log,
      create: (config) => this.#api(`STREAM.CREATE.${name}`, config),
    });
  }

  async #message(stream: string, request: object): Promise<HubStored | null> {
    try {
      const { message } = await this.#api<MessageAnswer>(`STREAM.MSG.GET.${stream}`, request);
      if (message?.seq === undefined)
        throw localError('badAnswer', 'the hub answered a message without its sequence');
      const block = message.hdrs === undefined ? undefined : Buffer.from(message.hdrs, 'base64');
      const id = headerValue(block, 'Nats-Msg-Id');
      return { seq: message.seq, subject: message.subject ?? '', id: id === '' ? undefined : id };
    } catch (error) {
      if (error instanceof HubError && error.errCode === 10037) return null;
      throw error;
    }
  }

  /** The library reads some headers as none: those messages are asked for one by one. */
  async #withIds(stream: string, messages: readonly HubStored[]): Promise<HubStored[]> {
    const complete: HubStored[] = [];
    for (const stored of messages)
      complete.push(
        stored.id === undefined ? ((await this.messageAt(stream, stored.seq)) ?? stored) : stored,
      );
    return complete;
  }

  /** One message at a time, from the leader. */
  async *#walk(
    stream: string,
    filter: string,
    fromSeq: number,
  ): AsyncIterable<readonly HubStored[]> {
    for (let seq = fromSeq; ;) {
      const stored = await this.nextBySubject(stream, filter, seq);
      if (stored === null) return;
      yield [stored];
      seq = stored.seq + 1;
    }
  }

  /** As #pull; in a cluster a consumer may be there before it listens. */
  async #pulled(stream: string, consumer: string, delivered: number): Promise<Page> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#pull(stream, consumer, delivered);
      } catch (error) {
        const early = error instanceof HubError && error.errCode === LOCAL_ERROR.noResponders;
        if (!early || attempt >= SCAN_ATTEMPTS) throw error;
        await delay(this.#clock, SCAN_RETRY_MS);
      }
    }
  }

  /** The next messages of a scan, without a gap, and how many remain. */
  async #pull(stream: string, consumer: string, delivered: number): Promise<Page> {
    const subject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`;
    const messages: HubStored[] = [];
    let next = delivered + 1;
    let pending = 0;
    const request = Buffer.from(JSON.stringify({ batch: SCAN_MESSAGES, no_wait: true }));
    await this.#link.exchange<true>({
      covers: (denied) => denied === subject,
      timeoutMs: this.#requestMs,
      deliveries: true,
      send: (connection, reply) => connection.publish(subject, request, undefined, reply(1)),
      receive: (reply) => {
        if (reply.status === 503) throw noResponders(subject);
        if (reply.status === 404 || reply.status === 408) {
          // Nothing left. Had there been more, the last message would have said so.
          if (pending > 0) throw localError('badAnswer', 'the scan ended early');
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
        return pending === 0 || messages.length === SCAN_MESSAGES ? true : undefined;
      },
    });
    return { messages, pending };
  }

  async #request(subject: string, data: Buffer): Promise<Reply> {
    try {
      const reply = await this.#link.request(subject, data, this.#requestMs);
      this.#requestMs = REQUEST_MS;
      return reply;
    } catch (error) {
      if (error instanceof HubError && error.errCode === LOCAL_ERROR.timeout)
        this.#requestMs = Math.min(2 * this.#requestMs, REQUEST_MAX_MS);
      throw error;
    }
  }

  /** A request to JetStream's API; its error becomes a HubError. */
  async #api<T>(operation: string, request?: unknown): Promise<T> {
    const data = request === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(request));
    const reply = await this.#request(`$JS.API.${operation}`, data);
    const answer = parse<T & { error?: ApiError }>(reply);
    if (answer.error !== undefined) throw requestError(answer.error);
    return answer;
  }
}

/**
 * The header blocks of a publish. The fence stands on the first message; the checkpoint, where there is one, goes first
 * with a fence of its own, so that the last message is one of ours and its sequence is the next fence.
 */
function headerBlocks(
  all: readonly HubMessage[],
  { stream, fence, checkpoint }: PublishOptions,
  batchId: string,
): Buffer[] {
  const fenced = checkpoint === undefined ? 0 : 1;
  return all.map((message, i) => {
    let block = `NATS/1.0\r\nNats-Msg-Id: ${message.id}\r\n`;
    if (i === 0) block += `Nats-Expected-Stream: ${stream}\r\n`;
    if (i === fenced)
      block += `Nats-Expected-Last-Subject-Sequence: ${fence.seq}\r\nNats-Expected-Last-Subject-Sequence-Subject: ${fence.filter}\r\n`;
    else if (i === 0 && checkpoint !== undefined)
      block += `Nats-Expected-Last-Subject-Sequence: ${checkpoint.previousSeq}\r\n`;
    if (batchId !== '') block += `Nats-Batch-Id: ${batchId}\r\nNats-Batch-Sequence: ${i + 1}\r\n`;
    if (batchId !== '' && i === all.length - 1) block += 'Nats-Batch-Commit: 1\r\n';
    return Buffer.from(`${block}${message.headerLines}\r\n`, 'latin1');
  });
}

/** Reads the n-th reply of a publish of `last` messages: undefined for "the batch is open", an ack, or a HubError thrown. */
function publishAnswer(reply: Reply, n: number, last: number): HubAck | undefined {
  if (reply.status === 503) throw noResponders('the stream');
  if (reply.data.length === 0 && reply.status === 0 && n < last) return undefined;
  const answer = parse<{
    error?: ApiError;
    seq?: number;
    duplicate?: boolean;
    batch?: string;
    count?: number;
  }>(reply);
  if (answer.error !== undefined) throw apiError(answer.error);
  if (n < last)
    throw localError('badAnswer', 'the hub stored the first message of a batch by itself');
  if (typeof answer.seq !== 'number' || answer.seq < 1)
    throw localError('badAnswer', 'the hub acknowledged without a sequence');
  if (last > 1 && answer.count !== last)
    throw localError('badAnswer', `the hub stored ${answer.count ?? 0} of a batch of ${last}`);
  return { seq: answer.seq, duplicate: answer.duplicate === true };
}

function parse<T>(reply: Reply): T {
  try {
    return JSON.parse(reply.data.toString('utf8')) as T;
  } catch (error) {
    const status = reply.status === 0 ? '' : ` (status ${reply.status} ${reply.description})`;
    throw localError('badAnswer', `the hub answered something unreadable${status}`, {
      cause: error,
    });
  }
}

function apiError({
  code = 500,
  err_code: errCode = 0,
  description = 'no description',
}: ApiError): HubError {
  return jetStreamError(code, errCode, description);
}

/** No request of ours is about one message, so none can be poison. */
function requestError(error: ApiError): HubError {
  const { kind, message, errCode } = apiError(error);
  return kind === 'poison'
    ? new HubError('configuration', message, {
        errCode,
        hint: 'the hub does not take a request of JetStream’s API: is it too old?',
      })
    : apiError(error);
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
