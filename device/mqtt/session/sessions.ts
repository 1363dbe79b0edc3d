// All sessions by Client Identifier: opened, taken over, expired, ended, kept in their tables and found again at start.

import type { Broker } from '../../../src/broker.ts';
import type { Message } from '../../../src/message.ts';
import type { Base } from '../base.ts';
import type { MqttCounters } from '../counters.ts';
import type { MqttLimits } from '../limits.ts';
import type { Retained } from '../retained.ts';
import type { Origin } from '../routing.ts';
import type { MqttStore, Settled } from '../tables.ts';
import { Forms } from './forms.ts';
import { loadSessions } from './load-sessions.ts';
import type { Delivery, DeliveryQueue, Loss } from './queue.ts';
import { Recall } from './recall.ts';
import {
  awayKey,
  decodeSession,
  encodeAway,
  encodeSession,
  type SessionState,
} from './session-row.ts';
import { SessionQueues } from './session-queues.ts';
import { Session, type SessionPorts } from './session.ts';
import { sessionView, type SessionView } from './session-view.ts';
import type { LeftBehind, SharedGroups } from './shared-groups.ts';
import { weightOf } from './subscriptions.ts';
import {
  NEVER_EXPIRES,
  type Closing,
  type Link,
  type OpenRequest,
  type Subscription,
} from './types.ts';
import type { Wills } from './wills.ts';

export interface Opened {
  readonly session: Session;
  /** Session Present of CONNACK. */
  readonly present: boolean;
  /** Something was written: CONNACK waits until the disk has answered. */
  readonly written: boolean;
}

/** What else a session touches. */
export interface SessionsParts {
  readonly retained: Retained;
  readonly groups: SharedGroups;
  readonly wills: Wills;
  /** Whether there is such a user; the session of one that is gone belongs to nobody. */
  readonly knowsUser?: (user: string) => boolean;
}

export class Sessions implements SessionPorts {
  readonly broker: Broker;
  readonly limits: Readonly<MqttLimits>;
  readonly counters: MqttCounters;
  readonly store: MqttStore;
  readonly forms: Forms;
  readonly #base: Base;
  readonly #parts: SessionsParts;
  readonly #byClientId = new Map<string, Session>();
  /** Clients are away, and their sessions will expire. */
  readonly #expiring = new Set<Session>();
  #nextExpiryMs = Number.POSITIVE_INFINITY;
  readonly #queues: SessionQueues;
  #persistent = 0;
  #subscriptions = 0;
  /** The same as their limit counts them: see `weightOf`. */
  #weight = 0;
  #newClientIds = 0;
  #loading = false;

  constructor(base: Base, parts: SessionsParts) {
    this.#base = base;
    this.#parts = parts;
    this.broker = base.broker;
    this.limits = base.limits;
    this.counters = base.counters;
    this.store = base.store;
    this.forms = new Forms(() => base.store.nowMs());
    this.#queues = new SessionQueues(base);
  }

