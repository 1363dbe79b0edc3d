// The configuration of a stream on the wire (ADR-8 and later) and here: names, -1 for no limit, nanoseconds. What means
// nothing on a gateway (compression, placement, an asynchronous persist mode: everything is synced) is kept in `inert` and
// given back as it came.

import type { StreamConfig } from '../stream-types.ts';
import { shownMetadata } from './api-level.ts';
import { wireMirror } from './stream-mirror.ts';
import {
  bool,
  choice,
  durationMs,
  int,
  int32,
  int64,
  list,
  string,
  stringMap,
  struct,
  timeMs,
  uint64,
  wireNanos,
  type ShapeOf,
} from './decode.ts';

const transform = struct('SubjectTransformConfig', { src: string, dest: string });

const source = struct('StreamSource', {
  name: string,
  opt_start_seq: uint64,
  opt_start_time: timeMs,
  filter_subject: string,
  subject_transforms: list(transform, '[]server.SubjectTransformConfig'),
  external: struct('ExternalStream', { api: string, deliver: string }),
  consumer: struct('StreamConsumerSource', { name: string, deliver_subject: string }),
});

const FIELDS = {
  name: string,
  description: string,
  subjects: list(string),
  retention: choice(['limits', 'interest', 'workqueue']),
  max_consumers: int,
  max_msgs: int64,
  max_bytes: int64,
  max_age: durationMs,
  max_msgs_per_subject: int64,
  max_msg_size: int32,
  discard: choice(['old', 'new']),
  storage: choice(['file', 'memory']),
  num_replicas: int,
  no_ack: bool,
  duplicate_window: durationMs,
  placement: struct('Placement', { cluster: string, tags: list(string), preferred: string }),
  mirror: source,
  sources: list(source, '[]*server.StreamSource'),
  compression: choice(['none', 's2'], 'unknown compression algorithm'),
  first_seq: uint64,
  subject_transform: transform,
  republish: struct('RePublish', { src: string, dest: string, headers_only: bool }),
  allow_direct: bool,
  mirror_direct: bool,
  discard_new_per_subject: bool,
  sealed: bool,
  deny_delete: bool,
  deny_purge: bool,
  allow_rollup_hdrs: bool,
  consumer_limits: struct('StreamConsumerLimits', {
    inactive_threshold: durationMs,
    max_ack_pending: int,
  }),
  allow_msg_ttl: bool,
  subject_delete_marker_ttl: durationMs,
  allow_msg_counter: bool,
  allow_atomic: bool,
  allow_msg_schedules: bool,
  persist_mode: choice(['default', 'async', '']),
  allow_batched: bool,
  metadata: stringMap,
};

/** The body of STREAM.CREATE and STREAM.UPDATE. */
export const STREAM_CONFIG_REQUEST = struct('StreamConfigRequest', { ...FIELDS, pedantic: bool });

/** What a request says of a stream; durations are milliseconds already. */
export type StreamConfigRequest = ShapeOf<typeof STREAM_CONFIG_REQUEST>;

/** The level of the API that a stream needs (ADR-44). */
function requiredLevel(config: StreamConfig): number {
  if (config.allowBatched === true) return 4;
  if (config.allowAtomic === true || config.inert?.['persist_mode'] !== undefined) return 2;
  return config.allowMsgTtl === true || config.markerTtlMs !== undefined ? 1 : 0;
}

/** A field that stands only where there is something to say. */
function where(key: string, value: unknown): object {
  return value === undefined || value === false || value === '' || value === 0
    ? {}
    : { [key]: value };
}

/** The JSON of a configuration; with `version`, as an answer about this stream alone shows it. */
export function wireStreamConfig(config: StreamConfig, version?: string): object {
  const { inert = {}, consumerLimits = {} } = config;
  const metadata = shownMetadata(config.metadata, requiredLevel(config), version);
  return {
    name: config.name,
    ...where('description', config.description),
    ...(config.subjects.length === 0 ? {} : { subjects: config.subjects }),
    retention: config.retention,
    max_consumers: config.maxConsumers ?? -1,
    max_msgs: config.maxMsgs ?? -1,
    max_bytes: config.maxBytes === Infinity ? -1 : config.maxBytes,
    max_age: wireNanos(config.maxAgeMs ?? 0),
    max_msgs_per_subject: config.maxMsgsPerSubject ?? -1,
    max_msg_size: config.maxMsgBytes ?? -1,
    discard: config.discard,
    storage: config.storage,
    num_replicas: 1,
    ...where('no_ack', config.noAck),
    ...where('duplicate_window', wireNanos(config.duplicateWindowMs)),
    ...where('placement', inert['placement']),
    ...where('mirror', wireMirror(config.mirror)),
    compression: inert['compression'] ?? 'none',
    ...where('first_seq', config.firstSeq),
    ...where('subject_transform', config.subjectTransform ?? inert['subject_transform']),
    ...where('republish', wireRepublish(config) ?? inert['republish']),
    allow_direct: config.allowDirect ?? false,
    mirror_direct: inert['mirror_direct'] ?? false,
    ...where('discard_new_per_subject', config.discardNewPerSubject),
    sealed: config.sealed ?? false,
    deny_delete: config.denyDelete ?? false,
    deny_purge: config.denyPurge ?? false,
    allow_rollup_hdrs: config.allowRollup ?? false,
    consumer_limits: {
      ...where('inactive_threshold', wireNanos(consumerLimits.inactiveThresholdMs ?? 0)),
      ...where('max_ack_pending', consumerLimits.maxAckPending),
    },
    allow_msg_ttl: config.allowMsgTtl ?? false,
    ...where('subject_delete_marker_ttl', wireNanos(config.markerTtlMs ?? 0)),
    ...where('allow_atomic', config.allowAtomic),
    ...where('persist_mode', inert['persist_mode']),
    ...where('allow_batched', config.allowBatched),
    metadata,
  };
}

function wireRepublish({ republish }: StreamConfig): object | undefined {
  if (republish === undefined) return undefined;
  const { src, dest, headersOnly } = republish;
  return { src, dest, ...where('headers_only', headersOnly) };
}

/** Whether two configurations are the same to a client. */
export function sameStreamConfig(a: StreamConfig, b: StreamConfig): boolean {
  return JSON.stringify(wireStreamConfig(a)) === JSON.stringify(wireStreamConfig(b));
}
