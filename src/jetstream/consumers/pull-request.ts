// A request for messages, as it comes (`$JS.API.CONSUMER.MSG.NEXT`, ADR-37, ADR-42), and while it waits.

import type { Target } from './types.ts';

/** What a request asks for. Times are monotonic. */
export interface PullOrder {
  readonly batch: number;
  /** 0: any number. */
  readonly bytesMax: number;
  readonly noWait: boolean;
  /** Undefined: it waits without end. */
  readonly expiresMs?: number | undefined;
  readonly heartbeatMs?: number | undefined;
  /** Undefined where the request is no JSON: no group is asked of it. */
  readonly priority?: PullPriority | undefined;
}

export interface PullPriority {
  readonly group: string;
  readonly minPending: number;
  readonly minAckPending: number;
  readonly id: string;
  readonly priority: number;
}

/** A request that cannot be read; `problem` is for the one who asks. */
export interface BadPull {
  readonly problem: string;
}

const NAMES: Readonly<Record<string, 'number' | 'boolean' | 'string'>> = {
  batch: 'number',
  max_bytes: 'number',
  no_wait: 'boolean',
  expires: 'number',
  idle_heartbeat: 'number',
  group: 'string',
  min_pending: 'number',
  min_ack_pending: 'number',
  id: 'string',
  priority: 'number',
};
const GO_TYPES: Readonly<Record<string, string>> = {
  expires: 'time.Duration',
  idle_heartbeat: 'time.Duration',
  min_pending: 'int64',
  min_ack_pending: 'int64',
  no_wait: 'bool',
  group: 'string',
  id: 'string',
};

/** Reads a request: nothing, a number, or JSON. Anything else asks for one message, as an empty one does. */
export function parsePull(data: Buffer, nowMs: number): PullOrder | BadPull {
  const text = data.length === 0 ? '' : data.toString('utf8').trim();
  if (text.startsWith('{')) return parseJsonPull(text, nowMs);
  const batch = /^[+-]?\d+$/.test(text) ? Number(text) : 1;
  return { batch, bytesMax: 0, noWait: false };
}

function parseJsonPull(text: string, nowMs: number): PullOrder | BadPull {
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    const why = error instanceof Error ? error.message : '';
    return { problem: `invalid JSON: ${why.replaceAll(/[\r\n]/g, ' ')}` };
  }
  for (const [name, value] of Object.entries(fields)) {
    const wanted = Object.hasOwn(NAMES, name) ? NAMES[name] : undefined;
    if (wanted === undefined || value === null || typeof value === wanted) continue;
    const go = GO_TYPES[name] ?? 'int';
    return { problem: `json: cannot unmarshal ${kindOf(value)} into field ${name} of type ${go}` };
  }
  const number = (name: string): number => Math.trunc(Number(fields[name] ?? 0));
  const string = (name: string): string => {
    const value = fields[name];
    return typeof value === 'string' ? value : '';
  };
  const heartbeat = number('idle_heartbeat');
  const expires = number('expires');
  if (heartbeat > 0 && heartbeat * 2 > expires) return { problem: 'heartbeat value too large' };
  return {
    batch: number('batch'),
    bytesMax: number('max_bytes'),
    noWait: fields['no_wait'] === true,
    expiresMs: expires === 0 ? undefined : nowMs + expires / 1e6,
    heartbeatMs: heartbeat > 0 ? heartbeat / 1e6 : undefined,
    priority: {
      group: string('group'),
      minPending: number('min_pending'),
      minAckPending: number('min_ack_pending'),
      id: string('id'),
      priority: number('priority'),
    },
  };
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

/** A request that waits. As a target it is where its messages go. */
export class WaitingPull implements Target {
  /** Where messages and statuses go. */
  readonly subject: string;
  headers: Target['headers'];
  /** Messages still wanted. */
  left: number;
  /** Messages it got. */
  delivered = 0;
  /** Bytes still wanted; 0 for any number. */
  bytesLeft: number;
  readonly noWait: boolean;
  readonly expiresMs: number | undefined;
  readonly heartbeatMs: number | undefined;
  nextHeartbeatMs: number | undefined;
  readonly priority: PullPriority | undefined;
  /** The pin it holds or asks for. */
  pin: string;

  constructor(subject: string, order: PullOrder, nowMs: number) {
    this.subject = subject;
    this.left = order.batch;
    this.bytesLeft = order.bytesMax;
    this.noWait = order.noWait;
    this.expiresMs = order.expiresMs;
    this.heartbeatMs = order.heartbeatMs;
    this.nextHeartbeatMs = order.heartbeatMs === undefined ? undefined : nowMs + order.heartbeatMs;
    this.priority = order.priority;
    this.pin = order.priority?.id ?? '';
  }

  /** Whether it is over by now. */
  isExpired(nowMs: number): boolean {
    return this.expiresMs !== undefined && nowMs >= this.expiresMs;
  }
}