  get stats(): {
    sessions: number;
    subscriptions: number;
    sharedSubscriptions: number;
    queuedMessages: number;
    queuedBytes: number;
    memoryBytes: number;
  } {
    let queuedMessages = 0;
    for (const session of this.#byClientId.values()) queuedMessages += session.queuedMessages;
    return {
      sessions: this.#byClientId.size,
      subscriptions: this.#subscriptions,
      sharedSubscriptions: this.#parts.groups.subscriptions,
      queuedMessages,
      queuedBytes: this.#queues.diskBytes,
      memoryBytes: this.#queues.memoryBytes,
    };
  }

  /** All sessions as monitoring shows them. */
  *views(): Iterable<SessionView> {
    const nowMs = this.store.nowMs();
    for (const session of this.#byClientId.values()) yield sessionView(session, nowMs);
  }

  /** Brings back the sessions, their subscriptions and queues. Those that are over end with the first `tick`. */
  load(): void {
    this.#loading = true;
    loadSessions(this.store, {
      revive: (clientId, state) => {
        const session = this.#create(clientId, state, true);
        session.expirySeconds = session.rowExpirySeconds = state.expirySeconds;
        for (const subscription of state.subscriptions) this.#subscribe(session, subscription);
        this.#leave(session, this.store.nowMs());
        return session;
      },
      away: (session, { sinceMs, expirySeconds }) => {
        session.expirySeconds = expirySeconds;
        this.#leave(session, sinceMs);
      },
      session: (clientId) => this.#byClientId.get(clientId),
      unreadable: (clientId, err) =>
        this.#base.log.error(
          { clientId, err },
          'the subscriptions of an MQTT client cannot be read',
        ),
    });
    this.#loading = false;
  }

  /** An identifier for a client that brings none [MQTT-3.1.3-6]: one that nobody has. */
  newClientId(): string {
    do this.#newClientIds++;
    while (this.#byClientId.has(`auto-${this.#newClientIds}`));
    return `auto-${this.#newClientIds}`;
  }

  /** Why a CONNECT may not have its session: it is another user's, or one too many, or its Will is. Ask before `open`. */
  refusal(request: OpenRequest): 'foreign' | 'full' | 'wills' | undefined {
    const known = this.#byClientId.get(request.clientId);
    if (known !== undefined && !this.#mayHave(known, request.user)) return 'foreign';
    if (request.will !== undefined && !this.#parts.wills.fits(request.will)) return 'wills';
    const more = request.expirySeconds > 0 && known?.persistent !== true;
    return more && this.#persistent >= this.limits.sessionsMax ? 'full' : undefined;
  }

  /** Whether a connection has this client's session now: a new one would take its place. */
  owned(clientId: string): boolean {
    return this.#byClientId.get(clientId)?.owner !== undefined;
  }

  /**
   * Opens the session of a CONNECT for `link`, and takes it from whoever has it, who calls `close` from `takeOver`.
   * `settled`: see `written`.
   */
  open(request: OpenRequest, link: Link, settled: Settled): Opened {
    const { clientId, cleanStart, expirySeconds, user, will } = request;
    this.#takeOver(this.#byClientId.get(clientId));
    let known = this.#byClientId.get(clientId);
    const present =
      known !== undefined && !cleanStart && known.user === user && !this.#isOver(known);
    const { wills } = this.#parts;
    let written = false;
    if (!present) {
      written = this.#forget(clientId, known);
      known = undefined;
      wills.ended(clientId);
    } else wills.cancel(clientId);
    const session = known ?? this.#create(clientId, { user }, expirySeconds > 0);
    const save = session.persistent && this.#needsSave(session, present, expirySeconds);
    written = this.#return(session) || written;
    session.expirySeconds = expirySeconds;
    session.will = will;
    session.claim(link);
    const waits = wills.opened(session, will, expirySeconds, () => {
      if (!save) settled(null);
    });
    if (save) this.save(session, settled);
    else if (written && !waits) this.#whenRemoved(settled);
    return { session, present, written: written || save || waits };
  }

  /** `link` is closed: what that means for the Will and the session depends on how. */
  close(session: Session, link: Link, closing: Closing): void {
    if (!session.release(link)) return;
    const { expirySeconds = session.expirySeconds, will } = closing;
    // A session in memory has nothing to live on with.
    session.expirySeconds = session.persistent ? expirySeconds : 0;
    this.#parts.wills.closed(
      session,
      will === 'publish' ? session.will : undefined,
      session.expirySeconds,
    );
    session.will = undefined;
    if (session.expirySeconds === 0 || session.ended) return this.#end(session);
    const sinceMs = this.store.nowMs();
    this.#leave(session, sinceMs);
    const sentSeq = session.outgoing?.sentSeq ?? 0;
    const away = { sinceMs, sentSeq, expirySeconds: session.expirySeconds };
    // Where a full disk refuses it, the session begins to expire with the next start: late, and not early.
    this.store.sessions.put(awayKey(session.clientId), encodeAway(away));
  }

  /** Adds or replaces a subscription; 'refused' beyond a limit, and nothing has changed. */
  subscribe(session: Session, wanted: Subscription): 'new' | 'replaced' | 'refused' {
    const known = session.subscriptions.get(wanted.filter);
    const { sessionSubscriptionsMax, subscriptionsMax } = this.limits;
    if (known === undefined) {
      const weight = weightOf(wanted.filter);
      if (session.subscriptions.weight + weight > sessionSubscriptionsMax) return 'refused';
      if (this.#weight + weight > subscriptionsMax) return 'refused';
    }
    this.#subscribe(session, wanted);
    return known === undefined ? 'new' : 'replaced';
  }

  /** Removes a subscription; false where there is none. */
  unsubscribe(session: Session, filter: string): boolean {
    const known = session.subscriptions.delete(filter);
    if (known === undefined) return false;
    this.#subscriptions--;
    this.#weight -= weightOf(filter);
    if (known.share !== undefined) this.#parts.groups.leave(session, filter);
    return true;
  }

  /**
   * Writes a session's subscriptions, and tells `settled` when the disk has answered; at once for a session that ends
   * with its connection. After a refusal, what the table holds counts.
   */
  save(session: Session, settled: Settled): void {
    if (!session.persistent) return settled(null);
    const { clientId, user, expirySeconds } = session;
    const subscriptions = [...session.subscriptions.all];
    const row = encodeSession({ subscriptions, user, expirySeconds });
    this.store.sessions.put(clientId, row);
    session.rowExpirySeconds = expirySeconds;
    session.saving++;
    this.store.whenDurable((error) => {
      session.saving--;
      session.doubtful ||= error !== null;
      // A later save on its way may still succeed; the last answer decides.
      if (session.doubtful && session.saving === 0) this.#revert(session);
      settled(error);
    });
  }

  /** Ends the sessions that have expired, and tries again what a full disk has refused. */
  tick(): void {
    if (this.store.hasRoom?.() !== false)
      for (const session of this.#byClientId.values()) session.outgoing?.retry();
    const nowMs = this.store.nowMs();
    if (nowMs < this.#nextExpiryMs) return;
    this.#nextExpiryMs = Number.POSITIVE_INFINITY;
    for (const session of this.#expiring) {
      const dueMs = expiresMs(session);
      if (dueMs > nowMs) {
        this.#nextExpiryMs = Math.min(this.#nextExpiryMs, dueMs);
        continue;
      }
      this.counters.sessionsExpired++;
      this.#end(session);
      this.#parts.wills.ended(session.clientId);
    }
  }

  origin(message: Message): Origin | undefined {
    return this.#base.routing.current(message);
  }

  newRecall(): Recall {
    return new Recall(this.#base, this.#parts.retained);
  }

  newQueue(session: Session): DeliveryQueue {
    return this.#queues.create(session, this.#loading);
  }

  awaitTurn(session: Session): void {
    this.#queues.awaitTurn(session);
  }

  lost(session: Session, loss: Loss, messages: number): void {
    this.#queues.lost(session, loss, messages);
  }

  /** Only its user has a session; one of nobody's, or of a user that is gone, anybody may replace. */
  #mayHave({ user }: Session, claimant: string | undefined): boolean {
    if (user === undefined || user === claimant) return true;
    return this.#parts.knowsUser?.(user) === false;
  }

  /** Another connection of the same client: the one that has the session closes first, its Will and its expiry count. */
  #takeOver(session: Session | undefined): void {
    const link = session?.owner;
    if (session === undefined || link === undefined) return;
    link.takeOver();
    if (session.owner === link) this.close(session, link, { will: 'publish' });
  }

  #isOver(session: Session): boolean {
    return expiresMs(session) <= this.store.nowMs();
  }

  /** What is on disk already needs nothing written, so that a full disk can be drained. One that was never saved does. */
  #needsSave(session: Session, present: boolean, expirySeconds: number): boolean {
    if (!present || session.saving > 0) return true;
    return session.rowExpirySeconds !== expirySeconds;
  }

  /** Its client is away from `sinceMs` on. */
  #leave(session: Session, sinceMs: number): void {
    session.awaySinceMs = sinceMs;
    if (session.expirySeconds === NEVER_EXPIRES) return;
    this.#expiring.add(session);
    this.#nextExpiryMs = Math.min(this.#nextExpiryMs, expiresMs(session));
  }

  /** Its client is back: true where the table had to forget its absence. */
  #return(session: Session): boolean {
    this.#expiring.delete(session);
    if (session.awaySinceMs === undefined || !session.persistent) return false;
    this.store.sessions.delete(awayKey(session.clientId));
    return true;
  }

  /** Removals pass a full disk, which may refuse what others wrote beside them: then the next answer counts. */
  #whenRemoved(settled: Settled): void {
    this.store.whenDurable((error) => {
      if (error === null) settled(null);
      else this.#whenRemoved(settled);
    });
  }

