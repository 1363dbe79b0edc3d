// What depends on consumers that are there already: whether one more may come, and what of one may change. Numbers and
// texts are nats-server's.

import { ApiError } from '../api/api-error.ts';
import { SubjectTree } from '../api/subject-tree.ts';
import type { StreamRules } from './config-rules.ts';
import { EPHEMERAL_MS } from './inactivity.ts';
import type { ConsumerConfig } from './types.ts';

/**
 * Whether a stream with the consumers `others` (without it itself) may have `config`. Of one that is there and changes only
 * its filters are looked at. `taken` has the filters of `others` (see `takenBy`). Throws an ApiError.
 */
export function checkAgainst(
  stream: StreamRules,
  others: readonly ConsumerConfig[],
  config: ConsumerConfig,
  isNew = true,
  taken = (): SubjectTree => takenBy(others),
): void {
  const counted = others.filter((other) => other.sourcing !== true);
  const consumersMax = stream.maxConsumers ?? -1;
  if (isNew && consumersMax > 0 && counted.length >= consumersMax)
    throw new ApiError(400, 10026, 'maximum consumers limit reached');
  if (stream.retention !== 'workqueue') return;
  if (isNew) {
    if (isFree(config)) return;
    if (config.ackPolicy !== 'explicit' && config.ackPolicy !== 'flow_control')
      throw new ApiError(400, 10098, 'workqueue stream requires explicit ack');
    if (config.deliverPolicy !== 'all')
      throw new ApiError(400, 10101, 'consumer must be deliver all on workqueue stream');
    if (counted.length > 0 && config.filterSubjects.length === 0)
      throw new ApiError(
        400,
        10099,
        'multiple non-filtered consumers not allowed on workqueue stream',
      );
  }
  const { filterSubjects } = config;
  if (filterSubjects.length === 0) return;
  const tree = taken();
  if (filterSubjects.some((filter) => tree.overlapping(filter) !== undefined))
    throw new ApiError(400, 10100, 'filtered consumer not unique on workqueue stream');
}

/** It takes no part in what a workqueue gives to whom. */
function isFree({ direct, sourcing }: ConsumerConfig): boolean {
  return direct === true || sourcing === true;
}

/** The filters that consumers of a work-queue have for themselves. */
export function takenBy(others: readonly ConsumerConfig[]): SubjectTree {
  return SubjectTree.of(others.flatMap(filtersOf));
}

/** What a consumer has of the stream: everything, where it has no filter. */
export function filtersOf(config: ConsumerConfig): readonly string[] {
  if (isFree(config)) return [];
  return config.filterSubjects.length === 0 ? ['>'] : config.filterSubjects;
}

/** What must stay as it is, in the order in which it is looked at, and what is said of it. */
const FIXED: readonly (readonly [string, (config: ConsumerConfig) => unknown])[] = [
  ['deliver policy', (config) => config.deliverPolicy],
  ['storage type', (config) => config.memoryStorage ?? false],
  ['direct', (config) => config.direct ?? false],
  ['sourcing', (config) => config.sourcing ?? false],
  ['start sequence', (config) => config.optStartSeq],
  ['start time', (config) => config.optStartTimeMs],
  ['ack policy', (config) => config.ackPolicy],
  ['replay policy', (config) => config.replayPolicy],
  ['heart beats', (config) => config.push?.idleHeartbeatMs],
  ['flow control', (config) => config.push?.flowControl ?? false],
];

/**
 * Whether `before` may become `after`; `bound` says that somebody listens on its deliver subject. Throws an ApiError.
 * What it says nothing of takes effect as the engine can.
 */
export function checkUpdate(before: ConsumerConfig, after: ConsumerConfig, bound = false): void {
  for (const [what, field] of FIXED)
    if (field(before) !== field(after)) throw refused(`${what} can not be updated`);
  const [from, to] = [before.push?.deliverSubject, after.push?.deliverSubject];
  if (from !== to) {
    if (from === undefined) throw refused('can not update pull consumer to push based');
    if (to === undefined) throw refused('can not update push consumer to pull based');
    if (bound) throw new ApiError(400, 10013, 'consumer name already in use');
  }
  if ((before.pull?.maxWaiting ?? 0) !== (after.pull?.maxWaiting ?? 0))
    throw refused('max waiting can not be updated');
}

/**
 * `wanted` as the next configuration of `before`: one that says nothing of how long it may be unused goes on as it was
 * made, durable or not, whatever name it has now.
 */
export function changed(before: ConsumerConfig, wanted: ConsumerConfig): ConsumerConfig {
  const isOpen = wanted.asked?.inactiveDefault === true || !wanted.inactiveThresholdMs;
  if (!isOpen) return wanted;
  const stays = !before.inactiveThresholdMs || before.durable;
  return { ...wanted, inactiveThresholdMs: stays ? undefined : EPHEMERAL_MS };
}

function refused(why: string): ApiError {
  return new ApiError(500, 10012, why);
}
