// What the streams that clients make may take of the disk together, so that they cannot crowd out the streams of the
// configuration file. Exact once a second; in between, what comes in is counted and nothing that goes.

import { PublishError } from '../message.ts';

export class Quota {
  readonly maxBytes: number;
  #usedBytes = 0;
  #addedBytes = 0;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** Asks whether a message of `bytes` may come in; the error says why not. */
  admit(bytes: number): PublishError | null {
    if (this.#usedBytes + this.#addedBytes + bytes > this.maxBytes)
      return new PublishError(503, 10047, 'insufficient storage resources available');
    this.#addedBytes += bytes;
    return null;
  }

  /** Tells what the streams have now. */
  count(usedBytes: number): void {
    this.#usedBytes = usedBytes;
    this.#addedBytes = 0;
  }
}
