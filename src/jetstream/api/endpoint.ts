// What the router of the JetStream API and its endpoints agree on.

import type { Message } from '../../message.ts';

/** One request to one endpoint. */
export interface ApiRequest {
  /** The tokens that stand for the wildcards of the endpoint's subject, in order; a last `>` gives one token with dots. */
  readonly tokens: readonly string[];
  /** The body as it came; empty for none. */
  readonly data: Buffer;
  readonly message: Message;
  /** Who asks, where it is a client. */
  readonly from: object | undefined;
}

/** An endpoint that answers with JSON. */
export interface Endpoint {
  /** Behind `$JS.API.`, with wildcards, such as `STREAM.INFO.*`. */
  readonly subject: string;
  /** The end of the answer's `type`, such as `stream_info_response`. */
  readonly type: string;
  /**
   * The fields of the answer besides `type`. Throws (or rejects with) an ApiError; what it changes is on the disk when it
   * resolves.
   */
  answer(request: ApiRequest): object | Promise<object>;
  /** Fields that the answer has also beside an error. */
  readonly errorFields?: object;
  /** The level of the API that is spoken here, where it is above that of all others. */
  readonly apiLevel?: number;
}

/** The fields of an answer that has headers. */
export class AnswerWithHeaders {
  readonly fields: object;
  readonly headers: Buffer;

  constructor(fields: object, headers: Buffer) {
    this.fields = fields;
    this.headers = headers;
  }
}

/** An endpoint that sends what it likes, such as messages; false where nobody is there (503). */
export interface RawEndpoint {
  readonly subject: string;
  offer(request: ApiRequest): boolean;
}

/** An endpoint that answers with `<type>_response`. */
export function endpoint(
  subject: string,
  type: string,
  answer: Endpoint['answer'],
  errorFields: object = {},
): Endpoint {
  return { subject, type: `${type}_response`, answer, errorFields };
}
