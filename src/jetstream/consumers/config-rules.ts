// What a consumer may be configured to be. Defaults first, then the rules in the order in which nats-server looks at them:
// a request that breaks two is answered with the same one. Numbers and texts are nats-server's, its slips included.

import { hasWildcard, isCovered, isFilter } from '../../subject.ts';
import { ApiError } from '../api/api-error.ts';
import { SubjectTree } from '../api/subject-tree.ts';
import type { StreamConfig } from '../stream-types.ts';
import { formatGoDuration } from './go-duration.ts';
import type { WireConsumer } from './wire.ts';

const WAITING_DEFAULT = 512;
const ACK_WAIT_DEFAULT_MS = 30_000;
const ACK_PENDING_DEFAULT = 1000;
const PINNED_DEFAULT_MS = 120_000;
/** The heartbeat of consumers whose acknowledgements come with flow control. */
const FLOW_ACK_HEARTBEAT_MS = 1000;
const HEARTBEAT_MIN_MS = 100;
/** As nats-server has them. */
const DESCRIPTION_BYTES_MAX = 4096;
const METADATA_BYTES_MAX = 128 * 1024;
const CONSUMER_NAME_BYTES_MAX = 255;
/** Each is held against the others, and against every message. nats-server knows no limit. */
const FILTERS_MAX = 1_000;
const FILTERS_BYTES_MAX = 32 * 1024;

/** What of a stream's configuration says what its consumers may be. */
export type StreamRules = Pick<
  StreamConfig,
  'consumerLimits' | 'maxConsumers' | 'retention' | 'subjects'
>;

function bad(errCode: number, description: string, code = 400): ApiError {
  return new ApiError(code, errCode, description);
}

/** Fills in what is not given. With `pedantic`, what would be corrected is refused. Throws an ApiError 10157. */
export function withDefaults(
  given: WireConsumer,
  stream: StreamRules,
  pedantic: boolean,
): WireConsumer {
  const wire = corrected(given, pedantic);
  const isPull = wire.deliver_subject === '';
  if (isPull && wire.max_waiting === 0) wire.max_waiting = WAITING_DEFAULT;
  const isAcked = wire.ack_policy === 'explicit' || wire.ack_policy === 'all';
  if (wire.ack_wait === 0 && isAcked) wire.ack_wait = ACK_WAIT_DEFAULT_MS;
  const [first] = wire.backoff;
  if (first !== undefined) {
    if (pedantic && wire.ack_wait !== first)
      throw pedanticError('first backoff value has to equal batch AckWait');
    wire.ack_wait = first;
  }
  const { maxAckPending = 0, inactiveThresholdMs = 0 } = stream.consumerLimits ?? {};
  if (wire.max_ack_pending === 0) {
    if (pedantic && maxAckPending > 0)
      throw pedanticError("max_ack_pending must be set if it's configured in stream limits");
    wire.max_ack_pending = maxAckPending;
  }
  if (wire.inactive_threshold === 0) {
    if (pedantic && inactiveThresholdMs > 0)
      throw pedanticError("inactive_threshold must be set if it's configured in stream limits");
    wire.inactive_threshold = inactiveThresholdMs;
  }
  if (wire.max_ack_pending === 0 && wire.ack_policy !== 'none')
    wire.max_ack_pending = ACK_PENDING_DEFAULT;
  if (wire.priority_policy === 'pinned_client' && wire.priority_timeout === 0)
    wire.priority_timeout = PINNED_DEFAULT_MS;
  if (wire.ack_policy === 'flow_control' && !pedantic) {
    wire.flow_control = true;
    wire.idle_heartbeat = FLOW_ACK_HEARTBEAT_MS;
  }
  return wire;
}

function pedanticError(what: string): ApiError {
  return bad(10157, `pedantic mode: ${what}`);
}

