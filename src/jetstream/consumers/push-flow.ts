// Flow control of a push consumer (ADR-8): how many bytes its client may have before it says that it has worked them off.
// The window starts small and doubles with each answer; a client that never answers stalls the consumer, and nothing else.

import { randomBytes } from 'node:crypto';

/** The window of a client that has not answered yet. */
const WINDOW_START_BYTES = 2 * 1024 * 1024;
/** As large as it grows. */
const FLOW_WINDOW_BYTES_MAX = 32 * 1024 * 1024;

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

export class PushFlow {
  readonly #prefix: string;
  #windowBytes = WINDOW_START_BYTES;
  /** Sent, and not known to be worked off. */
  #pendingBytes = 0;
  /** What an answer to the outstanding request acknowledges. */
  #askedBytes = 0;
  #asked: string | undefined;

  constructor(streamName: string, consumerName: string) {
    this.#prefix = `$JS.FC.${streamName}.${consumerName}.`;
  }

  /** The window is full: nothing goes until the client has answered. */
  get isStalled(): boolean {
    return this.#pendingBytes > this.#windowBytes;
  }

  /** The subject on which the client's answer is awaited. */
  get asked(): string | undefined {
    return this.#asked;
  }

  /** Counts a message; the subject on which the client is to answer now, where it is time to ask or `wanted`. */
  sent(bytes: number, wanted = false): string | undefined {
    this.#pendingBytes += bytes;
    if (this.#asked !== undefined) {
      // What is sent long after the question may still come before the answer.
      if (this.#pendingBytes - this.#askedBytes >= this.#windowBytes) this.#askedBytes += bytes;
      return undefined;
    }
    if (!wanted && this.#pendingBytes <= this.#windowBytes / 2) return undefined;
    return this.ask();
  }

  /** Asks now; the subject of the answer, the same one while none has come. */
  ask(): string {
    if (this.#asked !== undefined) return this.#asked;
    this.#askedBytes = this.#pendingBytes;
    this.#asked = this.#prefix + token();
    return this.#asked;
  }

  /** An answer on `subject`; false where it is not the one that is awaited. */
  answered(subject: string): boolean {
    if (subject !== this.#asked) return false;
    this.#windowBytes = Math.min(2 * this.#windowBytes, FLOW_WINDOW_BYTES_MAX);
    this.#pendingBytes = Math.max(0, this.#pendingBytes - this.#askedBytes);
    this.#askedBytes = 0;
    this.#asked = undefined;
    return true;
  }

  /** Another client begins: what the last one had is nobody's any more. */
  reset(): void {
    this.#windowBytes = WINDOW_START_BYTES;
    this.#pendingBytes = 0;
    this.#askedBytes = 0;
    this.#asked = undefined;
  }
}

function token(): string {
  return Array.from(randomBytes(4), (byte) => DIGITS[byte % DIGITS.length]).join('');
}
