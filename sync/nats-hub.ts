// The hub over NATS: what forwarding asks of it, in JetStream's words. Every read that decides goes to the stream's
// leader. A publish writes its whole batch in one breath and waits for the hub's answer to the last message.

import type { Cancel, Clock } from '../src/clock.ts';
import { headerValue } from '../src/headers.ts';
import type { Logger } from '../src/log.ts';
import type { Random } from './backoff.ts';
import { TwinWatch, type TwinWatchOptions } from './twin-watch.ts';
import { HeaderScan } from './header-scan.ts';
import { HubError, LOCAL_ERROR, localError } from './hub-error.ts';
import type {
  FastBatch,
  FastBatchOptions,
  Hub,
  HubAck,
  HubMessage,
  HubStored,
  HubStream,
  PublishOptions,
} from './hub.ts';
import { NatsFastBatch } from './fast-batch.ts';
import { killBatch } from './kill-batch.ts';
import { createHubStream } from './hub-create.ts';
import { headerBlocks, publishAnswer, sealAnswer, sealTokens } from './hub-publish.ts';
import { hubStream, isAtLeast, type StreamInfoAnswer } from './hub-stream.ts';
import { JetStreamApi } from './jetstream-api.ts';
import { NatsLink, type LinkConfig, type LinkParts } from './nats-link.ts';
import { randomToken } from './random-token.ts';

/** Publishes without an answer on a link that lives, until another server is tried: ours may be cut off from its cluster. */
const UNANSWERED_MAX = 3;
/** The first hub that gives a consumer its filter by subject, and reads the next message under one. Tried with 2.9.10. */
const OLDEST: readonly [number, number] = [2, 9];

export interface NatsHubConfig extends LinkConfig {
  /** First token of the subjects at the hub. */
  readonly prefix: string;
  /** Create the stream where it is missing. */
  readonly create: boolean;
  /** A stream is forwarded without a fence (`order = "relaxed"`): one that is created must remember IDs. */
  readonly relaxed?: boolean;
  /** Where to look for other machines of this name; undefined: nowhere. */
  readonly twins?: TwinWatchOptions;
}

interface MessageAnswer {
  readonly message?: { readonly subject?: string; readonly seq?: number; readonly hdrs?: string };
}

export class NatsHub implements Hub {
  readonly #config: NatsHubConfig;
  readonly #link: NatsLink;
  readonly #api: JetStreamApi;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #random: Random;
  readonly #twins: TwinWatch | undefined;
  #creating: Promise<void> | undefined;
  #unanswered = 0;

  constructor(config: NatsHubConfig, parts: LinkParts) {
    this.#config = config;
    this.#link = new NatsLink(config, parts);
    this.#api = new JetStreamApi(this.#link);
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#random = parts.random;
    if (config.twins !== undefined) this.#twins = new TwinWatch(this.#link, config.twins, parts);
  }

  start(): void {
    this.#link.start();
  }

  stop(): Promise<void> {
    this.#twins?.stop();
    return this.#link.stop();
  }

  /** What only an operator can mend. */
  get problem(): string | null {
    return this.#twins?.present === true ? 'another machine is connected under our name' : null;
  }

  get connected(): boolean {
    return this.#link.connection !== undefined;
  }

  get detail(): string {
    return this.#link.detail;
  }

  /** Grows with every answer of the hub, and while a late one still comes in. */
  get answers(): number {
    return this.#link.counters.answers;
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
      return await this.#describe(name);
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
    return await this.#describe(name);
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
    await this.#api.request(`STREAM.MSG.DELETE.${stream}`, { seq, no_erase: true });
  }

  scanHeaders(
    stream: string,
    filter: string,
    fromSeq: number,
    toSeq: number,
  ): AsyncIterable<readonly HubStored[]> {
    const parts = { link: this.#link, api: this.#api, clock: this.#clock, random: this.#random };
    return new HeaderScan(parts, this, { stream, filter, fromSeq, toSeq }).pages();
  }

  async publish(messages: readonly HubMessage[], options: PublishOptions): Promise<HubAck> {
    const all =
      options.checkpoint === undefined ? messages : [...messages, options.checkpoint.message];
    const blocks = headerBlocks(all, options, all.length > 1 ? randomToken(this.#random) : '');
    const last = all.length;
    try {
      const ack = await this.#link.exchange<HubAck>({
        covers: (denied) => all.some(({ subject }) => subject === denied),
        timeoutMs: this.#config.keepAliveMs,
        patienceMs: options.patienceMs,
        ...(options.seal === undefined ? {} : { tokens: sealTokens(options.seal) }),
        send: (connection, reply) => {
          for (let n = 1; n <= last; n++) {
            const message = all[n - 1];
            if (message === undefined) continue;
            const answer = n === 1 || n === last ? reply(n) : undefined;
            connection.publish(message.subject, message.data, blocks[n - 1], answer);
          }
        },
        receive: (reply, n) =>
          options.seal === undefined
            ? publishAnswer(reply, n, last)
            : sealAnswer(reply, options.fence?.seq ?? 0),
      });
      this.#unanswered = 0;
      // The next fence is the last message under the filter, which the checkpoint is not.
      return options.checkpoint === undefined ? ack : { ...ack, seq: ack.seq - 1 };
    } catch (error) {
      this.#noteUnanswered(error);
      throw error;
    }
  }

  async openBatch(first: HubMessage, options: FastBatchOptions): Promise<FastBatch> {
    try {
      const batch = await NatsFastBatch.open(this.#link, first, options, (expired) =>
        this.#clock.after(this.#config.keepAliveMs, () =>
          expired(localError('timeout', 'the hub does not open a fast batch')),
        ),
      );
      this.#unanswered = 0;
      return batch;
    } catch (error) {
      this.#noteUnanswered(error);
      throw error;
    }
  }

  killBatch(_stream: string, subject: string, id: string): Promise<void> {
    return killBatch(this.#link, this.#clock, { id, subject, timeoutMs: this.#config.keepAliveMs });
  }

  #noteUnanswered(error: unknown): void {
    if (!(error instanceof HubError)) return;
    this.#unanswered = error.errCode === LOCAL_ERROR.timeout ? this.#unanswered + 1 : 0;
    if (this.#unanswered < UNANSWERED_MAX) return;
    this.#unanswered = 0;
    this.#link.reconnect(`it lives, but ${UNANSWERED_MAX} publishes were not answered`);
  }

  #refuseOldHub(): void {
    const version = this.#link.connection?.version;
    if (version === undefined || isAtLeast(version, OLDEST)) return;
    throw localError('hubTooOld', `the hub is nats-server ${version}`, {
      hint: `upgrade it to ${OLDEST.join('.')} or later, better 2.15; data waits meanwhile`,
    });
  }

  async #describe(name: string): Promise<HubStream> {
    const answer = await this.#api.request<StreamInfoAnswer>(`STREAM.INFO.${name}`);
    // After the answer: it came over this connection, and none is an old server.
    return hubStream(answer, this.#link.connection?.version ?? '');
  }

  async #create(name: string): Promise<void> {
    const clustered = this.#link.connection?.clustered ?? false;
    await createHubStream(name, this.#config.prefix, {
      clustered,
      log: this.#log,
      remembers: this.#config.relaxed === true,
      create: (config) => this.#api.request(`STREAM.CREATE.${name}`, config),
    });
  }

  async #message(stream: string, request: object): Promise<HubStored | null> {
    try {
      const { message } = await this.#api.request<MessageAnswer>(
        `STREAM.MSG.GET.${stream}`,
        request,
      );
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
}
