// An MQTT client that outlives its broker: what a session has to keep on the client's side it keeps over all connections,
// and continues it as the standard says [MQTT-4.4.0-1]. It publishes numbered messages, writes down every delivery, and
// complains when the broker breaks a promise that can be seen from here.

import { RawClient } from '../support/mqtt-raw.ts';
import type { RawPacket } from '../support/mqtt-raw-decode.ts';
import { rawAck, rawConnect, rawPublish, rawSubscribe } from '../support/mqtt-raw-encode.ts';
import { parseMessage } from './publisher.ts';

/** How long to wait before connecting again. */
const RECONNECT_MS = 10;
const NEVER_EXPIRES = 0xffff_ffff;

export interface Publishing {
  readonly qos: 1 | 2;
  /** Not acknowledged at a time. */
  readonly window: number;
  /** Messages go to these in turn. */
  readonly topics: readonly string[];
  readonly retain?: boolean;
  readonly bytes?: number;
  /** Most messages for one start of the agent, so that no queue overflows. */
  readonly perLife: number;
}

export interface DeviceOptions {
  readonly version: 4 | 5;
  readonly publishing?: Publishing;
  readonly subscribing?: { readonly filters: readonly string[]; readonly qos: 1 | 2 };
  /** To a broker of 5.0: deliveries at a time. */
  readonly receiveMaximum?: number;
}

/** A message that arrived, as often as the standard lets an application see it. */
export interface Delivery {
  readonly topic: string;
  readonly publisher: string;
  readonly n: number;
}

interface Sent {
  readonly n: number;
  /** The start of the agent for which it was first sent. */
  readonly life: number;
  /** PUBREC came: PUBREL is what is sent again. */
  released: boolean;
}

export class Device {
  readonly name: string;
  readonly options: DeviceOptions;
  readonly #port: number;
  #client: RawClient | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = true;
  #welcome = false;
  #receiveMaximum = 0;
  /** The broker has confirmed the session, and the subscriptions in it. */
  #established = false;
  #subscribed = false;
  /** What is on its way, in the order in which it was sent. */
  readonly #sent = new Map<number, Sent>();
  /** Identifiers of QoS 2 messages that were taken and not released. */
  readonly #taken = new Set<number>();
  #sentInLife = 0;
  #life = 0;
  readonly deliveries: Delivery[] = [];
  /** The highest number that came of each publisher. */
  readonly highest = new Map<string, number>();
  readonly complaints: string[] = [];
  /** Numbers for which PUBACK or PUBREC came. */
  readonly acked = new Set<number>();
  /** The number of the last message sent. */
  sent = 0;
  /** Connections that continued a session, deliveries that came again, PUBRELs sent again: that something happened. */
  readonly seen = { resumed: 0, dup: 0, releasedAgain: 0, connections: 0 };
  /** Ports of this side, one a connection. */
  readonly localPorts: number[] = [];

  constructor(name: string, port: number, options: DeviceOptions) {
    this.name = name;
    this.#port = port;
    this.options = options;
  }

  get connected(): boolean {
    return this.#welcome && this.#client?.closed === false;
  }

  get closed(): boolean {
    return this.#client === undefined || this.#client.closed;
  }

  get subscribed(): boolean {
    return this.#subscribed;
  }

  /** Messages on their way. */
  get inFlight(): number {
    return this.#sent.size;
  }

  /** Messages of QoS 2 that came and were not released. */
  get unreleased(): number {
    return this.#taken.size;
  }

