// An agent with a NATS listener, and official clients of it, for one test at a time.

import {
  connect,
  type Msg,
  type NatsConnection,
  type NodeConnectionOptions,
} from '@nats-io/transport-node';
import { NatsListener } from '../../src/nats/listener.ts';
import { GatewayDir, TestAgent } from './agent.ts';

export class NatsClients {
  dir = new GatewayDir();
  agent: TestAgent | undefined;
  readonly clients: NatsConnection[] = [];

  /** Starts an agent with `tables` of `[nats]`. */
  readonly start = async (tables = '[nats]\nlisten = "127.0.0.1:0"\n'): Promise<void> => {
    this.dir.configure({ servers: ['nats://127.0.0.1:1'], tables });
    this.agent = await TestAgent.start(this.dir);
  };

  readonly listener = (): NatsListener => {
    const { nats } = this.agent?.agent.parts ?? {};
    if (!(nats instanceof NatsListener)) throw new Error('NATS does not listen');
    return nats;
  };

  readonly client = async (options: NodeConnectionOptions = {}): Promise<NatsConnection> => {
    const port = this.listener().address?.port ?? 0;
    const connected = await connect({ servers: `127.0.0.1:${port}`, ...options });
    this.clients.push(connected);
    return connected;
  };

  /** To be called after each test. */
  readonly end = async (): Promise<void> => {
    for (const client of this.clients.splice(0)) await client.close();
    await this.agent?.stop();
    this.agent = undefined;
    this.dir.remove();
    this.dir = new GatewayDir();
  };
}

/** Keeps what a subscription gets. */
export function collect(connection: NatsConnection, subject: string, queue?: string): Msg[] {
  const got: Msg[] = [];
  connection.subscribe(subject, {
    ...(queue === undefined ? {} : { queue }),
    callback: (_error, message) => void got.push(message),
  });
  return got;
}
