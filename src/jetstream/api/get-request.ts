// What a get asks for: the request bodies of STREAM.MSG.GET and of DIRECT.GET, and what of a stream both read. One
// message by its sequence, the last of a subject, the next of a filter, from a time on; DIRECT.GET also many at once.

import type { Cancel } from '../../clock.ts';
import type { StoredMessage, StreamConfig } from '../stream-types.ts';
import { SubjectFilter } from '../subject-filter.ts';
import { bool, decode, int, list, string, struct, timeMs, uint64, type Decoded } from './decode.ts';
import { JsonError, parseJson } from './json.ts';

/** A stream as a get reads it: only what is on the disk. */
export interface GetSource {
  readonly name: string;
  readonly config: StreamConfig;
  readonly firstSeq: number;
  readonly durableSeq: number;
  get(seq: number): StoredMessage | undefined;
  scan(
    filter: SubjectFilter,
    fromSeq: number,
    limits: { readonly messagesMax: number; readonly bytesMax: number },
  ): { readonly messages: readonly StoredMessage[]; readonly nextSeq: number };
  lastOf(filter: SubjectFilter): StoredMessage | undefined;
  lastPerSubject(
    filter: SubjectFilter,
    options: { readonly upToSeq?: number; readonly max: number },
  ): Promise<number[]>;
  seqAtTime(timeMs: number): number;
  count(filter: SubjectFilter, fromSeq: number, done: (messages: number) => void): Cancel;
}

const FIELDS = {
  seq: uint64,
  last_by_subj: string,
  next_by_subj: string,
  batch: int,
  max_bytes: int,
  start_time: timeMs,
  multi_last: list(string),
  up_to_seq: uint64,
  up_to_time: timeMs,
  no_hdr: bool,
};
const SHAPE = struct('JSApiMsgGetRequest', FIELDS);

/** What was asked; a field that was not given has Go's zero value, a time is undefined then. */
export interface GetRequest {
  readonly seq: number;
  readonly lastFor: string;
  readonly nextFor: string;
  readonly batch: number;
  readonly bytesMax: number;
  readonly startMs: number | undefined;
  readonly multiLast: readonly string[];
  readonly upToSeq: number;
  readonly upToMs: number | undefined;
  readonly noHeaders: boolean;
}

/** Reads the body strictly, as STREAM.MSG.GET does. Throws the ApiError 10025. */
export function readStrictly(data: Buffer): GetRequest {
  return requestOf(decode(SHAPE, data));
}

/** Reads the body as DIRECT.GET does, which overlooks unknown fields; undefined where it is malformed. */
export function readLeniently(data: Buffer): GetRequest | undefined {
  const text = data.toString('utf8');
  try {
    const [node, more] = parseJson(text);
    if (node === undefined || more !== undefined) return undefined;
    if (node.kind === 'null') return requestOf({});
    const known =
      node.kind === 'object'
        ? {
            ...node,
            entries: node.entries.filter(([key]) => Object.hasOwn(FIELDS, key.toLowerCase())),
          }
        : node;
    return requestOf(SHAPE.read(known, { name: '', text }));
  } catch (error) {
    if (error instanceof JsonError) return undefined;
    throw error;
  }
}

function requestOf(fields: Decoded<typeof FIELDS>): GetRequest {
  return {
    seq: fields.seq ?? 0,
    lastFor: fields.last_by_subj ?? '',
    nextFor: fields.next_by_subj ?? '',
    batch: fields.batch ?? 0,
    bytesMax: fields.max_bytes ?? 0,
    startMs: fields.start_time,
    multiLast: fields.multi_last ?? [],
    upToSeq: fields.up_to_seq ?? 0,
    upToMs: fields.up_to_time,
    noHeaders: fields.no_hdr ?? false,
  };
}

/** Whether the ways to say where to begin contradict each other, in either kind of get. */
export function contradicts({ seq, lastFor, nextFor, startMs }: GetRequest): boolean {
  return (
    (seq > 0 && lastFor !== '') ||
    (seq > 0 && startMs !== undefined) ||
    (startMs !== undefined && lastFor !== '') ||
    (lastFor !== '' && nextFor !== '')
  );
}

/** The one filter; empty is everything. */
export function filterOf(subject: string): SubjectFilter {
  return new SubjectFilter(subject === '' ? [] : [subject]);
}
