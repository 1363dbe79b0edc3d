// Keeps one mirror fed: asks the origin how it is, asks for a consumer behind what the mirror has, takes what it delivers,
// and begins again for ever wherever that ends. It relies on nothing but sequences, so an outage may have any length.
//
// Before each consumer it looks whether the origin is still the stream that the mirror is a copy of: made at the same
// time, no shorter than the mirror, and with the same message at the mirror's end. One that was made anew, or has lost its end (a restored backup, a card without
// power), gives its numbers to other messages; a mirror that went on would be a mixture of two streams for ever.

import type { Cancel } from '../../clock.ts';
import { encodeHeaders } from '../../headers.ts';
import { RepeatGuard, type Logger } from '../../log.ts';
import { OPERATOR } from '../../operator.ts';
import type { Stream } from '../stream.ts';
import type { StoredMessage } from '../stream-types.ts';
import { chance } from './chance.ts';
import { consumerRequest } from './consumer-request.ts';
import { Inbound, type Trouble } from './inbound.ts';
import {
  asCount,
  asObject,
  createdOf,
  askOrigin,
  type Json,
  type OriginAnswer,
  type OriginParts,
} from './origin-request.ts';

/** Between two attempts: at least half of a bound that doubles from the first to the second of these. */
const RETRY_MIN_MS = 250;
const RETRY_MAX_MS = 15_000;
/** After the link came up: the origin's server may not know us yet, and a fleet does not ask all at once. */
const KICK_MS = 100;
/** An origin without a sign of life: it sends a heartbeat each second. */
const SILENCE_MAX_MS = 10_000;
/** After the link came up, it need not be waited for that long. */
const KICKED_SILENCE_MAX_MS = 2_500;
const LOOK_MS = 1_000;
/** An answer of a server that lags behind its own stream is not believed at once. */
const SHORTER_MIN = 2;
/** After so many the waiting time has reached its bound. */
const ATTEMPTS_WHEN_REFUSED = 6;
/** There is no such stream: no other request helps. */
const NOT_FOUND = 10059;
const AGAIN = 'it is tried again by itself';
/** By the number of an error of JetStream. */
const HINTS: Readonly<Partial<Record<number, string>>> = {
  [NOT_FOUND]: `make the stream or bucket at the origin: ${AGAIN}`,
};
/** To an origin that does not answer. */
const ASK =
  'if there is a link: has the hub a JetStream domain, and may its user for this gateway ask for the stream there?';

export interface FeedParts extends Omit<OriginParts, 'from'> {
  readonly log: Logger;
  readonly domain: string | undefined;
  /** How the API of the origin begins; undefined while that is not known. */
  readonly api: () => string | undefined;
  /** When the origin of what is stored was made; undefined where nothing is known of it. */
  readonly knownCreated: () => string | undefined;
  /** What the origin says of itself, each time that it is asked. */
  readonly learned: (info: Json) => void;
  /** The origin is another stream than that of which the mirror is a copy. The feed has stopped. */
  readonly replaced: (why: string) => void;
  /** The mirror has all that the origin had, and the disk has it. */
  readonly caughtUp?: () => void;
}

export interface FeedError {
  readonly code: number;
  readonly errCode: number;
  readonly text: string;
}

export class MirrorFeed {
  readonly #stream: Stream;
  readonly #parts: FeedParts;
  readonly #origin: OriginParts;
  readonly #guard: RepeatGuard;
  #attempts = 0;
  #shorter = 0;
  #inbound: Inbound | undefined;
  #heardMs: number | undefined;
  /** Heard from this consumer. */
  #lives = false;
  #silenceMaxMs = SILENCE_MAX_MS;
  #pending = 0;
  #error: FeedError | undefined;
  #isCaughtUp = false;
  #isOver = false;
  /** Ends what the present attempt has begun. */
  #cancels: Cancel[] = [];

  constructor(stream: Stream, parts: FeedParts) {
    this.#stream = stream;
    this.#parts = parts;
    // A client's mirror asks as a client would: what it may ask of the hub is listed.
    const from = stream.origin === 'file' ? OPERATOR : undefined;
    this.#origin = { broker: parts.broker, clock: parts.clock, from };
    this.#guard = new RepeatGuard(parts.clock);
  }

  start(): void {
    this.#attempt();
  }

  stop(): void {
    this.#isOver = true;
    this.#end();
  }

