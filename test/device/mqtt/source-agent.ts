// An agent that reads a mosquitto, both as processes, and a device that keeps the account of what the broker accepted.

import { connectAsync, type MqttClient } from 'mqtt';
import { readDisk } from '../../crash/audit.ts';
import type { AgentOptions, AgentProcess } from '../../support/agent-process.ts';
import type { Mosquitto } from '../../support/mosquitto.ts';
import { until } from '../../support/until.ts';

export const TEST_MS = 90_000;
/** A card that takes 20 ms for a sync. */
export const SLOW_DISK =
  'strace -D -f --seccomp-bpf -qq -o /dev/null -e trace=fdatasync,fsync -e inject=fdatasync,fsync:delay_enter=20000'.split(
    ' ',
  );

export function stream(more = ''): string {
  return `[[stream]]\nname = "DATA"\nsubjects = ["plant1.>"]\nmax_bytes = "1GiB"\n${more}`;
}

export function source(broker: Mosquitto, more = '', tables = stream()): AgentOptions {
  return {
    config: `${tables}
[[mqtt_source]]
name = "plant"
url = "${broker.url}"
topics = ["plant1/#"]
reconnect_max = "300ms"
${more}`,
  };
}

export interface Stats {
  readonly connected: boolean;
  readonly problem: string | null;
  readonly detail: string;
  readonly session_present: boolean;
  readonly received: number;
  readonly stored: number;
  readonly acked: number;
  readonly refused: number;
  readonly unacked: number;
  readonly redelivered: number;
  readonly protocol: string;
  readonly paused: boolean;
}

export async function stats(agent: AgentProcess): Promise<Stats> {
  const { body } = await agent.monitor('/varz');
  return (body['mqtt_sources'] as Stats[])[0]!;
}

/** The agent has its subscription at the broker. */
export async function subscribed(agent: AgentProcess, broker: Mosquitto): Promise<void> {
  await until('the subscription', () => broker.log.includes('Sending SUBACK to mangrove-gw7'));
  await until('the source to be connected', async () => (await stats(agent)).connected);
}

/** A device that publishes `<name> <n>` at QoS 1, some at a time, and keeps the account of what was accepted. */
export class Device {
  readonly accepted: string[] = [];
  #client: MqttClient;
  #n = 0;
  readonly #name: string;

  private constructor(client: MqttClient, name: string) {
    this.#client = client;
    this.#name = name;
  }

  static async connect(broker: Mosquitto, name: string): Promise<Device> {
    return new Device(
      await connectAsync(broker.url, { clientId: name, reconnectPeriod: 50 }),
      name,
    );
  }

  /** Resolves when the broker has accepted all `count`. */
  async publish(count: number): Promise<void> {
    const window = 500;
    for (let done = 0; done < count; done += window) {
      const batch = Array.from({ length: Math.min(window, count - done) }, () => {
        const data = `${this.#name} ${++this.#n}`;
        return this.#client
          .publishAsync(`plant1/${this.#name}`, data, { qos: 1 })
          .then(() => this.accepted.push(data));
      });
      await Promise.all(batch);
    }
  }

  async end(): Promise<void> {
    await this.#client.endAsync(true);
  }
}

/** What of `accepted` is not on the disk; and whether first copies came in their order. */
export function audit(agent: AgentProcess, accepted: readonly string[]) {
  const stored = readDisk(agent.dataDir).messages.map(({ data }) => data.toString());
  const first = new Set(stored);
  const numbers = [...first].map((data) => Number(data.split(' ')[1]));
  return {
    missing: accepted.filter((data) => !first.has(data)),
    inOrder: numbers.every((n, i) => i === 0 || n > numbers[i - 1]!),
    copies: stored.length - first.size,
    stored: stored.length,
  };
}

/** How many messages a stream has. */
export async function messages(agent: AgentProcess, name: string): Promise<number> {
  const { body } = await agent.monitor('/jsz?streams=true');
  const [account] = body['account_details'] as {
    stream_detail: { name: string; state: { messages: number } }[];
  }[];
  return account?.stream_detail.find((one) => one.name === name)?.state.messages ?? 0;
}
