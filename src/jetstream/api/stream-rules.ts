// What the configuration of a stream must be like, and what it becomes: nats-server's defaults, rules and words, in its
// order (the first thing wrong is what a client hears). What a gateway does not have (sources, counters, schedules) is refused last, with a word of ours.

import { collide, isCovered, isFilter } from '../../subject.ts';
import type { StreamConfig } from '../stream-types.ts';
import { ApiError } from './api-error.ts';
import { ownMetadata } from './api-level.ts';
import type { StreamConfigRequest } from './stream-config.ts';
import { given, invalidConfig, pedanticError, refuseIf } from './stream-refusals.ts';
import { mappingsOf } from './stream-mappings.ts';
import { mirrorOf, type Lookup } from './stream-mirror.ts';
import { quoted } from './json.ts';
import { SubjectTree } from './subject-tree.ts';

export const NAME_LENGTH_MAX = 255;
const DESCRIPTION_BYTES_MAX = 4 * 1024;
const METADATA_BYTES_MAX = 128 * 1024;
const REPLICAS_MAX = 5;
/** Each is a subscription of the broker. */
const STREAM_SUBJECTS_MAX = 500;
/** Long subjects with many wildcards take long to compare. */
const STREAM_SUBJECTS_BYTES_MAX = 16 * 1024;
const SHORTEST_MS = 100;
const DUPLICATE_WINDOW_MS = 120_000;
/** As for the streams of the configuration file. */
const DUPLICATE_IDS_MAX = 100_000;

/** Whether a stream or a consumer can be called that. */
export function isAssetName(name: string): boolean {
  return name !== '' && !/[ \t\r\n\f.*>/\\]/.test(name);
}

/**
 * The configuration that `request` asks for; `lookup` finds the streams that there are. Throws an ApiError where there can
 * be no such stream.
 */
export function checkedStreamConfig(
  request: StreamConfigRequest,
  lookup: Lookup = () => undefined,
): StreamConfig {
  checkTexts(request);
  checkReplicas(request.num_replicas ?? 0);
  const limits = limitsOf(request);
  const times = timesOf(request);
  checkFeatures(request);
  const switches = switchesOf(request);
  checkPersistMode(request);
  checkSourceNames(request);
  const { mirror, direct = request.mirror_direct } = mirrorOf(request, lookup) ?? {};
  const subjects = subjectsOf(request);
  const { inert: inertMappings = {}, ...mappings } = mappingsOf(request, subjects);
  const inert = { ...inertOf(request), ...given('mirror_direct', direct), ...inertMappings };
  return {
    name: request.name ?? '',
    ...given('description', request.description),
    subjects,
    retention: request.retention || 'limits',
    storage: request.storage || 'file',
    discard: request.discard || 'old',
    ...limits,
    ...times,
    duplicateIdsMax: DUPLICATE_IDS_MAX,
    ...switches,
    ...given('firstSeq', request.first_seq),
    ...consumerLimitsOf(request),
    ...given('metadata', ownMetadata(request.metadata)),
    ...mappings,
    ...(mirror === undefined ? {} : { mirror, wallTime: true }),
    ...(Object.keys(inert).length === 0 ? {} : { inert }),
  };
}

function checkTexts({ name = '', description = '', metadata = {} }: StreamConfigRequest): void {
  refuseIf(
    !isAssetName(name),
    "stream name is required and can not contain '.', '*', '>', '\\', '/'",
  );
  refuseIf(
    Buffer.byteLength(name) > NAME_LENGTH_MAX,
    `stream name is too long, maximum allowed is ${NAME_LENGTH_MAX}`,
  );
  refuseIf(
    Buffer.byteLength(description) > DESCRIPTION_BYTES_MAX,
    `stream description is too long, maximum allowed is ${DESCRIPTION_BYTES_MAX}`,
  );
  let bytes = 0;
  for (const [key, value] of Object.entries(metadata))
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  refuseIf(
    bytes > METADATA_BYTES_MAX,
    `stream metadata exceeds maximum size of ${METADATA_BYTES_MAX} bytes`,
  );
}

function checkReplicas(replicas: number): void {
  refuseIf(replicas > REPLICAS_MAX, `maximum replicas is ${REPLICAS_MAX}`);
  if (replicas < 0) throw new ApiError(400, 10133, 'replicas count cannot be negative');
}

/** Throws where more than one replica is wanted: said after everything else that may be wrong. */
export function refuseReplicas({ num_replicas = 0 }: StreamConfigRequest): void {
  if (num_replicas > 1)
    throw new ApiError(500, 10074, 'replicas > 1 not supported in non-clustered mode');
}

