// How long does a message take from a sensor's MQTT PUBLISH (QoS 1) to a consumer at the hub, at 1,000 messages a
// second? Beside it: through the MQTT of a nats-server leaf, whose stream the hub sources. One machine, one clock.

import { runAlone } from './alone.ts';
import { STREAM, SUBJECT } from './backlog.ts';
import { freePort, runLoad, startAgent, startNats } from './contestants.ts';
import { leafOptions, sourceFromLeaf, startHub, type Hub } from './hub.ts';
import type { Latency } from './load/latency.ts';
import type { Result } from './report.ts';

const ROUNDS = 3;
const RATE = 1_000;
const SECONDS = 10;
const DATA_BYTES = 128;
const QUANTILES = ['p50', 'p99', 'p999'] as const;
const NAMES = { p50: 'p50', p99: 'p99', p999: 'p99.9' };

export async function run(): Promise<Result[]> {
  const rounds: { ours: Latency; leaf: Latency }[] = [];
  for (let round = 0; round < ROUNDS; round++)
    rounds.push(
      round % 2 === 0
        ? { ours: await throughAgent(), leaf: await throughLeaf() }
        : { leaf: await throughLeaf(), ours: await throughAgent() },
    );
  const row = (what: 'hub' | 'ack', name: string): Result[] =>
    QUANTILES.map((q) => ({
      bench: 'latency',
      case: `${name}, ${RATE.toLocaleString('en-US')} msg/s, ${NAMES[q]}`,
      unit: 'ms',
      ours: rounds.map(({ ours }) => ours[what][q]),
      peer: { name: 'nats-server leaf', measured: rounds.map(({ leaf }) => leaf[what][q]) },
    }));
  return [...row('hub', 'PUBLISH to hub consumer'), ...row('ack', 'PUBLISH to PUBACK')];
}

async function throughAgent(): Promise<Latency> {
  const hub = await startHub();
  const config = `[hub]\nservers = ["nats://127.0.0.1:${hub.port}"]\ncreate = true
[[forward]]\nstream = "${STREAM}"\n`;
  const agent = await startAgent({ config });
  // The agent creates the stream when it is connected.
  await hub.stream('EDGE');
  const latency = await measure(agent.mqttPort, hub, `edge.bench.${STREAM}.>`);
  await agent.stop('remove');
  await hub.stop('remove');
  return latency;
}

async function throughLeaf(): Promise<Latency> {
  const hub = await startHub();
  const port = await freePort();
  const url = `nats-leaf://127.0.0.1:${hub.leafPort}`;
  const leaf = await startNats({ ...leafOptions(url), port });
  const stream = { name: STREAM, subjects: ['plant1.>'], storage: 'file', retention: 'limits' };
  await hub.leafStream(stream);
  await sourceFromLeaf(hub, 'EDGE', STREAM);
  const latency = await measure(leaf.mqttPort, hub, '>');
  await leaf.stop('remove');
  await hub.stop('remove');
  return latency;
}

function measure(mqttPort: number, { port }: Hub, filter: string): Promise<Latency> {
  const hub = { server: `127.0.0.1:${port}`, stream: 'EDGE', filter };
  const load = { rate: RATE, seconds: SECONDS, dataBytes: DATA_BYTES, subject: SUBJECT };
  return runLoad<Latency>('latency', { by: 'mqtt', port: mqttPort, hub, ...load });
}

if (import.meta.main) await runAlone(run);
