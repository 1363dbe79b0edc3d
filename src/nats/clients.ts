// What other parts may know of a client: whether it keeps up, and who it is.

import { Connection } from './connection.ts';

/** Unread bytes with which a client is busy enough: a quarter of what it may have. */
const BUSY_BYTES = 4 * 1024 * 1024;

/** Whether `client` has so much unread that a long answer should wait; false once it is gone. */
export function isBusy(client: object): boolean {
  return client instanceof Connection && !client.isClosed && client.pendingBytes > BUSY_BYTES;
}

/** nats-server's ClientInfo, as an audit of the API names the one who asked; undefined where it was no client. */
export function describe(client: object): object | undefined {
  if (!(client instanceof Connection)) return undefined;
  const { peer, greeting, user, options } = client;
  return {
    host: peer.ip,
    id: greeting.clientId,
    acc: '$G',
    ...(user === undefined ? {} : { user: user.user }),
    ...(options.name === '' ? {} : { name: options.name }),
    ...(options.lang === '' ? {} : { lang: options.lang }),
    ...(options.version === '' ? {} : { ver: options.version }),
  };
}
