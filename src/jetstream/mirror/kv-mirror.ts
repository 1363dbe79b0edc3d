// A bucket of the hub as a stream of the configuration: what `[[kv_mirror]]` means. Local programs open it with any
// key-value client under its own name; they read here, and write to the hub, as their client sees from the mirror.

import type { StreamOrder } from '../stream-configs.ts';
import type { Likeness } from './notes.ts';
import type { Json } from './origin-request.ts';

/** One `[[kv_mirror]]`. */
export interface KvMirrorOrder {
  readonly bucket: string;
  /** The JetStream domain of the hub; undefined: as the hub says. */
  readonly domain: string | undefined;
  /** Values kept of a key; undefined: as many as the bucket has. */
  readonly history: number | undefined;
  /** Undefined: a share of the disk. */
  readonly maxBytes: number | undefined;
}

const PREFIX = 'KV_';

/** The stream that `[[kv_mirror]]` orders. It is not thinned out when it is full: a program must not miss half a configuration. */
export function kvMirrorOrder({ bucket, domain, history, maxBytes }: KvMirrorOrder): StreamOrder {
  const name = `${PREFIX}${bucket}`;
  const external = domain === undefined ? undefined : { api: `$JS.${domain}.API` };
  return {
    name,
    subjects: [],
    retention: 'limits',
    storage: 'file',
    maxAgeMs: undefined,
    maxBytes,
    maxMsgs: undefined,
    discard: 'new',
    duplicateWindowMs: 0,
    duplicateIdsMax: 0,
    maxMsgsPerSubject: history,
    allowRollup: true,
    allowMsgTtl: true,
    wallTime: true,
    mirror: {
      name,
      ofHub: true,
      ...(external === undefined ? {} : { external }),
      ...(history === undefined ? {} : { history }),
    },
    inert: { mirror_direct: true },
  };
}

const NANOS_PER_MS = 1e6;

/** What the origin's STREAM.INFO says of the limits that its copy keeps, too. */
export function likenessOf(info: Json): Likeness {
  const config = (info['config'] ?? {}) as Json;
  const count = (key: string): number | undefined => {
    const value = config[key];
    return typeof value === 'number' && value > 0 ? value : undefined;
  };
  const ageNanos = count('max_age');
  const { description } = config;
  return {
    description: typeof description === 'string' ? description : undefined,
    maxAgeMs: ageNanos === undefined ? undefined : ageNanos / NANOS_PER_MS,
    maxMsgsPerSubject: count('max_msgs_per_subject'),
    maxMsgBytes: count('max_msg_size'),
  };
}
