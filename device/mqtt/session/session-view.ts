// A session as monitoring shows it.

import type { Version } from '../wire/types.ts';
import type { Losses, Session } from './session.ts';
import { NEVER_EXPIRES } from './types.ts';

export interface SessionView {
  readonly clientId: string;
  readonly user: string | undefined;
  readonly connected: boolean;
  /** Of its connection; undefined while it is away. */
  readonly version: Version | undefined;
  /** It outlives its connection. */
  readonly persistent: boolean;
  readonly subscriptions: number;
  /** Messages at QoS 1 and 2 that are not finished, those in flight included. */
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  readonly inFlight: number;
  /** QoS 2 PUBLISHes that the client has not released. */
  readonly received: number;
  /** Messages that did not reach the client since the start, by reason. */
  readonly dropped: Readonly<Losses>;
  /** Until the session expires; undefined while it is connected, and where it never does. */
  readonly expiryLeftMs: number | undefined;
}

export function sessionView(session: Session, nowMs: number): SessionView {
  const { clientId, user, owner, persistent, awaySinceMs, expirySeconds } = session;
  const expires = awaySinceMs !== undefined && expirySeconds !== NEVER_EXPIRES;
  return {
    clientId,
    user,
    connected: owner !== undefined,
    version: owner?.version,
    persistent,
    subscriptions: session.subscriptions.size,
    queuedMessages: session.queuedMessages,
    queuedBytes: session.queuedBytes,
    inFlight: session.inFlight,
    received: session.receivedIds,
    dropped: session.losses,
    expiryLeftMs: expires ? Math.max(0, awaySinceMs + expirySeconds * 1000 - nowMs) : undefined,
  };
}
