// What all connections of one listener share.

import type { DoorOptions } from './access/doors.ts';
import { Logins, type LoginOptions } from './access/logins.ts';
import { createBase, type Base, type MqttDeps } from './base.ts';
import { Budget, type MqttLimits } from './limits.ts';
import { PublishEncoder } from './outbound.ts';
import { Output } from './output.ts';
import { Publisher } from './publisher.ts';
import { Retained } from './retained.ts';
import { Sessions } from './session/sessions.ts';
import { SharedGroups } from './session/shared-groups.ts';
import { Wills } from './session/wills.ts';
import { SysTopics, type SysFigures } from './sys-topics.ts';
import { NameCache, topicToSubject } from './topic.ts';
import { PublishWindow } from './window.ts';

/** As mosquitto's. */
const SYS_INTERVAL_MS = 10_000;

export interface MqttOptions extends DoorOptions, LoginOptions {
  readonly limits?: Partial<MqttLimits> | undefined;
  /** How often `$SYS` topics are published; 0 for never. */
  readonly sysIntervalMs?: number | undefined;
}

export interface Shared extends Base {
  readonly logins: Logins;
  readonly publisher: Publisher;
  readonly retained: Retained;
  readonly sessions: Sessions;
  readonly wills: Wills;
  readonly encoder: PublishEncoder;
  /** Bytes of begun packets. */
  readonly partials: Budget;
  /** Bytes that clients have not read. */
  readonly output: Output;
  readonly window: PublishWindow;
  readonly sys: SysTopics;
  /** Topic Name -> subject. */
  readonly subjects: NameCache;
}

export function createShared(
  options: MqttOptions,
  deps: MqttDeps,
  figures: () => SysFigures,
): Shared {
  const base = createBase(deps, options.limits);
  const { limits, store } = base;
  const retained = new Retained(base);
  const publisher = new Publisher(base, retained);
  const wills = new Wills(base, publisher);
  const groups = new SharedGroups(base);
  const logins = new Logins(options, deps.clock);
  const knowsUser = (user: string): boolean => logins.knows(user);
  return {
    ...base,
    logins,
    retained,
    publisher,
    wills,
    sessions: new Sessions(base, { retained, groups, wills, knowsUser }),
    encoder: new PublishEncoder(() => store.nowMs()),
    partials: new Budget(limits.partialBytesMax),
    output: new Output(limits),
    window: new PublishWindow(
      limits.publishesInFlightTotalMax,
      limits.publishBytesInFlightTotalMax,
      base.gate,
    ),
    sys: new SysTopics(
      {
        clock: deps.clock,
        broker: deps.broker,
        retain: (message) => retained.setVolatile(message),
        route: (message, send) =>
          base.routing.run(
            { message, qos: 0, retain: true, clientId: undefined, hold: undefined },
            send,
          ),
      },
      figures,
      options.sysIntervalMs ?? SYS_INTERVAL_MS,
    ),
    subjects: new NameCache(topicToSubject),
  };
}
