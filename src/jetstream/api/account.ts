// The account, of which a gateway has one: what its streams use, and what the API has done.

import type { JetStreamApi } from './api.ts';
import { API_LEVEL } from './api-level.ts';
import type { Endpoint } from './endpoint.ts';
import type { JetStreamView } from './jetstream-view.ts';

/** The most that clients may have; -1 for no limit of its own. */
export interface AccountLimits {
  readonly memoryBytesMax: number;
  readonly fileBytesMax: number;
  readonly streamsMax: number;
}

/** The endpoint INFO. */
export function accountEndpoint(
  view: JetStreamView,
  api: Pick<JetStreamApi, 'counters'>,
  options: { readonly domain: string | undefined; readonly limits: AccountLimits },
): Endpoint {
  const { domain, limits } = options;
  return {
    subject: 'INFO',
    type: 'account_info_response',
    answer() {
      const { total, errors, inFlight } = api.counters;
      return {
        ...usage(view),
        limits: {
          max_memory: limits.memoryBytesMax,
          max_storage: limits.fileBytesMax,
          max_streams: limits.streamsMax,
          max_consumers: -1,
          max_ack_pending: -1,
          memory_max_stream_bytes: -1,
          storage_max_stream_bytes: -1,
          max_bytes_required: false,
        },
        ...(domain === undefined ? {} : { domain }),
        api: { level: API_LEVEL, total, errors, ...(inFlight === 0 ? {} : { inflight: inFlight }) },
      };
    },
  };
}

function usage(view: JetStreamView): object {
  const sum = { memory: 0, storage: 0, reserved_memory: 0, reserved_storage: 0, consumers: 0 };
  const { streams } = view;
  for (const stream of streams) {
    const { storage, maxBytes } = stream.config;
    const key = storage === 'memory' ? 'memory' : 'storage';
    sum[key] += stream.state().bytes;
    if (maxBytes !== Infinity) sum[`reserved_${key}`] += maxBytes;
    sum.consumers += (view.consumers(stream.name)?.count ?? 0) + (stream.isForwarded ? 1 : 0);
  }
  return { ...sum, streams: streams.length };
}
