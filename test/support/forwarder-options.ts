// What a forwarder of gateway gw7 is told in tests, with its notes on a disk that never fails.

import { ForwardState } from '../../sync/forward-state.ts';
import type { ForwarderOptions } from '../../sync/forwarder.ts';
import type { LocalStream } from '../../sync/local-stream.ts';

/** What a process leaves behind for the next one: hand the same rows to both. */
export type Rows = Map<string, Buffer>;

export function memoryState(stream: string, rows: Rows = new Map()): ForwardState {
  const table = {
    get: (key: string) => rows.get(key),
    put: (key: string, value: Buffer) => void rows.set(key, value),
  };
  return new ForwardState(stream, table, (done) => done(null));
}

export function forwarderOptions(
  stream: LocalStream,
  change: Partial<ForwarderOptions> = {},
): ForwarderOptions {
  return {
    gateway: 'gw7',
    prefix: 'edge',
    hubStream: 'EDGE',
    stream,
    state: memoryState(stream.name),
    wishes: { mode: 'auto', order: 'strict', onlyForwarder: false },
    silenceMs: 15_000,
    ...change,
  };
}
