// One agent process with an MQTT and a NATS listener, and clients of both, as a stranger would connect them. Everything
// that a test opened here is closed at its end.

import type { JetStreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection, type NodeConnectionOptions } from '@nats-io/transport-node';
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt';
import { ONE_STREAM, type AgentOptions, type AgentProcess } from './agent-process.ts';
import { natsAgentProcess } from './nats-agent-process.ts';
import { RawClient, type PacketOf } from './mqtt-raw.ts';
import type { RawConnect, RawVersion } from './mqtt-raw-encode.ts';
import { until } from './until.ts';

export const VERSIONS: readonly RawVersion[] = [3, 4, 5];
export const QOS_LEVELS = [0, 1, 2] as const;

/** What a device got. */
export interface Got {
  readonly topic: string;
  readonly text: string;
  readonly data: Buffer;
  readonly packet: IPublishPacket;
}

export interface Device {
  readonly client: MqttClient;
  /** All that came, in order. */
  readonly got: Got[];
}

export class MqttNatsLab implements AsyncDisposable {
  readonly agent: AgentProcess;
  readonly natsPort: number;
  readonly #ends: (() => unknown)[] = [];
  #devices = 0;

  private constructor(agent: AgentProcess, natsPort: number) {
    this.agent = agent;
    this.natsPort = natsPort;
  }

  static async start(options: AgentOptions = {}): Promise<MqttNatsLab> {
    const { agent, port } = await natsAgentProcess({ config: ONE_STREAM, ...options });
    await agent.start();
    return new MqttNatsLab(agent, port);
  }

  /** MQTT.js, which does not connect again by itself. */
  async device(version: RawVersion, options: IClientOptions = {}): Promise<Device> {
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${this.agent.mqttPort}`, {
      protocolVersion: version,
      ...(version === 3 ? { protocolId: 'MQIsdp' as const } : {}),
      clientId: `device-${++this.#devices}`,
      reconnectPeriod: 0,
      ...options,
    });
    client.on('error', () => undefined);
    this.#ends.push(() => client.endAsync(true));
    const got: Got[] = [];
    client.on('message', (topic, data, packet) => {
      got.push({ topic, text: data.toString(), data, packet });
    });
    return { client, got };
  }

  async nats(options: NodeConnectionOptions = {}): Promise<NatsConnection> {
    const connection = await connect({ servers: `127.0.0.1:${this.natsPort}`, ...options });
    this.#ends.push(() => connection.close());
    return connection;
  }

  /** A client that says what it is told to, and nothing by itself. */
  async open(connect: RawConnect): Promise<{ client: RawClient; connack: PacketOf<'connack'> }> {
    const opened = await RawClient.connect(this.agent.mqttPort, connect);
    this.#ends.push(() => opened.client.destroy());
    if (opened.connack.code !== 0) throw new Error(`CONNACK ${opened.connack.code}`);
    return opened;
  }

  async raw(connect: RawConnect): Promise<RawClient> {
    return (await this.open(connect)).client;
  }

  /** The `mqtt` section of /varz. */
  async varz(): Promise<Record<string, number>> {
    const { body } = await this.agent.monitor('/varz');
    return body['mqtt'] as Record<string, number>;
  }

  /** Resolves when the listener has looked at all its connections, more than once: it closes one that is silent for too long. */
  async looked(): Promise<void> {
    const silent = await this.raw({ version: 4, clientId: 'silent', keepAliveSeconds: 1 });
    await silent.expectClosed();
  }

  /** Closes all clients. */
  async clear(): Promise<void> {
    for (const end of this.#ends.splice(0).toReversed()) await end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.clear();
    await this.agent.dispose();
  }
}

/** Resolves when `got` has `count` entries, with them; rejects with what there is instead. */
export async function came<T>(got: readonly T[], count: number): Promise<readonly T[]> {
  await until(`${count} messages`, () => got.length >= count).catch((error: unknown) => {
    throw new Error(
      `${String(error)}: there are ${got.length}: ${JSON.stringify(got.slice(-5)).slice(0, 1000)}`,
    );
  });
  return got;
}

/** Everything that a stream holds, oldest first. */
export async function held(
  manager: JetStreamManager,
  stream: string,
): Promise<{ subject: string; text: string }[]> {
  const { state } = await manager.streams.info(stream);
  const messages: { subject: string; text: string }[] = [];
  for (let seq = Math.max(1, state.first_seq); seq <= state.last_seq; seq++) {
    const message = await manager.streams.getMessage(stream, { seq });
    if (message !== null) messages.push({ subject: message.subject, text: message.string() });
  }
  return messages;
}