  /** Ends what there is of a client's session [MQTT-3.1.2-4]. Returns whether the disk has to forget something. */
  #forget(clientId: string, known: Session | undefined): boolean {
    if (known !== undefined) {
      this.#end(known);
      return known.persistent;
    }
    // A row without a session: the disk has failed to forget it.
    if (this.store.sessions.get(clientId) === undefined) return false;
    this.store.sessions.delete(clientId);
    return true;
  }

  #revert(session: Session): void {
    session.doubtful = false;
    session.rowExpirySeconds = -1;
    if (this.#byClientId.get(session.clientId) !== session) return;
    const value = this.store.sessions.get(session.clientId);
    const kept = new Map(this.#kept(session.clientId, value).map((each) => [each.filter, each]));
    const filters = Array.from(session.subscriptions.all, ({ filter }) => filter);
    for (const filter of filters) if (!kept.has(filter)) this.unsubscribe(session, filter);
    for (const subscription of kept.values()) this.#subscribe(session, subscription);
    if (value === undefined) this.#end(session);
  }

  #kept(clientId: string, value: Buffer | undefined): readonly Subscription[] {
    if (value === undefined) return [];
    try {
      return decodeSession(value).subscriptions;
    } catch (error) {
      this.#base.log.error(
        { clientId, err: error },
        'the subscriptions of an MQTT client cannot be read',
      );
      return [];
    }
  }

  #subscribe(session: Session, subscription: Subscription): void {
    if (session.subscriptions.set(subscription) === undefined) {
      this.#subscriptions++;
      this.#weight += weightOf(subscription.filter);
    }
    if (subscription.share !== undefined) this.#parts.groups.join(session, subscription);
  }

  #create(clientId: string, { user }: Pick<SessionState, 'user'>, persistent: boolean): Session {
    const session = new Session({ clientId, user, persistent }, this);
    this.#byClientId.set(clientId, session);
    if (persistent) this.#persistent++;
    return session;
  }

  /** Ends a session; what it had of shared subscriptions goes to their other members, in the same transaction. */
  #end(session: Session): void {
    const { clientId } = session;
    if (this.#byClientId.get(clientId) !== session) return;
    this.#byClientId.delete(clientId);
    this.#expiring.delete(session);
    this.#subscriptions -= session.subscriptions.size;
    this.#weight -= session.subscriptions.weight;
    const { groups } = this.#parts;
    this.store.together(() => {
      for (const { filter, share } of session.subscriptions.all)
        if (share !== undefined) groups.leave(session, filter);
      const left = [...leftBehind(session.outgoing?.unfinished() ?? [])];
      session.end();
      if (session.persistent) {
        this.#persistent--;
        this.store.sessions.delete(clientId);
        this.store.sessions.delete(awayKey(clientId));
      }
      if (left.length > 0) groups.handOver(left);
    });
  }
}

/** When a session expires, in store time; Infinity while its client is connected. */
function expiresMs({ awaySinceMs, expirySeconds }: Session): number {
  if (awaySinceMs === undefined || expirySeconds === NEVER_EXPIRES) return Number.POSITIVE_INFINITY;
  return awaySinceMs + expirySeconds * 1000;
}

function* leftBehind(deliveries: Iterable<Delivery>): Iterable<LeftBehind> {
  for (const { share, form, qos } of deliveries)
    if (share !== undefined && form !== undefined) yield { filter: share, form, qos };
}
