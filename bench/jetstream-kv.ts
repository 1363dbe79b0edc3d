// How fast is a key-value bucket for a program with the official client: putting keys, getting them, watching them all?
// A put of ours is on the disk before it is answered; nats-server's is not.

import { runAlone } from './alone.ts';
import { freePort, runLoad, startAgent, startNats } from './contestants.ts';
import type { Result } from './report.ts';
import { inRounds } from './rounds.ts';

const ROUNDS = 3;
const KEYS = 30_000;
const WINDOW = 100;
const DATA_BYTES = 128;

export async function run(): Promise<Result[]> {
  const port = await freePort();
  const agent = await startAgent({ config: `[nats]\nlisten = "127.0.0.1:${port}"` });
  const nats = await startNats();
  const results: Result[] = [];
  for (const kind of ['put', 'get', 'watch']) {
    const ask = async (at: number): Promise<number> => {
      const options = { port: at, kind, keys: KEYS, window: WINDOW, dataBytes: DATA_BYTES };
      return (await runLoad<{ rate: number }>('jetstream-kv', options)).rate;
    };
    const { ours, theirs } = await inRounds(ROUNDS, {
      ours: () => ask(port),
      theirs: () => ask(nats.port),
    });
    results.push({
      bench: 'jetstream-kv',
      case: `${kind}, ${KEYS.toLocaleString('en-US')} keys${kind === 'watch' ? '' : `, ${WINDOW} at a time`}`,
      unit: 'keys/s',
      ours,
      peer: { name: 'nats-server', measured: theirs },
    });
  }
  for (const server of [agent, nats]) await server.stop('remove');
  return results;
}

if (import.meta.main) await runAlone(run);
