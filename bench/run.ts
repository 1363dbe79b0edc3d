// Runs every bench, one after the other, and prints one table. `npm run bench` builds nothing: `npm run build` first.
// `node bench/run.ts mqtt memory` runs some.

import { endOnSignals } from './alone.ts';
import { machine, warnOfMemoryDisk } from './machine.ts';
import { jsonLine, table, type Result } from './report.ts';

const BENCHES: Record<string, () => Promise<{ run: () => Promise<Result[]> }>> = {
  append: () => import('./append.ts'),
  mqtt: () => import('./mqtt.ts'),
  'mqtt-source': () => import('./mqtt-source.ts'),
  'slow-disk': () => import('./slow-disk.ts'),
  memory: () => import('./memory.ts'),
  drain: () => import('./drain.ts'),
  wan: () => import('./wan.ts'),
  leaf: () => import('./leaf.ts'),
  latency: () => import('./latency.ts'),
  wear: () => import('./wear.ts'),
  fleet: () => import('./fleet.ts'),
  'nats-core': () => import('./nats-core.ts'),
  'jetstream-consume': () => import('./jetstream-consume.ts'),
  'jetstream-loop': () => import('./jetstream-loop.ts'),
  'jetstream-kv': () => import('./jetstream-kv.ts'),
  'jetstream-slow-disk': () => import('./jetstream-slow-disk.ts'),
};

endOnSignals();
warnOfMemoryDisk();
const wanted = process.argv.slice(2);
const names = wanted.length > 0 ? wanted : Object.keys(BENCHES);
const about = machine();
const results: Result[] = [];
for (const name of names) {
  const load = BENCHES[name];
  if (load === undefined)
    throw new Error(`there is no bench ${name}, only ${Object.keys(BENCHES).join(', ')}`);
  console.error(`${name} …`);
  const { run } = await load();
  for (const result of await run()) {
    results.push(result);
    console.log(jsonLine(result, about));
  }
}
console.log(`\n${JSON.stringify(about)}\n\n${table(results)}`);
