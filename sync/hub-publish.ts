// A publish on the wire: the headers that carry ID, fence and batch, and what the hub answers to them.

import { localError } from './hub-error.ts';
import type { Fence, HubAck, HubMessage, PublishOptions } from './hub.ts';
import { apiError, parseReply, type ApiError } from './jetstream-api.ts';
import type { Reply } from './nats-connection.ts';
import { noResponders } from './nats-link.ts';

/**
 * The header blocks of a publish. The fence stands on the first message; the checkpoint, where there is one, goes last
 * with a fence of its own: a hub that loses its tail loses the checkpoint before the messages that it speaks of.
 */
export function headerBlocks(
  all: readonly HubMessage[],
  { stream, fence, checkpoint }: PublishOptions,
  batchId: string,
): Buffer[] {
  return all.map((message, i) => {
    let block = 'NATS/1.0\r\n';
    // Before all names of our own: hubs before 2.12 look at the first place only where a header's name is written.
    if (i === 0 && fence !== undefined) block += fenceLines(fence);
    block += `Nats-Msg-Id: ${message.id}\r\n`;
    if (i === 0) block += `Nats-Expected-Stream: ${stream}\r\n`;
    if (i === all.length - 1 && checkpoint !== undefined)
      block += `Nats-Expected-Last-Subject-Sequence: ${checkpoint.previousSeq}\r\n`;
    if (batchId !== '') block += `Nats-Batch-Id: ${batchId}\r\nNats-Batch-Sequence: ${i + 1}\r\n`;
    if (batchId !== '' && i === all.length - 1) block += 'Nats-Batch-Commit: 1\r\n';
    return Buffer.from(`${block}${message.headerLines}\r\n`, 'latin1');
  });
}

function fenceLines(fence: Fence): string {
  switch (fence.kind) {
    case 'filter':
      return `Nats-Expected-Last-Subject-Sequence: ${fence.seq}\r\nNats-Expected-Last-Subject-Sequence-Subject: ${fence.filter}\r\n`;
    case 'subject':
      return `Nats-Expected-Last-Subject-Sequence: ${fence.seq}\r\n`;
    case 'stream':
      return `Nats-Expected-Last-Sequence: ${fence.seq}\r\n`;
  }
}

/** Reads the n-th reply of a publish of `last` messages: undefined for "the batch is open", an ack, or a HubError thrown. */
export function publishAnswer(reply: Reply, n: number, last: number): HubAck | undefined {
  if (reply.status === 503) throw noResponders('the stream');
  if (reply.data.length === 0 && reply.status === 0 && n < last) return undefined;
  const answer = parseReply<{
    error?: ApiError;
    seq?: number;
    duplicate?: boolean;
    batch?: string;
    count?: number;
  }>(reply);
  if (answer.error !== undefined) throw apiError(answer.error);
  if (n < last)
    throw localError('badAnswer', 'the hub stored the first message of a batch by itself');
  if (typeof answer.seq !== 'number' || answer.seq < 1)
    throw localError('badAnswer', 'the hub acknowledged without a sequence');
  if (last > 1 && answer.count !== last)
    throw localError('badAnswer', `the hub stored ${answer.count ?? 0} of a batch of ${last}`);
  return { seq: answer.seq, duplicate: answer.duplicate === true };
}

/** The end of a reply subject that makes a message the first and last of the fast batch `id`, and has it stored. */
export function sealTokens(id: string): string {
  return `${id}.1.fail.1.2.$FI`;
}

/** Reads the reply of a publish that seals a fast batch; `fenceSeq` is what its fence named. Throws a HubError. */
export function sealAnswer(reply: Reply, fenceSeq: number): HubAck {
  if (reply.status === 503) throw noResponders('the stream');
  const answer = parseReply<{
    error?: ApiError;
    seq?: number;
    duplicate?: boolean;
    batch?: string;
    count?: number;
  }>(reply);
  if (answer.error !== undefined) throw apiError(answer.error);
  const { seq = 0, count, duplicate = false } = answer;
  // A leader that had not heard of the kill ends the batch only now, and says where that one had ended.
  if (count !== 1 || (!duplicate && seq <= fenceSeq))
    throw localError('gap', 'the hub had opened a fast batch again');
  return { seq, duplicate };
}
