// The consumer that a mirror asks its origin for: as nats-server's mirrors do, so that every hub knows it for what it is
// (`direct`: it keeps no message of an interest or work-queue stream; `sourcing`: or it acknowledges what we have).

import { createHash } from 'node:crypto';
import type { Message } from '../../message.ts';
import { encodeHeaders } from '../../headers.ts';
import { msToTime } from '../api/rfc3339.ts';
import type { MirrorConfig } from '../stream-types.ts';
import { token } from './chance.ts';

const SECOND_NS = 1_000_000_000;
const HEARTBEAT_NS = SECOND_NS;
/** A consumer that nobody listens to is gone after that long. */
const INACTIVE_NS = 10 * SECOND_NS;
const ACK_WAIT_NS = 22 * 3600 * SECOND_NS;
/** What a `sourcing` consumer needs of its server. */
const LEVEL = encodeHeaders([['Nats-Required-Api-Level', '4']]);
const ID_LENGTH = 8;

export interface ConsumerRequest {
  /** The stream here. */
  readonly stream: string;
  readonly domain: string | undefined;
  readonly mirror: MirrorConfig;
  /** The sequence to begin with; undefined: as the mirror is configured, for it has nothing. */
  readonly fromSeq: number | undefined;
  /** Whether the origin is asked for what only newer servers know. */
  readonly sourcing: boolean;
}

/** The request for a consumer, under the API `api`. */
export function consumerRequest(
  api: string,
  request: ConsumerRequest,
): Required<Pick<Message, 'subject' | 'data'>> & Pick<Message, 'headers'> {
  const { stream, domain, mirror, sourcing } = request;
  // A durable one of the origin is found again by its name; of the others there may be an old one still.
  const id = stableId(stream, domain);
  const name = sourcing ? `JS_MIRROR_${id}` : `JS_MIRROR_${id}_${token()}`;
  const deliver = mirror.external?.deliver;
  const filters = mirror.subjectTransforms?.map(({ src }) => (src === '' ? '>' : src)) ?? [];
  const filter = mirror.filterSubject ?? (filters.length === 1 ? filters[0] : undefined);
  const config = {
    name,
    deliver_subject: deliver === undefined ? `$JS.M.${token()}` : `${deliver}.M.${token()}`,
    ...startOf(request),
    ack_policy: 'none',
    ack_wait: ACK_WAIT_NS,
    max_deliver: 1,
    ...(filter !== undefined ? { filter_subject: filter } : {}),
    ...(filter === undefined && filters.length > 1 ? { filter_subjects: filters } : {}),
    replay_policy: 'instant',
    flow_control: true,
    idle_heartbeat: HEARTBEAT_NS,
    inactive_threshold: INACTIVE_NS,
    num_replicas: 0,
    direct: true,
    ...(sourcing ? { sourcing: true } : {}),
    metadata: {
      '_nats.mirror.stream': stream,
      '_nats.mirror.acc': '$G',
      ...(domain === undefined ? {} : { '_nats.mirror.domain': domain }),
    },
  };
  const subject = `${api}.CONSUMER.CREATE.${mirror.name}.${name}`;
  return {
    subject: filter === undefined ? subject : `${subject}.${filter}`,
    ...(sourcing && LEVEL !== undefined ? { headers: LEVEL } : {}),
    data: Buffer.from(JSON.stringify({ stream_name: mirror.name, action: '', config }), 'utf8'),
  };
}

function startOf({ fromSeq, mirror: { startSeq, startTimeMs } }: ConsumerRequest): object {
  if (fromSeq !== undefined) return { deliver_policy: 'by_start_sequence', opt_start_seq: fromSeq };
  if (startSeq !== undefined)
    return { deliver_policy: 'by_start_sequence', opt_start_seq: startSeq };
  if (startTimeMs !== undefined)
    return { deliver_policy: 'by_start_time', opt_start_time: msToTime(startTimeMs) };
  return { deliver_policy: 'all' };
}

function stableId(stream: string, domain = ''): string {
  const hash = createHash('sha256').update(`${stream} $G ${domain}`).digest('base64url');
  return hash.replace(/[-_]/g, '').slice(0, ID_LENGTH);
}
