// What a client may have NATS programs say.

import type { Message } from '../../../src/message.ts';
import type { Access } from './types.ts';

/**
 * The message without a reply to which its client may neither publish nor listen: a NATS program answers wherever the reply
 * says, with rights of its own. The header with the Response Topic stays.
 */
export function withoutForeignReply(message: Message, access: Access): Message {
  const { reply, ...rest } = message;
  if (reply === undefined || access.maySubscribe(reply) || access.mayPublish(reply)) return message;
  return rest;
}
