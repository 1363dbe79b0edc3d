// What a message of a stream does besides being stored: it takes older ones away, has a life of its own, or is published again.

import type { Message } from '../message.ts';
import type { Expiry } from './expiry.ts';
import type { Taken } from './intake.ts';
import { republished, republishSubject } from './publish/republish.ts';
import type { Rollups } from './rollups.ts';
import type { Effect } from './stream-queue.ts';
import type { StreamConfig } from './stream-types.ts';
import type { StreamTime } from './timeline.ts';

export interface EffectParts {
  readonly config: StreamConfig;
  readonly rollups: Rollups;
  readonly expiry: Expiry;
  readonly timeline: StreamTime;
  readonly publish: (message: Message) => void;
}

export function effectsOf(
  { admitted, data, seq, entry, ts, lastSeq }: Taken,
  { config, rollups, expiry, timeline, publish }: EffectParts,
): readonly Effect[] {
  const { rollup, ttlMs, headers, subject } = admitted;
  const to = republishSubject(config, subject);
  const effects: Effect[] = [];
  const replaces = rollup && rollups.effect(seq, entry, rollup);
  if (replaces) effects.push(replaces);
  if (ttlMs !== undefined) effects.push(expiry.effect(seq, ts, ttlMs));
  if (to !== undefined) {
    const { timeMs } = timeline.wall(ts);
    const stored = { subject, headers, data, seq, timeMs };
    effects.push({ seq, tell: () => publish(republished(config, to, stored, lastSeq)) });
  }
  return effects;
}
