// What a hub stream must be like to be forwarded to, read from JetStream's own description of it, and the
// description of one that we create ourselves.

import { HubError, LOCAL_ERROR } from './hub-error.ts';
import type { HubStream } from './hub.ts';

/** JetStream's stream_info_response, as far as it matters here. */
export interface StreamInfoAnswer {
  readonly created?: string;
  readonly config?: {
    readonly name?: string;
    readonly subjects?: readonly string[];
    readonly retention?: string;
    readonly discard?: string;
    readonly max_age?: number;
    readonly max_msgs?: number;
    readonly max_bytes?: number;
    readonly max_msgs_per_subject?: number;
    readonly max_msg_size?: number;
    readonly num_replicas?: number;
    readonly sealed?: boolean;
    readonly no_ack?: boolean;
    readonly deny_delete?: boolean;
    readonly mirror?: unknown;
    readonly subject_transform?: unknown;
    readonly sources?: readonly unknown[];
    /** `_nats.ver` is the version of the server that answers, the stream's leader; servers before 2.11 add nothing. */
    readonly metadata?: Readonly<Record<string, string>>;
    readonly allow_atomic?: boolean;
    readonly allow_batched?: boolean;
    readonly allow_msg_ttl?: boolean;
    readonly allow_msg_counter?: boolean;
  };
  readonly state?: { readonly last_seq?: number };
}

/** The first servers with a fence that names a filter, with atomic batches, with ordered fast ones. */
const FILTER_FENCE = [2, 11] as const;
const ATOMIC = [2, 12] as const;
const BATCHED = [2, 14] as const;
/**
 * The first server that, back from a time without the others, drops what only its own log has before it goes on behind the new
 * leader. An older one may keep it in the place of what the others acknowledged meanwhile, and is never told. By their
 * sources; tried: 2.9.10 keeps it, 2.10.27 does not.
 */
const SAME_LOG = [2, 10, 23] as const;

/**
 * Reads the description; `connected` is the version of the server that we are connected to. Throws a HubError where it
 * is none.
 *
 * What a hub can do is what its stream's leader can, and that may be another version than the server beside us. The
 * leader writes its version into the description. A copied configuration may bring that line along to a server that
 * knows nothing of it, so the older of the two counts: a header that a hub does not know, it ignores. (A leader from
 * before 2.11 that is elected later holds a fence that names a filter against the message's own subject. That is no less
 * than a fence on the subject: it stops forwarding until the next reading, but lets nothing through.)
 */
export function hubStream(answer: StreamInfoAnswer, connected: string): HubStream {
  const { config, created, state } = answer;
  if (config?.name === undefined || created === undefined || state === undefined)
    throw new HubError('retry', 'the hub described the stream incompletely', {
      errCode: LOCAL_ERROR.badAnswer,
    });
  const limit = (value: number | undefined): boolean => (value ?? 0) > 0;
  const leader = config.metadata?.['_nats.ver'];
  const has = (version: readonly [number, number]): boolean =>
    leader !== undefined && isAtLeast(leader, version) && isAtLeast(connected, version);
  const atomic = config.allow_atomic === true && has(ATOMIC);
  const unfit = unfitness(config);
  const size = config.max_msg_size ?? -1;
  const consumed = (config.retention ?? 'limits') !== 'limits';
  return {
    name: config.name,
    created,
    lastSeq: state.last_seq ?? 0,
    subjects: config.subjects ?? [],
    messageBytesMax: size > 0 ? size : Infinity,
    atomic,
    batched: config.allow_batched === true && has(BATCHED),
    filterFence: has(FILTER_FENCE),
    // Servers before 2.11 do not say who leads: the one beside us stands for all.
    mayDiffer: (config.num_replicas ?? 1) > 1 && !isAtLeast(connected, SAME_LOG),
    sourced: (config.sources?.length ?? 0) > 0,
    removes:
      limit(config.max_age) ||
      limit(config.max_msgs_per_subject) ||
      consumed ||
      (config.discard !== 'new' && (limit(config.max_msgs) || limit(config.max_bytes))),
    consumed,
    checkpoints: atomic && config.allow_msg_ttl === true && config.deny_delete !== true,
    ...(unfit === undefined ? {} : { unfit }),
  };
}

