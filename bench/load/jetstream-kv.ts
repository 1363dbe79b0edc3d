// A key-value bucket through the official client: `put` and `get` with so many on their way, `watch` from the first to the
// last of the keys that are there. Prints {"rate": keys a second}.

import { Kvm } from '@nats-io/kv';
import { connect } from '@nats-io/transport-node';

export interface KvOptions {
  readonly port: number;
  readonly kind: 'put' | 'get' | 'watch';
  readonly keys: number;
  /** Requests on their way at a time. */
  readonly window: number;
  readonly dataBytes: number;
}

const { port, kind, keys, window, dataBytes } = JSON.parse(process.argv[2] ?? '') as KvOptions;
const nc = await connect({ servers: `127.0.0.1:${port}` });
const kv = await new Kvm(nc).create('bench', { history: 1 });
const data = new Uint8Array(dataBytes).fill(120);
const startedMs = performance.now();
if (kind === 'watch') {
  let seen = 0;
  const watch = await kv.watch();
  for await (const _ of watch) if (++seen === keys) break;
} else {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < keys) {
      const key = `key.${next++}`;
      await (kind === 'put' ? kv.put(key, data) : kv.get(key));
    }
  };
  await Promise.all(Array.from({ length: window }, worker));
}
const seconds = (performance.now() - startedMs) / 1000;
console.log(JSON.stringify({ rate: keys / seconds, seconds }));
process.exit(0);
