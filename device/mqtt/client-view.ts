// A connected client as monitoring shows it. Read from the live connection when it is asked for.

import type { Peer } from './access/types.ts';
import type { Client } from './entry.ts';
import type { Version } from './wire/types.ts';

export interface ClientView {
  /** Of the connection: counts up. */
  readonly id: number;
  readonly clientId: string;
  /** Undefined for anonymous. */
  readonly user: string | undefined;
  readonly peer: Peer;
  readonly version: Version;
  /** Monotonic time of its connection, and of the last bytes from it. */
  readonly openedMs: number;
  readonly lastInMs: number;
  readonly unreadBytes: number;
  /** PUBLISHes both ways, and the bytes of these packets. */
  readonly traffic: {
    readonly inMsgs: number;
    readonly inBytes: number;
    readonly outMsgs: number;
    readonly outBytes: number;
  };
  readonly subscriptions: readonly SubscriptionView[];
}

export interface SubscriptionView {
  /** The Topic Filter as the client wrote it. */
  readonly filter: string;
  /** Without `$share/…`, as a NATS subject; and the ShareName. */
  readonly subject: string;
  readonly share: string | undefined;
}

/** A connection, as far as it is shown. */
export interface Viewed {
  readonly id: number;
  readonly client: Client | undefined;
  readonly peer: Peer;
  readonly openedMs: number;
  readonly lastInMs: number;
  readonly unreadBytes: number;
  readonly traffic: ClientView['traffic'];
}

/** Undefined before its CONNECT was accepted. The subscriptions are listed when they are looked at. */
export function clientView(connection: Viewed): ClientView | undefined {
  const { client, id, peer, openedMs, lastInMs, unreadBytes, traffic } = connection;
  if (client === undefined) return undefined;
  const { session, version, admitted } = client;
  return {
    id,
    clientId: session.clientId,
    user: admitted.user,
    peer,
    version,
    openedMs,
    lastInMs,
    unreadBytes,
    traffic,
    get subscriptions() {
      return [...session.subscriptions.all];
    },
  };
}
