// SUBSCRIBE and UNSUBSCRIBE [3.8 to 3.11]: what is granted, what is remembered, and which retained messages follow. The
// codes are those of 5.0; the encoders say what older versions have for them. Relies on `Access` for what a client may see.

import type { Access } from './access/types.ts';
import type { Session } from './session/session.ts';
import type { Subscription } from './session/types.ts';
import type { Shared } from './shared.ts';
import { filterToSubject, TopicError } from './topic.ts';
import { ReasonCode } from './wire/reason-codes.ts';
import { encodeSuback, encodeUnsuback } from './wire/subscribe-packets.ts';
import {
  NO_PROPERTIES,
  type FilterOptions,
  type Properties,
  type Subscribe,
  type Unsubscribe,
  type Version,
} from './wire/types.ts';

/** Sends the answer, and then what `then` brings; undefined closes the connection. */
export type Answer = (packet: Buffer | undefined, then?: () => void) => void;

/** Who subscribes. */
export interface Subscriber {
  readonly session: Session;
  readonly version: Version;
  readonly access: Access;
  /** It wants Reason Strings [3.1.2.11.7]. */
  readonly problemInformation: boolean;
  /** Its Maximum Packet Size. */
  readonly packetBytesMax: number;
}

/** What became of one Topic Filter. */
interface Outcome {
  readonly code: number;
  /** Why it was refused. */
  readonly reason?: string;
  /** Something has to be written for it. */
  readonly changes?: boolean;
}

const SHARE = '$share/';
const DISK_FULL = 'the disk is full';

/**
 * Adds or replaces subscriptions, filter by filter as if each came in a packet of its own [MQTT-3.8.4-5]. SUBACK leaves
 * when the disk has them; where it takes none, all that were new or changed are refused, and what was before holds.
 */
export function subscribe(
  shared: Shared,
  subscriber: Subscriber,
  packet: Subscribe,
  answer: Answer,
): void {
  const { session, version } = subscriber;
  const [identifier] = packet.properties.subscriptionIdentifiers ?? [];
  const recalled = new Map<string, Subscription>();
  let isRefreshed = false;
  const outcomes = packet.filters.map((options): Outcome => {
    const wanted = wantedOf(options, identifier);
    if ('code' in wanted) return wanted;
    const refusal = refusalOf(shared, subscriber, wanted);
    if (refusal !== undefined) return refusal;
    // Once for all of a packet: thousands of filters fit into one, and each look at all sessions takes its time.
    isRefreshed ||= shared.sys.subscribed(wanted.subject);
    const known = session.subscriptions.get(wanted.filter);
    const result = shared.sessions.subscribe(session, wanted);
    if (result === 'refused') return tooMany(shared, session, wanted);
    const isNew = result === 'new' || recalled.has(wanted.filter);
    // The same filter twice in a packet: the better one's copies are not taken back [MQTT-3.8.4-5].
    const better = (recalled.get(wanted.filter)?.qos ?? 0) > wanted.qos;
    if (isRecalled(wanted, isNew) && !better) recalled.set(wanted.filter, wanted);
    return { code: wanted.qos, changes: known === undefined || !isSame(known, wanted) };
  });
  const settled = (error: Error | null): void => {
    const told = error === null ? outcomes : outcomes.map(refusedByDisk);
    const codes = told.map(({ code }) => code);
    const suback = fitting(subscriber, told, (reasons) =>
      encodeSuback(version, packet.packetId, codes, reasons),
    );
    if (error !== null)
      for (const [i, { changes }] of outcomes.entries())
        if (changes === true) recalled.delete(packet.filters[i]?.filter ?? '');
    answer(suback, () => recall(shared, session, recalled));
  };
  save(shared, session, outcomes, settled);
}

/** Removes subscriptions. Only 5.0 has a word for failure: when the disk refuses, an older connection is closed. */
export function unsubscribe(
  shared: Shared,
  subscriber: Subscriber,
  packet: Unsubscribe,
  answer: Answer,
): void {
  const { session, version } = subscriber;
  const outcomes = packet.filters.map((filter): Outcome => {
    const wanted = subjectOf(filter);
    if ('code' in wanted) return wanted;
    if (!shared.sessions.unsubscribe(session, filter))
      return { code: ReasonCode.noSubscriptionExisted };
    session.recall.drop(filter);
    return { code: ReasonCode.success, changes: true };
  });
  save(shared, session, outcomes, (error) => {
    if (error !== null && version !== 5) return answer(undefined);
    const told = error === null ? outcomes : outcomes.map(keptByDisk);
    const codes = told.map(({ code }) => code);
    answer(
      fitting(subscriber, told, (reasons) =>
        encodeUnsuback(version, packet.packetId, codes, reasons),
      ),
    );
  });
}

