// How fast does a backlog leave a stream: to a pull consumer with an acknowledgement for each message, to a push consumer,
// to an ordered one? The peer is nats-server as it comes, on its own file store.

import { runAlone } from './alone.ts';
import { freePort, runLoad, startAgent, startNats } from './contestants.ts';
import type { Result } from './report.ts';
import { inRounds } from './rounds.ts';

const ROUNDS = 3;
const COUNT = Number(process.env['BENCH_COUNT'] ?? 500_000);
const DATA_BYTES = 128;
const STREAM = 'BENCH';
/** Who is slower, the client or the server, shows beside the raw protocol. */
const CASES = [
  { kind: 'pull', name: 'pull, each acknowledged', required: { atLeast: 0.7 } },
  { kind: 'client', name: 'pull, each acknowledged, official client' },
  { kind: 'push', name: 'push, no acknowledgements' },
  { kind: 'flow', name: 'push with flow control' },
  { kind: 'ordered', name: 'ordered consumer, official client' },
] as const;

export async function run(): Promise<Result[]> {
  const port = await freePort();
  const agent = await startAgent({ config: `[nats]\nlisten = "127.0.0.1:${port}"` });
  const nats = await startNats();
  const servers = { ours: port, nats: nats.port };
  for (const at of Object.values(servers)) await fill(at);
  const results: Result[] = [];
  for (const { kind, name, ...rest } of CASES) {
    const consume = async (at: number): Promise<number> => {
      const options = { port: at, kind, stream: STREAM, count: COUNT };
      const { rate } = await runLoad<{ rate: number }>('jetstream-consume', options);
      await forget(at, kind);
      return rate;
    };
    const { ours, theirs } = await inRounds(ROUNDS, {
      ours: () => consume(servers.ours),
      theirs: () => consume(servers.nats),
    });
    results.push({
      bench: 'jetstream-consume',
      case: `${COUNT.toLocaleString('en-US')} messages, ${name}`,
      unit: 'msg/s',
      ours,
      peer: { name: 'nats-server', measured: theirs },
      ...rest,
    });
  }
  for (const server of [agent, nats]) await server.stop('remove');
  return results;
}

function fill(port: number): Promise<unknown> {
  const options = { stream: STREAM, subject: 'bench.a', ids: false, window: 2_000 };
  return runLoad('nats-publish', { port, ...options, count: COUNT, dataBytes: DATA_BYTES });
}

/** The next round begins anew. */
async function forget(port: number, kind: string): Promise<void> {
  await runLoad('jetstream-request', {
    port,
    subject: `$JS.API.CONSUMER.DELETE.${STREAM}.${kind}`,
  });
}

if (import.meta.main) await runAlone(run);
