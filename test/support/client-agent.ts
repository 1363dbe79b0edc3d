// An agent whose NATS listener is what a test is about, and the clients that are connected to it.

import { connect, type NatsConnection, type NodeConnectionOptions } from '@nats-io/transport-node';
import { NatsListener } from '../../src/nats/listener.ts';
import { GatewayDir, TestAgent } from './agent.ts';

export class ClientAgent {
  readonly #dir: GatewayDir;
  readonly #clients: NatsConnection[] = [];
  #agent: TestAgent;

  private constructor(dir: GatewayDir, agent: TestAgent) {
    this.#dir = dir;
    this.#agent = agent;
  }

  /** Starts one in a directory of its own; its hub is not there. */
  static async start(): Promise<ClientAgent> {
    const dir = new GatewayDir();
    const tables = '[nats]\nlisten = "127.0.0.1:0"\n';
    dir.configure({ servers: ['nats://127.0.0.1:1'], tables });
    return new ClientAgent(dir, await TestAgent.start(dir));
  }

  get agent(): TestAgent {
    return this.#agent;
  }

  get port(): number {
    const { nats } = this.#agent.agent.parts;
    const port = nats instanceof NatsListener ? nats.address?.port : undefined;
    if (port === undefined) throw new Error('NATS does not listen');
    return port;
  }

  async client(options: NodeConnectionOptions = {}): Promise<NatsConnection> {
    const client = await connect({ servers: `127.0.0.1:${this.port}`, ...options });
    this.#clients.push(client);
    return client;
  }

  /** Stops the agent and starts it again on the same data; its clients are gone. */
  async restart(): Promise<void> {
    await this.#stop();
    this.#agent = await TestAgent.start(this.#dir);
  }

  async dispose(): Promise<void> {
    await this.#stop();
    this.#dir.remove();
  }

  async #stop(): Promise<void> {
    for (const client of this.#clients.splice(0)) await client.close();
    await this.#agent.stop();
  }
}