const LIMITS = [
  ['max_msgs', 'maxMsgs'],
  ['max_msgs_per_subject', 'maxMsgsPerSubject'],
  ['max_bytes', 'maxBytes'],
  ['max_msg_size', 'maxMsgBytes'],
  ['max_consumers', 'maxConsumers'],
] as const;

function limitsOf(request: StreamConfigRequest): Pick<StreamConfig, 'maxBytes' | 'maxMsgs'> {
  const limits: Record<string, number> = {};
  for (const [wire, name] of LIMITS) {
    const value = request[wire] ?? 0;
    if (value < -1 && request.pedantic === true) throw pedanticError(`${wire} must be set to -1`);
    if (value > 0) limits[name] = value;
  }
  return { maxBytes: Infinity, maxMsgs: undefined, ...limits };
}

function timesOf(
  request: StreamConfigRequest,
): Pick<StreamConfig, 'maxAgeMs' | 'duplicateWindowMs'> {
  const { max_age: maxAgeMs = 0, mirror, sources = [], pedantic } = request;
  refuseIf(maxAgeMs < 0, 'max age can not be negative');
  refuseIf(maxAgeMs !== 0 && maxAgeMs < SHORTEST_MS, 'max age needs to be >= 100ms');
  let windowMs = request.duplicate_window ?? 0;
  if (windowMs === 0 && mirror === undefined && sources.length === 0) {
    const shortened = maxAgeMs !== 0 && maxAgeMs < DUPLICATE_WINDOW_MS;
    if (shortened && pedantic === true)
      throw pedanticError('duplicate window cannot be bigger than max age');
    windowMs = shortened ? maxAgeMs : DUPLICATE_WINDOW_MS;
  }
  refuseIf(windowMs < 0, 'duplicates window can not be negative');
  refuseIf(
    maxAgeMs !== 0 && windowMs > maxAgeMs,
    'duplicates window can not be larger then max age',
  );
  refuseIf(windowMs > 0 && windowMs < SHORTEST_MS, 'duplicates window needs to be >= 100ms');
  return { maxAgeMs: maxAgeMs === 0 ? undefined : maxAgeMs, duplicateWindowMs: windowMs };
}

function checkFeatures(request: StreamConfigRequest): void {
  const { discard, retention = 'limits' } = request;
  refuseIf(
    request.deny_purge === true && request.allow_rollup_hdrs === true,
    'roll-ups require the purge permission',
  );
  if (request.allow_msg_counter === true) {
    refuseIf(discard === 'new', 'counter stream cannot use discard new');
    refuseIf(request.allow_msg_ttl === true, 'counter stream cannot use message TTLs');
    refuseIf(request.allow_msg_schedules === true, 'counter stream cannot use message schedules');
    refuseIf(retention !== 'limits', 'counter stream can only use limits retention');
  }
  if (request.discard_new_per_subject === true) {
    refuseIf(discard !== 'new', 'discard new per subject requires discard new policy to be set');
    refuseIf(
      (request.max_msgs_per_subject ?? 0) <= 0,
      'discard new per subject requires max msgs per subject > 0',
    );
  }
}

function switchesOf(request: StreamConfigRequest): Partial<StreamConfig> {
  const { pedantic, subject_delete_marker_ttl: markerTtlMs = 0 } = request;
  let { allow_msg_ttl: ttl, allow_rollup_hdrs: rollup, deny_purge: denyPurge } = request;
  refuseIf(markerTtlMs < 0, 'subject delete marker TTL must not be negative');
  if (markerTtlMs > 0) {
    refuseIf(markerTtlMs < 1_000, 'subject delete marker TTL must be at least 1 second');
    refuseIf(
      ttl !== true && pedantic === true,
      'subject delete marker cannot be set if message TTLs are disabled',
    );
    refuseIf(
      rollup !== true && pedantic === true,
      'subject delete marker cannot be set if roll-ups are disabled',
    );
    ttl = true;
    if (rollup !== true) [rollup, denyPurge] = [true, false];
  }
  if (request.allow_msg_schedules === true) {
    refuseIf(request.discard === 'new', 'message scheduling cannot use discard new');
    refuseIf(
      rollup !== true && pedantic === true,
      'message scheduling cannot be set if roll-ups are disabled',
    );
  }
  return {
    ...given('noAck', request.no_ack),
    ...given('allowDirect', request.allow_direct),
    ...given('discardNewPerSubject', request.discard_new_per_subject),
    ...given('sealed', request.sealed),
    ...given('denyDelete', request.deny_delete),
    ...given('denyPurge', denyPurge),
    ...given('allowRollup', rollup),
    ...given('allowMsgTtl', ttl),
    ...given('markerTtlMs', markerTtlMs),
    ...given('allowAtomic', request.allow_atomic),
    ...given('allowBatched', request.allow_batched),
  };
}

