// The rows of a session in its table: one with its subscriptions, written when they change, and one that says since when
// its client is away, written when it leaves and removed when it comes back. Apart, because a full disk takes removals: a
// client that comes back to fetch its messages needs nothing else.

import { filterToSubject } from '../topic.ts';
import type { QoS } from '../wire/types.ts';
import type { Subscription } from './types.ts';

/** No Client Identifier holds it. */
const AWAY = '\x1faway';
const SHARE = '$share/';
const NO_LOCAL = 4;
const RETAIN_AS_PUBLISHED = 8;
const RETAIN_HANDLING_SHIFT = 4;

/** What is kept of a session. */
export interface SessionState {
  readonly subscriptions: readonly Subscription[];
  /** Session Expiry Interval; seconds. */
  readonly expirySeconds: number;
  readonly user: string | undefined;
}

/** What is kept of its client's absence. */
export interface Away {
  /** Store time. */
  readonly sinceMs: number;
  /** Messages up to this sequence may have been sent. */
  readonly sentSeq: number;
  readonly expirySeconds: number;
}

interface Row {
  v: 2;
  /** Options are the octet of SUBSCRIBE [3.8.3.1]. */
  subscriptions: [filter: string, options: number, identifier?: number][];
  expiry: number;
  user?: string;
}

export function encodeSession({ subscriptions, expirySeconds, user }: SessionState): Buffer {
  const row: Row = {
    v: 2,
    subscriptions: subscriptions.map((subscription) => {
      const { filter, identifier } = subscription;
      const options = encodeOptions(subscription);
      return identifier === undefined ? [filter, options] : [filter, options, identifier];
    }),
    expiry: expirySeconds,
    ...(user === undefined ? {} : { user }),
  };
  return Buffer.from(JSON.stringify(row));
}

/** Throws where the row makes no sense. */
export function decodeSession(value: Buffer): SessionState {
  const { v, subscriptions, expiry, user } = JSON.parse(value.toString('utf8')) as Row;
  if (v !== 2) throw new Error(`unknown version ${String(v)}`);
  return {
    subscriptions: subscriptions.map(([filter, options, identifier]) =>
      decodeSubscription(filter, options, identifier),
    ),
    expirySeconds: expiry,
    user,
  };
}

export function awayKey(clientId: string): string {
  return clientId + AWAY;
}

/** Whose absence a row of the table tells of; undefined where it is a session. */
export function parseAwayKey(key: string): string | undefined {
  return key.endsWith(AWAY) ? key.slice(0, -AWAY.length) : undefined;
}

export function encodeAway({ sinceMs, sentSeq, expirySeconds }: Away): Buffer {
  const row = Buffer.alloc(20);
  row.writeDoubleBE(sinceMs, 0);
  row.writeDoubleBE(sentSeq, 8);
  row.writeUInt32BE(expirySeconds, 16);
  return row;
}

export function decodeAway(row: Buffer): Away | undefined {
  if (row.length !== 20) return undefined;
  return {
    sinceMs: row.readDoubleBE(0),
    sentSeq: row.readDoubleBE(8),
    expirySeconds: row.readUInt32BE(16),
  };
}

function encodeOptions({ qos, noLocal, retainAsPublished, retainHandling }: Subscription): number {
  return (
    qos |
    (noLocal ? NO_LOCAL : 0) |
    (retainAsPublished ? RETAIN_AS_PUBLISHED : 0) |
    (retainHandling << RETAIN_HANDLING_SHIFT)
  );
}

function decodeSubscription(
  filter: string,
  options: number,
  identifier: number | undefined,
): Subscription {
  const { share, rest } = splitShared(filter);
  const handling = (options >> RETAIN_HANDLING_SHIFT) & 3;
  return {
    filter,
    subject: filterToSubject(rest),
    share,
    qos: (options & 3) as QoS,
    noLocal: (options & NO_LOCAL) !== 0,
    retainAsPublished: (options & RETAIN_AS_PUBLISHED) !== 0,
    retainHandling: handling === 1 ? 1 : handling === 2 ? 2 : 0,
    identifier,
  };
}

/** `$share/<name>/<filter>` in its parts; it was checked when it was granted. */
function splitShared(filter: string): { share: string | undefined; rest: string } {
  if (!filter.startsWith(SHARE)) return { share: undefined, rest: filter };
  const end = filter.indexOf('/', SHARE.length);
  if (end < 0) return { share: undefined, rest: filter };
  return { share: filter.slice(SHARE.length, end), rest: filter.slice(end + 1) };
}
