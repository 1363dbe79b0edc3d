// What all connections of one listener share.

import { createBase, type Base, type MqttDeps } from './base.ts';
import { Users, type MqttUser } from './connect.ts';
import { Budget, type MqttLimits } from './limits.ts';
import { Publisher } from './publisher.ts';
import { Retained } from './retained.ts';
import { Sessions } from './sessions.ts';
import { NameCache, topicToSubject } from './topic.ts';
import { PublishWindow } from './window.ts';

export interface MqttOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** Clients without a user name may connect although there are users, or off loopback. */
  readonly allowAnonymous: boolean;
  readonly users?: readonly MqttUser[];
  readonly limits?: Partial<MqttLimits>;
}

export interface Shared extends Base {
  readonly users: Users;
  readonly publisher: Publisher;
  readonly retained: Retained;
  readonly sessions: Sessions;
  /** Bytes of begun packets. */
  readonly partials: Budget;
  readonly window: PublishWindow;
  /** Topic Name -> subject. */
  readonly subjects: NameCache;
}

export function createShared(options: MqttOptions, deps: MqttDeps): Shared {
  const base = createBase(deps, options.limits);
  const retained = new Retained(base);
  return {
    ...base,
    users: new Users(options.users ?? [], options.allowAnonymous),
    retained,
    publisher: new Publisher(base, retained),
    sessions: new Sessions(base, retained),
    partials: new Budget(base.limits.partialBytesMax),
    window: new PublishWindow(
      base.limits.publishesInFlightTotalMax,
      base.limits.publishBytesInFlightTotalMax,
    ),
    subjects: new NameCache(topicToSubject),
  };
}