/** Whether a version as nats-server writes it is at least `major.minor.patch`; without a patch, any of `major.minor`. */
export function isAtLeast(
  version: string,
  [major, minor, patch = 0]: readonly [major: number, minor: number, patch?: number],
): boolean {
  const [ofMajor = 0, ofMinor = 0, ofPatch = 0] = version.split('.').map((n) => parseInt(n, 10));
  if (ofMajor !== major) return ofMajor > major;
  return ofMinor === minor ? ofPatch >= patch : ofMinor > minor;
}

function unfitness(config: NonNullable<StreamInfoAnswer['config']>): HubStream['unfit'] {
  const other = 'name an ordinary stream in hub.stream, or create one';
  if (config.mirror !== undefined && config.mirror !== null)
    return { reason: 'it is a mirror', hint: other };
  if (config.sealed === true) return { reason: 'it is sealed', hint: other };
  if (config.allow_msg_counter === true)
    return { reason: 'it counts (allow_msg_counter)', hint: other };
  if (config.no_ack === true)
    return {
      reason: 'it acknowledges nothing (no_ack)',
      hint: 'set no_ack = false on it: without acknowledgements nothing counts as delivered',
    };
  if (config.subject_transform !== undefined && config.subject_transform !== null)
    return {
      reason: 'it rewrites subjects (subject_transform)',
      hint: 'remove its subject_transform: what the gateway sent must be found again under its subject',
    };
  return undefined;
}

/** Whether every subject under `filter` is also under `pattern`. */
export function covers(pattern: string, filter: string): boolean {
  const wide = pattern.split('.');
  const narrow = filter.split('.');
  for (let i = 0; i < wide.length; i++) {
    const token = narrow[i];
    if (wide[i] === '>') return token !== undefined;
    if (token === undefined || token === '>') return false;
    if (wide[i] !== '*' && (token === '*' || wide[i] !== token)) return false;
  }
  return wide.length === narrow.length;
}

/** Sizes tried for a stream of ours, largest first: a full hub shall push back, not drop. */
export const CREATE_BYTES = [8 * 1024 ** 3, 1024 ** 3, 256 * 1024 ** 2] as const;

/** Configuration keys that older servers do not know, in the order in which they are given up. */
export const NEWER_KEYS = ['allow_batched', 'allow_atomic', 'allow_msg_ttl'] as const;

export interface NewStreamOptions {
  readonly replicas: number;
  readonly maxBytes: number;
  /** Keys to leave out. */
  readonly without: readonly string[];
  /** Messages come without a fence: let it remember IDs for as long as the server does by default (2 minutes). */
  readonly remembers: boolean;
}

/**
 * How long a stream of ours remembers message IDs, in ns: the least that nats-server takes. Nothing strict rests on its
 * memory, and looking each ID up among those of two minutes costs the hub a tenth of its rate.
 */
const SHORT_WINDOW_NS = 100_000_000;

/** The stream that `create = true` makes. `without` names keys to leave out. */
export function newStream(
  name: string,
  prefix: string,
  { replicas, maxBytes, without, remembers }: NewStreamOptions,
): Record<string, unknown> {
  const config: Record<string, unknown> = {
    name,
    subjects: [`${prefix}.>`],
    retention: 'limits',
    storage: 'file',
    discard: 'new',
    max_bytes: maxBytes,
    num_replicas: replicas,
    allow_direct: true,
    allow_atomic: true,
    allow_batched: true,
    allow_msg_ttl: true,
  };
  // Where batches are unknown, a window of single messages may have to rely on it.
  if (!remembers && !without.includes('allow_batched'))
    config['duplicate_window'] = SHORT_WINDOW_NS;
  for (const key of without) delete config[key];
  return config;
}
