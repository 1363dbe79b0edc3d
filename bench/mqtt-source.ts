// How many messages a second does the agent take over from a mosquitto at QoS 1, acknowledged to it only after the disk has
// them, when every sync takes 20 ms? One message at a time would be 49.

import { AgentProcess } from '../test/support/agent-process.ts';
import { Mosquitto } from '../test/support/mosquitto.ts';
import { until } from '../test/support/until.ts';
import { runAlone } from './alone.ts';
import { runLoad } from './contestants.ts';
import type { Result } from './report.ts';
import { inRounds } from './rounds.ts';

const STRACE =
  'strace -D -f --seccomp-bpf -qq -o /dev/null -e trace=fdatasync,fsync -e inject=fdatasync,fsync:delay_enter=20000'.split(
    ' ',
  );
const ROUNDS = 3;
const CASES = [
  { name: 'MQTT 5', protocol: '5', required: { atLeast: 2000 } },
  { name: 'MQTT 3.1.1', protocol: '3.1.1', required: { atLeast: 2000 } },
];
const COUNT = 60_000;

export async function run(): Promise<Result[]> {
  const results: Result[] = [];
  for (const { name, protocol, required } of CASES) {
    await using broker = await Mosquitto.start();
    await using agent = await AgentProcess.create({
      config: tables(broker.url, protocol),
      wrapper: STRACE,
    });
    await agent.start();
    await until('the subscription', () => broker.log.includes('Sending SUBACK to mangrove-gw7'));
    const { ours } = await inRounds(ROUNDS, { ours: () => measure(agent, broker.port, COUNT) });
    results.push({
      bench: 'mqtt-source',
      case: `mosquitto to the disk, 20 ms a sync, ${name}`,
      unit: 'msg/s',
      ours,
      required,
    });
    await agent.stop();
  }
  return results;
}

function tables(url: string, protocol: string): string {
  return `[[stream]]
name = "SENSORS"
subjects = ["plant1.>"]
[[mqtt_source]]
name = "bench"
url = "${url}"
topics = ["plant1/#"]
protocol = "${protocol}"
`;
}

/** Messages a second from the first PUBLISH to mosquitto to the last PUBACK of ours. */
async function measure(agent: AgentProcess, port: number, count: number): Promise<number> {
  const before = await acked(agent);
  const startedMs = performance.now();
  const options = {
    port,
    connections: 1,
    window: 1000,
    count,
    dataBytes: 128,
    topic: 'plant1/boiler/temp',
  };
  await runLoad('mqtt-publish', options);
  await until('the last PUBACK', async () => (await acked(agent)) >= before + count, 120_000);
  return (count / (performance.now() - startedMs)) * 1000;
}

async function acked(agent: AgentProcess): Promise<number> {
  const { body } = await agent.monitor('/varz');
  return (body['mqtt_sources'] as { acked: number }[])[0]?.acked ?? 0;
}

if (import.meta.main) await runAlone(run);
