// One gateway with devices that publish all through, and the audit at the end. What hub it has is for rig.ts (one server
// behind a WAN) and cluster-rig.ts (three servers) to say.

import type { NatsHub } from '../../sync/nats-hub.ts';
import { parseId } from '../../sync/hub-message.ts';
import { GatewayDir, TestAgent } from '../support/agent.ts';
import { audit, Ledger, verdict, type AuditOptions, type HubRecord } from '../support/audit.ts';
import { randomInt, seededRandom, type Random } from '../support/random.ts';
import { until } from '../support/until.ts';
import type { HubAdmin } from './hub-admin.ts';
import { MqttTraffic, SerialTraffic } from './traffic.ts';

/** How streams are forwarded: the keys of `[[forward]]`. */
export interface Forward {
  readonly mode?: string | undefined;
  readonly order?: string | undefined;
}

/** The lines of `[[forward]]`. */
export function forwardLines({ mode, order }: Forward): string {
  return [
    ...(mode === undefined ? [] : [`mode = "${mode}"`]),
    ...(order === undefined ? [] : [`order = "${order}"`]),
  ].join('\n');
}

interface Traffic {
  stop(): Promise<void>;
}

export class GatewayRig {
  readonly admin: HubAdmin;
  /** For faults: what sensors draw does not change them. */
  readonly random: Random;
  readonly #sensors: Random;
  readonly forward: Forward;
  readonly ledger = new Ledger();
  dir = new GatewayDir();
  readonly #traffic: Traffic[] = [];
  #agent: TestAgent | undefined;

  constructor(admin: HubAdmin, random: Random, forward: Forward = {}) {
    this.admin = admin;
    this.random = random;
    this.#sensors = seededRandom(randomInt(random, 1e9));
    this.forward = forward;
  }

  get agent(): TestAgent {
    if (this.#agent === undefined) throw new Error('the agent is stopped');
    return this.#agent;
  }

  /** Another agent takes the place of this one, with its directory. */
  adopt(agent: TestAgent, dir: GatewayDir): void {
    this.#agent = agent;
    this.dir = dir;
  }

  async startAgent(): Promise<TestAgent> {
    this.#agent = await TestAgent.start(this.dir);
    return this.#agent;
  }

  async stopAgent(): Promise<void> {
    await this.#agent?.stop();
    this.#agent = undefined;
  }

  /** The agent's connection to the hub. */
  get link(): NatsHub {
    return this.agent.agent.parts.hub as NatsHub;
  }

  /** An MQTT meter and a serial port, `rate` messages a second each. */
  startTraffic(rate = 200): void {
    const { ledger } = this;
    const random = this.#sensors;
    const port = (): number => this.agent.mqttPort;
    this.#traffic.push(
      new MqttTraffic(ledger, port, { source: 'meter', random, rate }).start(),
      new SerialTraffic(ledger, () => this.agent, { source: 'gps', random, rate }).start(),
    );
  }

  async stopTraffic(): Promise<void> {
    for (let one = this.#traffic.pop(); one !== undefined; one = this.#traffic.pop())
      await one.stop();
  }

  /** Resolves when `more` messages have been acknowledged to publishers since now. */
  async acknowledged(more: number): Promise<void> {
    const from = this.ledger.acked;
    await until(`${more} acknowledgements`, () => this.ledger.acked >= from + more);
  }

  /** Resolves when the hub has confirmed `more` messages since now. */
  async confirmed(more: number, timeoutMs = 40_000): Promise<void> {
    const from = this.agent.status().confirmedSeq;
    await until(
      `${more} messages at the hub`,
      () => this.agent.status().confirmedSeq >= from + more,
      timeoutMs,
    );
  }

  /** Stops traffic, waits for the backlog, and says what is wrong with what the hub holds; empty for nothing. */
  async audit(options: AuditOptions = {}, records?: readonly HubRecord[]): Promise<string[]> {
    await this.stopTraffic();
    await this.agent.drained(60_000);
    const found = records ?? (await this.admin.readAll());
    return verdict(audit(this.ledger, this.#claimed(found, options), options));
  }

  /** With `order = "relaxed"` the order at the hub is not claimed: only what is there. */
  #claimed(found: readonly HubRecord[], { gateway = 'gw7' }: AuditOptions): readonly HubRecord[] {
    if (this.forward.order !== 'relaxed') return found;
    const place = ({ subject, id }: HubRecord): number =>
      parseId({ prefix: 'edge', gateway, stream: subject.split('.')[2] ?? '' }, id)?.seq ?? 0;
    return found.toSorted((a, b) => place(a) - place(b));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopTraffic().catch(() => undefined);
    await this.stopAgent();
    await this.admin.close();
    this.dir.remove();
  }
}

/** Lets `ms` pass: the length of an outage is what is tested, not waited for. */
export async function lasting(ms: number): Promise<void> {
  const endMs = performance.now() + ms;
  await until('the outage to have lasted', () => performance.now() >= endMs, ms + 5_000);
}
