// The door of the JetStream API: takes the requests on `$JS.API.>` (and `$JS.<domain>.API.>`, which means the same), finds
// the endpoint, and sends its answer. What an endpoint throws becomes an error in the answer; what nobody foresaw, too,
// with a line in the log. How many requests are under way, and how big one is, is bounded.

import { AssertionError } from '../../assert.ts';
import type { Broker } from '../../broker.ts';
import type { Cancel, Clock } from '../../clock.ts';
import { RepeatGuard, type Logger } from '../../log.ts';
import { PublishError, type Message } from '../../message.ts';
import { isPublishSubject } from '../../subject.ts';
import type { Advisories } from '../advisories.ts';
import { ApiError } from './api-error.ts';
import { asksTooMuch, levelError } from './api-level.ts';
import { checkSize } from './decode.ts';
import { AnswerWithHeaders, type ApiRequest, type Endpoint, type RawEndpoint } from './endpoint.ts';
import { toJson } from './json-text.ts';
import { Lanes, type Topic } from './lanes.ts';
import { RequestTurns } from './request-turns.ts';
import { Router } from './router.ts';

const PREFIX = '$JS.API.';
const TYPE = 'io.nats.jetstream.api.v1.';
const NOTHING = Buffer.alloc(0);

export interface ApiDeps {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Logger;
  readonly advisories: Advisories;
}

export interface ApiOptions {
  readonly domain: string | undefined;
  /** As INFO names it. */
  readonly serverName: string;
  /** What the audit says of a client: nats-server's ClientInfo. */
  readonly describe?: (client: object) => object | undefined;
}

export class JetStreamApi {
  readonly #deps: ApiDeps;
  readonly #options: ApiOptions;
  readonly #guard: RepeatGuard;
  readonly #router = new Router<Endpoint | RawEndpoint>();
  readonly #lanes = new Lanes();
  readonly #turns: RequestTurns;
  #total = 0;
  #errors = 0;
  #cancels: readonly Cancel[] = [];

  constructor(deps: ApiDeps, options: ApiOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#guard = new RepeatGuard(deps.clock);
    this.#turns = new RequestTurns(deps.clock);
  }

  /** Requests answered since start, those with an error among them, and those under way. */
  get counters(): { readonly total: number; readonly errors: number; readonly inFlight: number } {
    return { total: this.#total, errors: this.#errors, inFlight: this.#lanes.inFlight };
  }

  add(endpoints: readonly (Endpoint | RawEndpoint)[]): void {
    for (const endpoint of endpoints) this.#router.add(endpoint.subject, endpoint);
  }

  /** Takes requests from now on. */
  open(): void {
    const { domain } = this.#options;
    const prefixes = domain === undefined ? [PREFIX] : [PREFIX, `$JS.${domain}.API.`];
    this.#cancels = prefixes.map((prefix) =>
      this.#deps.broker.subscribe(`${prefix}>`, {
        // A consumer may deliver to such a subject; that is no request.
        offer: (message, from) =>
          message.subject.startsWith(prefix) && this.#offer(message, from, prefix.length),
      }),
    );
  }

  /** Takes no more; what is under way is still answered. */
  close(): void {
    for (const cancel of this.#cancels) cancel();
    this.#cancels = [];
  }

  #offer(message: Message, from: object | undefined, skip: number): boolean {
    const route = this.#router.find(message.subject.slice(skip));
    if (route === undefined) {
      this.#refuse(message, from);
      return true;
    }
    const { target, tokens } = route;
    const request = { tokens, data: message.data, message, from };
    if ('offer' in target) return this.#offerRaw(target, request);
    this.#run(target, request);
    return true;
  }

  #offerRaw(endpoint: RawEndpoint, request: ApiRequest): boolean {
    const { message } = request;
    try {
      return endpoint.offer(request);
    } catch (error) {
      this.#reply(message, { data: NOTHING, headers: statusOf(this.#asApiError(error, message)) });
      return true;
    }
  }

  #refuse(message: Message, from: object | undefined): void {
    const error = new ApiError(400, 10003, 'bad request').toJson();
    this.#answer({ message, from }, { type: `${TYPE}system_response`, error });
  }

  #run(endpoint: Endpoint, request: ApiRequest): void {
    const type = `${TYPE}${endpoint.type}`;
    const done = (answer: object): void => {
      if (answer instanceof AnswerWithHeaders)
        this.#answer(request, { type, ...answer.fields }, answer.headers);
      else this.#answer(request, { type, ...answer });
    };
    const failed = (error: unknown): void => {
      const { message } = request;
      const answer = { error: this.#asApiError(error, message).toJson(), ...endpoint.errorFields };
      this.#answer(request, { type, ...answer });
    };
    try {
      checkSize(request.data);
      if (asksTooMuch(request.message.headers, endpoint.apiLevel)) throw levelError();
      const answered = this.#lanes.run(
        request.from,
        topicOf(endpoint.subject, request.tokens),
        request.data.length,
        () => this.#turns.run(() => endpoint.answer(request)),
      );
      if (answered instanceof Promise) void answered.then(done, failed);
      else done(answered);
    } catch (error) {
      failed(error);
    }
  }

  #answer(
    { message, from }: Pick<ApiRequest, 'message' | 'from'>,
    answer: object,
    headers?: Buffer,
  ): void {
    this.#total++;
    if ('error' in answer) this.#errors++;
    const response = toJson(answer);
    const data = Buffer.from(response, 'utf8');
    this.#reply(message, headers === undefined ? { data } : { headers, data });
    this.#audit(message, from, response);
  }

  #audit(message: Message, from: object | undefined, response: string): void {
    const { serverName, describe } = this.#options;
    this.#deps.advisories.emit('ADVISORY.API', 'advisory.v1.api_audit', () => ({
      server: serverName,
      client: (from === undefined ? undefined : describe?.(from)) ?? { acc: '$G' },
      subject: message.subject,
      ...(message.data.length === 0 ? {} : { request: message.data.toString('utf8') }),
      response,
    }));
  }

  #reply({ reply }: Message, answer: Omit<Message, 'subject'>): void {
    if (reply === undefined || !isPublishSubject(reply)) return;
    this.#deps.broker.answer({ subject: reply, ...answer });
  }

  #asApiError(error: unknown, message: Message): ApiError {
    if (error instanceof ApiError) return error;
    if (error instanceof PublishError)
      return new ApiError(error.code, error.errCode, error.message);
    if (error instanceof AssertionError) throw error;
    if (error instanceof Error && 'code' in error && error.code === 'SQLITE_FULL')
      return new ApiError(500, 10047, 'insufficient storage resources available');
    this.#guard.run('unexpected', (times) =>
      this.#deps.log.error(
        { err: error, subject: message.subject, times },
        'a request of the JetStream API failed in a way that nobody foresaw',
      ),
    );
    return new ApiError(500, 10051, 'internal error');
  }
}

/** What a request is about, told by the wildcards of the endpoint: the stream, then the consumer. */
function topicOf(subject: string, tokens: readonly string[]): Topic {
  const ofConsumer = subject.startsWith('CONSUMER.');
  return { stream: tokens[0], consumer: ofConsumer ? tokens[1]?.split('.')[0] : undefined };
}

function statusOf({ code, message }: ApiError): Buffer {
  return Buffer.from(`NATS/1.0 ${code} ${message}\r\n\r\n`, 'utf8');
}
