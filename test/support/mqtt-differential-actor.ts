// One client of a differential script at one broker. It keeps what a client has to keep over reconnects, answers as the
// script wants, and writes down what it hears in words that are the same for any broker: messages are named by their data
// instead of by Packet Identifiers, and Topic Aliases are resolved.

import { RawClient } from './mqtt-raw.ts';
import type { RawPacket } from './mqtt-raw-decode.ts';
import {
  rawAck,
  rawConnect,
  rawDisconnect,
  rawPublish,
  rawSubscribe,
  rawUnsubscribe,
  type PropertyName,
  type PropertyValue,
} from './mqtt-raw-encode.ts';
import type { Step } from './mqtt-differential-script.ts';

type StepOf<D extends Step['do']> = Extract<Step, { do: D }>;
type Publish = Extract<RawPacket, { type: 'publish' }>;

/** Something that a client heard. A PUBLISH with its parts, so that copies of it can be recognized. */
export type Heard =
  | { readonly kind: 'answer'; readonly text: string }
  | { readonly kind: 'pubrel'; readonly text: string }
  | {
      readonly kind: 'publish';
      readonly topic: string;
      readonly data: string;
      readonly qos: number;
      readonly retain: boolean;
      readonly dup: boolean;
      readonly identifiers: readonly number[];
      readonly properties: string;
    };

interface Due {
  readonly key: string;
  readonly type: 'puback' | 'pubrec' | 'pubcomp';
  readonly packetId: number;
}

/** A broker neither accepts nor closes: enough for any machine, and seldom waited out. */
const HANGING_MS = 2_000;

export class Actor {
  readonly #port: number;
  readonly #name: string;
  #client: RawClient | undefined;
  #accepted = false;
  #said = true;
  #held = false;
  #heard: Heard[] = [];
  /** Withheld acknowledgements. */
  #due: Due[] = [];
  #packetId = 0;
  /** Own packets on their way: by Packet Identifier, what they are called; a QoS 2 PUBLISH until its PUBCOMP. */
  readonly #sent = new Map<number, { key: string; released: boolean; again?: Buffer }>();
  /** Deliveries that are not completed, by Packet Identifier. */
  readonly #taken = new Map<number, string>();
  /** Packet Identifiers of PUBRECs of this connection, in the order in which they were sent. */
  #received: number[] = [];
  readonly #aliases = new Map<number, string>();
  #aliasMaximum = 0;
  /** What no broker may do, whatever the other one does. */
  readonly faults: string[] = [];

  constructor(port: number, name: string) {
    this.#port = port;
    this.#name = name;
  }

  /** A PINGREQ would be answered. */
  get connected(): boolean {
    return this.#client !== undefined && this.#accepted && !this.#client.closed;
  }

  /** What was heard since the last time, in order. */
  take(): Heard[] {
    const heard = this.#heard;
    this.#heard = [];
    if (this.#client?.closed === true && !this.#said) {
      this.#said = true;
      heard.push({ kind: 'answer', text: 'closed' });
    }
    return heard;
  }

  /** Everything said before was read by the broker; what it brought about at once has arrived. */
  async ping(): Promise<void> {
    const client = this.#client;
    if (client === undefined || client.closed) return;
    await client
      .until('an answer', () => this.#accepted, HANGING_MS)
      .catch(() => {
        this.#answer('left hanging');
        client.destroy();
      });
    if (this.connected) await client.ping();
  }

  get heardSomething(): boolean {
    return this.#heard.length > 0 || (this.#client?.closed === true && !this.#said);
  }

  destroy(): void {
    this.#client?.destroy();
  }

  async say(step: Exclude<Step, { do: 'wait' }>): Promise<void> {
    if (step.do === 'connect') return this.#connect(step);
    if (step.do === 'raw') return this.#raw(step);
    if (!this.connected) return;
    switch (step.do) {
      case 'subscribe':
        return this.#send(
          rawSubscribe(this.#version, this.#newId(), step.filters, step.properties),
        );
      case 'unsubscribe':
        return this.#send(rawUnsubscribe(this.#version, this.#newId(), step.filters));
      case 'publish':
        return this.#publish(step);
      case 'hold':
        this.#held = step.held;
        if (!step.held) for (const due of this.#due.splice(0)) this.#pay(due);
        return;
      case 'ack':
        return this.#ack(step.which);
      case 'disconnect':
        return this.#send(
          this.#version === 5 ? rawDisconnect(step.code, step.properties) : rawDisconnect(),
        );
      case 'cut':
        this.#said = true;
        this.#client?.destroy();
    }
  }

  get #version(): 3 | 4 | 5 {
    return this.#client?.version ?? 5;
  }

