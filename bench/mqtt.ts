// How many MQTT QoS 1 publishes of 128 bytes a second, where PUBACK means that an fdatasync has returned?

import { runAlone } from './alone.ts';
import { runLoad, startAgent, startMosquitto, startNats } from './contestants.ts';
import type { Result } from './report.ts';
import { inRounds } from './rounds.ts';

const ROUNDS = 5;
const CASES = [
  { window: 20, connections: 1, count: 40_000 },
  { window: 250, connections: 1, count: 150_000, required: { atLeast: 1 } },
  { window: 1_000, connections: 1, count: 200_000, required: { atLeast: 1 } },
  { window: 20, connections: 10, count: 100_000 },
  { window: 100, connections: 10, count: 200_000 },
];

export async function run(): Promise<Result[]> {
  const agent = await startAgent();
  const nats = await startNats();
  const mosquitto = await startMosquitto();
  const results: Result[] = [];
  // Each has met a hundred thousand messages before it is measured.
  for (const server of [agent, nats, mosquitto])
    if (server !== undefined) await publish(server, 1_000, 1, 100_000);
  for (const { window, connections, count, required } of CASES) {
    const measured = await inRounds(ROUNDS, {
      ours: () => publish(agent, window, connections, count),
      nats: () => publish(nats, window, connections, count),
      mosquitto: async () => (mosquitto ? publish(mosquitto, window, connections, count) : NaN),
    });
    const clients = connections === 1 ? '1 connection' : `${connections} connections`;
    const name = `window ${window}, ${clients}`;
    const common = { bench: 'mqtt', unit: 'msg/s', case: name, ours: measured.ours };
    results.push({
      ...common,
      peer: { name: 'nats-server MQTT: no sync', measured: measured.nats },
      ...(required === undefined ? {} : { required }),
    });
    if (mosquitto !== undefined)
      results.push({
        ...common,
        peer: { name: 'mosquitto: no sync', measured: measured.mosquitto },
      });
  }
  for (const server of [agent, nats, mosquitto]) await server?.stop('remove');
  return results;
}

async function publish(
  { mqttPort: port }: { readonly mqttPort: number },
  window: number,
  connections: number,
  count: number,
): Promise<number> {
  const options = { port, window, connections, count, dataBytes: 128, topic: 'plant1/boiler/temp' };
  return (await runLoad<{ rate: number }>('mqtt-publish', options)).rate;
}

if (import.meta.main) await runAlone(run);
