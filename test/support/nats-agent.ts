// An agent as a process of its own, with a NATS listener on a port that lasts over restarts and no stream but those that
// its clients make.

import { AgentProcess, type AgentOptions } from './agent-process.ts';
import { freePort } from './nats-server.ts';

export interface NatsAgent {
  readonly agent: AgentProcess;
  /** Where it listens for NATS clients. */
  readonly port: number;
}

/** Chooses the port and writes the configuration; `agent.start()` follows, and `agent.dispose()` in the end. */
export async function natsAgent(options: AgentOptions = {}): Promise<NatsAgent> {
  const port = await freePort();
  const listen = `[nats]\nlisten = "127.0.0.1:${port}"\n`;
  const agent = await AgentProcess.create({
    ...options,
    config: `${listen}${options.config ?? ''}`,
  });
  return { agent, port };
}
