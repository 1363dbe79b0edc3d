// The clients of a gateway that crashes: devices of both versions that publish and subscribe with QoS 1 and 2, some of them
// away for a while, a program that publishes by NATS, and one that keeps its state in retained messages. At the end every
// one's account is held against all others' and against the stream.

import type { AgentProcess } from '../support/agent-process.ts';
import { RawClient } from '../support/mqtt-raw.ts';
import { rawSubscribe } from '../support/mqtt-raw-encode.ts';
import type { Random } from '../support/random.ts';
import { until } from '../support/until.ts';
import { readDisk } from './audit.ts';
import { Device, type Delivery, type DeviceOptions } from './mqtt-device.ts';
import { NatsPublisher } from './mqtt-nats-publisher.ts';
import { parseMessage } from './publisher.ts';

/** For one start of the agent; away subscribers must be able to hold what several starts bring. */
const PER_LIFE = 150;
const PER_LIFE_MANY = 400;
/** Starts of the agent that a client stays away for, at most. */
const AWAY_MAX = 2;
/** Nobody publishes while one has more to catch up with: no queue may overflow, 10,000 messages are its limit. */
const BACKLOG_MAX = 5_000;
const KEPT = ['kept/a', 'kept/b'];
const RETAINED_MS = 20_000;

/** Stored under `data`; what goes to `line` only subscribers hear. */
const topicsOf = (name: string): string[] => [`data/${name}/a`, `data/${name}/b`, `line/${name}/a`];
const SUBSCRIBING = ['data/#', 'line/#'];

const DEVICES: Readonly<Record<string, DeviceOptions>> = {
  old1: publishing(4, 1, 20, 'old1'),
  old2: publishing(4, 2, 20, 'old2'),
  new1: publishing(5, 1, 200, 'new1', PER_LIFE_MANY),
  new2: publishing(5, 2, 200, 'new2', PER_LIFE_MANY),
  one2: publishing(5, 2, 1, 'one2'),
  keeper1: {
    version: 4,
    publishing: { qos: 1, window: 3, topics: KEPT.slice(0, 1), retain: true, perLife: 30 },
  },
  keeper2: {
    version: 5,
    publishing: { qos: 2, window: 3, topics: KEPT.slice(1), retain: true, perLife: 30 },
  },
  suba: { version: 4, subscribing: { filters: SUBSCRIBING, qos: 2 } },
  subb: { version: 5, subscribing: { filters: SUBSCRIBING, qos: 2 }, receiveMaximum: 7 },
  subc: { version: 5, subscribing: { filters: SUBSCRIBING, qos: 1 } },
  away2: { version: 5, subscribing: { filters: SUBSCRIBING, qos: 2 } },
  away1: { version: 4, subscribing: { filters: SUBSCRIBING, qos: 1 } },
};

function publishing(
  version: 4 | 5,
  qos: 1 | 2,
  window: number,
  name: string,
  perLife = PER_LIFE,
): DeviceOptions {
  return { version, publishing: { qos, window, topics: topicsOf(name), perLife } };
}

export class MqttPlant {
  readonly #agent: AgentProcess;
  readonly #random: Random;
  readonly devices: readonly Device[];
  readonly nats: NatsPublisher;
  readonly #retainedWrong: string[] = [];
  readonly #away = new Map<Device | NatsPublisher, number>();
  retainedLooks = 0;

  constructor(agent: AgentProcess, natsPort: number, random: Random) {
    this.#agent = agent;
    this.#random = random;
    this.devices = Object.entries(DEVICES).map(
      ([name, options]) => new Device(name, agent.mqttPort, options),
    );
    this.nats = new NatsPublisher(natsPort, 50, PER_LIFE);
  }

  get all(): readonly (Device | NatsPublisher)[] {
    return [...this.devices, this.nats];
  }

  get publishers(): readonly Device[] {
    return this.devices.filter(({ options }) => options.publishing !== undefined);
  }

