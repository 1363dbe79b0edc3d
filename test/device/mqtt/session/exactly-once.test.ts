// A model of client and server: random kills, power cuts, lost connections and full disks. What a publisher was promised
// arrives: at QoS 1 at least once, at QoS 2 exactly once, each in order; nothing is said before the disk has it.

import { expect, test } from 'vitest';
import type { Session } from '../../../../device/mqtt/session/session.ts';
import type { Outgoing } from '../../../../device/mqtt/session/types.ts';
import { randomInt, seededRandom, type Random } from '../../../support/random.ts';
import { FakeLink, SessionLab } from '../../../support/session-lab.ts';

const MARKER = 0x40;
const RECEIVE_MAXIMUM = 7;

/** The client as its program sees it; it lives as long as the run. */
class Client {
  readonly random: Random;
  /** What the program got, by QoS. */
  readonly got: Record<1 | 2, number[]> = { 1: [], 2: [] };
  /** QoS 2 identifiers that were not released, with what came under them [4.3.3, method B]. */
  readonly ids = new Map<number, number>();
  /** What is still to be sent over the present connection. */
  acks: (() => void)[] = [];
  outstanding = new Set<number>();
  lab: SessionLab | undefined;
  session: Session | undefined;

  constructor(random: Random) {
    this.random = random;
  }

  connect(lab: SessionLab): void {
    this.disconnect();
    const link = new ModelLink(this);
    this.lab = lab;
    this.outstanding = new Set();
    this.acks = [];
    ({ session: this.session } = lab.open({}, link));
    this.link = link;
  }

  link: ModelLink | undefined;

  /** The connection is lost; with it what was on its way. */
  disconnect(): void {
    const { link, lab, session } = this;
    this.gone();
    if (link !== undefined && session !== undefined) lab?.close(session, link);
  }

  /** The server is gone. */
  gone(): void {
    if (this.link !== undefined) this.link.dead = true;
    this.link = undefined;
    this.acks = [];
  }

  publish({ form, qos, packetId, dup }: Outgoing): void {
    const number = Number(form.data.toString());
    expect(packetId).toBeGreaterThan(0);
    expect(packetId).toBeLessThanOrEqual(0xffff);
    expect(this.outstanding.has(packetId)).toBe(false);
    this.outstanding.add(packetId);
    expect(this.outstanding.size).toBeLessThanOrEqual(RECEIVE_MAXIMUM);
    expect(this.isSafe(number), `${number} is safe`).toBe(true);
    const session = this.session;
    if (qos === 1) {
      if (!this.got[1].includes(number)) this.got[1].push(number);
      this.acks.push(() => {
        this.outstanding.delete(packetId);
        expect(session?.puback(packetId)).toBe(true);
      });
      return;
    }
    const known = this.ids.get(packetId);
    if (known === undefined) {
      this.ids.set(packetId, number);
      this.got[2].push(number);
    } else {
      expect(known, 'an identifier in use').toBe(number);
      expect(dup).toBe(true);
    }
    this.acks.push(() => expect(session?.pubrec(packetId, 0)).toBe(true));
  }

  pubrel(packetId: number, reasonCode: number | undefined): void {
    expect(reasonCode).toBeUndefined();
    const synced = [...(this.lab?.store.synced.queue ?? [])];
    const marked = synced.some(
      ([key, row]) => row[0] === MARKER && idOf(key) === packetId && key.startsWith('meter'),
    );
    expect(marked, 'the marker is safe').toBe(true);
    this.ids.delete(packetId);
    const session = this.session;
    this.acks.push(() => {
      this.outstanding.delete(packetId);
      expect(session?.pubcomp(packetId)).toBe(true);
    });
  }

  isSafe(number: number): boolean {
    const data = Buffer.from(`#${number}`.slice(1));
    for (const row of this.lab?.store.synced.queue.values() ?? [])
      if (row[0] !== MARKER && row.subarray(-data.length).equals(data)) return true;
    return false;
  }

  /** Sends one of its answers; those of QoS 2 in order [MQTT-4.6.0-3]. */
  answer(): void {
    this.acks.shift()?.();
  }
}

