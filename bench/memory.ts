// How much memory does the agent take: idle, and with a backlog of 100,000 and of 1,000,000 messages while the hub is
// away? And how soon after a start with that backlog does it accept its first MQTT message?

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { freePort, rssMB, runLoad, startAgent, type Agent } from './contestants.ts';
import { runAlone } from './alone.ts';
import type { Result } from './report.ts';

const IDLE_MB_MAX = 80;
const BACKLOG_MB_MAX = 120;
/** What the backlog may add between its two sizes: a store on disk must not grow in memory. */
const GROWTH_MB_MAX = 10;
const FIRST_MESSAGE_MS_MAX = 2_000;
const DATA_BYTES = 200;
const TOPIC = 'plant1/boiler/temp';
/** Start-up's own garbage is gone, and nothing else has come. */
const SETTLE_MS = 5_000;
/** Restarts of each kind; the store is the same. */
const RESTARTS = 3;

export async function run(): Promise<Result[]> {
  // A port where nobody listens: the WAN is down.
  const hub = `[hub]\nservers = ["nats://127.0.0.1:${await freePort()}"]\n`;
  const config = `${hub}[[forward]]\nstream = "SENSORS"\n`;
  let agent = await startAgent({ config });
  const { dir } = agent;
  await settle();
  const idle = rssMB(agent.pid);
  await publish(agent, 100_000);
  await settle();
  const small = rssMB(agent.pid);
  await publish(agent, 900_000);
  await settle();
  const large = rssMB(agent.pid);
  const again = async (): Promise<number> => {
    agent = await startAgent({ config, dir, wait: false });
    return firstMessageMs(agent);
  };
  const afterStop: number[] = [];
  const afterKill: number[] = [];
  for (let i = 0; i < RESTARTS; i++) {
    await agent.stop();
    afterStop.push(await again());
    await publish(agent, 1_000);
    await agent.kill();
    afterKill.push(await again());
  }
  await settle();
  const restarted = rssMB(agent.pid);
  await agent.stop('remove');
  const result = (name: string, unit: string, ours: number[], atMost: number): Result => {
    return { bench: 'memory', case: name, unit, ours, required: { atMost } };
  };
  return [
    result('idle; MQTT, monitor, hub away, one stream', 'MB', [idle], IDLE_MB_MAX),
    result('100,000 messages of 200 bytes waiting', 'MB', [small], BACKLOG_MB_MAX),
    result('1,000,000 messages of 200 bytes waiting', 'MB', [large], BACKLOG_MB_MAX),
    result('from 100,000 to 1,000,000', 'MB', [Math.abs(large - small)], GROWTH_MB_MAX),
    result('started again with 1,000,000 waiting', 'MB', [restarted], BACKLOG_MB_MAX),
    result('stop, start, first PUBACK', 'ms', afterStop, FIRST_MESSAGE_MS_MAX),
    result('SIGKILL, start, first PUBACK', 'ms', afterKill, FIRST_MESSAGE_MS_MAX),
  ];
}

function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
}

async function publish({ mqttPort: port }: Agent, count: number): Promise<void> {
  const load = { port, connections: 1, count, window: 1_000, dataBytes: DATA_BYTES, topic: TOPIC };
  await runLoad('mqtt-publish', load);
}

/** From the start of the process to the PUBACK of the first QoS 1 message, tried every 5 ms, in ms. */
async function firstMessageMs({ mqttPort, spawnedMs }: Agent): Promise<number> {
  for (;;) {
    const socket = connect({ port: mqttPort, host: '127.0.0.1', noDelay: true });
    try {
      await once(socket, 'connect');
      await exchange(socket, [0x10, 13, 0, 4, 77, 81, 84, 84, 4, 2, 0, 0, 0, 1, 102], 0x20);
      const topic = Buffer.from(TOPIC);
      await exchange(socket, [0x32, 5 + topic.length, 0, topic.length, ...topic, 0, 1, 120], 0x40);
      return performance.now() - spawnedMs;
    } catch (error) {
      if (performance.now() - spawnedMs > 60_000) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    } finally {
      socket.destroy();
    }
  }
}

/** Sends one packet and waits for its answer, which begins with `first`. */
async function exchange(socket: Socket, packet: number[], first: number): Promise<void> {
  socket.write(Buffer.from(packet));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  if (answer[0] !== first) throw new Error(`answered with ${answer.toString('hex')}`);
}

if (import.meta.main) await runAlone(run);
