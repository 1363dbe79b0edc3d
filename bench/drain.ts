// How fast does a backlog of 200,000 messages of 128 bytes reach a hub on loopback, fenced and in order? Beside it: how
// fast the same hub takes the same messages from a publisher that has nothing else to do.

import { runAlone } from './alone.ts';
import { freePort, runLoad, startAgent, startNats } from './contestants.ts';
import type { Result } from './report.ts';

const ROUNDS = 3;
const COUNT = 200_000;
const DATA_BYTES = 128;
const POLL_MS = 10;
const PATIENCE_MS = 120_000;

export async function run(): Promise<Result[]> {
  const ours: number[] = [];
  const hubAlone: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await drain());
    hubAlone.push(await publishToHub());
  }
  return [
    {
      bench: 'drain',
      case: 'backlog of 200,000 to a hub on loopback',
      unit: 'msg/s',
      ours,
      peer: { name: 'publishing to that hub, 1,000 in flight', measured: hubAlone },
    },
  ];
}

/** Messages a second from the first that the hub confirmed to the last. */
async function drain(): Promise<number> {
  const hubPort = await freePort();
  const hubTables = `[hub]\nservers = ["nats://127.0.0.1:${hubPort}"]\ncreate = true\nreconnect_max = "200ms"\n`;
  const agent = await startAgent({ config: `${hubTables}[[forward]]\nstream = "SENSORS"\n` });
  const topic = 'plant1/boiler/temp';
  const load = { connections: 1, count: COUNT, window: 1_000, dataBytes: DATA_BYTES, topic };
  await runLoad('mqtt-publish', { port: agent.mqttPort, ...load });
  const hub = await startNats({ port: hubPort });
  const points: { ms: number; pending: number }[] = [];
  const giveUpMs = performance.now() + PATIENCE_MS;
  for (let left = COUNT; left > 0;) {
    left = await pending(agent.monitorPort);
    if (left < COUNT) points.push({ ms: performance.now(), pending: left });
    if (performance.now() > giveUpMs) throw new Error(`${left} messages are still waiting`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  await agent.stop('remove');
  await hub.stop('remove');
  const first = points[0];
  const last = points.at(-1);
  if (first === undefined || last === undefined || first === last) return NaN;
  return ((first.pending - last.pending) / (last.ms - first.ms)) * 1000;
}

async function publishToHub(): Promise<number> {
  const hub = await startNats();
  const stream = { stream: 'EDGE', subject: 'edge.bench.SENSORS.plant1.boiler.temp', ids: true };
  const load = { port: hub.port, ...stream, count: COUNT, window: 1_000, dataBytes: DATA_BYTES };
  const { rate } = await runLoad<{ rate: number }>('nats-publish', load);
  await hub.stop('remove');
  return rate;
}

/** How many messages the hub has not confirmed, as /varz says. */
async function pending(monitorPort: number): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${monitorPort}/varz`);
  const { hub } = (await answer.json()) as { hub: { forwards: { pending: number }[] } };
  return hub.forwards[0]?.pending ?? NaN;
}

if (import.meta.main) await runAlone(run);