  /** Which start of the agent it talks to; part of each message. */
  set life(life: number) {
    this.#life = life;
    this.#sentInLife = 0;
  }

  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#connect();
  }

  /** The connection breaks, and what still comes on it is not looked at. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#welcome = false;
    const client = this.#client;
    if (client === undefined) return;
    client.onPacket = undefined;
    client.destroy();
  }

  /** Sends nothing new any more, but completes what is on its way. */
  finish(): void {
    this.#sentInLife = Infinity;
  }

  #connect(): void {
    RawClient.to(this.#port, this.options.version).then(
      (client) => this.#connected(client),
      () => this.#again(),
    );
  }

  #again(): void {
    if (!this.#stopped) this.#timer = setTimeout(() => this.#connect(), RECONNECT_MS);
  }

  #connected(client: RawClient): void {
    if (this.#stopped) return client.destroy();
    this.#client = client;
    this.seen.connections++;
    const { stream } = client;
    if ('localPort' in stream) this.localPorts.push(Number(stream.localPort));
    client.onPacket = (packet) => {
      this.#take(packet);
      client.received = [];
    };
    client.stream.on('close', () => {
      this.complaints.push(...client.faults.splice(0));
      if (this.#client !== client) return;
      this.#welcome = false;
      this.#again();
    });
    const { version, receiveMaximum } = this.options;
    client.send(
      rawConnect({
        version,
        clientId: this.name,
        clean: false,
        ...(version === 5
          ? {
              properties: [
                ['sessionExpiryInterval', NEVER_EXPIRES],
                ...(receiveMaximum === undefined
                  ? []
                  : [['receiveMaximum', receiveMaximum] as const]),
              ],
            }
          : {}),
      }),
    );
  }

  #send(bytes: Buffer): void {
    this.#client?.send(bytes);
  }

  #take(packet: RawPacket): void {
    switch (packet.type) {
      case 'connack':
        return this.#welcomed(packet);
      case 'suback':
        if (packet.codes.some((code) => code > 2)) this.#complain('a subscription was refused');
        this.#subscribed = true;
        return this.#pump();
      case 'publish':
        return this.#deliver(packet);
      case 'pubrel':
        this.#taken.delete(packet.packetId);
        return this.#send(rawAck('pubcomp', packet.packetId));
      case 'puback':
      case 'pubrec':
      case 'pubcomp':
        return this.#acknowledged(packet.type, packet.packetId, packet.code);
      case 'pingresp':
      case 'unsuback':
      case 'disconnect':
      case 'auth':
    }
  }

  #welcomed({ code, present, properties }: Extract<RawPacket, { type: 'connack' }>): void {
    if (code !== 0) return this.#complain(`CONNACK ${code}`);
    if (!present && this.#established) {
      this.#complain('the session is lost');
      this.#sent.clear();
      this.#taken.clear();
      this.#subscribed = false;
    }
    if (present) this.seen.resumed++;
    this.#established = true;
    this.#welcome = true;
    const maximum = properties.find(([name]) => name === 'receiveMaximum')?.[1];
    this.#receiveMaximum = maximum === undefined ? 65_535 : Number(maximum);
    const { subscribing } = this.options;
    if (subscribing !== undefined && !this.#subscribed) this.#subscribe(subscribing);
    for (const [packetId, sent] of this.#sent)
      if (sent.released) this.#send(rawAck('pubrel', packetId));
      else this.#send(this.#publish(packetId, sent, true));
    this.#pump();
  }

  #subscribe({ filters, qos }: { filters: readonly string[]; qos: number }): void {
    const wanted = filters.map((filter) => ({ filter, qos }));
    this.#send(rawSubscribe(this.options.version, 65_535, wanted));
  }

  #deliver(packet: Extract<RawPacket, { type: 'publish' }>): void {
    const { packetId, qos, topic, data, dup } = packet;
    if (dup) this.seen.dup++;
    const { publisher, n } = parseMessage(data);
    this.highest.set(publisher, Math.max(n, this.highest.get(publisher) ?? 0));
    if (qos === 2) {
      if (!this.#taken.has(packetId)) this.deliveries.push({ topic, publisher, n });
      else if (!dup) this.#complain(`${publisher}:${n} came with a used identifier and no DUP`);
      this.#taken.add(packetId);
      this.#send(rawAck('pubrec', packetId));
    } else {
      this.deliveries.push({ topic, publisher, n });
      if (qos === 1) this.#send(rawAck('puback', packetId));
    }
  }

  #acknowledged(type: 'puback' | 'pubrec' | 'pubcomp', packetId: number, code: number): void {
    const sent = this.#sent.get(packetId);
    const { qos } = this.options.publishing ?? {};
    if ((type === 'puback') !== (qos === 1)) this.#complain(`a ${type} for QoS ${qos}`);
    if (code >= 0x80 && type !== 'pubcomp') return this.#complain(`${type} with ${code}`);
    // A PUBREC or PUBCOMP may come again where PUBREL or PUBREC had to.
    if (sent === undefined) {
      if (type === 'pubrec') this.#send(rawAck('pubrel', packetId));
      if (type === 'puback') this.#complain(`a PUBACK for ${packetId}, which is not on its way`);
      return;
    }
    if (type !== 'pubcomp') this.acked.add(sent.n);
    if (type === 'pubrec') {
      if (sent.released) this.seen.releasedAgain++;
      sent.released = true;
      this.#send(rawAck('pubrel', packetId));
    } else {
      if (type === 'pubcomp' && !sent.released) this.#complain('a PUBCOMP before PUBREC');
      this.#sent.delete(packetId);
    }
    this.#pump();
  }

  /** Fills the window. */
  #pump(): void {
    const { publishing } = this.options;
    if (publishing === undefined || !this.#welcome) return;
    const window = Math.min(publishing.window, this.#receiveMaximum);
    const packets: Buffer[] = [];
    while (this.#sent.size < window && this.#sentInLife < publishing.perLife) {
      this.#sentInLife++;
      const packetId = this.#newId();
      const sent = { n: ++this.sent, life: this.#life, released: false };
      this.#sent.set(packetId, sent);
      packets.push(this.#publish(packetId, sent, false));
    }
    if (packets.length > 0) this.#send(Buffer.concat(packets));
  }

  /** The lowest that is free: one used again too early is a message taken for the one before it. */
  #newId(): number {
    let packetId = 1;
    while (this.#sent.has(packetId)) packetId++;
    return packetId;
  }

  #publish(packetId: number, { n, life }: Sent, dup: boolean): Buffer {
    const { topics, qos, retain = false, bytes = 60 } = this.options.publishing as Publishing;
    return rawPublish(this.options.version, {
      topic: topics[n % topics.length] ?? '',
      data: `${this.name}:${n}:${life}:`.padEnd(bytes, '.'),
      qos,
      retain,
      dup,
      packetId,
    });
  }

  #complain(text: string): void {
    this.complaints.push(`${this.name}: ${text}`);
  }
}