/** A copy of which negative values are what they stand for. */
function corrected(given: WireConsumer, pedantic: boolean): WireConsumer {
  const wire = { ...given };
  if (wire.max_deliver === 0 || wire.max_deliver < -1) {
    if (pedantic && wire.max_deliver < -1) throw pedanticError('max_deliver must be set to -1');
    wire.max_deliver = -1;
  }
  const atLeastZero = (field: (typeof NOT_NEGATIVE)[number]): void => {
    if (wire[field] >= 0) return;
    if (pedantic) throw pedanticError(`${field} must not be negative`);
    wire[field] = 0;
  };
  atLeastZero('max_waiting');
  if (wire.max_ack_pending < -1) {
    if (pedantic) throw pedanticError('max_ack_pending must be set to -1');
    wire.max_ack_pending = -1;
  }
  for (const field of NOT_NEGATIVE) atLeastZero(field);
  return wire;
}

const NOT_NEGATIVE = [
  'max_waiting',
  'max_batch',
  'max_expires',
  'max_bytes',
  'idle_heartbeat',
  'inactive_threshold',
  'priority_timeout',
] as const;

/** Checks a configuration with its defaults. Throws an ApiError. */
export function checkRules(wire: WireConsumer, stream: StreamRules): void {
  checkNames(wire);
  if (wire.num_replicas > 1)
    throw bad(10126, 'consumer config replica count exceeds parent stream');
  if (wire.num_replicas < 0) throw bad(10133, 'replicas count cannot be negative');
  if (wire.backoff.some((ms) => ms < 0)) throw bad(10184, 'consumer backoff needs to be positive');
  if (wire.ack_wait < 0) throw bad(10183, 'consumer ack wait needs to be positive');
  if (wire.ack_policy === 'flow_control') checkFlowAcks(wire);
  checkBackoff(wire.backoff.length, wire.max_deliver);
  if (Buffer.byteLength(wire.description) > DESCRIPTION_BYTES_MAX)
    throw bad(
      10107,
      `consumer description is too long, maximum allowed is ${DESCRIPTION_BYTES_MAX}`,
    );
  if (wire.deliver_subject === '') checkPull(wire, stream);
  else checkPush(wire, stream);
  checkLimits(wire, stream);
  checkDirect(wire);
  checkFilters(wire);
  checkStart(wire);
  checkSampling(wire.sample_freq);
  if (wire.flow_control && wire.idle_heartbeat === 0)
    throw bad(10108, 'consumer with flow control also needs heartbeats');
  if (wire.durable_name !== '' && wire.name !== '' && wire.durable_name !== wire.name)
    throw bad(10132, 'Consumer Durable and Name have to be equal if both are provided');
  checkMetadata(wire.metadata);
  checkPriority(wire);
}

function checkNames({ name, durable_name: durable }: WireConsumer): void {
  const letters = "can not contain '.', '*', '>', '\\', '/'";
  if (name !== '' && !isAssetName(name)) throw bad(10052, `consumer name ${letters}`, 500);
  if (durable !== '' && !isAssetName(durable))
    throw bad(10052, `consumer durable name ${letters}`, 500);
  // nats-server finds out when it cannot make a directory of that name.
  if (Buffer.byteLength(durable === '' ? name : durable) > CONSUMER_NAME_BYTES_MAX)
    throw bad(10102, `consumer name is too long, maximum allowed is ${CONSUMER_NAME_BYTES_MAX}`);
}

/** A name that can stand in a subject. */
function isAssetName(name: string): boolean {
  return name !== '' && !/[ \t\r\n\f.*>\\/]/.test(name) && isFilter(name);
}

function checkBackoff(steps: number, maxDeliver: number): void {
  if (steps > 0 && maxDeliver !== -1 && steps > maxDeliver)
    throw bad(10116, 'max deliver is required to be > length of backoff values');
}

