// Writes the lines that a server sends, as latin1 text (see outbox.ts). What is the same for all subscribers of a message
// is made once for all of them: deliveries of one publish follow each other.

import type { Message } from '../message.ts';

/** Larger messages are not copied into the text, but handed to the system as they are. */
const INLINE_BYTES = 4096;

export const PONG = 'PONG\r\n';
export const PING = 'PING\r\n';
export const OK = '+OK\r\n';

const NOT_ASCII = /[^\0-\x7f]/; // oxlint-disable-line no-control-regex

/** The bytes of `text` in UTF-8, as latin1 text. Almost always the same. */
export function wire(text: string): string {
  return NOT_ASCII.test(text) ? Buffer.from(text, 'utf8').toString('latin1') : text;
}

export function errorLine(text: string): string {
  return `-ERR '${wire(text)}'\r\n`;
}

export function infoLine(info: object): string {
  return `INFO ${wire(JSON.stringify(info))}\r\n`;
}

/** The answer to a request that nobody got. */
export function noRespondersFrame(reply: string, sid: string, subject: string): string {
  const headers = `NATS/1.0 503\r\nNats-Subject: ${wire(subject)}\r\n\r\n`;
  return `HMSG ${wire(reply)} ${wire(sid)} ${headers.length} ${headers.length}\r\n${headers}\r\n`;
}

/** What follows `MSG <subject> <sid> ` for one message. */
export interface Tail {
  readonly verb: 'MSG' | 'HMSG';
  /** Headers and data. */
  readonly bytes: number;
  /** All of it, or all up to the message. */
  readonly text: string;
  /** Headers and data, where they are not in the text; `\r\n` follows. */
  readonly buffers: readonly Buffer[] | undefined;
}

export class Encoder {
  #message: Message | undefined;
  #withHeaders: Tail | undefined;
  #withoutHeaders: Tail | undefined;

  /** For a client that takes headers, or for one to whom only the data goes. */
  tail(message: Message, takesHeaders: boolean): Tail {
    if (message !== this.#message) {
      this.#message = message;
      this.#withHeaders = undefined;
      this.#withoutHeaders = undefined;
    }
    if (takesHeaders && message.headers !== undefined)
      return (this.#withHeaders ??= encode(message, message.headers));
    return (this.#withoutHeaders ??= encode(message, undefined));
  }
}

function encode({ reply, data }: Message, headers: Buffer | undefined): Tail {
  const headerBytes = headers?.length ?? 0;
  const total = headerBytes + data.length;
  const sizes = headers === undefined ? `${total}\r\n` : `${headerBytes} ${total}\r\n`;
  const line = reply === undefined ? sizes : `${wire(reply)} ${sizes}`;
  const verb = headers === undefined ? 'MSG' : 'HMSG';
  if (total > INLINE_BYTES)
    return {
      verb,
      bytes: total,
      text: line,
      buffers: headers === undefined ? [data] : [headers, data],
    };
  const before = headers === undefined ? '' : headers.toString('latin1');
  const text = `${line}${before}${data.toString('latin1')}\r\n`;
  return { verb, bytes: total, text, buffers: undefined };
}
