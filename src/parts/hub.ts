// The hub that streams are forwarded to, and a forwarder for each of them.

import type { Credentials } from '../../sync/credentials.ts';
import type { NatsHub, NatsHubConfig } from '../../sync/nats-hub.ts';
import { assert } from '../assert.ts';
import type { Config, ForwardConfig, HubAuth, HubConfig } from '../config.ts';
import type { JetStream } from '../jetstream/jetstream.ts';
import type { Running } from '../roster.ts';
import type { ForwarderView } from '../status.ts';
import type { Deps } from './follower.ts';

export interface HubOrder extends HubConfig {
  readonly gateway: string;
  /** A stream that goes to it. */
  readonly forwarded: string | undefined;
  readonly relaxed: boolean;
}

/** A forwarder is bound to its link: another link needs another forwarder. How long its grace is concerns the stream. */
export interface ForwardOrder extends Omit<ForwardConfig, 'graceMs'> {
  readonly link: HubOrder;
  /** No other stream goes to the hub. */
  readonly onlyForwarder: boolean;
}

export function hubOrders({ hub, gateway, forwards }: Config): HubOrder[] {
  const forwarded = forwards[0]?.stream;
  const relaxed = forwards.some(({ order }) => order === 'relaxed');
  return hub === undefined ? [] : [{ ...hub, gateway: gateway.name, forwarded, relaxed }];
}

export function forwardOrders(config: Config): ForwardOrder[] {
  return hubOrders(config).flatMap((link) =>
    config.forwards.map(({ stream, mode, order }) => ({
      stream,
      mode,
      order,
      onlyForwarder: config.forwards.length === 1,
      link,
    })),
  );
}

/** Loaded only where there is a hub: the NATS client takes 11 MB. */
export async function startHub(order: HubOrder, { clock, log }: Deps): Promise<NatsHub> {
  const { NatsHub } = await import('../../sync/nats-hub.ts');
  const { systemRandom: random } = await import('../../sync/backoff.ts');
  const hub = new NatsHub(hubConfig(order), { clock, log, random });
  hub.start();
  return hub;
}

export async function startForwarder(
  { link, stream: name, mode, order, onlyForwarder }: ForwardOrder,
  { hub, jetstream }: { hub: NatsHub | undefined; jetstream: JetStream },
  { clock, log }: Deps,
): Promise<ForwarderView & Running> {
  const { Forwarder } = await import('../../sync/forwarder.ts');
  const { systemRandom: random } = await import('../../sync/backoff.ts');
  const stream = jetstream.stream(name);
  assert(hub !== undefined && stream !== undefined, `the stream ${name} and the link are there`);
  const { gateway, prefix, stream: hubStream } = link;
  const { ForwardState } = await import('../../sync/forward-state.ts');
  const state = new ForwardState(name, jetstream.table('forward.state'), (done) =>
    jetstream.store.whenDurable(done),
  );
  const wishes = { mode, order, onlyForwarder };
  const silenceMs = link.keepAliveMs;
  const forwarder = new Forwarder(
    { gateway, prefix, hubStream, stream, state, wishes, silenceMs },
    { hub, clock, log, random },
  );
  forwarder.start();
  return { stream: name, status: () => forwarder.status(), stop: () => forwarder.stop() };
}

/** The configuration of the hub in the words of the link. */
function hubConfig({ auth, gateway, forwarded, ...hub }: HubOrder): NatsHubConfig {
  const inboxPrefix = `_INBOX.${gateway}`;
  const subject = `${hub.prefix}.${gateway}.${forwarded}._hello`;
  return {
    ...hub,
    name: `mangrove ${gateway}`,
    inboxPrefix,
    credentials: credentialsOf(auth),
    ...(forwarded === undefined ? {} : { twins: { gateway, inboxPrefix, subject } }),
  };
}

/** How to log in, in the words of a link. */
export function credentialsOf(auth: HubAuth): Credentials | undefined {
  switch (auth.type) {
    case 'none':
      return undefined;
    case 'credentials':
      return { kind: 'creds', file: auth.file };
    case 'password':
      return { kind: 'user', user: auth.user, passwordFile: auth.passwordFile };
    case 'token':
    case 'nkey':
      return { kind: auth.type, file: auth.file };
  }
}
