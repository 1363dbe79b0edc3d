// What a hub whose stream is filled from one of ours, or mirrors it, asks of the API: a consumer that begins behind what it
// has stored. Hubs from 2.14 on give it a name that stays, those from 2.15 on say which incarnation of the stream they know;
// earlier ones give a random name, or none.
//
// A stream that keeps its messages until they are consumed (interest, work-queue) drops nothing that the hub only might have:
// there the consumer is a durable one, which the hub's answers to flow control acknowledge.

import type { SourcingLedger } from '../consumers/sourcing-ledger.ts';
import type { WireConsumer } from '../consumers/wire.ts';
import { headerValue } from '../../headers.ts';
import type { Message } from '../../message.ts';
import type { StreamConfig } from '../stream-types.ts';
import { ApiError } from './api-error.ts';
import type { ConsumerHome } from './consumer-view.ts';

export const IDENTITY = 'Nats-Stream-Identity';

/** Delivered and not known to be stored by the hub: what it may take in the seconds in which an old one is not believed. */
export const SOURCE_ACK_PENDING_MAX = 20_000;

/** Names that stay the same for one stream of one hub. */
const STABLE_NAME = /^JS_(SRC|MIRROR)_/;

/** Where a source listens; a mirror has an `M` there. */
const SOURCE_SUBJECT = /\.S\.[^.]+$/;

/** Whether another server asks, to read the stream into one of its own: clients ask for nothing `direct`. */
export function isSource(wire: WireConsumer): boolean {
  return wire.direct && wire.deliver_subject !== '';
}

/** Whether a stream of another server asks, which is to be answered on such a subject. */
export function isOfReader({ reply = '' }: Message): boolean {
  return reply.includes('$JSC.R.');
}

/** Whether a request asks for the identity of the stream: the header is there, be it empty. */
export function namesIdentity(headers: Buffer | undefined): boolean {
  return headerValue(headers, IDENTITY) !== undefined;
}

/** The header of an answer that says which incarnation of the stream it is about. */
export function identityHeader(stream: ConsumerHome): Buffer {
  return Buffer.from(`NATS/1.0\r\n${IDENTITY}: ${stream.numbering.identity}\r\n\r\n`, 'latin1');
}

/** Throws an ApiError 10225 where the request is meant for another incarnation. */
export function checkIdentity(stream: ConsumerHome, headers: Buffer | undefined): void {
  const known = headerValue(headers, IDENTITY) ?? '';
  const { identity } = stream.numbering;
  if (known !== '' && known !== identity)
    throw new ApiError(400, 10225, `consumer's stream identity does not match: ${identity}`);
}

/** What the hub asks for as it is made on a stream that keeps what is not consumed. `name` for a hub before 2.14. */
export function asDurable(wire: WireConsumer, stream: StreamConfig): WireConsumer {
  const max = stream.consumerLimits?.maxAckPending ?? 0;
  return {
    ...wire,
    direct: false,
    sourcing: true,
    durable_name: wire.name,
    ack_policy: 'flow_control',
    ack_wait: 0,
    max_deliver: -1,
    inactive_threshold: 0,
    max_ack_pending: max > 0 ? Math.min(max, SOURCE_ACK_PENDING_MAX) : SOURCE_ACK_PENDING_MAX,
    flow_control: true,
    idle_heartbeat: 1_000,
  };
}

/** The sequence with which the hub wants to begin, where it names one. */
export function askedSeq({
  deliver_policy: policy,
  opt_start_seq: seq,
}: WireConsumer): number | undefined {
  return policy === 'by_start_sequence' ? seq : undefined;
}

/**
 * The last delivery as a hub before 2.14 has to read it; undefined where it has to read what is so. Up to 2.12 a source takes
 * what comes behind it for what it has stored, unless it is what it has: if nothing came before it asks again, it would leave
 * out a message. With this it has what it had. A mirror takes it as it is.
 */
export function knownToSource(wire: WireConsumer): number | undefined {
  if (!SOURCE_SUBJECT.test(wire.deliver_subject)) return undefined;
  return Math.max(0, (askedSeq(wire) ?? 0) - 2);
}

/** The hub asks for `seq`, which may lie beyond the end: then the numbering goes on behind what the hub has. */
export async function keepAhead(
  stream: ConsumerHome,
  consumer: string,
  seq: number | undefined,
  ledger: SourcingLedger,
): Promise<void> {
  const { numbering, config } = stream;
  const who = STABLE_NAME.test(consumer) ? consumer : '';
  const lastSeq = numbering.lastSeq;
  // The numbers of a mirror are those of its origin.
  if (seq !== undefined && seq > lastSeq + 1 && config.mirror === undefined) {
    const jumped = await numbering.jump(seq - 1, who);
    if (jumped !== undefined) ledger.jumped(stream.name, consumer, { lastSeq, ...jumped });
  }
  await numbering.met(who);
}
