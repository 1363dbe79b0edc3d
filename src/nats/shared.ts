// What all connections of one listener share.

import type { Broker } from '../broker.ts';
import type { Clock } from '../clock.ts';
import { RepeatGuard, type Logger } from '../log.ts';
import type { CertificateFiles } from '../net/certificates.ts';
import type { WebSocketOptions } from '../net/websocket.ts';
import { Users, type NatsUser } from './auth.ts';
import { Encoder } from './encoder.ts';
import { Budget, DEFAULT_LIMITS, PublishWindow, type NatsLimits } from './limits.ts';
import { Turn } from './outbox.ts';
import type { SubscriptionBudgets } from './subscriptions.ts';

/** What `main.ts` hands over. */
export interface NatsDeps {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface NatsOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** Clients without a login may connect although there are users, or off loopback. */
  readonly allowAnonymous: boolean;
  readonly users?: readonly NatsUser[];
  /** Undefined: no TLS. */
  readonly tls?: TlsFiles | undefined;
  /** Undefined: no WebSocket. */
  readonly websocket?: WebSocketOptions | undefined;
  /** Random, new at every start. */
  readonly serverId: string;
  readonly serverName: string;
  /** The level of the JetStream API; undefined: there is none. */
  readonly apiLevel?: number | undefined;
  /** JetStream's domain, as acknowledgements name it; undefined for none. */
  readonly domain?: string | undefined;
  readonly limits?: Partial<NatsLimits>;
}

export interface TlsFiles extends CertificateFiles {
  /** TLS begins before INFO: whoever does not speak TLS hears nothing. */
  readonly handshakeFirst: boolean;
}

/** Totals since start. */
export interface NatsCounters {
  totalConnections: number;
  refusedConnections: number;
  authErrors: number;
  authTimeouts: number;
  protocolErrors: number;
  permissionViolations: number;
  slowConsumers: number;
  staleConnections: number;
  stalls: number;
  noResponders: number;
  inMsgs: number;
  inBytes: number;
  outMsgs: number;
  outBytes: number;
}

export interface Shared extends NatsDeps {
  readonly options: NatsOptions;
  /** As clients are told; with the real port once it is known. */
  address: { readonly host: string; readonly port: number };
  readonly limits: Readonly<NatsLimits>;
  readonly counters: NatsCounters;
  readonly users: Users;
  readonly encoder: Encoder;
  readonly turn: Turn;
  /** Bytes of begun messages. */
  readonly partials: Budget;
  /** Bytes that clients have not read. */
  readonly pending: Budget;
  readonly window: PublishWindow;
  readonly budgets: SubscriptionBudgets;
  /** Warns of a condition that may repeat a thousand times a second: at once, then at most every 30 s. */
  warn(condition: string, fields: Record<string, unknown>): void;
}

export function createShared(options: NatsOptions, deps: NatsDeps): Shared {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const guard = new RepeatGuard(deps.clock);
  return {
    ...deps,
    options,
    address: options.listen,
    limits,
    counters: createCounters(),
    users: new Users(options.users ?? [], options.allowAnonymous),
    encoder: new Encoder(),
    turn: new Turn(deps.clock),
    partials: new Budget(limits.partialBytesMax),
    pending: new Budget(limits.pendingBytesTotalMax),
    window: new PublishWindow(
      limits.publishesInFlightTotalMax,
      limits.publishBytesInFlightTotalMax,
    ),
    budgets: {
      subscriptions: new Budget(limits.subscriptionsTotalMax),
      tokens: new Budget(limits.subscriptionTokensTotalMax),
    },
    warn(condition, fields) {
      guard.run(condition, (times) => deps.log.warn({ ...fields, times }, condition));
    },
  };
}

function createCounters(): NatsCounters {
  return {
    totalConnections: 0,
    refusedConnections: 0,
    authErrors: 0,
    authTimeouts: 0,
    protocolErrors: 0,
    permissionViolations: 0,
    slowConsumers: 0,
    staleConnections: 0,
    stalls: 0,
    noResponders: 0,
    inMsgs: 0,
    inBytes: 0,
    outMsgs: 0,
    outBytes: 0,
  };
}
