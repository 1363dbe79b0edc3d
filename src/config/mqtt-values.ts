// The kinds of value of the MQTT listener's access list: topic filters with %c and %u in them.

import { Refusal, text, type Kind } from './kinds.ts';

/** A Topic Filter must have a subject, and that may have 1,024 bytes. */
const FILTER_BYTES_MAX = 1024;
const EXPECTED = 'a topic filter such as "plant/+/temp", "plant/#" or "device/%u/#"';

/** Where a mosquitto that bridges says whether it is there. */
const BRIDGE_STATE = /^\$SYS\/broker\/connection\/[^/#]+\/state$/;

/** What a client may do or not do: %c stands for its Client Identifier, %u for its user. */
export const aclFilter: Kind<string> = text(EXPECTED, parse);

/** What a client may publish to: some topics are the agent's alone. */
export const publishFilter: Kind<string> = text(EXPECTED, (found) =>
  /^\$(SYS|JS)(\/|$)/.test(found) && !BRIDGE_STATE.test(found)
    ? new Refusal('nobody but the agent publishes to $SYS and $JS')
    : parse(found),
);

function parse(found: string): string | Refusal | undefined {
  const levels = found.split('/');
  // oxlint-disable-next-line no-control-regex
  if (found === '' || Buffer.byteLength(found) > FILTER_BYTES_MAX || /[\0-\x1f\x7f]/.test(found))
    return undefined;
  if (levels[0] === '$share')
    return new Refusal('for shared subscriptions the filter behind "$share/<name>/" counts');
  if (levels.some((level) => level.includes('+') && level !== '+'))
    return new Refusal('"+" stands for a whole level');
  if (levels.some((level, i) => level.includes('#') && (level !== '#' || i < levels.length - 1)))
    return new Refusal('"#" stands for the rest, as the last level');
  if (/(^|[.])[*>](\.|$)/.test(found) || (!found.includes('/') && found.includes('.')))
    return new Refusal('topics are written with "/", and their wildcards are "+" and "#"');
  return found;
}
