// A mosquitto that bridges into an agent, as gateways in the field do: both ways, every version and QoS, with either side
// restarted and killed in the middle. What it sent must be in the agent's stream: QoS 2 once, QoS 1 at least once.

import { jetstream } from '@nats-io/jetstream';
import { connect as natsConnect } from '@nats-io/transport-node';
import mqtt, { type MqttClient } from 'mqtt';
import { expect, test } from 'vitest';
import { ONE_STREAM, type AgentProcess } from '../support/agent-process.ts';
import { Mosquitto } from '../support/mosquitto.ts';
import { natsAgentProcess } from '../support/nats-agent-process.ts';
import { until } from '../support/until.ts';

interface BridgeOptions {
  readonly version: 'mqttv31' | 'mqttv311' | 'mqttv50';
  readonly tryPrivate: boolean;
  /** Lines that begin with `topic`. */
  readonly topics: string;
}

/** An agent, a mosquitto that bridges into it, and clients of either. */
class Bridge implements AsyncDisposable {
  readonly agent: AgentProcess;
  readonly mosquitto: Mosquitto;
  readonly #natsPort: number;
  readonly #clients: MqttClient[] = [];

  private constructor(agent: AgentProcess, natsPort: number, mosquitto: Mosquitto) {
    this.agent = agent;
    this.#natsPort = natsPort;
    this.mosquitto = mosquitto;
  }

  /** Resolves when the bridge has its connection, and its subscriptions at the agent where it has any. */
  static async start({ version, tryPrivate, topics }: BridgeOptions): Promise<Bridge> {
    const { agent, port } = await natsAgentProcess({ config: ONE_STREAM });
    await agent.start();
    const mosquitto = await Mosquitto.start({
      config: `max_queued_messages 100000
connection site
address 127.0.0.1:${agent.mqttPort}
bridge_protocol_version ${version}
remote_clientid site
local_clientid site.local
cleansession false
try_private ${tryPrivate}
restart_timeout 1
keepalive_interval 5
${topics}`,
    });
    const bridge = new Bridge(agent, port, mosquitto);
    await until('the bridge', async () => {
      const { body } = await agent.monitor('/varz');
      return (body['mqtt'] as { connections?: number } | undefined)?.connections === 1;
    });
    return bridge;
  }

  /** A client of the site, or of the agent. */
  async client(where: 'site' | 'agent', clientId: string): Promise<MqttClient> {
    const port = where === 'site' ? this.mosquitto.port : this.agent.mqttPort;
    const made = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
      clientId,
      clean: false,
      protocolVersion: 4,
      reconnectPeriod: 50,
    });
    made.on('error', () => undefined);
    this.#clients.push(made);
    return made;
  }

  /** What the stream holds, in order; nothing while it has not `least` messages. */
  async stored(least: number): Promise<string[]> {
    const connection = await natsConnect({ servers: `127.0.0.1:${this.#natsPort}` });
    try {
      const consumer = await jetstream(connection).consumers.get('DATA');
      const { num_pending: pending } = await consumer.info();
      const found: string[] = [];
      if (pending >= least)
        for await (const message of await consumer.fetch({ max_messages: pending }))
          found.push(message.string());
      return found;
    } finally {
      await connection.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client.endAsync(true);
    await this.mosquitto[Symbol.asyncDispose]();
    await this.agent.dispose();
  }
}

/** What `made` hears of `filter`, as "qos data". */
async function heard(made: MqttClient, filter: string): Promise<string[]> {
  const got: string[] = [];
  made.on('message', (_topic, data, { qos }) => void got.push(`${qos} ${data.toString()}`));
  await made.subscribeAsync(filter, { qos: 2 });
  return got;
}

const WAYS = (['mqttv31', 'mqttv311', 'mqttv50'] as const).flatMap((version) =>
  [true, false].map((tryPrivate) => ({ version, tryPrivate })),
);
const OUT = 'topic # out 2 up/ data/up/';
const IN = 'topic # in 2 down/ data/down/';

test.concurrent.each(WAYS)(
  'a bridge of $version, try_private $tryPrivate, carries every QoS both ways',
  async (way) => {
    await using bridge = await Bridge.start({ ...way, topics: `${OUT}\n${IN}` });
    const [site, cloud] = [await bridge.client('site', 'a'), await bridge.client('agent', 'b')];
    const atSite = await heard(site, 'down/#');
    const atAgent = await heard(cloud, 'data/up/#');
    for (const qos of [0, 1, 2] as const) {
      await site.publishAsync(`up/${qos}`, `up ${qos}`, { qos });
      await cloud.publishAsync(`data/down/${qos}`, `down ${qos}`, { qos });
    }
    await until('the way up', () => atAgent.length >= 3);
    await until('the way down', () => atSite.length >= 3);
    expect(atAgent).toEqual(['0 up 0', '1 up 1', '2 up 2']);
    expect(atSite).toEqual(['0 down 0', '1 down 1', '2 down 2']);
  },
  120_000,
);

