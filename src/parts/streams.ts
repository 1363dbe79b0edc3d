// The streams of the configuration, buckets of the hub among them, opened and compared.

import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Config } from '../config.ts';
import { JetStream, type Forwards, type StreamOrder } from '../jetstream/jetstream.ts';
import { kvMirrorOrder } from '../jetstream/mirror/kv-mirror.ts';
import type { Deps } from './follower.ts';

/** Opens the data directory. Throws as JetStream does. */
export function openStreams(
  config: Config,
  deps: Deps,
  onFatal: (error: Error) => void,
): JetStream {
  return new JetStream(
    {
      dataDir: config.gateway.dataDir,
      commitIntervalMs: config.gateway.commitIntervalMs,
      streams: streamOrders(config),
      forwards: forwardsOf(config),
      domain: config.domain,
      ...config.jetstream,
      newEpoch: () => randomBytes(6).toString('base64url'),
      onFatal,
    },
    deps,
  );
}

/** What there shall be beside the streams that clients make. */
export function streamOrders({ streams, kvMirrors }: Config): readonly StreamOrder[] {
  return [...streams, ...kvMirrors.map(kvMirrorOrder)];
}

/** Streams that go to the hub. */
export function forwardsOf({ forwards }: Config): Forwards {
  return new Map(forwards.map((forward) => [forward.stream, forward]));
}

/** Streams that are new, gone or other than before, also in how they are forwarded. */
export function changedStreams(before: Config, after: Config): string[] {
  const facts = (config: Config): Map<string, unknown> => {
    const graces = new Map(config.forwards.map(({ stream, graceMs }) => [stream, graceMs]));
    const orders = streamOrders(config);
    return new Map(orders.map((stream) => [stream.name, [stream, graces.get(stream.name)]]));
  };
  const [old, now] = [facts(before), facts(after)];
  const names = [...new Set([...old.keys(), ...now.keys()])];
  return names
    .filter((name) => !isDeepStrictEqual(old.get(name), now.get(name)))
    .map((name) => `stream ${name}`);
}
