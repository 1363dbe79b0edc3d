// Finds at a start what earlier runs of a consumer have delivered and what was not acknowledged, in slices: what lies
// between the ack floor and the last delivery may be much.

import type { Clock } from '../../clock.ts';
import { nextTurn } from '../slices.ts';
import type { StoredMessage } from '../stream-types.ts';
import { SubjectFilter } from '../subject-filter.ts';
import { AckState, STRANGE_SEQS } from './ack-state.ts';
import type { StoredConsumer } from './consumer-rows.ts';
import type { ConsumerStream } from './consumer-stream.ts';
import { SeqRows } from './seq-rows.ts';
import { lastSeqs, type StartPosition } from './start-position.ts';

/** Looked at in one turn. */
const SLICE_MESSAGES = 256;
const SLICE_BYTES = 1024 * 1024;

/** When the next slice comes, and whether any is wanted still. */
interface Pace {
  readonly clock: Clock;
  readonly over: () => boolean;
}

/** What the row of a consumer says. A stream that has lost its end, as a restored image has, takes it back with it. */
export function restoredState(stored: StoredConsumer, lastSeq: number): AckState {
  const { delivered, floor, config } = stored;
  // One that begins at a sequence that is still to come begins there.
  const startSeq = config.deliverPolicy === 'by_start_sequence' ? (config.optStartSeq ?? 1) : 1;
  const upTo = Math.max(lastSeq, startSeq - 1);
  // Another server reads it into a stream of its own. Delivered a second time a message would not be taken; and what limits
  // took meanwhile makes the numbers others than those it expects. So it is brought to ask anew.
  if (config.ackPolicy === 'flow_control' || config.direct === true) {
    const consumerSeq = delivered.consumerSeq + STRANGE_SEQS;
    const start = { consumerSeq, streamSeq: Math.min(floor.streamSeq, upTo) };
    return new AckState(start, start, new SeqRows(stored.rows, stored.watermark));
  }
  const state = new AckState(
    { consumerSeq: delivered.consumerSeq, streamSeq: Math.min(delivered.streamSeq, upTo) },
    { consumerSeq: floor.consumerSeq, streamSeq: Math.min(floor.streamSeq, upTo) },
    new SeqRows(stored.rows, stored.watermark),
  );
  for (const [seq, value] of stored.rows)
    if (value < 0 && seq <= lastSeq) state.exceeded.set(seq, -1 - value);
  return state;
}

/** Fills `state` with what is to be delivered once more; answers where the consumer goes on. */
export async function restore(
  stream: ConsumerStream,
  stored: StoredConsumer,
  state: AckState,
  pace: Pace,
): Promise<StartPosition> {
  const { config, rows, watermark, resumeSeq } = stored;
  const list = resumeSeq === undefined ? undefined : await lastSeqs(stream, config, resumeSeq);
  const fromSeq = state.floor.streamSeq + 1;
  const lastSeq = state.delivered.streamSeq;
  const wants = (seq: number): boolean => {
    const value = rows.get(seq);
    return value === undefined || value > 0;
  };
  const add = (seq: number): void => {
    if (seq >= fromSeq && seq <= lastSeq && wants(seq)) state.restore(seq, rows.get(seq) ?? 1);
  };
  if (config.ackPolicy !== 'none') {
    const low = [...rows.keys()].filter((seq) => seq <= watermark).sort((a, b) => a - b);
    for await (const seqs of existing(stream, low, pace)) seqs.forEach(add);
    const scanFrom = Math.max(fromSeq, watermark + 1);
    const listed = (list ?? []).filter((seq) => seq >= scanFrom && seq <= lastSeq);
    for await (const seqs of existing(stream, listed, pace)) seqs.forEach(add);
    const filter = new SubjectFilter(config.filterSubjects);
    const next = Math.max(scanFrom, (resumeSeq ?? 0) + 1);
    for await (const found of scanned(stream, { filter, fromSeq: next, lastSeq }, pace))
      for (const { seq } of found) add(seq);
  }
  if (list === undefined || resumeSeq === undefined) return { seq: lastSeq + 1 };
  return { seq: lastSeq + 1, list: list.filter((seq) => seq > lastSeq), resumeSeq };
}

/** Those of `seqs` that the stream has, in slices. */
async function* existing(
  stream: ConsumerStream,
  seqs: readonly number[],
  pace: Pace,
): AsyncIterable<number[]> {
  for (let at = 0; at < seqs.length && !pace.over(); at += SLICE_MESSAGES) {
    yield seqs.slice(at, at + SLICE_MESSAGES).filter((seq) => stream.get(seq) !== undefined);
    await nextTurn(pace.clock);
  }
}

async function* scanned(
  stream: ConsumerStream,
  { filter, fromSeq, lastSeq }: { filter: SubjectFilter; fromSeq: number; lastSeq: number },
  pace: Pace,
): AsyncIterable<StoredMessage[]> {
  for (let next = fromSeq; next <= lastSeq && !pace.over();) {
    const { messages, nextSeq } = stream.scan(filter, next, {
      messagesMax: SLICE_MESSAGES,
      bytesMax: SLICE_BYTES,
    });
    yield messages;
    next = nextSeq;
    if (next <= lastSeq) await nextTurn(pace.clock);
  }
}
