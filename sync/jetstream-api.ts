// JetStream's request-and-reply API by hand: the requests are few, and the library for it costs memory. An error that it
// answers becomes a HubError; a request that is not answered gives the next one more time.

import { HubError, jetStreamError, LOCAL_ERROR, localError } from './hub-error.ts';
import type { Reply } from './nats-connection.ts';
import type { NatsLink } from './nats-link.ts';

/** How long a request may take at first. A hub without a leader does not answer at all. */
const REQUEST_MS = 5_000;
/** And at most: each request that was not answered doubles the time of the next, for a line that is that slow. */
const REQUEST_MAX_MS = 60_000;

/** The `error` of any answer. */
export interface ApiError {
  readonly code?: number;
  readonly err_code?: number;
  readonly description?: string;
}

export class JetStreamApi {
  readonly #link: NatsLink;
  #timeoutMs = REQUEST_MS;

  constructor(link: NatsLink) {
    this.#link = link;
  }

  get timeoutMs(): number {
    return this.#timeoutMs;
  }

  /** Sends `request` to `$JS.API.<operation>`. Rejects with a HubError, never of kind poison. */
  async request<T>(operation: string, request?: unknown): Promise<T> {
    const data = request === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(request));
    const reply = await this.#send(`$JS.API.${operation}`, data);
    const answer = parseReply<T & { error?: ApiError }>(reply);
    if (answer.error !== undefined) throw requestError(answer.error);
    return answer;
  }

  async #send(subject: string, data: Buffer): Promise<Reply> {
    try {
      const reply = await this.#link.request(subject, data, this.#timeoutMs);
      this.#timeoutMs = REQUEST_MS;
      return reply;
    } catch (error) {
      if (error instanceof HubError && error.errCode === LOCAL_ERROR.timeout)
        this.#timeoutMs = Math.min(2 * this.#timeoutMs, REQUEST_MAX_MS);
      throw error;
    }
  }
}

/** The JSON of a reply. Throws a HubError where it is none. */
export function parseReply<T>(reply: Reply): T {
  try {
    return JSON.parse(reply.data.toString('utf8')) as T;
  } catch (error) {
    const status = reply.status === 0 ? '' : ` (status ${reply.status} ${reply.description})`;
    throw localError('badAnswer', `the hub answered something unreadable${status}`, {
      cause: error,
    });
  }
}

export function apiError({
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
