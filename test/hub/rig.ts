// One gateway and its hub with the WAN between them: a real nats-server, the whole agent, devices that publish all
// through, and the audit at the end.

import type { NatsHub } from '../../sync/nats-hub.ts';
import { GatewayDir, TestAgent, type AgentOptions } from '../support/agent.ts';
import { audit, Ledger, verdict, type AuditOptions, type HubRecord } from '../support/audit.ts';
import {
  startNatsServer,
  type NatsServer,
  type NatsServerOptions,
} from '../support/nats-server.ts';
import { seededRandom, type Random } from '../support/random.ts';
import { until } from '../support/until.ts';
import { WanProxy } from '../support/wan-proxy.ts';
import { EDGE, HubAdmin, type StreamConfig } from './hub-admin.ts';
import { MqttTraffic, SerialTraffic } from './traffic.ts';

export interface RigOptions {
  readonly seed?: number;
  /** The hub stream; null makes none. */
  readonly stream?: StreamConfig | null;
  readonly server?: NatsServerOptions;
  readonly agent?: Partial<AgentOptions>;
  readonly auth?: { user: string; pass: string };
}

interface Traffic {
  stop(): Promise<void>;
}

export class Rig {
  readonly hub: NatsServer;
  readonly admin: HubAdmin;
  readonly proxy: WanProxy;
  readonly dir = new GatewayDir();
  readonly ledger = new Ledger();
  readonly random: Random;
  readonly #traffic: Traffic[] = [];
  #agent: TestAgent | undefined;

  private constructor(hub: NatsServer, admin: HubAdmin, proxy: WanProxy, random: Random) {
    this.hub = hub;
    this.admin = admin;
    this.proxy = proxy;
    this.random = random;
  }

  static async start(options: RigOptions = {}): Promise<Rig> {
    const { seed = 1, stream = EDGE, server, agent, auth } = options;
    const hub = await startNatsServer(server);
    const admin = await HubAdmin.connect(hub.url, auth);
    if (stream !== null) await admin.create(stream);
    const proxy = await new WanProxy(hub.port).listen();
    const rig = new Rig(hub, admin, proxy, seededRandom(seed));
    rig.dir.configure({ servers: [proxy.url], ...agent });
    await rig.startAgent();
    return rig;
  }

  get agent(): TestAgent {
    if (this.#agent === undefined) throw new Error('the agent is stopped');
    return this.#agent;
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
    const { ledger, random } = this;
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
  async confirmed(more: number): Promise<void> {
    const from = this.agent.status().confirmedSeq;
    await until(
      `${more} messages at the hub`,
      () => this.agent.status().confirmedSeq >= from + more,
    );
  }

  /** Stops traffic, waits for the backlog, and says what is wrong with what the hub holds; empty for nothing. */
  async audit(options: AuditOptions = {}, records?: readonly HubRecord[]): Promise<string[]> {
    await this.stopTraffic();
    await this.agent.drained();
    return verdict(audit(this.ledger, records ?? (await this.admin.readAll()), options));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopTraffic().catch(() => undefined);
    await this.stopAgent();
    await this.proxy.close();
    await this.admin.close();
    await this.hub.dispose();
    this.dir.remove();
  }
}

/** Lets `ms` pass: the length of an outage is what is tested, not waited for. */
export async function lasting(ms: number): Promise<void> {
  const endMs = performance.now() + ms;
  await until('the outage to have lasted', () => performance.now() >= endMs, ms + 5_000);
}
