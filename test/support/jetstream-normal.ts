// Takes out of an answer what two servers cannot agree on: times, generated names and ids, sizes of records, and who they
// are. All else stays, word for word.

import type { Frame } from './frame-client.ts';
import { isHeartbeat, type Observation, type Run } from './jetstream-run.ts';

/** Numbers that a server's storage or clock makes. */
const OWN_NUMBERS = new Set([
  'bytes',
  'memory',
  'storage',
  'pause_remaining',
  'ack_time',
  'delay_remaining',
]);
/** Whole fields that are a server's own. */
const OWN_FIELDS = new Set([
  'cluster',
  'api',
  'id',
  'pinned_client_id',
  'pinned_id',
  'server',
  'client',
]);
const LISTS = new Set(['streams', 'consumers']);
/** What a JSON parser says is its own. */
const BAD_JSON = /^(NATS\/1\.0 400 Bad Request - )(?:json: |invalid |unexpected end).*/;
const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)/g;
/** Times of the run itself; others were asked for. */
const NEAR_MS = 86_400_000;

/** What came of each step, in lines that can be compared. */
export function normal(run: Run): string[][] {
  const named = (text: string): string => {
    let out = text;
    for (const [name, id] of run.names) out = out.replaceAll(name, `<name of ${id}>`);
    return out;
  };
  return run.observations.map((observation) => lines(observation, named));
}

function lines({ frames, unordered }: Observation, named: (text: string) => string): string[] {
  const found = frames
    // Heartbeats come by the clock.
    .filter((frame) => !isHeartbeat(frame))
    .map(({ subject, reply, headers, data }) =>
      line({ subject: named(subject), reply: named(reply), headers, data: named(data) }),
    );
  return unordered ? found.toSorted() : found;
}

function line({ subject, reply, headers, data }: Frame): string {
  const to = subject.startsWith('_INBOX.') ? '' : subject;
  return [to, ackless(reply), times(pinless(headers)), json(data)]
    .filter((part) => part !== '')
    .join(' | ');
}

/** `$JS.ACK.<stream>.<consumer>.<deliveries>.<seq>.<consumer seq>.<time>.<pending>` without the time. */
function ackless(reply: string): string {
  return reply
    .replace(/^(\$JS\.ACK\.[^.]+\.[^.]+\.\d+\.\d+\.\d+)\.\d+\.(\d+)$/, '$1.<time>.$2')
    .replace(/^(\$JS\.FC\..+)\.[^.]+$/, '$1.<id>');
}

function pinless(headers: string): string {
  return headers
    .replace(BAD_JSON, '$1<what is wrong>')
    .replace(/Nats-Pin-Id: \S+/g, 'Nats-Pin-Id: <id>')
    .replace(
      /(Nats-Subject: )(\$JS\.ACK\.\S+)/g,
      (_, key: string, ack: string) => key + ackless(ack),
    );
}

function times(text: string): string {
  return text.replaceAll(TIME, (time) =>
    Math.abs(Date.parse(time) - Date.now()) < NEAR_MS ? '<time>' : time,
  );
}

function json(data: string): string {
  if (!data.startsWith('{')) return times(data);
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return times(data);
  }
  return JSON.stringify(plain(value));
}

function plain(value: unknown): unknown {
  if (typeof value === 'string')
    return times(value).replace(/^invalid JSON: .*/s, 'invalid JSON: <what is wrong>');
  if (Array.isArray(value)) return value.map((each) => plain(each));
  if (typeof value !== 'object' || value === null) return value;
  const out: Record<string, unknown> = {};
  for (const key of Object.keys(value).toSorted()) {
    const each = (value as Record<string, unknown>)[key];
    if (OWN_FIELDS.has(key)) out[key] = `<${key}>`;
    else if (OWN_NUMBERS.has(key) && typeof each === 'number')
      out[key] = each === 0 ? 0 : `<${key}>`;
    else if (key === 'metadata') metadata(each, out);
    else if (LISTS.has(key)) out[key] = list(each);
    else out[key] = plain(each);
  }
  return out;
}

/** Go writes an empty list as null where it likes. Generated names stand in an order of their own. */
function list(value: unknown): unknown {
  if (value !== null && !Array.isArray(value)) return plain(value);
  const items = (value ?? []).map((each) => plain(each));
  const named = (item: unknown): string =>
    typeof item === 'string' ? item : ((item as { name?: string }).name ?? '');
  if (!items.some((item) => named(item).startsWith('<name of'))) return items;
  return items.toSorted((a, b) => (named(a) < named(b) ? -1 : 1));
}

/** Without what the server notes of itself. */
function metadata(value: unknown, out: Record<string, unknown>): void {
  const own = Object.entries((value ?? {}) as Record<string, unknown>).filter(
    ([key]) => !key.startsWith('_nats.'),
  );
  if (own.length > 0)
    out['metadata'] = Object.fromEntries(own.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