  get subscribers(): readonly Device[] {
    return this.devices.filter(({ options }) => options.subscribing !== undefined);
  }

  /** Messages on their way to the agent and from it. */
  get busy(): boolean {
    return this.publishers.some(({ inFlight }) => inFlight > 0);
  }

  /** Subscribes before anything is published. */
  async begin(): Promise<void> {
    for (const subscriber of this.subscribers) subscriber.start();
    await until('the subscriptions', () => this.subscribers.every((each) => each.subscribed));
    for (const each of this.all) each.start();
  }

  /** A new start of the agent: some are there for it, some are not. */
  newLife(life: number): void {
    const isBehind = this.subscribers.some((each) => this.#backlog(each) > BACKLOG_MAX);
    for (const each of this.all) {
      each.life = life;
      if (isBehind) each.finish();
      const away = this.#away.get(each) ?? 0;
      const leaves = each.name.startsWith('away') && away < AWAY_MAX && this.#random() < 0.6;
      this.#away.set(each, leaves ? away + 1 : 0);
      if (leaves) each.stop();
      else each.start();
    }
  }

  /** Messages that were sent and have not come to `subscriber`. */
  #backlog({ highest }: Device): number {
    return [...this.#heard, this.nats].reduce(
      (sum, { name, sent }) => sum + sent - (highest.get(name) ?? 0),
      0,
    );
  }

