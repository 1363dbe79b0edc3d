// Writes the lines and messages that a leafnode sends its hub, as latin1 text, one character a byte: texts join by
// reference, and one write takes them all. Interest is one line each; a message names the queue groups that get it.

import { wire } from '../../src/nats/encoder.ts';
import type { LeafFrame } from './types.ts';

export const PING = 'PING\r\n';
export const PONG = 'PONG\r\n';

/** CONNECT: what the hub is told of us. */
export function connectLine(options: object): string {
  return `CONNECT ${wire(JSON.stringify(options))}\r\n`;
}

/** LS+: we want `subject`; with a queue group, `weight` members of us do. */
export function subscribeLine(subject: string, queue?: string, weight = 1): string {
  return queue === undefined
    ? `LS+ ${wire(subject)}\r\n`
    : `LS+ ${wire(subject)} ${wire(queue)} ${weight}\r\n`;
}

/** LS-: we want it no more. */
export function unsubscribeLine(subject: string, queue?: string): string {
  return queue === undefined
    ? `LS- ${wire(subject)}\r\n`
    : `LS- ${wire(subject)} ${wire(queue)}\r\n`;
}

/** `-ERR`, for a hub that is told why we go. */
export function errorLine(text: string): string {
  return `-ERR '${wire(text)}'\r\n`;
}

/** The first line of a message: LMSG, or with headers HMSG. */
export function messageLine({ subject, reply, headers, data, queues }: LeafFrame): string {
  const total = data.length + (headers?.length ?? 0);
  const verb = headers === undefined ? 'LMSG' : 'HMSG';
  const sizes = headers === undefined ? `${total}\r\n` : `${headers.length} ${total}\r\n`;
  if (queues.length > 0) {
    const mark = reply === undefined ? '|' : `+ ${wire(reply)}`;
    return `${verb} ${wire(subject)} ${mark} ${wire(queues.join(' '))} ${sizes}`;
  }
  return reply === undefined
    ? `${verb} ${wire(subject)} ${sizes}`
    : `${verb} ${wire(subject)} ${wire(reply)} ${sizes}`;
}

/** A whole message. */
export function messageText(frame: LeafFrame): string {
  const { headers, data } = frame;
  const before = headers === undefined ? '' : headers.toString('latin1');
  return `${messageLine(frame)}${before}${data.toString('latin1')}\r\n`;
}
