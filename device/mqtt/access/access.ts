// What one connection may publish and receive. Without an access list everything but the system's own is allowed where
// only this machine can come in, and nothing elsewhere; with one, what it lists. What is denied stays denied.

import type { Clock } from '../../../src/clock.ts';
import { isReserved } from '../topic.ts';
import type { Acl, Answer, ClientRules, Who } from './rules.ts';
import type { Access } from './types.ts';

/** Inboxes that one client may still publish to; beyond it the oldest is forgotten. */
export const RESPONSE_TOPICS_MAX = 256;
/** As long as nats-server gives for an answer. */
const RESPONSE_MS = 120_000;
/** Nobody but the agent publishes there, whatever a list says. */
const OURS = /^\$(SYS|JS)(\.|$)/;
const SYS = /^\$SYS(\.|$)/;
/** Where a mosquitto that bridges says, in its Will too, whether it is there: mosquitto lets its clients publish this alone. */
const BRIDGE_STATE = /^\$SYS\.broker\.connection\.[^.]+\.state$/;

export class ClientAccess implements Access {
  readonly #who: Who;
  readonly #local: boolean;
  readonly #clock: Clock;
  /** Undefined: there is no list. */
  #rules: ClientRules | undefined;
  /** Subjects of Response Topics that were delivered, and when. */
  #responses: Map<string, number> | undefined;

  constructor(who: Who, local: boolean, acl: Acl | undefined, clock: Clock) {
    this.#who = who;
    this.#local = local;
    this.#clock = clock;
    this.#rules = acl?.rulesOf(who);
  }

  /** Another list is in force. */
  follow(acl: Acl | undefined): void {
    this.#rules = acl?.rulesOf(this.#who);
  }

  mayPublish(subject: string): boolean {
    if (OURS.test(subject) && !BRIDGE_STATE.test(subject)) return false;
    const answer = this.#about('publish', subject);
    return answer === 'allowed' || (answer === 'unsaid' && this.#isResponse(subject));
  }

  maySubscribe(filter: string): boolean {
    const rules = this.#rules;
    if (rules === undefined) return this.#local && (!isReserved(filter) || SYS.test(filter));
    return both(rules.common.aboutFilter(filter), rules.own?.aboutFilter(filter)) === 'allowed';
  }

  isSifted(filter: string): boolean {
    const rules = this.#rules;
    // A leading wildcard would match the system's subjects.
    if (/^[*>]/.test(filter) || !this.maySubscribe(filter)) return true;
    if (rules === undefined) return false;
    return rules.common.deniesPartOf(filter) || rules.own?.deniesPartOf(filter) === true;
  }

  mayReceive(subject: string): boolean {
    return this.#about('subscribe', subject) === 'allowed';
  }

  /** Only inboxes: with any Response Topic, who asks could send who answers where neither of them may publish. */
  received(subject: string): void {
    if (!subject.startsWith('_INBOX.')) return;
    const responses = (this.#responses ??= new Map());
    responses.delete(subject);
    if (responses.size >= RESPONSE_TOPICS_MAX) {
      const oldest = responses.keys().next();
      if (!oldest.done) responses.delete(oldest.value);
    }
    responses.set(subject, this.#clock.monotonicMs());
  }

  #about(side: 'publish' | 'subscribe', subject: string): Answer {
    const rules = this.#rules;
    if (rules !== undefined)
      return both(rules.common.about(side, subject), rules.own?.about(side, subject));
    const free = !isReserved(subject) || (side === 'subscribe' ? SYS : BRIDGE_STATE).test(subject);
    return this.#local && free ? 'allowed' : 'unsaid';
  }

  /** An answer may be sent again until it is acknowledged: it is not used up. */
  #isResponse(subject: string): boolean {
    const sinceMs = this.#responses?.get(subject);
    if (sinceMs === undefined) return false;
    if (this.#clock.monotonicMs() - sinceMs <= RESPONSE_MS) return true;
    this.#responses?.delete(subject);
    return false;
  }
}

function both(common: Answer, own: Answer | undefined): Answer {
  if (common === 'denied' || own === 'denied') return 'denied';
  return common === 'allowed' || own === 'allowed' ? 'allowed' : 'unsaid';
}
