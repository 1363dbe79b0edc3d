// Requests that a single server cannot fulfil, and those that this one does not: they are answered at once, so that no
// client waits for its timeout.

import { ApiError } from './api-error.ts';
import { isEmptyRequest } from './decode.ts';
import type { Endpoint } from './endpoint.ts';
import type { JetStreamView } from './jetstream-view.ts';

/** Subject and type. A standalone nats-server says nothing to those that only its system account may ask for. */
const CLUSTER_ONLY: readonly (readonly [string, string])[] = [
  ['STREAM.LEADER.STEPDOWN.*', 'stream_leader_stepdown'],
  ['STREAM.PEER.REMOVE.*', 'stream_remove_peer'],
  ['STREAM.PEER.EVACUATE.*', 'stream_evacuate_peer'],
  ['STREAM.CANCEL_MOVE.*', 'stream_cancel_move'],
  ['CONSUMER.LEADER.STEPDOWN.*.*', 'consumer_leader_stepdown'],
  ['META.LEADER.STEPDOWN', 'meta_leader_stepdown'],
  ['META.RESCUE', 'meta_rescue'],
  ['SERVER.REMOVE', 'meta_server_remove'],
  ['SERVER.EVACUATE', 'meta_server_evacuate'],
  ['ACCOUNT.PURGE.*', 'account_purge'],
  ['ACCOUNT.STREAM.MOVE.*.*', 'stream_update'],
  ['ACCOUNT.STREAM.CANCEL_MOVE.*.*', 'stream_update'],
];

/** The endpoints of a cluster, and of snapshots. */
export function clusterEndpoints(view: Pick<JetStreamView, 'stream'>): Endpoint[] {
  const all = CLUSTER_ONLY.map(([subject, type]): Endpoint => ({
    subject,
    type: `${type}_response`,
    answer() {
      throw new ApiError(503, 10010, 'JetStream clustering support required');
    },
  }));
  return [...all, snapshot(view), restore()];
}

function snapshot(view: Pick<JetStreamView, 'stream'>): Endpoint {
  return {
    subject: 'STREAM.SNAPSHOT.*',
    type: 'stream_snapshot_response',
    answer({ tokens: [name = ''], data }) {
      if (isEmptyRequest(data)) throw new ApiError(400, 10003, 'bad request');
      if (view.stream(name) === undefined) throw new ApiError(404, 10059, 'stream not found');
      throw new ApiError(500, 10064, 'snapshot failed: not supported by this server');
    },
  };
}

function restore(): Endpoint {
  return {
    subject: 'STREAM.RESTORE.*',
    type: 'stream_restore_response',
    errorFields: { deliver_subject: '' },
    answer({ data }) {
      if (isEmptyRequest(data)) throw new ApiError(400, 10003, 'bad request');
      throw new ApiError(500, 10062, 'restore failed: not supported by this server');
    },
  };
}