/**
 * Waits for the disk. Clients subscribe to the same again whenever they connect: where nothing changed nothing is written,
 * which spares the card, and a full disk refuses nothing.
 */
function save(
  { sessions }: Shared,
  session: Session,
  outcomes: readonly Outcome[],
  settled: (error: Error | null) => void,
): void {
  if (outcomes.some(({ changes }) => changes === true)) sessions.save(session, settled);
  else settled(null);
}

/** The subscription that a filter and its options ask for, or why it cannot be. */
function wantedOf(options: FilterOptions, identifier: number | undefined): Subscription | Outcome {
  const { filter, qos, noLocal, retainAsPublished, retainHandling } = options;
  const where = subjectOf(filter);
  if ('code' in where) return where;
  return { filter, ...where, qos, noLocal, retainAsPublished, retainHandling, identifier };
}

/** What a Topic Filter stands for: `$share/<name>/<filter>` is `filter`, shared [4.8.2]. */
function subjectOf(
  filter: string,
): { readonly subject: string; readonly share: string | undefined } | Outcome {
  const isShared = filter.startsWith(SHARE);
  const nameEnd = isShared ? filter.indexOf('/', SHARE.length) : -1;
  const share = isShared ? filter.slice(SHARE.length, Math.max(nameEnd, SHARE.length)) : undefined;
  // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
  if (share !== undefined && (share === '' || /[+#]/.test(share)))
    return invalid('a ShareName has at least one character, and no wildcard');
  try {
    return { subject: filterToSubject(isShared ? filter.slice(nameEnd + 1) : filter), share };
  } catch (error) {
    if (error instanceof TopicError) return invalid(error.message);
    throw error;
  }
}

function invalid(reason: string): Outcome {
  return { code: ReasonCode.topicFilterInvalid, reason };
}

function refusalOf(
  shared: Shared,
  { access, session: { clientId, user } }: Subscriber,
  { filter, subject }: Subscription,
): Outcome | undefined {
  if (access.maySubscribe(subject)) return undefined;
  shared.warn('an MQTT subscription that is not permitted was refused', {
    clientId,
    user,
    filter,
  });
  return { code: ReasonCode.notAuthorized, reason: 'not permitted' };
}

function tooMany(shared: Shared, { clientId }: Session, { filter }: Subscription): Outcome {
  shared.warn('too many MQTT subscriptions: one was refused', { clientId, filter });
  return { code: ReasonCode.quotaExceeded, reason: 'too many subscriptions' };
}

function refusedByDisk(outcome: Outcome): Outcome {
  if (outcome.changes !== true) return outcome;
  return { code: ReasonCode.quotaExceeded, reason: DISK_FULL };
}

/** UNSUBACK has no code for a quota [3.11.3]. */
function keptByDisk(outcome: Outcome): Outcome {
  if (outcome.changes !== true) return outcome;
  return { code: ReasonCode.unspecifiedError, reason: DISK_FULL };
}

/** The answer with its reasons, or without where it is larger than the client takes [MQTT-3.9.2-1]. */
function fitting(
  subscriber: Subscriber,
  outcomes: readonly Outcome[],
  encode: (reasons: Properties) => Buffer,
): Buffer {
  const packet = encode(reasonsOf(subscriber, outcomes));
  return packet.length <= subscriber.packetBytesMax ? packet : encode(NO_PROPERTIES);
}

/** Why the first filter was refused, for who wants to know. */
function reasonsOf({ problemInformation }: Subscriber, outcomes: readonly Outcome[]): Properties {
  if (!problemInformation) return NO_PROPERTIES;
  const reasonString = outcomes.find(({ reason }) => reason !== undefined)?.reason;
  return reasonString === undefined ? NO_PROPERTIES : { reasonString };
}

/** Whether a subscription means the same after a restart. Retain Handling is of the moment. */
function isSame(known: Subscription, wanted: Subscription): boolean {
  return (
    known.qos === wanted.qos &&
    known.noLocal === wanted.noLocal &&
    known.retainAsPublished === wanted.retainAsPublished &&
    known.identifier === wanted.identifier
  );
}

/** Whether the retained messages are wanted; never for a shared subscription [3.3.1.3]. */
function isRecalled({ share, retainHandling }: Subscription, isNew: boolean): boolean {
  return share === undefined && (retainHandling === 0 || (retainHandling === 1 && isNew));
}

function recall(shared: Shared, session: Session, recalled: Map<string, Subscription>): void {
  if (recalled.size === 0 || shared.retained.count === 0) return;
  session.recall.add([...recalled.values()]);
  session.pump();
}
