// One gateway and its hub with the WAN between them: a real nats-server, the whole agent, devices that publish all
// through, and the audit at the end.

import type { AgentOptions } from '../support/agent.ts';
import {
  freePort,
  startNatsServer,
  type NatsServer,
  type NatsServerOptions,
} from '../support/nats-server.ts';
import { seededRandom, type Random } from '../support/random.ts';
import { WanProxy } from '../support/wan-proxy.ts';
import { forwardLines, GatewayRig, type Forward } from './gateway-rig.ts';
import { EDGE, HubAdmin, type StreamConfig } from './hub-admin.ts';

export { lasting } from './gateway-rig.ts';

export interface RigOptions {
  readonly seed?: number;
  /** The hub stream; null makes none. */
  readonly stream?: StreamConfig | null;
  readonly server?: NatsServerOptions;
  readonly agent?: Partial<AgentOptions>;
  readonly auth?: { user: string; pass: string };
  readonly forward?: Forward;
}

export class Rig extends GatewayRig {
  readonly hub: NatsServer;
  readonly proxy: WanProxy;
  /** What the gateway is configured with. */
  readonly options: AgentOptions;

  private constructor(
    { hub, admin, proxy }: { hub: NatsServer; admin: HubAdmin; proxy: WanProxy },
    random: Random,
    { forward = {}, agent = {} }: RigOptions,
  ) {
    super(admin, random, forward);
    this.hub = hub;
    this.proxy = proxy;
    const lines = `${agent.forward ?? ''}\n${forwardLines(forward)}`;
    this.options = { servers: [proxy.url], ...agent, forward: lines };
  }

  static async start(options: RigOptions = {}): Promise<Rig> {
    const { seed = 1, stream = EDGE, server, auth } = options;
    // Its own port, so that it is the same after a restart.
    const hub = await startNatsServer({ port: await freePort(), ...server });
    const admin = await HubAdmin.connect(hub.url, auth);
    if (stream !== null) await admin.create(stream);
    const proxy = await new WanProxy(hub.port).listen();
    const rig = new Rig({ hub, admin, proxy }, seededRandom(seed), options);
    rig.dir.configure(rig.options);
    await rig.startAgent();
    return rig;
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]();
    await this.proxy.close();
    await this.hub.dispose();
  }
}
