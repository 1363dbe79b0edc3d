// Ends a fast batch of which we only know the ID, so that bytes of it that are still under way somewhere are stored no
// more: the hub takes them from any connection while it holds the batch open. A batch that is ended or unknown stays so
// with this leader, because none is opened but by its first message, and that one is fenced. The other replicas do not hear
// of it, and the next leader opens the batch again where it stood: the next publish must seal it (tried with 2.15.1).

import { delay, every, type Clock } from '../src/clock.ts';
import { ORDER_HEADERS, type BatchAnswer } from './fast-batch.ts';
import { localError, type HubError } from './hub-error.ts';
import { apiError, parseReply } from './jetstream-api.ts';
import type { Reply } from './nats-connection.ts';
import { noResponders, type NatsLink } from './nats-link.ts';

/** A number beyond that of any message: the hub ends the batch over the hole. */
const FAR_AHEAD = 1_000_000_000_000;
/** The order is repeated: while the hub still stores what came before, it answers to the old connection only. */
const REPEAT_MS = 100;
/** Answers after which the hub takes nothing more for the batch: it is unknown, not allowed, or the stream is sealed. */
const DEAD = new Set([10060, 10109, 10205, 10206, 10207, 10208]);

export interface BatchToKill {
  readonly id: string;
  /** One of the hub stream's; nothing is stored under it. */
  readonly subject: string;
  readonly timeoutMs: number;
}

/** Resolves when the leader stores nothing under the batch any more. Rejects with a HubError. */
export async function killBatch(
  link: NatsLink,
  clock: Clock,
  { id, subject, timeoutMs }: BatchToKill,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const line = link.converse({
    id,
    covers: (denied) => denied === subject,
    receive: (reply) => {
      try {
        if (isDead(reply)) resolve();
      } catch (error) {
        reject(error as HubError);
      }
    },
    fail: reject,
  });
  const reply = `${line.inbox}.1.fail.${FAR_AHEAD}.3.$FI`;
  const order = (): void => {
    try {
      line.connection.publish(subject, Buffer.alloc(0), ORDER_HEADERS, reply);
    } catch (error) {
      // A connection that has just ended throws before it tells.
      reject(localError('linkDown', String(error), { cause: error }));
    }
  };
  const cancelRepeat = every(clock, REPEAT_MS, order);
  const late = new AbortController();
  const expired = delay(clock, timeoutMs, late.signal).then(() => {
    throw localError('timeout', `the hub did not end a fast batch within ${timeoutMs} ms`);
  });
  try {
    order();
    await Promise.race([promise, expired]);
  } finally {
    cancelRepeat();
    late.abort();
    expired.catch(() => undefined);
    line.end();
  }
}

/** Whether the answer says that the batch is over for good. */
function isDead(reply: Reply): boolean {
  if (reply.status === 503) throw noResponders('the stream');
  const { error, batch, count, type } = parseReply<BatchAnswer>(reply);
  if (error !== undefined) {
    if (DEAD.has(error.err_code ?? 0)) return true;
    throw apiError(error);
  }
  return type === undefined && batch !== undefined && count !== undefined;
}
