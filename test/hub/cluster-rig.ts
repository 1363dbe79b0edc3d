// One gateway and a cluster of three as its hub, the hub stream on all three, and what can happen to such a cluster.

import {
  startCluster,
  type NatsCluster,
  type NatsServer,
  type NatsServerOptions,
} from '../support/nats-server.ts';
import { seededRandom, type Random } from '../support/random.ts';
import { until } from '../support/until.ts';
import { forwardLines, GatewayRig, lasting, type Forward } from './gateway-rig.ts';
import { EDGE, HubAdmin, type StreamConfig } from './hub-admin.ts';
import { rollBack, snapshot } from './hub-stores.ts';

/** An election takes seconds, and a machine with two cores runs three servers. */
const ELECTION_MS = 40_000;

export interface ClusterRigOptions {
  readonly seed?: number;
  readonly stream?: StreamConfig;
  readonly forward?: Forward;
  readonly server?: NatsServerOptions;
}

export class ClusterRig extends GatewayRig {
  readonly cluster: NatsCluster;

  private constructor(cluster: NatsCluster, admin: HubAdmin, random: Random, forward?: Forward) {
    super(admin, random, forward);
    this.cluster = cluster;
  }

  static async start(options: ClusterRigOptions = {}): Promise<ClusterRig> {
    const { seed = 1, stream, forward, server } = options;
    const cluster = await startCluster(3, server);
    const admin = await HubAdmin.connect(cluster.urls);
    await admin.answers();
    // The leader of the servers may not have heard of all three yet.
    await until(
      'a stream on three servers',
      () =>
        admin.create({ ...EDGE, num_replicas: 3, ...stream }).then(
          () => true,
          () => false,
        ),
      ELECTION_MS,
    );
    const rig = new ClusterRig(cluster, admin, seededRandom(seed), forward);
    rig.dir.configure({ servers: cluster.urls, forward: forwardLines(rig.forward) });
    await rig.startAgent();
    return rig;
  }

  /** Resolves when the stream has a leader, with its name. */
  leader(): Promise<string> {
    return until(
      'a leader',
      async () => {
        const info = await this.admin.info().catch(() => undefined);
        return info?.cluster?.leader;
      },
      ELECTION_MS,
    );
  }

  /** The server that leads the stream. */
  async leading(): Promise<NatsServer> {
    const name = await this.leader();
    const server = this.cluster.servers.find((one) => one.name === name);
    if (server === undefined) throw new Error(`no server is called ${name}`);
    return server;
  }

  /** Resolves when messages arrive at the hub. */
  moved(): Promise<void> {
    return this.confirmed(50, ELECTION_MS);
  }

  /** The leader hands over. */
  async stepDown(): Promise<void> {
    await this.admin.api('STREAM.LEADER.STEPDOWN.EDGE', undefined, 1_000).catch(() => undefined);
  }

  /** The leader is killed, and started again after `downMs`. */
  async killLeader(downMs: number): Promise<void> {
    const server = await this.leading();
    await server.kill();
    await lasting(downMs);
    await server.restart();
  }

  /** Each server in turn leaves (`gently`: in lame duck mode) and comes back, as an upgrade does it. */
  async roll(gently: boolean): Promise<void> {
    for (const server of this.cluster.servers) {
      await (gently ? server.leave() : server.stop());
      await server.restart();
      await this.leader();
    }
  }

  /** Two of three are gone for `ms`. */
  async loseQuorum(ms: number): Promise<void> {
    const leader = await this.leading();
    const others = this.cluster.servers.filter((server) => server !== leader);
    // The leader is one of the two, or another: by chance.
    const gone = this.random() < 0.5 ? others : [leader, others[0]!];
    await Promise.all(gone.map((server) => server.kill()));
    await lasting(ms);
    await Promise.all(gone.map((server) => server.restart()));
  }

  /** A copy of what all three have on the disk, to be put back later. They are restarted for it. */
  async snapshot(): Promise<void> {
    await snapshot(this.cluster.servers);
    await this.leader();
  }

  /** All three lose what they have stored since the snapshot. */
  async rollBack(): Promise<void> {
    await rollBack(this.cluster.servers);
    await this.leader();
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]();
    await this.cluster.dispose();
  }
}
