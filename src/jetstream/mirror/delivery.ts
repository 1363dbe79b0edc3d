// What a consumer's delivery says of itself, in its reply subject, and what it says where it brings no message:
//
//   $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time ns>.<pending>
//   $JS.ACK.<domain>.<account>.<stream>.<consumer>.<the same five>[.<anything>]

import { headerValue } from '../../headers.ts';
import type { Message } from '../../message.ts';

export interface Delivery {
  readonly consumer: string;
  readonly deliveries: number;
  readonly seq: number;
  readonly consumerSeq: number;
  /** When its origin stored it: wall clock, to the millisecond. */
  readonly timeMs: number;
  /** Messages behind it. */
  readonly pending: number;
}

const SHORT_TOKENS = 9;
const LONG_TOKENS = 11;
const NANOS_DIGITS = 6;
const CONTROL = Buffer.from('NATS/1.0 100', 'latin1');

/** Reads the reply of a delivery; undefined where it is none. */
export function readDelivery(reply: string | undefined): Delivery | undefined {
  if (reply === undefined || !reply.startsWith('$JS.ACK.')) return undefined;
  const tokens = reply.split('.');
  if (tokens.length !== SHORT_TOKENS && tokens.length < LONG_TOKENS) return undefined;
  const [, consumer = '', ...numbers] = tokens.slice(tokens.length === SHORT_TOKENS ? 2 : 4);
  const [deliveries = '', seq = '', consumerSeq = '', nanos = '', pending = ''] = numbers;
  const read = {
    consumer,
    deliveries: Number(deliveries),
    seq: Number(seq),
    consumerSeq: Number(consumerSeq),
    timeMs: Number(nanos.slice(0, -NANOS_DIGITS)),
    pending: Number(pending),
  };
  const { timeMs } = read;
  const isGood = [read.deliveries, read.seq, read.consumerSeq, timeMs, read.pending].every(
    Number.isSafeInteger,
  );
  return isGood && read.seq > 0 ? read : undefined;
}

/** Whether it is a heartbeat or a request for flow control: no message. */
export function isControl({ headers, data }: Message): boolean {
  return data.length === 0 && headers?.subarray(0, CONTROL.length).equals(CONTROL) === true;
}

/** What a heartbeat says. */
export function readHeartbeat({ headers }: Message): {
  /** The consumer's number of the last message that it sent; 0 where it does not say. */
  readonly consumerSeq: number;
  /** The consumer waits for an answer there, which it takes for lost. */
  readonly stalledOn: string | undefined;
} {
  return {
    consumerSeq: Number(headerValue(headers, 'Nats-Last-Consumer') ?? 0),
    stalledOn: headerValue(headers, 'Nats-Consumer-Stalled') || undefined,
  };
}