function checkFlowAcks(wire: WireConsumer): void {
  if (wire.deliver_subject === '')
    throw bad(10218, 'flow control ack policy requires a push based consumer');
  if (!wire.flow_control) throw bad(10219, 'flow control ack policy requires flow control');
  if (wire.idle_heartbeat !== FLOW_ACK_HEARTBEAT_MS)
    throw bad(10052, 'flow control ack policy heartbeat needs to be 1s', 500);
  if (wire.max_ack_pending <= 0)
    throw bad(10220, 'flow control ack policy requires max ack pending');
  if (wire.ack_wait !== 0 || wire.backoff.length > 0)
    throw bad(10221, 'flow control ack policy requires unset ack wait');
  if (wire.max_deliver > 0) throw bad(10222, 'flow control ack policy requires unset max deliver');
}

function checkPush(wire: WireConsumer, stream: StreamRules): void {
  const { deliver_subject: subject } = wire;
  if (hasWildcard(subject)) throw bad(10079, 'consumer deliver subject has wildcards');
  if (!isFilter(subject)) throw bad(10112, 'invalid push consumer deliver subject');
  if (stream.subjects.some((taken) => isCovered(subject, taken)))
    throw bad(10081, 'consumer deliver subject forms a cycle');
  if (wire.max_waiting !== 0) throw bad(10080, 'consumer in push mode can not set max waiting');
  if (wire.max_ack_pending > 0 && wire.ack_policy === 'none')
    throw bad(10082, 'consumer requires ack policy for max ack pending');
  if (wire.idle_heartbeat > 0 && wire.idle_heartbeat < HEARTBEAT_MIN_MS)
    throw bad(10083, 'consumer idle heartbeat needs to be >= 100ms');
}

function checkPull(wire: WireConsumer, stream: StreamRules): void {
  if (wire.ack_policy === 'none' && stream.retention === 'workqueue')
    throw bad(10084, 'consumer in pull mode requires explicit ack policy on workqueue stream');
  if (wire.rate_limit_bps > 0)
    throw bad(10086, 'consumer in pull mode can not have rate limit set');
  if (wire.idle_heartbeat > 0)
    throw bad(10088, 'consumer idle heartbeat requires a push based consumer');
  if (wire.flow_control) throw bad(10089, 'consumer flow control requires a push based consumer');
  if (wire.max_expires !== 0 && wire.max_expires < 1)
    throw bad(10115, 'consumer max request expires needs to be >= 1ms');
}

function checkLimits(wire: WireConsumer, stream: StreamRules): void {
  const { maxAckPending = 0, inactiveThresholdMs = 0 } = stream.consumerLimits ?? {};
  if (maxAckPending > 0 && wire.max_ack_pending > maxAckPending)
    throw bad(10121, `consumer max ack pending exceeds system limit of ${maxAckPending}`);
  if (inactiveThresholdMs > 0 && wire.inactive_threshold > inactiveThresholdMs) {
    const limit = formatGoDuration(inactiveThresholdMs);
    throw bad(10153, `consumer inactive threshold exceeds system limit of ${limit}`);
  }
}

function checkDirect(wire: WireConsumer): void {
  if (!wire.direct) return;
  if (wire.deliver_subject === '')
    throw bad(10090, 'consumer direct requires a push based consumer');
  if (wire.durable_name !== '') throw bad(10091, 'consumer direct requires an ephemeral consumer');
}

function checkFilters({ filter_subject: one, filter_subjects: many }: WireConsumer): void {
  if (one !== '' && many.length > 0)
    throw bad(10136, 'consumer cannot have both FilterSubject and FilterSubjects specified');
  if (many.includes('')) throw bad(10139, 'consumer filter in FilterSubjects cannot be empty');
  const filters = one === '' ? many : [one];
  if (filters.length > FILTERS_MAX)
    throw bad(10052, `consumer can not have more than ${FILTERS_MAX} filter subjects`, 500);
  if (Buffer.byteLength(filters.join('')) > FILTERS_BYTES_MAX)
    throw bad(
      10052,
      `consumer can not have more than ${FILTERS_BYTES_MAX} bytes of filter subjects`,
      500,
    );
  for (const filter of filters) if (!isFilter(filter)) throw bad(10052, 'invalid subject', 500);
  if (overlap(filters)) throw bad(10138, 'consumer subject filters cannot overlap');
}

