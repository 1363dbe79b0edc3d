// Whether what a stream republishes may come back to it: taken in by itself, or by other streams that republish in their
// turn. One message would then be stored again and again, for ever. nats-server looks at the stream's own subjects alone.

import { collide } from '../subject.ts';
import type { StreamConfig } from './stream-types.ts';

type Republishing = Pick<StreamConfig, 'subjects' | 'republish'>;

/** Whether a message may go round with `config` among `others`. */
export function republishesToItself(
  config: Republishing,
  others: readonly Republishing[],
): boolean {
  const open = [config];
  const seen = new Set<Republishing>();
  for (let one = open.pop(); one !== undefined; one = open.pop()) {
    const { republish } = one;
    if (republish === undefined) continue;
    const to = pattern(republish.dest);
    if (config.subjects.some((subject) => collide(subject, to))) return true;
    for (const other of others) {
      if (seen.has(other) || other.republish === undefined) continue;
      if (!other.subjects.some((subject) => collide(subject, to))) continue;
      seen.add(other);
      open.push(other);
    }
  }
  return false;
}

/** All subjects that a mapping's destination may become; some functions give more than one token. */
function pattern(dest: string): string {
  const tokens: string[] = [];
  for (const token of dest.split('.')) {
    if (/^\{\{ *(?:[sS]plit|[sS]lice)/.test(token)) return [...tokens, '>'].join('.');
    tokens.push(/^(?:\{\{.*\}\}|\$\d+)$/.test(token) ? '*' : token);
  }
  return tokens.join('.');
}
