// Tells whoever listens what happens in JetStream: `$JS.EVENT.ADVISORY.>` and `$JS.EVENT.METRIC.>` (ADR-2, ADR-15). An
// advisory that nobody listens to costs nothing but a look.

import { randomBytes } from 'node:crypto';
import type { Broker } from '../broker.ts';
import type { Clock } from '../clock.ts';

export class Advisories {
  readonly #broker: Broker;
  readonly #clock: Clock;
  readonly #domain: string | undefined;

  constructor(broker: Broker, clock: Clock, domain: string | undefined) {
    this.#broker = broker;
    this.#clock = clock;
    this.#domain = domain;
  }

  /**
   * Publishes to `$JS.EVENT.<subject>`, such as `ADVISORY.STREAM.CREATED.ORDERS`; `type` is behind `io.nats.jetstream.`,
   * such as `advisory.v1.stream_action`.
   */
  emit(subject: string, type: string, fields: () => object): void {
    const to = `$JS.EVENT.${subject}`;
    if (!this.#broker.hasInterest(to)) return;
    const body = {
      type: `io.nats.jetstream.${type}`,
      id: randomBytes(16).toString('base64url'),
      timestamp: new Date(this.#clock.wallMs()).toISOString(),
      ...fields(),
      ...(this.#domain === undefined ? {} : { domain: this.#domain }),
    };
    this.#broker.publish({ subject: to, data: Buffer.from(JSON.stringify(body), 'utf8') });
  }
}