class ModelLink extends FakeLink {
  readonly #client: Client;
  dead = false;
  override receiveMaximum = RECEIVE_MAXIMUM;

  constructor(client: Client) {
    super();
    this.#client = client;
  }

  override publish(outgoing: Outgoing): boolean {
    expect(this.dead).toBe(false);
    this.#client.publish(outgoing);
    return true;
  }

  override pubrel(packetId: number, reasonCode?: number): void {
    expect(this.dead).toBe(false);
    this.#client.pubrel(packetId, reasonCode);
  }
}

function idOf(key: string): number {
  return ((Number.parseInt(key.slice(key.lastIndexOf('\x1f') + 1), 16) - 1) % 65_535) + 1;
}

class Run {
  readonly random: Random;
  readonly client: Client;
  lab: SessionLab;
  number = 1000; // Of four digits, so that none ends with another.
  /** Promised to publishers, by QoS. */
  readonly promised: Record<1 | 2, Set<number>> = { 1: new Set(), 2: new Set() };

  constructor(seed: number) {
    this.random = seededRandom(seed);
    this.client = new Client(this.random);
    this.lab = new SessionLab({
      limits: { deliveriesInFlightMax: 5 + randomInt(this.random, 10), memoryBytesTotalMax: 100 },
    });
    this.client.connect(this.lab);
    const { session } = this.client;
    if (session !== undefined) this.lab.subscribe(session, 'a/#', 2);
    this.lab.clock.turn();
    this.lab.store.auto = false;
  }

  step(): void {
    const { random, lab, client } = this;
    const { store, clock } = lab;
    const dice = randomInt(random, 100);
    if (dice < 30) this.publish();
    else if (dice < 55) client.answer();
    else if (dice < 70) clock.turn();
    else if (dice < 82) store.sync();
    else if (dice < 86) store.commit();
    else if (dice < 89) this.fill();
    else if (dice < 92) lab.sessions.tick();
    else if (dice < 94) client.disconnect();
    else if (dice < 97) client.connect(lab);
    else this.crash(dice === 97 ? 'afterPowerCut' : 'afterKill');
  }

  publish(): void {
    const qos = this.random() < 0.5 ? 1 : 2;
    const number = this.number++;
    this.lab.publish('a.b', String(number), qos, (error) => {
      if (error === null) this.promised[qos].add(number);
    });
  }

  fill(): void {
    this.lab.store.full = !this.lab.store.full;
  }

  crash(how: 'afterKill' | 'afterPowerCut'): void {
    this.client.gone();
    this.lab = this.lab.after(how);
    this.lab.store.auto = false;
    if (this.random() < 0.7) this.client.connect(this.lab);
  }

  /** All is well again: everything arrives. */
  finish(): void {
    this.lab.store.full = false;
    this.lab.store.auto = true;
    this.client.connect(this.lab);
    for (let round = 0; round < 5000; round++) {
      this.lab.clock.turn();
      this.lab.store.sync();
      this.lab.sessions.tick();
      while (this.client.acks.length > 0) this.client.answer();
      const [view] = [...this.lab.sessions.views()];
      if (view?.queuedMessages === 0) return;
    }
    throw new Error('the queue does not empty');
  }
}

const SEEDS = 400;

test('what was promised arrives: QoS 1 at least once, QoS 2 exactly once, in order, over every crash', () => {
  let arrived = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const run = new Run(seed);
    for (let i = 0; i < 150; i++) run.step();
    run.finish();
    for (const qos of [1, 2] as const) {
      const got = run.client.got[qos];
      const missing = [...run.promised[qos]].filter((number) => !got.includes(number));
      expect(missing, `seed ${seed} QoS ${qos}: lost`).toEqual([]);
      const sorted = [...new Set(got)].toSorted((a, b) => a - b);
      expect(got, `seed ${seed} QoS ${qos}: order, none twice`).toEqual(sorted);
      arrived += got.length;
    }
    expect(run.client.ids.size, `seed ${seed}: all released`).toBe(0);
    run.lab.store.sync();
    expect(run.lab.store.synced.queue.size, `seed ${seed}: rows`).toBe(0);
  }
  expect(arrived).toBeGreaterThan(SEEDS * 10);
});
