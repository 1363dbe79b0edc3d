// Two bits that say a QoS, wherever a packet has them.

import type { QoS } from './types.ts';

const LEVELS: readonly QoS[] = [0, 1, 2];

/** The QoS that two bits say; undefined for 3, which is none [4.3]. */
export function qosOf(bits: number): QoS | undefined {
  return LEVELS[bits];
}
