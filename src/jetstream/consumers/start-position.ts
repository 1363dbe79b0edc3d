// Where a new consumer begins to read: its deliver policy, as nats-server understands it.

import { ApiError } from '../api/api-error.ts';
import { SubjectFilter } from '../subject-filter.ts';
import type { ConsumerStream } from './consumer-stream.ts';
import type { ConsumerConfig } from './types.ts';

/** Subjects of which a `last_per_subject` consumer notes the last message: 8 bytes each. Beyond it, it is refused. */
const LAST_SEQS_MAX = 1_000_000;

export interface StartPosition {
  /** The first sequence to look at. */
  readonly seq: number;
  /** Only these are delivered up to `resumeSeq`. */
  readonly list?: readonly number[];
  readonly resumeSeq?: number;
}

/** Rejects with an ApiError where there are too many subjects. */
export async function startPosition(
  stream: ConsumerStream,
  config: ConsumerConfig,
): Promise<StartPosition> {
  if (config.deliverPolicy === 'last_per_subject' && stream.config.maxMsgsPerSubject !== 1)
    return await lastPerSubject(stream, config);
  return { seq: plainStart(stream, config) };
}

function plainStart(stream: ConsumerStream, config: ConsumerConfig): number {
  const { firstSeq, durableSeq: lastSeq } = stream;
  const seq = wantedStart(stream, config);
  const isInFuture = seq > lastSeq && config.deliverPolicy !== 'by_start_sequence';
  return Math.max(1, firstSeq, isInFuture ? lastSeq + 1 : seq);
}

function wantedStart(stream: ConsumerStream, config: ConsumerConfig): number {
  switch (config.deliverPolicy) {
    case 'last':
      return config.filterSubjects.length === 0
        ? stream.durableSeq
        : (stream.lastOf(new SubjectFilter(config.filterSubjects))?.seq ?? 0);
    case 'new':
      return stream.durableSeq + 1;
    case 'by_start_sequence':
      return config.optStartSeq ?? 1;
    case 'by_start_time':
      return ofFilters(stream, config, stream.seqAtTime(config.optStartTimeMs ?? 0));
    case 'all':
    case 'last_per_subject':
      return 1;
  }
}

/** One look for the first message of a filter: where it is not among the first rows, reading begins at the time itself. */
const LOOK = { messagesMax: 100, bytesMax: 64 * 1024 };

/** As in nats-server: where the first messages under the filters come later than `seq`, it begins with those. */
function ofFilters(
  stream: ConsumerStream,
  { filterSubjects }: ConsumerConfig,
  seq: number,
): number {
  const { firstSeq, durableSeq: lastSeq } = stream;
  let first = lastSeq;
  for (const filter of filterSubjects) {
    const [message] = stream.scan(new SubjectFilter([filter]), firstSeq, LOOK).messages;
    if (message !== undefined && message.seq >= seq) first = Math.min(first, message.seq);
  }
  return first > seq && first < lastSeq ? first : seq;
}

async function lastPerSubject(
  stream: ConsumerStream,
  config: ConsumerConfig,
): Promise<StartPosition> {
  const resumeSeq = stream.durableSeq;
  const list = await lastSeqs(stream, config, resumeSeq);
  return { seq: Math.max(1, stream.firstSeq, list[0] ?? resumeSeq), list, resumeSeq };
}

/** The last message of each subject, as of `upToSeq`. */
export async function lastSeqs(
  stream: ConsumerStream,
  config: ConsumerConfig,
  upToSeq: number,
): Promise<number[]> {
  try {
    const filter = new SubjectFilter(config.filterSubjects);
    return await stream.lastPerSubject(filter, { upToSeq, max: LAST_SEQS_MAX });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ApiError(500, 10012, `more than ${LAST_SEQS_MAX} subjects match`);
  }
}
