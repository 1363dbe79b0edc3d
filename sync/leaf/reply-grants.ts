// Who may be answered over the link: whoever asked over it. The reply of what came in may be published to for some minutes since
// it was last used, whatever `exports` say; so may the acknowledgements of a consumer of the hub's whose deliveries came in.
// Where the hub has not told us that it listens there, its listener is stood in for meanwhile: it may tell us of a wider subject
// only, that we do not keep.

import type { Broker } from '../../src/broker.ts';
import type { Clock } from '../../src/clock.ts';
import { consumerFilter, consumerOf } from './consumer-subjects.ts';
import { Recent } from './recent.ts';
import type { HubSubscriber } from './remote-interest.ts';

/** Replies that may be answered: of twice as many at most, 1 KiB each at most. A gateway serves people and a few programs. */
const GRANTS_MAX = 8192;
/** Listeners that are stood in for, of twice as many at most: each is a subscription. */
const ROUTES_MAX = 2048;
const GRANT_MS = 300_000;

const THROUGH_GATEWAY = /^_GR_\.[^.]+\.[^.]+\.(.+)$/;

/**
 * A request from another cluster of the hub comes with `_GR_.<cluster>.<server>.<reply>`. Programs may not publish to that: they
 * are shown the reply itself, and what they say to it is sent with the whole. Undefined for any other reply.
 */
export function innerReply(reply: string): string | undefined {
  return reply.startsWith('_GR_.') ? THROUGH_GATEWAY.exec(reply)?.[1] : undefined;
}

export class ReplyGrants {
  readonly #broker: Broker;
  readonly #grants: Recent<true>;
  readonly #routes: Recent<() => void>;
  /** Replies that lead through a gateway of the hub, by what they are at its other end. */
  readonly #throughGateways: Recent<string>;

  constructor(broker: Broker, clock: Clock) {
    this.#broker = broker;
    this.#grants = new Recent({ clock, max: GRANTS_MAX, ms: GRANT_MS });
    this.#throughGateways = new Recent({ clock, max: GRANTS_MAX, ms: GRANT_MS });
    const gone = (_: string, end: () => void): void => end();
    this.#routes = new Recent({ clock, max: ROUTES_MAX, ms: GRANT_MS, gone });
  }

  /** Something came in with this reply; `asker` stands for the one who waits, where the broker does not know him. */
  grant(reply: string, asker: HubSubscriber | undefined): void {
    const consumer = consumerOf(reply);
    this.#grants.add(consumer ?? reply, () => true);
    const filter = consumer === undefined ? reply : consumerFilter(consumer);
    if (asker !== undefined) this.#routes.add(filter, () => this.#broker.subscribe(filter, asker));
  }

  /** Whether something may be published to `subject` as an answer. */
  has(subject: string): boolean {
    const consumer = consumerOf(subject);
    const key = consumer ?? subject;
    if (!this.#grants.has(key)) return false;
    this.#routes.get(consumer === undefined ? subject : consumerFilter(consumer));
    return true;
  }

  /** What is sent to `reply` goes to `through` on the wire: see innerReply. */
  lead(reply: string, through: string): void {
    this.#throughGateways.delete(reply);
    this.#throughGateways.add(reply, () => through);
  }

  /** The subject with which an answer to `reply` leaves. */
  onWire(reply: string): string {
    if (this.#throughGateways.size === 0) return reply;
    return this.#throughGateways.get(reply) ?? reply;
  }

  /** The hub listens to `subject` no more: nobody is stood in for there. */
  withdrawn(subject: string): void {
    this.#routes.delete(subject);
  }

  /** The connection has ended. Consumers of the hub outlive it, and take acknowledgements on the next one. */
  disconnected(): void {
    for (const filter of this.#routes.keys())
      if (!filter.startsWith('$JS.')) this.#routes.delete(filter);
  }
}
