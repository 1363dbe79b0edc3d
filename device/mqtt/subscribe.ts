// SUBSCRIBE and UNSUBSCRIBE: what is granted, what is remembered, and which retained messages follow.

import {
  encodeSuback,
  encodeUnsuback,
  SUBSCRIPTION_REFUSED,
  type SubscribePacket,
  type UnsubscribePacket,
} from './packets.ts';
import type { Session, Subscription } from './session.ts';
import type { Shared } from './shared.ts';
import { filterToSubject, isReserved, levelUp, TopicError } from './topic.ts';

/** Sends the answer, and then what `then` brings; undefined closes the connection. */
export type Answer = (packet: Buffer | undefined, then?: () => void) => void;

/** Adds subscriptions. QoS 2 is granted as QoS 1; a filter that is invalid, reserved or beyond a limit gets 0x80. */
export function subscribe(
  shared: Shared,
  session: Session,
  packet: SubscribePacket,
  answer: Answer,
): void {
  const { sessions } = shared;
  const packetId = packet.messageId ?? 0;
  const added: Subscription[] = [];
  const granted = packet.subscriptions.map(({ topic, qos }) => {
    const subject = subjectOf(topic);
    if (subject === undefined || isReserved(subject)) return SUBSCRIPTION_REFUSED;
    const subscription: Subscription = { filter: topic, subject, qos: qos === 0 ? 0 : 1 };
    const grantedQos = sessions.subscribe(session, subscription);
    if (grantedQos === undefined) {
      const { clientId } = session;
      shared.warn('too many MQTT subscriptions: one was refused', { clientId, filter: topic });
      return SUBSCRIPTION_REFUSED;
    }
    added.push(subscription);
    return grantedQos;
  });
  const settled = (error: Error | null): void => {
    if (error === null)
      return answer(encodeSuback(packetId, granted), () => recall(shared, session, added));
    answer(encodeSuback(packetId, Array<number>(granted.length).fill(SUBSCRIPTION_REFUSED)));
  };
  if (session.clean || added.length === 0) settled(null);
  else sessions.save(session, settled);
}

/** Removes subscriptions. 3.1.1 has no word for failure here: when the disk refuses, the connection is closed. */
export function unsubscribe(
  shared: Shared,
  session: Session,
  packet: UnsubscribePacket,
  answer: Answer,
): void {
  const { sessions } = shared;
  for (const filter of packet.unsubscriptions) {
    const subject = subjectOf(filter);
    if (subject !== undefined) sessions.unsubscribe(session, subject);
  }
  const settled = (error: Error | null): void =>
    answer(error === null ? encodeUnsuback(packet.messageId ?? 0) : undefined);
  if (session.clean) settled(null);
  else sessions.save(session, settled);
}

/** Puts the retained messages of new subscriptions into the session's backlog, each once [MQTT-3.3.1-6]. */
function recall(shared: Shared, session: Session, subscriptions: readonly Subscription[]): void {
  if (shared.retained.count === 0) return;
  for (const { subject: filter, qos } of subscriptions) {
    const above = levelUp(filter);
    for (const each of above === undefined ? [filter] : [filter, above])
      shared.retained.match(each, (subject) => {
        if (session.retainedBacklog.get(subject) !== 1) session.retainedBacklog.set(subject, qos);
      });
  }
  session.pump();
}

function subjectOf(filter: string): string | undefined {
  try {
    return filterToSubject(filter);
  } catch (error) {
    if (error instanceof TopicError) return undefined;
    throw error;
  }
}