  #send(bytes: Buffer): void {
    this.#client?.send(bytes);
  }

  async #open(version: 3 | 4 | 5): Promise<RawClient> {
    this.#accepted = false;
    this.#said = false;
    this.#held = false;
    this.#due = [];
    this.#received = [];
    this.#aliases.clear();
    const client = await RawClient.to(this.#port, version);
    this.#client = client;
    client.onPacket = (packet) => {
      if (client === this.#client) this.#take(packet);
    };
    return client;
  }

  async #connect(step: StepOf<'connect'>): Promise<void> {
    const { version, clean, clientId, will, properties } = step;
    // Its own earlier connection, if it has one, is taken over; what that one still hears is noted with it.
    const before = this.#client;
    if (clientId !== undefined) before?.destroy();
    before?.take();
    const client = await this.#open(version);
    this.#aliasMaximum = Number(
      properties?.find(([name]) => name === 'topicAliasMaximum')?.[1] ?? 0,
    );
    if (clean) {
      this.#sent.clear();
      this.#taken.clear();
    }
    client.send(
      rawConnect({
        version,
        clean,
        clientId: clientId ?? this.#name,
        will,
        ...(properties === undefined ? {} : { properties }),
      }),
    );
    await client.expect('connack').catch(() => undefined);
    if (before?.closed === false && this.#accepted && clientId === undefined) {
      await before.expectClosed(HANGING_MS).catch(() => this.#answer('not taken over'));
      before.destroy();
      for (const packet of before.take())
        if (packet.type === 'disconnect')
          this.#answer(`to the old connection: disconnect ${hex(packet.code)}`);
    }
  }

  async #raw({ bytes, fresh, version }: StepOf<'raw'>): Promise<void> {
    if (fresh === true) {
      const before = this.#client;
      before?.destroy();
      await this.#open(version);
    } else if (!this.connected) return;
    this.#send(bytes);
  }

  #publish({ topic, data, qos, retain, properties, twice }: StepOf<'publish'>): void {
    const packetId = qos === 0 ? undefined : this.#newId();
    const publish = {
      topic,
      data,
      qos,
      retain,
      packetId,
      ...(properties === undefined ? {} : { properties }),
    };
    if (packetId !== undefined)
      this.#sent.set(packetId, {
        key: keyOf(topic, data),
        released: false,
        ...(twice === true ? { again: rawPublish(this.#version, { ...publish, dup: true }) } : {}),
      });
    this.#send(rawPublish(this.#version, publish));
  }

  #ack(which: number): void {
    const due = this.#due.toSorted((a, b) => (a.key < b.key ? -1 : 1));
    const chosen = due[which % Math.max(1, due.length)];
    if (chosen === undefined) return;
    this.#due.splice(this.#due.indexOf(chosen), 1);
    this.#pay(chosen);
  }

  #newId(): number {
    do this.#packetId = (this.#packetId % 65_535) + 1;
    while (this.#sent.has(this.#packetId));
    return this.#packetId;
  }

  #answer(text: string): void {
    this.#heard.push({ kind: 'answer', text });
  }

  #owe(due: Due): void {
    if (this.#held) this.#due.push(due);
    else this.#pay(due);
  }

  #pay({ type, packetId }: Due): void {
    if (type === 'pubrec') this.#received.push(packetId);
    else this.#taken.delete(packetId);
    this.#send(rawAck(type, packetId));
  }

  #take(packet: RawPacket): void {
    switch (packet.type) {
      case 'pingresp':
        return;
      case 'connack':
        return this.#welcome(packet);
      case 'publish':
        return this.#deliver(packet);
      case 'puback':
      case 'pubrec':
      case 'pubcomp':
        return this.#acknowledged(packet.type, packet.packetId, packet.code);
      case 'pubrel':
        return this.#released(packet.packetId, packet.code);
      case 'suback':
      case 'unsuback':
        return this.#answer(`${packet.type} ${packet.codes.map(hex).join(' ')}`.trim());
      case 'disconnect':
      case 'auth':
        return this.#answer(`${packet.type} ${hex(packet.code)}`);
    }
  }

  #welcome({ code, present, properties }: Extract<RawPacket, { type: 'connack' }>): void {
    this.#accepted = code === 0;
    const assigned = properties.some(([name]) => name === 'assignedClientIdentifier');
    const session = present ? ', session present' : '';
    this.#answer(`connack ${hex(code)}${session}${assigned ? ', assigned a name' : ''}`);
    if (!present) {
      this.#taken.clear();
      this.#sent.clear();
    }
    // A client sends again what was not completed [MQTT-4.4.0-1].
    for (const [packetId, { released }] of this.#sent)
      if (released) this.#send(rawAck('pubrel', packetId));
  }

  #deliver(packet: Publish): void {
    const alias = Number(packet.properties.find(([name]) => name === 'topicAlias')?.[1] ?? 0);
    if (alias > this.#aliasMaximum) this.faults.push(`Topic Alias ${alias} to ${this.#name}`);
    if (alias > 0 && packet.topic !== '') this.#aliases.set(alias, packet.topic);
    const topic =
      packet.topic === '' ? (this.#aliases.get(alias) ?? '(unknown alias)') : packet.topic;
    const data = packet.data.toString();
    const key = keyOf(topic, data);
    this.#heard.push({
      kind: 'publish',
      topic,
      data,
      qos: packet.qos,
      retain: packet.retain,
      dup: packet.dup,
      identifiers: packet.properties.flatMap(([name, value]) =>
        name === 'subscriptionIdentifier' ? [Number(value)] : [],
      ),
      properties: render(packet.properties),
    });
    if (packet.qos === 0) return;
    const known = this.#taken.get(packet.packetId);
    if (known !== undefined && known !== key)
      this.faults.push(`Packet Identifier of ${known} given to ${key} at ${this.#name}`);
    if (known !== undefined && !packet.dup)
      this.faults.push(`${key} again to ${this.#name} without DUP`);
    this.#taken.set(packet.packetId, key);
    const { packetId, qos } = packet;
    this.#owe({ key, type: qos === 1 ? 'puback' : 'pubrec', packetId });
  }

  #released(packetId: number, code: number): void {
    const key = this.#taken.get(packetId) ?? '(unknown)';
    this.#heard.push({ kind: 'pubrel', text: `pubrel of ${key} ${hex(code)}` });
    // In the order of the PUBRECs [MQTT-4.6.0-4].
    const at = this.#received.indexOf(packetId);
    if (at > 0) this.faults.push(`PUBREL of ${key} to ${this.#name} out of order`);
    if (at >= 0) this.#received.splice(at, 1);
    this.#owe({ key, type: 'pubcomp', packetId });
  }

  #acknowledged(type: 'puback' | 'pubrec' | 'pubcomp', packetId: number, code: number): void {
    const sent = this.#sent.get(packetId);
    this.#answer(`${type} of ${sent?.key ?? '(unknown)'} ${hex(code)}`);
    if (sent === undefined) return;
    if (type !== 'pubrec' || code >= 0x80) return void this.#sent.delete(packetId);
    const { again } = sent;
    delete sent.again;
    if (again !== undefined) return this.#send(again);
    sent.released = true;
    this.#send(rawAck('pubrel', packetId));
  }
}

/** What tells a message from all others of a script; empty ones by their topic. */
function keyOf(topic: string, data: string): string {
  return data === '' ? `nothing for ${topic}` : (data.split(' ')[0] ?? data);
}

function hex(code: number): string {
  return `0x${code.toString(16).padStart(2, '0')}`;
}

/** Properties that belong to the message; the order of User Properties is kept, that of the others is free. */
function render(properties: readonly (readonly [PropertyName, PropertyValue])[]): string {
  const users = properties.flatMap(([name, value]) =>
    name === 'userProperty' ? [JSON.stringify(value)] : [],
  );
  const others = properties
    .filter(([name]) => !['userProperty', 'subscriptionIdentifier', 'topicAlias'].includes(name))
    .map(
      ([name, value]) =>
        `${name}=${name === 'messageExpiryInterval' ? tens(Number(value)) : Buffer.isBuffer(value) ? value.toString('hex') : String(value)}`,
    );
  return [...others.toSorted(), ...users].join(' ');
}

/** Seconds pass while a script runs; scripts ask for tens of them. */
function tens(seconds: number): string {
  return `about ${Math.ceil(seconds / 10) * 10}`;
}
