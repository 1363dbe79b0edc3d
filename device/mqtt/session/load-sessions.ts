// Reads the tables of all sessions at start, a few rows at a time: sessions and absences, then the queues, then the
// identifiers of QoS 2. What belongs to no session is removed: its session ended, and the power went before its rows.

import { scan, type MqttStore } from '../tables.ts';
import { DurableQueue, parseQueueKey } from './durable-queue.ts';
import { parseReceivedKey } from './received-ids.ts';
import {
  decodeAway,
  decodeSession,
  parseAwayKey,
  type Away,
  type SessionState,
} from './session-row.ts';
import type { Session } from './session.ts';
import { NEVER_EXPIRES } from './types.ts';

const SCAN_ROWS = 64;

/** What becomes of what is found. */
export interface Loading {
  revive(clientId: string, state: SessionState): Session;
  away(session: Session, away: Away): void;
  session(clientId: string): Session | undefined;
  unreadable(clientId: string, error: unknown): void;
}

export function loadSessions(store: MqttStore, loading: Loading): void {
  const sentSeqs = new Map<string, number>();
  for (const { key, value } of scan(store.sessions, SCAN_ROWS)) {
    const owner = parseAwayKey(key);
    if (owner === undefined) loading.revive(key, read(key, value, loading));
    else loadAway(store, loading, { owner, key, value }, sentSeqs);
  }
  for (const { key, value } of scan(store.queue, SCAN_ROWS)) {
    const { clientId, seq } = parseQueueKey(key);
    const session = loading.session(clientId);
    if (session === undefined) store.queue.delete(key);
    else recover(session, { seq, value, sentSeq: sentSeqs.get(clientId) });
  }
  for (const { key } of scan(store.received, SCAN_ROWS)) {
    const { clientId, packetId } = parseReceivedKey(key);
    const session = loading.session(clientId);
    if (session === undefined) store.received.delete(key);
    else session.received.recover(packetId);
  }
}

/** A row that cannot be read stands for a session without subscriptions: the client will have to subscribe again. */
function read(clientId: string, value: Buffer, loading: Loading): SessionState {
  try {
    return decodeSession(value);
  } catch (error) {
    loading.unreadable(clientId, error);
    return { subscriptions: [], expirySeconds: NEVER_EXPIRES, user: undefined };
  }
}

function loadAway(
  store: MqttStore,
  loading: Loading,
  row: { owner: string; key: string; value: Buffer },
  sentSeqs: Map<string, number>,
): void {
  const session = loading.session(row.owner);
  const away = decodeAway(row.value);
  if (session === undefined) return store.sessions.delete(row.key);
  if (away === undefined) return;
  loading.away(session, away);
  sentSeqs.set(row.owner, away.sentSeq);
}

/**
 * A row of a queue. Which messages were sent is known of a client that had left. Of one that was connected it may be any:
 * a power cut also brings back what was acknowledged just before it. A client takes DUP for "perhaps again".
 */
function recover(
  session: Session,
  row: { seq: number; value: Buffer; sentSeq: number | undefined },
): void {
  const { queue } = session.deliveries;
  if (!(queue instanceof DurableQueue)) return;
  const { seq, value, sentSeq = Number.POSITIVE_INFINITY } = row;
  if (queue.recover(seq, value, seq <= sentSeq))
    session.deliveries.recoverMarker(seq, value.length);
}