  /** Messages that are still to come, how long ago the origin was heard, and why it is not. */
  get status(): { lag: number; silentMs: number | undefined; error: FeedError | undefined } {
    const heardMs = this.#heardMs;
    const nowMs = this.#parts.clock.monotonicMs();
    const silentMs = heardMs === undefined ? undefined : nowMs - heardMs;
    return { lag: this.#pending, silentMs, error: this.#error };
  }

  /** The way to the origin may be open again: asks soon, unless it is heard anyway. */
  kick(): void {
    if (this.#isOver) return;
    if (this.#inbound !== undefined) {
      this.#silenceMaxMs = KICKED_SILENCE_MAX_MS;
      this.#heardMs = this.#parts.clock.monotonicMs();
      return;
    }
    this.#end();
    this.#attempts = 0;
    this.#after(KICK_MS * (1 + chance()), () => this.#attempt());
  }

  #after(ms: number, fn: () => void): void {
    this.#cancels.push(this.#parts.clock.after(ms, fn));
  }

  #end(): void {
    this.#inbound?.close();
    this.#inbound = undefined;
    for (const cancel of this.#cancels.splice(0)) cancel();
  }

  #again(): void {
    this.#end();
    if (this.#isOver) return;
    const boundMs = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(this.#attempts++, 10));
    this.#after((boundMs * (1 + chance())) / 2, () => this.#attempt());
  }

  /** When the disk has what was accepted, or has refused it: then what is asked for is what is missing. */
  #attempt(): void {
    this.#end();
    let isOver = false;
    this.#cancels.push(() => (isOver = true));
    this.#stream.home.whenDurable(() => {
      if (!isOver) this.#askHow();
    });
  }

  #askHow(): void {
    const api = this.#parts.api();
    if (api === undefined) return this.#unreachable('no link has told the domain of the hub');
    const { mirror } = this.#stream.config;
    this.#ask({ subject: `${api}.STREAM.INFO.${mirror?.name}` }, (answer) => {
      if (answer.kind === 'nobody') return this.#unreachable(`nobody answers under ${api}`);
      if (answer.kind === 'error') return this.#failed(answer);
      // Who may not ask for it may perhaps ask for a consumer.
      if (answer.kind === 'silence' || this.#isSame(answer.json)) this.#create(api, true);
    });
  }

  #ask(
    request: { subject: string; headers?: Buffer; data?: Buffer },
    done: (answer: OriginAnswer) => void,
  ): void {
    const { subject, headers, data = Buffer.alloc(0) } = request;
    const message = headers === undefined ? { subject, data } : { subject, headers, data };
    this.#cancels.push(askOrigin(this.#origin, message, done));
  }

  /** Whether the origin is the stream that the mirror is a copy of; where it is not, all else is done. */
  #isSame(info: Json): boolean {
    const created = createdOf(info);
    const lastSeq = asCount(asObject(info['state'])?.['last_seq']);
    const { acceptedSeq } = this.#stream;
    const known = this.#parts.knownCreated();
    if (acceptedSeq > 0 && known !== created) {
      this.#replaced(
        known === undefined ? 'it is not known of what it is a copy' : 'it was made anew',
      );
      return false;
    }
    if (lastSeq >= acceptedSeq) {
      this.#shorter = 0;
      this.#parts.learned(info);
      return true;
    }
    if (++this.#shorter < SHORTER_MIN) this.#again();
    else this.#replaced(`it ends at ${lastSeq}, and the mirror at ${acceptedSeq}`);
    return false;
  }

  #replaced(why: string): void {
    this.stop();
    this.#parts.replaced(why);
  }

  #create(api: string, sourcing: boolean): void {
    const { name, config, acceptedSeq } = this.#stream;
    const { mirror } = config;
    if (mirror === undefined) return;
    const { domain } = this.#parts;
    // It begins with what the mirror has last: a look at whether the origin still has it there.
    const last = this.#stream.get(acceptedSeq);
    const nextSeq = acceptedSeq === 0 ? undefined : acceptedSeq + 1;
    const request = { stream: name, domain, mirror, fromSeq: last?.seq ?? nextSeq, sourcing };
    this.#ask(consumerRequest(api, request), (answer) => {
      if (answer.kind === 'answer') return this.#begin(answer.json, last);
      if (answer.kind === 'nobody' || answer.kind === 'silence')
        return this.#unreachable(`no answer under ${api}`);
      // An older server: it says so in one way or another.
      if (sourcing && answer.errCode !== NOT_FOUND) this.#create(api, false);
      else this.#failed(answer);
    });
  }

  /** There is a consumer: numbers that it leaves out go to nothing, and then it is listened to. */
  #begin(info: Json, last: StoredMessage | undefined): void {
    const consumer = info['name'];
    const target = asObject(info['config'])?.['deliver_subject'];
    if (typeof consumer !== 'string' || typeof target !== 'string')
      return this.#failed({ code: 500, errCode: 10029, text: 'invalid consumer create response' });
    const startSeq = asCount(asObject(info['delivered'])?.['stream_seq']);
    const pending = asCount(info['num_pending']);
    if (!this.#stream.skipTo(startSeq)) return this.#again();
    this.#pending = pending;
    this.#listen(consumer, target, last);
    if (pending === 0) this.#nearlyCaughtUp();
  }

  #listen(consumer: string, target: string, last: StoredMessage | undefined): void {
    const { broker, clock } = this.#parts;
    this.#lives = false;
    this.#heardMs = clock.monotonicMs();
    this.#silenceMaxMs = SILENCE_MAX_MS;
    this.#error = undefined;
    const inbound = new Inbound({
      consumer,
      stream: this.#stream,
      answer: (subject, consumerSeq, seq) => this.#answer(subject, consumerSeq, seq),
      heard: (left) => this.#heard(left),
      tooLarge: (seq, error) => this.#tooLarge(seq, error.message),
      last,
      differs: (seq) => this.#replaced(`its message ${seq} is another than ours`),
      failed: (trouble) => this.#troubled(trouble),
    });
    this.#inbound = inbound;
    this.#cancels.push(
      broker.subscribe(target, { isMirror: true, deliver: (message) => inbound.take(message) }),
    );
    this.#watch();
  }

  /** Looks each second whether the origin is still heard. */
  #watch(): void {
    this.#after(LOOK_MS, () => {
      const { silentMs = 0 } = this.status;
      if (silentMs < this.#silenceMaxMs) return this.#watch();
      this.#unreachable('the origin has fallen silent');
    });
  }

  #heard(pending: number | undefined): void {
    this.#heardMs = this.#parts.clock.monotonicMs();
    if (!this.#lives) {
      this.#lives = true;
      this.#attempts = 0;
      this.#guard.clear('unreachable');
      const { name, acceptedSeq } = this.#stream;
      this.#parts.log.info(
        { stream: name, fromSeq: acceptedSeq + 1 },
        'a mirror follows its origin',
      );
    }
    if (this.#silenceMaxMs !== SILENCE_MAX_MS) this.#silenceMaxMs = SILENCE_MAX_MS;
    if (pending === undefined) return;
    this.#pending = pending;
    if (pending === 0) this.#nearlyCaughtUp();
  }

  /** The last message is told of before it is stored. */
  #nearlyCaughtUp(): void {
    const { caughtUp, clock } = this.#parts;
    if (caughtUp === undefined || this.#isCaughtUp) return;
    const inbound = this.#inbound;
    clock.soon(() =>
      this.#stream.home.whenDurable((error) => {
        if (error !== null || this.#isCaughtUp || this.#isOver || inbound !== this.#inbound) return;
        this.#isCaughtUp = true;
        caughtUp();
      }),
    );
  }

  #answer(subject: string, consumerSeq: number, seq: number): void {
    const headers = encodeHeaders([
      ['Nats-Last-Consumer', String(consumerSeq)],
      ['Nats-Last-Stream', String(seq)],
    ]);
    const message = { subject, data: Buffer.alloc(0) };
    const answer = headers === undefined ? message : { ...message, headers };
    this.#parts.broker.publish(answer, undefined, OPERATOR);
  }

  #tooLarge(seq: number, text: string): void {
    this.#guard.run('tooLarge', (times) =>
      this.#parts.log.warn(
        {
          stream: this.#stream.name,
          seq,
          error: text,
          times,
          hint: 'raise the max_msg_size of the mirror; the gateway takes messages of 1 MiB at most',
        },
        'a mirror cannot store a message of its origin: its number stays empty',
      ),
    );
  }

  #troubled(trouble: Trouble): void {
    if (trouble.kind === 'refused') {
      const { code, errCode, message: text } = trouble.error;
      // A full disk is not full for a moment, and what the origin has sent was sent in vain.
      this.#attempts = ATTEMPTS_WHEN_REFUSED;
      this.#failed({ code, errCode, text });
    } else this.#again();
  }

  #failed({ code, errCode, text }: FeedError): void {
    this.#error = { code, errCode, text };
    this.#guard.run(`failed ${errCode}`, (times) =>
      this.#parts.log.warn(
        { stream: this.#stream.name, error: text, times, hint: HINTS[errCode] ?? AGAIN },
        'a mirror is held up',
      ),
    );
    this.#again();
  }

  /** Mostly the link is down, which others say. */
  #unreachable(text: string): void {
    this.#error = { code: 500, errCode: 10029, text };
    this.#guard.run('unreachable', () =>
      this.#parts.log.info(
        { stream: this.#stream.name, why: text, hint: ASK },
        'a mirror waits for its origin; what it has can be read',
      ),
    );
    this.#again();
  }
}
