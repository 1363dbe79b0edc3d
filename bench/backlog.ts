// A backlog as the contestants find it after an outage: made once, then copied for each round, so that every round
// drains the same messages from a fresh start.

import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { runLoad, startAgent, startNats, type AgentOptions } from './contestants.ts';
import type { DataKind } from './load/data.ts';
import { dataDir } from './machine.ts';

/** What waits. */
export interface BacklogOptions {
  readonly count: number;
  readonly dataBytes: number;
  readonly data: DataKind;
}

export const SUBJECT = 'plant1.boiler.temp';
const TOPIC = 'plant1/boiler/temp';
/** The leaf's stream and the agent's have one name. */
export const STREAM = 'SENSORS';
const WINDOW = 1_000;

/** Stored messages of one contestant, in a directory that is never run itself. */
export class Backlog {
  readonly #dir: string;
  readonly #kept: string;

  constructor(dir: string, kept: string) {
    this.#dir = dir;
    this.#kept = kept;
  }

  /** A fresh directory with a copy of it. */
  copy(): string {
    const dir = dataDir('drain');
    mkdirSync(join(dir, this.#kept));
    cpSync(join(this.#dir, this.#kept), join(dir, this.#kept), { recursive: true });
    return dir;
  }

  remove(): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** Numbered messages in the stream of an agent that knows no hub. */
export async function agentBacklog(
  { count, dataBytes, data }: BacklogOptions,
  options: AgentOptions = {},
): Promise<Backlog> {
  const agent = await startAgent(options);
  await runLoad('mqtt-publish', {
    port: agent.mqttPort,
    connections: 1,
    count,
    window: WINDOW,
    dataBytes,
    topic: TOPIC,
    data,
    numbered: true,
  });
  await agent.stop();
  return new Backlog(agent.dir, 'data');
}

/** The same messages in a stream of a nats-server in the domain `leaf`. */
export async function leafBacklog({ count, dataBytes, data }: BacklogOptions): Promise<Backlog> {
  const leaf = await startNats({ name: 'leaf', jetstream: 'domain: leaf' });
  await runLoad('nats-publish', {
    port: leaf.port,
    stream: STREAM,
    subject: SUBJECT,
    ids: false,
    count,
    window: WINDOW,
    dataBytes,
    data,
    numbered: true,
  });
  await leaf.stop();
  return new Backlog(leaf.dir, 'jetstream');
}