test.concurrent.each(WAYS)(
  'a bridge of $version, try_private $tryPrivate, both ways on one topic, makes no loop',
  async (way) => {
    await using bridge = await Bridge.start({
      ...way,
      topics: 'topic # both 2 shared/ data/shared/',
    });
    const [site, cloud] = [await bridge.client('site', 'a'), await bridge.client('agent', 'b')];
    const atSite = await heard(site, 'shared/#');
    const atAgent = await heard(cloud, 'data/shared/#');
    await site.publishAsync('shared/x', 'from site', { qos: 2 });
    await until('the way up', () => atAgent.length > 0);
    await cloud.publishAsync('data/shared/x', 'from cloud', { qos: 2 });
    await until('the way down', () => atSite.includes('2 from cloud'));
    // What had gone round would be in front of what is sent last.
    await site.publishAsync('shared/x', 'end', { qos: 2 });
    await until('the end', () => atAgent.includes('2 end'));
    await cloud.publishAsync('data/shared/x', 'end of cloud', { qos: 2 });
    await until('the other end', () => atSite.includes('2 end of cloud'));
    expect(atAgent).toEqual(['2 from site', '2 from cloud', '2 end', '2 end of cloud']);
    // A 3.1.1 client cannot ask to be spared its own messages: without try_private they come back to the site, once.
    const spared = way.tryPrivate || way.version === 'mqttv50';
    const all = ['from site', 'from cloud', 'end', 'end of cloud'];
    const twice = ['from site', 'from site', 'from cloud', 'end', 'end', 'end of cloud'];
    expect(atSite).toEqual((spared ? all : twice).map((text) => `2 ${text}`));
  },
  120_000,
);

const COUNT = 200;
/** Of QoS 2 at once; mosquitto acknowledges what is beyond, and loses some. */
const MOSQUITTO_TAKES = 20;
const ROUNDS = ['agent', 'mosquitto', 'agent'] as const;
const QOS_WAYS = [
  { version: 'mqttv31', qos: 2 },
  { version: 'mqttv311', qos: 1 },
  { version: 'mqttv311', qos: 2 },
] as const;
// mosquitto 2.0 asks in 5.0 for a session that ends with the connection, whatever `cleansession` says. What waits for it here is
// gone with its session then, and what it repeats is new; so only the way up is safe, and at least once.
const UP_WAYS = [
  ...QOS_WAYS,
  { version: 'mqttv50', qos: 1 },
  { version: 'mqttv50', qos: 2 },
] as const;

test.concurrent.each(UP_WAYS)(
  'up by a bridge of $version, QoS $qos, over a kill -9 of the agent and a restart of mosquitto: nothing is lost',
  async ({ version, qos }) => {
    await using bridge = await Bridge.start({
      version,
      tryPrivate: true,
      topics: `topic # out ${qos} up/ data/up/`,
    });
    const { agent, mosquitto } = bridge;
    const sent: string[] = [];
    for (const [round, victim] of ROUNDS.entries()) {
      const site = await bridge.client('site', `feeder-${round}`);
      let restarted: Promise<unknown> = Promise.resolve();
      for (let from = 0; from < COUNT; from += MOSQUITTO_TAKES) {
        const wave = Array.from({ length: MOSQUITTO_TAKES }, (_, i) => `${round}-${from + i}`);
        sent.push(...wave);
        await Promise.all(wave.map((text) => site.publishAsync('up/x', text, { qos })));
        if (victim === 'agent' && from === COUNT / 2)
          restarted = agent.kill('SIGKILL').then(() => agent.start());
      }
      await restarted;
      await site.endAsync(true);
      if (victim === 'mosquitto') {
        await mosquitto.stop();
        await mosquitto.restart();
      }
    }
    let found: string[] = [];
    await until(
      'all of it',
      async () => {
        found = await bridge.stored(sent.length);
        return new Set(found).size >= sent.length;
      },
      30_000,
    );
    // Not in order: with a backlog mosquitto 2.0.11 sends what has just come to it in front of its own queue (seen on the wire).
    if (qos === 2 && version !== 'mqttv50') expect(found.toSorted()).toEqual(sent.toSorted());
    else expect(new Set(found)).toEqual(new Set(sent));
  },
  120_000,
);

test.concurrent.each(QOS_WAYS)(
  'down by a bridge of $version, QoS $qos, over a kill -9 of the agent and a restart of mosquitto: nothing is lost',
  async ({ version, qos }) => {
    await using bridge = await Bridge.start({
      version,
      tryPrivate: true,
      topics: `topic # in ${qos} down/ data/down/`,
    });
    const site = await bridge.client('site', 'reader');
    const got = await heard(site, 'down/#');
    const { agent, mosquitto } = bridge;
    const sent: string[] = [];
    for (const [round, victim] of ROUNDS.entries()) {
      const cloud = await bridge.client('agent', `feeder-${round}`);
      const wave = Array.from({ length: COUNT }, (_, i) => `${round}-${i}`);
      sent.push(...wave);
      await Promise.all(wave.map((text) => cloud.publishAsync('data/down/x', text, { qos })));
      await cloud.endAsync(true);
      if (victim === 'agent') {
        await agent.kill('SIGKILL');
        await agent.start();
      } else {
        await mosquitto.stop();
        await mosquitto.restart();
      }
    }
    const expected = sent.map((text) => `${qos} ${text}`);
    await until('all of it', () => new Set(got).size >= sent.length, 30_000);
    if (qos === 2) expect(got).toEqual(expected);
    else expect(new Set(got)).toEqual(new Set(expected));
  },
  120_000,
);