  /** Publishers whose messages all subscribers get. */
  get #heard(): readonly Device[] {
    return this.publishers.filter(({ options }) => options.publishing?.retain !== true);
  }

  /** Everybody's connection is gone, and nothing that still comes counts. */
  freeze(): void {
    for (const each of this.all) each.stop();
  }

  /**
   * What the retained messages say now is between the last acknowledged and the last sent. False when the agent went
   * away meanwhile.
   */
  async lookAtRetained(withinMs = RETAINED_MS): Promise<boolean> {
    const keepers = this.publishers.filter((each) => !this.#heard.includes(each));
    const before = keepers.map(({ name, acked }) => ({ name, acked: Math.max(0, ...acked) }));
    const acknowledged = before.filter(({ acked }) => acked > 0).map(({ name }) => name);
    const found = await this.#retained(acknowledged, withinMs).catch(() => undefined);
    if (found === undefined) return false;
    this.retainedLooks++;
    keepers.forEach(({ name, sent }, i) => {
      const n = found.get(name) ?? 0;
      const acked = before[i]?.acked ?? 0;
      if (n < acked || n > sent)
        this.#retainedWrong.push(`${name} has ${n} retained, acknowledged was ${acked}`);
    });
    return true;
  }

  /**
   * Waits for those of `keepers`: one that is not on the disk yet comes when it is. Not for as many as they are: that of
   * another, whose acknowledgement is still on its way, may come first.
   */
  async #retained(keepers: readonly string[], withinMs: number): Promise<Map<string, number>> {
    const options = { version: 4, clientId: `look${this.#random()}` } as const;
    const { client } = await RawClient.connect(this.#agent.mqttPort, options);
    const found = new Map<string, number>();
    client.onPacket = (packet) => {
      if (packet.type !== 'publish') return;
      // One that is replaced meanwhile comes as its successor, which was published to this subscription.
      const { publisher, n } = parseMessage(packet.data);
      found.set(publisher, n);
    };
    client.send(rawSubscribe(4, 1, [{ filter: 'kept/#', qos: 1 }]));
    const isComplete = (): boolean => keepers.every((name) => found.has(name));
    await client.until('retained', isComplete, withinMs).catch(() => undefined);
    const { closed } = client;
    client.destroy();
    if (closed) throw new Error('the agent is gone');
    return found;
  }

  /** Lets everything arrive that was published; what does not is found by the audit. */
  async drain(withinMs: number): Promise<void> {
    for (const each of this.all) each.start();
    for (const each of this.all) each.finish();
    const arrived = ({ highest }: Device): boolean =>
      this.#heard.every(({ name, sent }) => highest.get(name) === sent) &&
      (highest.get('nats') ?? 0) >= Math.max(0, ...this.nats.acked);
    await until(
      'everything to arrive',
      () => !this.busy && this.subscribers.every((each) => each.unreleased === 0 && arrived(each)),
      withinMs,
    ).catch(() => undefined);
    if (!(await this.lookAtRetained(Math.min(withinMs, RETAINED_MS))))
      this.#retainedWrong.push('the agent was gone when the retained messages were looked at last');
  }

  /** Everything that is wrong, as sentences; the agent is stopped. */
  audit(): string[] {
    const { messages, integrity } = readDisk(this.#agent.dataDir);
    const stored: Delivery[] = messages.map(({ data, subject }) => ({
      topic: subject.replaceAll('.', '/'),
      ...parseMessage(data),
    }));
    const found = this.all.flatMap(({ complaints }) => complaints).concat(this.#retainedWrong);
    if (integrity !== 'ok') found.push(`integrity_check: ${integrity}`);
    for (const device of this.publishers) {
      const { name, options, sent, inFlight } = device;
      if (inFlight > 0) found.push(`${inFlight} messages of ${name} were never completed`);
      if (options.publishing?.retain === true) continue;
      const isOnce = options.publishing?.qos === 2;
      const all = new Set(Array.from({ length: sent }, (_, i) => i + 1));
      const topics = options.publishing?.topics ?? [];
      const inStream = [...all].filter((n) => topics[n % topics.length]?.startsWith('data/'));
      const account = { name, isOnce, must: new Set(inStream), may: all };
      found.push(...check('the stream', stored, account));
      for (const subscriber of this.subscribers)
        found.push(...this.#checkSubscriber(subscriber, { name, isOnce, must: all, may: all }));
    }
    const may = new Set(Array.from({ length: this.nats.sent }, (_, i) => i + 1));
    const account = { name: 'nats', isOnce: true, must: this.nats.acked, may };
    found.push(...check('the stream', stored, account));
    for (const subscriber of this.subscribers)
      found.push(...this.#checkSubscriber(subscriber, account));
    return found;
  }

  #checkSubscriber({ name, options, deliveries }: Device, account: Account): string[] {
    const isOnce = account.isOnce && options.subscribing?.qos === 2;
    return check(name, deliveries, { ...account, isOnce });
  }
}

interface Account {
  /** The publisher. */
  readonly name: string;
  readonly isOnce: boolean;
  /** Numbers that must be there, and those that may. */
  readonly must: ReadonlySet<number>;
  readonly may: ReadonlySet<number>;
}

/** What is wrong with what arrived at `where` of one publisher: lost, twice, invented, or out of order within a topic. */
function check(where: string, arrived: readonly Delivery[], account: Account): string[] {
  const { name, isOnce, must, may } = account;
  const found: string[] = [];
  const seen = new Set<number>();
  const last = new Map<string, number>();
  for (const { publisher, n, topic } of arrived) {
    if (publisher !== name) continue;
    if (!may.has(n)) found.push(`${name}:${n} was never sent, and is at ${where}`);
    if (seen.has(n)) {
      if (isOnce) found.push(`${name}:${n} is twice at ${where}`);
      continue;
    }
    seen.add(n);
    const before = last.get(topic) ?? 0;
    if (n < before) found.push(`${name}:${n} comes after ${name}:${before} at ${where}`);
    last.set(topic, Math.max(n, before));
  }
  const lost = [...must].filter((n) => !seen.has(n));
  if (lost.length > 0)
    found.unshift(
      `${lost.length} of ${name} never came to ${where}: ${lost.slice(0, 8).join(', ')}`,
    );
  return found.slice(0, 5);
}
