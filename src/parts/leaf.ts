// The leafnode link, and what it needs to know of the streams.

import type { LeafLink } from '../../sync/leaf/leaf-link.ts';
import type { Config, LeafConfig } from '../config.ts';
import type { JetStream } from '../jetstream/jetstream.ts';
import type { Deps } from './follower.ts';
import { credentialsOf } from './hub.ts';

export interface LeafOrder extends LeafConfig {
  /** The name of the gateway. */
  readonly name: string;
}

export function leafOrders({ leaf, gateway }: Config): LeafOrder[] {
  return leaf === undefined ? [] : [{ ...leaf, name: gateway.name }];
}

/** Loaded only where there is such a link. `serverId`: as the agent calls itself everywhere. */
export async function startLeaf(
  { auth, domain, exports, imports, ...order }: LeafOrder,
  { serverId, jetstream }: { serverId: string; jetstream: JetStream },
  { broker, clock, log }: Deps,
): Promise<LeafLink> {
  const { LeafLink: Link } = await import('../../sync/leaf/leaf-link.ts');
  const { systemRandom: random } = await import('../../sync/backoff.ts');
  const link = new Link(
    {
      ...order,
      credentials: credentialsOf(auth),
      serverId,
      boundary: { domain, exports, imports },
      ownsConsumer: (stream, consumer) => jetstream.consumers(stream)?.get(consumer) !== undefined,
    },
    {
      broker,
      clock,
      log,
      random,
      onConnected: (hub) => jetstream.mirrors.hubIsThere(hub.domain),
    },
  );
  link.start();
  return link;
}

/** Whether `who` is a link on which so much waits that a long answer should wait, too; false for anything else. */
export function isBusyLink(who: object): boolean {
  return 'isBusy' in who && who.isBusy === true;
}