function checkPersistMode(request: StreamConfigRequest): void {
  if (request.persist_mode !== 'async') return;
  refuseIf(request.storage === 'memory', 'async persist mode is only supported on file storage');
  refuseIf(
    (request.num_replicas ?? 0) > 1,
    'async persist mode is not supported on replicated streams',
  );
  refuseIf(
    request.allow_atomic === true,
    'async persist mode is not supported with atomic batch publish',
  );
}

function checkSourceNames({ mirror, sources = [] }: StreamConfigRequest): void {
  if (mirror === undefined && sources.some(({ name = '' }) => !isAssetName(name)))
    throw new ApiError(400, 10141, 'sourced stream name is invalid');
}

function subjectsOf(request: StreamConfigRequest): readonly string[] {
  const { name = '', subjects = [], mirror, sources = [] } = request;
  if (subjects.length === 0) return mirror === undefined && sources.length === 0 ? [name] : [];
  refuseIf(
    subjects.length > STREAM_SUBJECTS_MAX,
    `stream has too many subjects, maximum allowed is ${STREAM_SUBJECTS_MAX}`,
  );
  refuseIf(
    Buffer.byteLength(subjects.join('')) > STREAM_SUBJECTS_BYTES_MAX,
    `stream has too long subjects, maximum allowed is ${STREAM_SUBJECTS_BYTES_MAX} bytes`,
  );
  const noAck = request.no_ack === true;
  const overlapping = firstOverlapping(subjects);
  const broken = subjects.filter((subject) => !isFilter(subject));
  for (const [i, subject] of subjects.entries()) {
    refuseIf(!isFilter(subject), 'invalid subject');
    if (!noAck) checkAnswered(subject);
    if (subject !== overlapping && !broken.some((other) => collide(other, subject))) continue;
    const other = subjects.slice(i + 1).find((behind) => collide(behind, subject));
    if (other !== undefined)
      throw invalidConfig(`subject ${quoted(subject)} overlaps with ${quoted(other)}`);
  }
  return subjects;
}

/** The first subject that overlaps with one behind it. */
function firstOverlapping(subjects: readonly string[]): string | undefined {
  const tree = new SubjectTree();
  let first: string | undefined;
  for (const subject of subjects.filter(isFilter).toReversed()) {
    if (tree.overlapping(subject) !== undefined) first = subject;
    tree.add(subject);
  }
  return first;
}

/** An acknowledgement of what lies on these subjects would be a request itself. */
function checkAnswered(subject: string): void {
  refuseIf(subject === '>', 'capturing all subjects requires no-ack to be true');
  for (const space of ['$JS.>', '$JSC.>', '$NRG.>'])
    refuseIf(
      collide(subject, space) && !isCovered(subject, '$JS.EVENT.>'),
      'subjects that overlap with jetstream api require no-ack to be true',
    );
  refuseIf(
    collide(subject, '$SYS.>') && !isCovered(subject, '$SYS.ACCOUNT.>'),
    'subjects that overlap with system api require no-ack to be true',
  );
}

function consumerLimitsOf({
  consumer_limits: limits = {},
}: StreamConfigRequest): Pick<StreamConfig, 'consumerLimits'> {
  const consumerLimits = {
    ...given('inactiveThresholdMs', limits.inactive_threshold),
    ...given('maxAckPending', limits.max_ack_pending),
  };
  return Object.keys(consumerLimits).length === 0 ? {} : { consumerLimits };
}

function inertOf(request: StreamConfigRequest): Readonly<Record<string, unknown>> {
  const { placement = {}, compression, persist_mode: mode } = request;
  refuseIf((placement.preferred ?? '') !== '', 'preferred server not permitted in placement');
  const { cluster = '', tags = [] } = placement;
  const place = {
    ...given('cluster', cluster),
    ...(tags.length === 0 ? {} : { tags }),
  };
  const inert: Record<string, unknown> = {
    ...given('compression', compression === 'none' ? '' : compression),
    ...given('persist_mode', mode === 'async' ? mode : ''),
  };
  if (Object.keys(place).length > 0) inert['placement'] = place;
  return inert;
}

/** Throws where a stream is to be what a gateway's cannot be. */
export function refuseUnbuilt(request: StreamConfigRequest): void {
  refuseReplicas(request);
  refuseIf((request.sources ?? []).length > 0, 'sources are not supported by this server');
  refuseIf(request.allow_msg_counter === true, 'message counters are not supported by this server');
  refuseIf(
    request.allow_msg_schedules === true,
    'message schedules are not supported by this server',
  );
  refuseIf(
    (request.first_seq ?? 0) >= Number.MAX_SAFE_INTEGER,
    'first sequence is too large, maximum allowed is 9007199254740990',
  );
}
