// The messages that answer one DIRECT.GET: on the subject of the request's reply, with the headers that nats-server sets,
// in its order.

import type { Broker } from '../../broker.ts';
import { withLines } from '../publish/header-block.ts';
import type { StoredMessage } from '../stream-types.ts';
import { msToTime } from './rfc3339.ts';

const NOTHING = Buffer.alloc(0);

/** Where an answer of many messages is. */
export interface Progress {
  /** What is still to come behind this message. */
  readonly pending: number;
  /** The sequence of the message before this one, 0 for none. */
  readonly lastSeq: number;
}

export class DirectAnswers {
  readonly #broker: Broker;
  readonly #stream: string;
  readonly #to: string;

  constructor(broker: Broker, stream: string, to: string) {
    this.#broker = broker;
    this.#stream = stream;
    this.#to = to;
  }

  /** The one message that was asked for, or that there is none. */
  one(message: StoredMessage | undefined, noHeaders: boolean): void {
    if (message === undefined) this.status('404 Message Not Found');
    else this.message(message, noHeaders);
  }

  /** Returns whether somebody got it. */
  message(message: StoredMessage, noHeaders: boolean, progress?: Progress): boolean {
    if (noHeaders) return this.#send({ data: message.data });
    const lines = [
      `Nats-Stream: ${this.#stream}`,
      `Nats-Subject: ${message.subject}`,
      `Nats-Sequence: ${message.seq}`,
      `Nats-Time-Stamp: ${msToTime(message.timeMs)}`,
    ];
    if (progress !== undefined) lines.push(...progressLines(progress));
    return this.#send({ data: message.data, headers: withLines(message.headers, lines) });
  }

  /** The end of many; `upToSeq` where the request was for the last of each subject. */
  end(progress: Progress, upToSeq?: number): void {
    const lines = progressLines(progress);
    if (upToSeq !== undefined) lines.push(`Nats-UpTo-Sequence: ${upToSeq}`);
    this.#sendStatus('204 EOB', lines);
  }

  status(text: string): void {
    this.#sendStatus(text, []);
  }

  #sendStatus(text: string, lines: readonly string[]): void {
    const block = [`NATS/1.0 ${text}`, ...lines, '', ''].join('\r\n');
    this.#send({ data: NOTHING, headers: Buffer.from(block, 'latin1') });
  }

  #send(answer: { data: Buffer; headers?: Buffer }): boolean {
    return this.#broker.answer({ subject: this.#to, ...answer }) !== 'nobody';
  }
}

function progressLines({ pending, lastSeq }: Progress): string[] {
  return [`Nats-Num-Pending: ${pending}`, `Nats-Last-Sequence: ${lastSeq}`];
}
