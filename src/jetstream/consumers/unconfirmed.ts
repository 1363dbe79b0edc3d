// What a hub that asks for `toSeq` may have from an earlier consumer of ours, and may yet lose: it is delivered no more
// unless the hub asks for it again, and stays in the stream until it is confirmed.

import type { Clock } from '../../clock.ts';
import { nextTurn } from '../slices.ts';
import type { SubjectFilter } from '../subject-filter.ts';
import type { ConsumerStream } from './consumer-stream.ts';

/** Looked at in one turn. */
const SLICE = { messagesMax: 256, bytesMax: 1024 * 1024 };

/** The messages from `fromSeq` to below `toSeq`; undefined where there are more than `max`. */
export async function unconfirmed(
  stream: ConsumerStream,
  filter: SubjectFilter,
  span: { readonly fromSeq: number; readonly toSeq: number; readonly max: number },
  clock: Clock,
): Promise<number[] | undefined> {
  const seqs: number[] = [];
  for (let next = span.fromSeq; next < span.toSeq && next <= stream.durableSeq;) {
    const { messages, nextSeq } = stream.scan(filter, next, SLICE);
    for (const { seq } of messages) if (seq < span.toSeq) seqs.push(seq);
    if (seqs.length >= span.max) return undefined;
    next = nextSeq;
    if (next < span.toSeq) await nextTurn(clock);
  }
  return seqs;
}
