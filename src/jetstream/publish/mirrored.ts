// How a message of another stream is stored in its mirror: as it stands there. It was admitted at its origin, so nothing
// is asked of the mirror that only a publisher could answer; what it does to others (a roll-up, an end) it does here too.

import { HEADERS_BYTES_MAX } from '../../headers.ts';
import type { PublishError } from '../../message.ts';
import type { Mirrored, StreamConfig } from '../stream-types.ts';
import type { Admitted } from './admission.ts';
import { headersTooLarge, tooLarge, ttlMs } from './checks.ts';
import { readControl } from './control.ts';
import { withoutHeader } from './header-block.ts';

/** What its publisher expected of the origin, and how it got there: of no meaning here, and false. */
const OF_ORIGIN = [
  'Nats-Expected-Stream',
  'Nats-Expected-Last-Sequence',
  'Nats-Expected-Last-Subject-Sequence',
  'Nats-Expected-Last-Subject-Sequence-Subject',
  'Nats-Expected-Last-Msg-Id',
  'Nats-Batch-Id',
  'Nats-Batch-Sequence',
  'Nats-Batch-Commit',
] as const;

/** The form in which `message` is stored, or why it cannot be, which is its size. */
export function examineMirrored(message: Mirrored, config: StreamConfig): Admitted | PublishError {
  const { subject, data } = message;
  const control = readControl(message.headers ?? undefined);
  let { headers } = message;
  for (const name of OF_ORIGIN)
    if (headers !== null && control?.[name] !== undefined) headers = withoutHeader(headers, name);
  const headerBytes = headers?.length ?? 0;
  if (headerBytes > HEADERS_BYTES_MAX) return headersTooLarge();
  const { maxMsgBytes, allowRollup, denyPurge } = config;
  if (maxMsgBytes !== undefined && headerBytes + data.length > maxMsgBytes) return tooLarge();
  if (control === undefined) return { subject, headers };
  const word = control['Nats-Rollup']?.toLowerCase();
  const mayReplace = allowRollup === true && denyPurge !== true;
  const rollup = mayReplace && (word === 'sub' || word === 'all') ? word : undefined;
  const lifeMs = ttlMs(control['Nats-TTL']) ?? 0;
  return { subject, headers, rollup, ttlMs: lifeMs === 0 ? undefined : lifeMs };
}
