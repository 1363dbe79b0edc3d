// PUBLISH as one client gets it: in its version, within its Maximum Packet Size [MQTT-3.1.2-24], with what is left of the
// expiry, and with Topic Aliases where it wants them.

import type { Terms } from './connect.ts';
import type { OutboundAliases } from './aliases.ts';
import type { Form, Outgoing } from './session/types.ts';
import { encodePublish, publishBytes, type Publishing } from './wire/publish-packet.ts';
import type { Version } from './wire/types.ts';

const PLAIN: Readonly<Record<Version, Publishing>> = {
  3: { version: 3, remainingExpirySeconds: undefined },
  4: { version: 4, remainingExpirySeconds: undefined },
  5: { version: 5, remainingExpirySeconds: undefined },
};
/** The clock has fractions, and a message that is sent at once shall have the interval that it came with. */
const ROUNDING_MS = 1;
/** 3.1 and 3.1.1 write PUBLISH alike. */
const KINDS = { old: 0, new: 1 } as const;

/** Encodes for all connections of a listener. A QoS 0 message that many get alike is encoded once. */
export class PublishEncoder {
  readonly #nowMs: () => number;
  readonly #last: { form: Form; retain: boolean; packet: Buffer }[] = [];

  /** `nowMs` is store time. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** The packet for a client of these terms; undefined where it is larger than the client takes. */
  encode(
    outgoing: Outgoing,
    terms: Terms,
    aliases: OutboundAliases | undefined,
  ): Buffer | undefined {
    const { version, packetBytesMax } = terms;
    const packet =
      version !== 5 || (aliases === undefined && outgoing.form.expiresMs === Infinity)
        ? this.#plain(outgoing, version)
        : this.#encode(outgoing, packetBytesMax, aliases);
    return packet === undefined || packet.length > packetBytesMax ? undefined : packet;
  }

  /** Whether others may have got, or get, this very packet, which `encode` has just returned. */
  isShared(packet: Buffer): boolean {
    return packet === this.#last[KINDS.old]?.packet || packet === this.#last[KINDS.new]?.packet;
  }

  /** Nothing in it but what is the same for everybody of this version. */
  #plain(outgoing: Outgoing, version: Version): Buffer {
    const { form, qos, retain, subscriptionIdentifiers } = outgoing;
    if (qos !== 0 || (version === 5 && subscriptionIdentifiers.length > 0))
      return encodePublish(outgoing, PLAIN[version]);
    const kind = version === 5 ? KINDS.new : KINDS.old;
    const last = this.#last[kind];
    if (last !== undefined && last.form === form && last.retain === retain) return last.packet;
    const packet = encodePublish(outgoing, PLAIN[version]);
    this.#last[kind] = { form, retain, packet };
    return packet;
  }

  #encode(
    outgoing: Outgoing,
    packetBytesMax: number,
    aliases: OutboundAliases | undefined,
  ): Buffer | undefined {
    const { topic, expiresMs } = outgoing.form;
    // At least 1: one that is sent again may be over, and 0 would say that it never was to be read [MQTT-3.3.2-6].
    const remainingExpirySeconds =
      expiresMs === Infinity
        ? undefined
        : Math.max(1, Math.ceil((expiresMs - this.#nowMs() - ROUNDING_MS) / 1000));
    const found = aliases?.of(topic);
    const how: Publishing = {
      version: 5,
      remainingExpirySeconds,
      topicAlias: found?.alias,
      omitTopic: found?.isNew === false,
    };
    if (publishBytes(outgoing, how) > packetBytesMax) return undefined;
    if (found?.isNew === true) aliases?.name(topic);
    return encodePublish(outgoing, how);
  }
}