/** Whether one of them is covered by another. */
function overlap(filters: readonly string[]): boolean {
  if (new Set(filters).size < filters.length) return true;
  const wide = SubjectTree.of(filters.filter(hasWildcard));
  return filters.some((filter) => wide.covers(filter));
}

/** What each policy is called, and what it needs. */
const STARTS = {
  all: { words: 'all', needs: undefined },
  last: { words: 'last', needs: undefined },
  new: { words: 'new', needs: undefined },
  last_per_subject: { words: 'last per subject', needs: 'filter subject' },
  by_start_sequence: { words: 'by start sequence', needs: 'start sequence' },
  by_start_time: { words: 'by start time', needs: 'start time' },
} as const;

function checkStart(wire: WireConsumer): void {
  const { words, needs } = STARTS[wire.deliver_policy];
  const given = {
    'filter subject': wire.filter_subject !== '' || wire.filter_subjects.length > 0,
    'start sequence': wire.opt_start_seq > 0,
    'start time': wire.opt_start_time !== '',
  };
  const policy = `consumer delivery policy is deliver ${words}, but optional`;
  const isStart = needs === 'start sequence' || needs === 'start time';
  if (isStart && !given[needs]) throw bad(10094, `${policy} ${needs} is not set`);
  if (needs !== 'start sequence' && given['start sequence']) {
    // The doubled word is nats-server's.
    const what = needs === 'start time' ? 'start start sequence' : 'start sequence';
    throw bad(10094, `${policy} ${what} is also set`);
  }
  if (needs !== 'start time' && given['start time'])
    throw bad(10094, `${policy} start time is also set`);
  if (needs === 'filter subject' && !given[needs])
    throw bad(10094, `${policy} filter subject is not set`);
}

function checkSampling(frequency: string): void {
  if (frequency === '') return;
  const text = frequency.replace(/%$/, '');
  const quoted = JSON.stringify(text);
  let why: string | undefined;
  if (!/^[+-]?\d+$/.test(text)) why = `strconv.Atoi: parsing ${quoted}: invalid syntax`;
  else if (
    text.length > 20 ||
    BigInt.asIntN(64, BigInt(text.replace('+', ''))) !== BigInt(text.replace('+', ''))
  )
    why = `strconv.Atoi: parsing ${quoted}: value out of range`;
  else if (text.startsWith('-') && Number(text) < 0) why = '<nil>';
  if (why !== undefined)
    throw bad(10095, `failed to parse consumer sampling configuration: ${why}`);
}

function checkMetadata(metadata: Readonly<Record<string, string>>): void {
  let bytes = 0;
  for (const [key, value] of Object.entries(metadata))
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  if (bytes > METADATA_BYTES_MAX)
    throw bad(10135, `consumer metadata exceeds maximum size of ${METADATA_BYTES_MAX / 1024}KB`);
}

function checkPriority(wire: WireConsumer): void {
  const { priority_groups: groups } = wire;
  if (wire.priority_policy === 'none') {
    if (groups.length > 0)
      throw bad(10196, 'consumer can not have priority groups when policy is none');
    if (wire.priority_timeout > 0)
      throw bad(10197, 'PinnedTTL cannot be set when PriorityPolicy is none');
    return;
  }
  if (wire.deliver_subject !== '')
    throw bad(10178, 'priority groups can not be used with push consumers');
  if (groups.length === 0)
    throw bad(10159, 'Setting PriorityPolicy requires at least one PriorityGroup to be set');
  for (const group of groups) {
    if (group === '') throw bad(10161, 'Group name cannot be an empty string');
    checkGroup(group);
  }
}

/** Throws an ApiError where `group` cannot be the name of a priority group. */
export function checkGroup(group: string): void {
  if (!/^[a-zA-Z0-9/_=-]{1,16}$/.test(group))
    throw bad(
      10162,
      'Valid priority group name must match A-Z, a-z, 0-9, -_/=)+ and may not exceed 16 characters',
    );
}
