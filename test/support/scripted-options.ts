// What a scripted hub is told: how its link behaves, and what luck does to each request.

import type { Clock } from '../../src/clock.ts';
import type { ModelConfig } from './hub-model.ts';
import type { Random } from './random.ts';

/** Probabilities per request, and how late a zombie comes. */
export interface Faults {
  lostRequest: number;
  lostAck: number;
  /** The request takes effect later, perhaps after a reconnect; nobody hears the answer. */
  zombie: number;
  zombieMinMs: number;
  zombieMaxMs: number;
}

export interface ScriptedHubOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly config?: Partial<ModelConfig>;
  /** One way. */
  readonly latencyMs?: number;
  /** From a proposal to its commit, on three replicas. */
  readonly commitMs?: number;
  readonly timeoutMs?: number;
  readonly keepAliveMs?: number;
  readonly reconnectMs?: number;
  readonly maxPayload?: number;
  /** The stream is missing at first: stream() fails, or creates it. */
  readonly missing?: 'create' | 'fail';
}
