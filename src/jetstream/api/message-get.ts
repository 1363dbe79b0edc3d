// STREAM.MSG.GET: one message with all that is known of it, as JSON. Only what is on the disk can be had.

import type { Clock } from '../../clock.ts';
import { nextTurn } from '../slices.ts';
import type { StoredMessage } from '../stream-types.ts';
import type { SubjectFilter } from '../subject-filter.ts';
import { ApiError } from './api-error.ts';
import type { Endpoint } from './endpoint.ts';
import {
  contradicts,
  filterOf,
  readStrictly,
  type GetRequest,
  type GetSource,
} from './get-request.ts';
import { msToTime } from './rfc3339.ts';

export interface MessageGetDeps {
  stream(name: string): GetSource | undefined;
  readonly clock: Clock;
}

export function messageGetEndpoint(deps: MessageGetDeps): Endpoint {
  return {
    subject: 'STREAM.MSG.GET.*',
    type: 'stream_msg_get_response',
    async answer({ tokens, data }) {
      const request = readStrictly(data);
      if (!isComplete(request)) throw new ApiError(400, 10003, 'bad request');
      const source = deps.stream(tokens[0] ?? '');
      if (source === undefined) throw new ApiError(404, 10059, 'stream not found');
      const message = await find(source, request, deps.clock);
      if (message === undefined) throw new ApiError(404, 10037, 'no message found');
      return { message: toJson(message, request.noHeaders) };
    },
  };
}

/** Many at once is what DIRECT.GET is for. */
function isComplete(request: GetRequest): boolean {
  const { seq, lastFor, nextFor, startMs, batch, bytesMax } = request;
  const saysWhere = seq > 0 || lastFor !== '' || nextFor !== '' || startMs !== undefined;
  return saysWhere && !contradicts(request) && batch <= 0 && bytesMax <= 0;
}

async function find(
  source: GetSource,
  { seq, startMs, nextFor, lastFor }: GetRequest,
  clock: Clock,
): Promise<StoredMessage | undefined> {
  const from = startMs === undefined ? seq : source.seqAtTime(startMs);
  if (nextFor !== '') return await nextOf(source, filterOf(nextFor), from, clock);
  return from > 0 ? source.get(from) : source.lastOf(filterOf(lastFor));
}

/** The first message of `filter` from `from` on; a turn of its own for each stretch of the stream that is looked at. */
async function nextOf(
  source: GetSource,
  filter: SubjectFilter,
  from: number,
  clock: Clock,
): Promise<StoredMessage | undefined> {
  for (let next = from; next <= source.durableSeq;) {
    const { messages, nextSeq } = source.scan(filter, next, {
      messagesMax: 1,
      bytesMax: 1,
    });
    if (messages[0] !== undefined) return messages[0];
    next = nextSeq;
    if (next <= source.durableSeq) await nextTurn(clock);
  }
  return undefined;
}

function toJson(
  { subject, seq, headers, data, timeMs }: StoredMessage,
  noHeaders: boolean,
): object {
  return {
    subject,
    seq,
    ...(headers === undefined || noHeaders ? {} : { hdrs: headers.toString('base64') }),
    ...(data.length === 0 ? {} : { data: data.toString('base64') }),
    time: msToTime(timeMs),
  };
}
