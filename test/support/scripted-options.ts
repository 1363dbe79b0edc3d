// What a scripted hub is told: how its link behaves, and what luck does to each request; and what it keeps of each.

import type { Cancel, Clock } from '../../src/clock.ts';
import type { HubError } from '../../sync/hub-error.ts';
import type { Registered } from './fast-batch-model.ts';
import type { ModelAck, ModelConfig, Write } from './hub-model.ts';
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

export interface Call {
  readonly reject: (error: HubError) => void;
  /** Still on its way: what a cut may lose, or delay. */
  transit: { cancel: Cancel; arrive: () => void } | undefined;
}

export interface Proposal {
  readonly writes: readonly Write[];
  readonly keys: string[];
  done: (result: ModelAck | HubError) => void;
  /** It is a message of a fast batch. */
  readonly registered?: Registered;
  cancel: Cancel;
}

export type Effect<T> = (done: (result: T | HubError) => void) => void;
