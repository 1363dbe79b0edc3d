// The agent as a process with a NATS listener, for tests that speak to it as a local program does. Port and data stay the
// same over restarts.

import { AgentProcess, type AgentOptions } from './agent-process.ts';
import { freePort } from './nats-server.ts';

export interface NatsAgentProcess {
  readonly agent: AgentProcess;
  readonly port: number;
}

/** Chooses a port; `agent.start()` follows. Without a stream of its own: the API makes them. */
export async function natsAgentProcess({
  config = '',
  ...options
}: AgentOptions = {}): Promise<NatsAgentProcess> {
  const port = await freePort();
  const nats = `[nats]\nlisten = "127.0.0.1:${port}"\n`;
  const agent = await AgentProcess.create({ ...options, config: nats + config });
  return { agent, port };
}
