// Which way messages go to a hub stream: what is safe there, what is fast, and why, in words for the operator. The base
// is strict on every hub. An accelerator is used beside it where much waits, and given up for a while when it fails.

import { covers } from './hub-stream.ts';
import { filterOf, type Origin } from './hub-message.ts';
import type { HubStream } from './hub.ts';

/** `[[forward]] mode`: the accelerator that may be used. */
export type Mode = 'auto' | 'atomic' | 'fast' | 'window';
/** `[[forward]] order`: what to do where only one of order and speed is to be had. */
export type Order = 'strict' | 'relaxed';

export interface Wishes {
  readonly mode: Mode;
  readonly order: Order;
  /** No other stream of this gateway goes to this hub stream. */
  readonly onlyForwarder: boolean;
}

/** One at a time, each with a fence: atomic batches, or single messages where the hub takes no batches. */
export type Base = 'atomic' | 'single';
/** Many at a time: ordered fast batches, a chain of expected sequences, or a window without order. */
export type Acceleration = 'fast' | 'chain' | 'window';

export interface Choice {
  readonly base: Base;
  readonly acceleration: Acceleration | null;
  /** 'relaxed' where order, and exactly once beyond the hub's duplicate window, are not promised. */
  readonly order: Order;
  /** Why it is not faster or stricter; empty where nothing is amiss. */
  readonly why: string;
}

/** Chooses for a hub stream as the last reading found it. */
export function chooseWay(stream: HubStream, origin: Origin, wishes: Wishes): Choice {
  const base: Base = stream.atomic && stream.filterFence ? 'atomic' : 'single';
  const strict = (acceleration: Acceleration | null, why = ''): Choice => ({
    base,
    acceleration,
    order: 'strict',
    why,
  });
  const { mode, order, onlyForwarder } = wishes;
  if (mode === 'window' && order === 'relaxed')
    return {
      base,
      acceleration: 'window',
      order,
      why: 'mode = "window" and order = "relaxed" ask for it',
    };
  if (mode === 'auto' || mode === 'fast') {
    const obstacle = obstacleToFast(stream);
    if (obstacle === '') return strict('fast');
    if (base === 'atomic') return strict(null, `no fast batches: ${obstacle}`);
  }
  if (base === 'atomic' && mode !== 'window') return strict(null, `mode = "${mode}" asks for it`);
  const alone = isAlone(stream, origin, onlyForwarder);
  if (alone && (mode === 'window' || base === 'single'))
    return strict('chain', obstacleToAtomic(stream));
  const shared = `${stream.name} is not this gateway's alone, so no chain of sequences is possible`;
  if (base === 'atomic') return strict(null, shared);
  if (order === 'relaxed')
    return { base, acceleration: 'window', order, why: `${obstacleToAtomic(stream)}; ${shared}` };
  return strict(null, `${obstacleToAtomic(stream)}; ${shared}; order = "relaxed" would be faster`);
}

/** Why ordered fast batches cannot be used; empty when they can. */
function obstacleToFast({ name, batched, removes, filterFence }: HubStream): string {
  if (!batched || !filterFence)
    return `${name} does not take them (allow_batched, nats-server 2.14 or later)`;
  // A batch that was cut off may have brought what is gone by the time we look.
  if (removes)
    return `${name} removes messages by itself (max_age, limits with discard old, or consumers), and only an atomic batch can carry a checkpoint`;
  return '';
}

function obstacleToAtomic({ name, atomic, filterFence }: HubStream): string {
  if (!filterFence) return 'the hub is older than 2.12 and has no fence that names a filter';
  return atomic ? '' : `${name} takes no atomic batches (allow_atomic, nats-server 2.12 or later)`;
}

/** Whether nobody else writes to the hub stream: then each of our messages follows the one before without a gap. */
export function isAlone(stream: HubStream, origin: Origin, onlyForwarder: boolean): boolean {
  const wide = `${origin.prefix}.${origin.gateway}.>`;
  const ours = onlyForwarder ? wide : filterOf(origin);
  return (
    !stream.sourced &&
    stream.subjects.length > 0 &&
    stream.subjects.every((subject) => covers(ours, subject))
  );
}
