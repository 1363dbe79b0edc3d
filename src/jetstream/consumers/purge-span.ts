// What a purge of a stream means to one of its consumers: from which sequence on there is still something for it. All
// before that counts as delivered and acknowledged, as in nats-server; but a purge under one of several filters says
// nothing of the others, where nats-server passes over what they have still to get.

import { isCovered } from '../../subject.ts';
import type { Purged } from '../stream-types.ts';

/** The first sequence that a consumer with these filters (none: everything) has still to look at; undefined: no news. */
export function firstAfterPurge(
  { filter, firstSeq, leftSeq }: Purged,
  filters: readonly string[],
): number | undefined {
  if (filter === undefined) return leftSeq;
  if (filters.length > 0 && filters.every((own) => isCovered(own, filter))) return leftSeq;
  const isTouched = filters.length === 0 || filters.some((own) => isCovered(filter, own));
  return isTouched ? firstSeq : undefined;
}
