// A consumer's configuration as the JetStream API has it: its names, and zeros for what is not given; durations are
// milliseconds already. Only the configuration files of this directory and the endpoints know this shape.

import {
  bool,
  choice,
  decode,
  durationMs,
  int,
  list,
  string,
  stringMap,
  struct,
  timeMs,
  uint64,
  wireNanos,
  type Shape,
} from '../api/decode.ts';
import { JsonError } from '../api/json.ts';

/** ConsumerConfig of ADR-8, every field there. */
export interface WireConsumer {
  durable_name: string;
  name: string;
  description: string;
  deliver_policy: DeliverPolicy;
  opt_start_seq: number;
  /** Times are kept as they came: RFC 3339. */
  opt_start_time: string;
  ack_policy: 'none' | 'all' | 'explicit' | 'flow_control';
  ack_wait: number;
  max_deliver: number;
  backoff: readonly number[];
  filter_subject: string;
  filter_subjects: readonly string[];
  replay_policy: 'instant' | 'original';
  rate_limit_bps: number;
  sample_freq: string;
  max_waiting: number;
  max_ack_pending: number;
  flow_control: boolean;
  headers_only: boolean;
  max_batch: number;
  max_expires: number;
  max_bytes: number;
  deliver_subject: string;
  deliver_group: string;
  idle_heartbeat: number;
  inactive_threshold: number;
  num_replicas: number;
  mem_storage: boolean;
  direct: boolean;
  sourcing: boolean;
  metadata: Readonly<Record<string, string>>;
  pause_until: string;
  priority_groups: readonly string[];
  priority_policy: 'none' | 'overflow' | 'pinned_client' | 'prioritized';
  priority_timeout: number;
}

type DeliverPolicy =
  | 'all'
  | 'last'
  | 'new'
  | 'by_start_sequence'
  | 'by_start_time'
  | 'last_per_subject';

/** What CONSUMER.CREATE is asked with. */
export interface CreateRequest {
  readonly stream: string;
  readonly config: WireConsumer;
  readonly action: '' | 'create' | 'update';
  /** Nothing may be corrected in silence. */
  readonly pedantic: boolean;
}

/** A choice that complains in words of its own, with what stood there. */
function worded<const T extends string>(words: readonly T[], complaint: string): Shape<T | ''> {
  const plain = choice(words);
  return {
    ...plain,
    read(node, place) {
      try {
        return plain.read(node, place);
      } catch {
        throw new JsonError(`${complaint}: ${place.text.slice(node.from, node.to)}`);
      }
    },
  };
}

/** A point in time, kept as it came: digits and time zone are its client's. */
export const timeText: Shape<string> = {
  go: 'time.Time',
  zero: '',
  read(node, place) {
    timeMs.read(node, place);
    return node.kind === 'string' ? node.value : '';
  },
};

const CONFIG = struct('ConsumerConfig', {
  durable_name: string,
  name: string,
  description: string,
  deliver_policy: choice([
    'all',
    'last',
    'new',
    'by_start_sequence',
    'by_start_time',
    'last_per_subject',
    'undefined',
  ]),
  opt_start_seq: uint64,
  opt_start_time: timeText,
  ack_policy: choice(['none', 'all', 'explicit', 'flow_control']),
  ack_wait: durationMs,
  max_deliver: int,
  backoff: list(durationMs),
  filter_subject: string,
  filter_subjects: list(string),
  replay_policy: choice(['instant', 'original']),
  rate_limit_bps: uint64,
  sample_freq: string,
  max_waiting: int,
  max_ack_pending: int,
  flow_control: bool,
  headers_only: bool,
  max_batch: int,
  max_expires: durationMs,
  max_bytes: int,
  deliver_subject: string,
  deliver_group: string,
  idle_heartbeat: durationMs,
  inactive_threshold: durationMs,
  num_replicas: int,
  mem_storage: bool,
  direct: bool,
  sourcing: bool,
  metadata: stringMap,
  pause_until: timeText,
  priority_groups: list(string),
  priority_policy: worded(
    ['none', 'overflow', 'pinned_client', 'prioritized'],
    'unknown priority policy',
  ),
  priority_timeout: durationMs,
});

const REQUEST = struct('CreateConsumerRequest', {
  stream_name: string,
  config: CONFIG,
  action: worded(['', 'create', 'update'], 'unknown consumer action'),
  pedantic: bool,
});

const NOTHING: WireConsumer = {
  durable_name: '',
  name: '',
  description: '',
  deliver_policy: 'all',
  opt_start_seq: 0,
  opt_start_time: '',
  ack_policy: 'none',
  ack_wait: 0,
  max_deliver: 0,
  backoff: [],
  filter_subject: '',
  filter_subjects: [],
  replay_policy: 'instant',
  rate_limit_bps: 0,
  sample_freq: '',
  max_waiting: 0,
  max_ack_pending: 0,
  flow_control: false,
  headers_only: false,
  max_batch: 0,
  max_expires: 0,
  max_bytes: 0,
  deliver_subject: '',
  deliver_group: '',
  idle_heartbeat: 0,
  inactive_threshold: 0,
  num_replicas: 0,
  mem_storage: false,
  direct: false,
  sourcing: false,
  metadata: {},
  pause_until: '',
  priority_groups: [],
  priority_policy: 'none',
  priority_timeout: 0,
};

/** These stand in every answer, also as zeros. */
const ALWAYS: ReadonlySet<string> = new Set([
  'deliver_policy',
  'ack_policy',
  'replay_policy',
  'num_replicas',
]);

const DURATIONS: ReadonlySet<string> = new Set([
  'ack_wait',
  'backoff',
  'max_expires',
  'idle_heartbeat',
  'inactive_threshold',
  'priority_timeout',
]);

/** A whole configuration of what is given of it. */
export function wireConsumer(given: Partial<WireConsumer>): WireConsumer {
  return { ...NOTHING, ...given };
}

/** Reads the body of CONSUMER.CREATE; `isLenient` where it may come from a newer server. Throws an ApiError 10025. */
export function decodeCreateRequest(data: Buffer, isLenient = false): CreateRequest {
  const request = decode(REQUEST, data, isLenient);
  const { stream_name = '', config = {}, action = '', pedantic = false } = request;
  const { deliver_policy: policy, ack_policy: ack, replay_policy: replay, ...rest } = config;
  const { priority_policy: priority, ...fields } = rest;
  return {
    stream: stream_name,
    action,
    pedantic,
    config: wireConsumer({
      ...fields,
      deliver_policy:
        policy === undefined || policy === 'undefined' || policy === '' ? 'all' : policy,
      ack_policy: ack || 'none',
      replay_policy: replay || 'instant',
      priority_policy: priority || 'none',
    }),
  };
}

/** As it stands in an answer: without what is not given, durations in nanoseconds. */
export function answered(wire: WireConsumer): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(wire)
      .filter(([name, value]) => ALWAYS.has(name) || !isNothing(value))
      .map(([name, value]) => [name, DURATIONS.has(name) ? nanos(value) : value]),
  );
}

/** The largest double below 2^63: what is more would not fit the int64 of other clients. */
const LARGEST_NANOS = 9_223_372_036_854_774_784;

function nanos(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(nanos);
  return typeof value === 'number' ? Math.min(wireNanos(value), LARGEST_NANOS) : value;
}

function isNothing(value: unknown): boolean {
  if (value === '' || value === 0 || value === false || value === 'none') return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}
