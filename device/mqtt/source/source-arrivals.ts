// What becomes of each PUBLISH of a broker: it is wanted and goes to the inflow under its subject, or it is not, and is
// answered in its turn, so that the broker does not bring it again for ever.

import { toMessage } from '../message.ts';
import { isWellFormed, splitPublish, type Publish, type Version } from '../wire/client-packets.ts';
import { Cursor } from '../wire/cursor.ts';
import { PacketType } from '../wire/packet-type.ts';
import { readProperties } from '../wire/properties.ts';
import { ProtocolError } from '../wire/protocol-error.ts';
import type { SourceConfig } from './source-config.ts';
import type { Inflow } from './source-inflow.ts';
import { RetainedSeen } from './source-retained.ts';
import { SourceSubjects } from './source-subject.ts';

/** Says once in a while that messages are dropped. */
export type OnDrop = (reason: string, topic: string) => void;

export class Arrivals {
  readonly inflow: Inflow;
  readonly counters = {
    received: 0,
    receivedBytes: 0,
    /** Retained ones that are not wanted, or that say nothing new. */
    droppedRetained: 0,
    /** A Topic Name for which no subject stands. */
    droppedTopics: 0,
    droppedOversize: 0,
  };
  readonly #retained: RetainedSeen | undefined;
  readonly #subjects: SourceSubjects;
  readonly #onDrop: OnDrop;

  constructor(config: SourceConfig, inflow: Inflow, onDrop: OnDrop) {
    this.inflow = inflow;
    this.#onDrop = onDrop;
    this.#subjects = new SourceSubjects(config.prefix);
    if (config.retained) this.#retained = new RetainedSeen();
  }

  /** Takes a PUBLISH; its variable header begins at `start`. Throws a ProtocolError. */
  publish(frame: Buffer, start: number, version: Version): void {
    const publish = splitPublish(frame, start, version);
    const { data, packetId, topic } = publish;
    this.counters.received++;
    this.counters.receivedBytes += data.length;
    const subject = isWellFormed(topic, frame) ? this.#subjects.get(topic) : undefined;
    if (subject === undefined) {
      this.counters.droppedTopics++;
      this.#onDrop('no subject stands for its topic', topic);
      this.inflow.skip(packetId);
    } else if (this.inflow.again(packetId, subject, data)) {
      // Before anything else is asked: its answer waits for the disk as the first one's does.
    } else if (this.#isOldNews(publish)) {
      this.counters.droppedRetained++;
      this.inflow.skip(packetId);
    } else this.inflow.take(packetId, subject, data, headersOf(publish));
  }

  /** Takes the beginning of a PUBLISH that is too large. */
  oversized(head: Buffer, start: number): void {
    // Its properties, if it has any, lie behind what is of interest here.
    const { packetId, topic } = splitPublish(head, start, 4);
    this.counters.received++;
    this.counters.droppedOversize++;
    this.#onDrop('it is larger than a stream takes', topic);
    this.inflow.skip(packetId);
  }

  /** RETAIN is set only on what a broker sends because of a SUBSCRIBE [MQTT-3.3.1-8], [MQTT-3.3.1-9]. */
  #isOldNews({ data, retain, topic }: Publish): boolean {
    if (!retain) this.#retained?.live(topic, data);
    else if (this.#retained?.isKnown(topic, data) !== false) return true;
    return false;
  }
}

/** Its properties as headers, but no reply: who answers there answers on another broker. */
function headersOf({ properties, data }: Publish): Buffer | undefined {
  if (properties.length <= 1) return undefined; // None, or a length of 0.
  try {
    const read = readProperties(new Cursor(properties, 0), PacketType.publish);
    return toMessage({ data, properties: read }, '').headers;
  } catch (error) {
    // Their message is of use without them, and a broker that is closed for it would send it again for ever.
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}
