// How many consumers there may be over all streams, and what their configurations may take of the memory together: a name
// and a filter are a few hundred bytes, but one request may bring a quarter of a megabyte of metadata.

import { ApiError } from '../api/api-error.ts';
import type { ConsumerConfig } from './types.ts';

/** Consumers of all streams: each takes some 10 KiB of memory, and looks at every message of its stream. */
const CONSUMERS_TOTAL_MAX = 10_000;
/** Their filters: a new consumer of a work-queue is held against each of the stream's. */
const FILTERS_TOTAL_MAX = 50_000;
/** Their configurations as JSON, in characters. */
const CONFIGS_BYTES_MAX = 32 * 1024 * 1024;

interface Weight {
  readonly consumers: number;
  readonly filters: number;
  readonly bytes: number;
}

/** What one consumer has of it. */
export interface Place {
  /** It gets another configuration. Throws an ApiError where there is no room for that; then it has what it had. */
  change(config: ConsumerConfig): void;
  /** Gives it back; once is enough. */
  release(): void;
}

const NOTHING: Weight = { consumers: 0, filters: 0, bytes: 0 };

export class ConsumerRoom {
  #used: Weight = NOTHING;

  /**
   * Room for a consumer. Throws an ApiError where there is none; one that was there before the agent started gets it in any
   * case (`mustFit` false).
   */
  take(config: ConsumerConfig, mustFit = true): Place {
    let held = NOTHING;
    const hold = (weight: Weight, checked: boolean): void => {
      const used = sum(this.#used, weight, held);
      if (checked) check(used, weight, held);
      this.#used = used;
      held = weight;
    };
    hold(weigh(config), mustFit);
    return {
      change: (other) => hold(weigh(other), true),
      release: () => hold(NOTHING, false),
    };
  }
}

function weigh(config: ConsumerConfig): Weight {
  const filters = Math.max(1, config.filterSubjects.length);
  return { consumers: 1, filters, bytes: JSON.stringify(config).length };
}

function sum(used: Weight, more: Weight, less: Weight): Weight {
  return {
    consumers: used.consumers + more.consumers - less.consumers,
    filters: used.filters + more.filters - less.filters,
    bytes: used.bytes + more.bytes - less.bytes,
  };
}

/** What becomes no more is never refused. */
function check(used: Weight, { consumers, filters, bytes }: Weight, held: Weight): void {
  if (consumers > held.consumers && used.consumers > CONSUMERS_TOTAL_MAX)
    throw new ApiError(400, 10026, 'maximum consumers limit reached');
  if (filters > held.filters && used.filters > FILTERS_TOTAL_MAX) throw insufficient();
  if (bytes > held.bytes && used.bytes > CONFIGS_BYTES_MAX) throw insufficient();
}

function insufficient(): ApiError {
  return new ApiError(503, 10023, 'insufficient resources');
}
