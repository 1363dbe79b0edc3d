// The endpoints that take messages out of a stream: STREAM.PURGE and STREAM.MSG.DELETE. They answer when what is gone is
// gone from the disk. (STREAM.MSG.GET is in message-get.ts.)

import { isFilter } from '../../subject.ts';
import { ApiError } from './api-error.ts';
import { bool, decode, isEmptyRequest, isObjectOrArray, string, struct, uint64 } from './decode.ts';
import { endpoint, type ApiRequest, type Endpoint } from './endpoint.ts';
import { streamOf, type JetStreamView, type StreamView } from './jetstream-view.ts';

const PURGE_REQUEST = struct('JSApiStreamPurgeRequest', {
  seq: uint64,
  filter: string,
  keep: uint64,
});
const MSG_DELETE_REQUEST = struct('JSApiMsgDeleteRequest', { seq: uint64, no_erase: bool });

export function messageEndpoints(view: Pick<JetStreamView, 'stream'>): Endpoint[] {
  return [
    endpoint('STREAM.PURGE.*', 'stream_purge', (request) => purge(view, request), { purged: 0 }),
    endpoint('STREAM.MSG.DELETE.*', 'stream_msg_delete', (request) => remove(view, request)),
  ];
}

async function purge(view: Pick<JetStreamView, 'stream'>, request: ApiRequest): Promise<object> {
  const {
    seq = 0,
    keep = 0,
    filter = '',
  } = isObjectOrArray(request.data) ? decode(PURGE_REQUEST, request.data) : {};
  if (seq > 0 && keep > 0) throw new ApiError(400, 10003, 'bad request');
  const stream = streamOf(view, request.tokens[0]);
  checkOpen(stream, stream.config.denyPurge, 10110, 'stream purge not permitted');
  if (filter !== '' && !isFilter(filter)) return { success: true, purged: 0 };
  const purged = await stream.purge({
    ...(filter === '' ? {} : { filter }),
    ...(seq === 0 ? {} : { belowSeq: seq }),
    ...(keep === 0 ? {} : { keep }),
  });
  return { success: true, purged };
}

async function remove(view: Pick<JetStreamView, 'stream'>, request: ApiRequest): Promise<object> {
  if (isEmptyRequest(request.data)) throw new ApiError(400, 10003, 'bad request');
  const { seq = 0, no_erase: noErase = false } = decode(MSG_DELETE_REQUEST, request.data);
  const stream = streamOf(view, request.tokens[0]);
  checkOpen(stream, stream.config.denyDelete, 10057, 'message delete not permitted');
  checkInside(stream, seq);
  if (seq === 0 || !(await stream.remove(seq, { erase: !noErase })))
    throw new ApiError(400, 10043, `sequence ${seq} not found`);
  return { success: true };
}

/** nats-server knows numbers before the first message and behind the last for what they are in file streams only. */
function checkInside(stream: StreamView, seq: number): void {
  if (stream.config.storage === 'memory') return;
  const { firstSeq, lastSeq, messages } = stream.state();
  if (seq > lastSeq) throw new ApiError(500, 10057, 'stream store EOF');
  if (seq < firstSeq || messages === 0 || seq === 0)
    throw new ApiError(500, 10057, 'no message found');
}

/** Throws where a client may not take messages out of `stream`. */
function checkOpen(
  { config, origin }: StreamView,
  denied: boolean | undefined,
  errCode: number,
  refusal: string,
): void {
  if (config.sealed === true) throw new ApiError(400, 10109, 'invalid operation on sealed stream');
  if (denied === true) throw new ApiError(500, errCode, refusal);
  if (origin === 'file')
    throw new ApiError(
      500,
      errCode,
      `${refusal}: the stream belongs to the configuration file of the gateway`,
    );
}
