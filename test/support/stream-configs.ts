// Stream configurations for tests of what a stream would do, without a stream.

import type { StreamConfig } from '../../src/jetstream/stream-types.ts';

/** A stream `ORDERS` without limits, changed by `change`. */
export function streamConfig(change: Partial<StreamConfig> = {}): StreamConfig {
  return {
    name: 'ORDERS',
    subjects: ['orders.>'],
    retention: 'limits',
    storage: 'file',
    maxAgeMs: undefined,
    maxBytes: Infinity,
    maxMsgs: undefined,
    discard: 'old',
    duplicateWindowMs: 120_000,
    duplicateIdsMax: 1000,
    ...change,
  };
}

/** A NATS/1.0 block of these lines, as a client sends it. */
export function block(...lines: string[]): Buffer {
  return Buffer.from(['NATS/1.0', ...lines, '', ''].join('\r\n'), 'utf8');
}
