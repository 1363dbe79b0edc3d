// What the broker says of itself under `$SYS/broker`, in mosquitto's names, so that its dashboards work here, and under
// `$SYS/broker/mangrove` what mosquitto does not have. Kept as retained messages in memory, refreshed when somebody
// subscribes, and published where they have changed while somebody listens; who listens to `#` or `>` does not.
// Relies on the broker for that, and on `Access` to let nobody else publish there.

import type { Broker } from '../../src/broker.ts';
import { every, type Cancel, type Clock } from '../../src/clock.ts';
import type { Message } from '../../src/message.ts';
import { VERSION } from '../../src/version.ts';
import { SysLoad } from './sys-load.ts';
import { topicToSubject } from './topic.ts';

const ROOT = '$SYS';

/** What there is to say; numbers since the start, unless they are those of the moment. */
export interface SysFigures {
  readonly connections: number;
  /** All, also of clients that are away. */
  readonly sessions: number;
  /** Sessions that ended because nobody came back. */
  readonly sessionsExpired: number;
  readonly subscriptions: number;
  readonly sharedSubscriptions: number;
  readonly retained: number;
  /** Control Packets of all kinds, and the bytes of all of them. */
  readonly inPackets: number;
  readonly outPackets: number;
  readonly inPacketBytes: number;
  readonly outPacketBytes: number;
  /** PUBLISHes, and the bytes of their data. */
  readonly inMsgs: number;
  readonly outMsgs: number;
  readonly inBytes: number;
  readonly outBytes: number;
  /** Deliveries that were dropped, for whatever reason; and those of them that were beyond the limits of a queue. */
  readonly droppedMsgs: number;
  readonly droppedQueueMsgs: number;
  /** PUBLISHes that a stream or the disk refused. */
  readonly refusedMsgs: number;
  /** In all queues now. */
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  /** CONNECTs that were accepted. */
  readonly connects: number;
  readonly diskFull: boolean;
}

/** Where they go. */
export interface SysOutlets {
  readonly clock: Clock;
  readonly broker: Pick<Broker, 'listensUnder' | 'notify'>;
  /** Keeps a message as retained, in memory. */
  readonly retain: (message: Message) => void;
  /** Runs `send` so that sessions know the message as a retained one of QoS 0. */
  readonly route: (message: Message, send: () => void) => void;
}

export class SysTopics {
  readonly #outlets: SysOutlets;
  readonly #read: () => SysFigures;
  readonly #intervalMs: number;
  readonly #startedMs: number;
  readonly #load = new SysLoad();
  /** What is retained, by subject. */
  readonly #values = new Map<string, string>();
  #clientsMax = 0;
  #listened = false;
  #cancel: Cancel | undefined;

  /** `intervalMs` 0: nothing is said at all. */
  constructor(outlets: SysOutlets, read: () => SysFigures, intervalMs: number) {
    this.#outlets = outlets;
    this.#read = read;
    this.#intervalMs = intervalMs;
    this.#startedMs = outlets.clock.monotonicMs();
  }

  start(): void {
    if (this.#intervalMs === 0) return;
    this.#cancel ??= every(this.#outlets.clock, this.#intervalMs, () => this.#tick());
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** Somebody is about to subscribe to `filter`, a subject: makes what it will find retained true. False: it is not here. */
  subscribed(filter: string): boolean {
    if (this.#cancel === undefined || !isBelow(filter)) return false;
    this.#say(false);
    return true;
  }

  #tick(): void {
    const figures = this.#read();
    this.#clientsMax = Math.max(this.#clientsMax, figures.sessions);
    this.#load.add(figures, this.#outlets.clock.monotonicMs());
    const listened = this.#outlets.broker.listensUnder(ROOT);
    // Who has begun to listen by NATS has seen nothing yet.
    if (listened) this.#say(!this.#listened);
    this.#listened = listened;
  }

  /** Publishes what has changed, or all of it. */
  #say(all: boolean): void {
    const { broker, retain, route } = this.#outlets;
    for (const [topic, value] of this.#lines()) {
      const subject = topicToSubject(`${ROOT}/broker/${topic}`);
      if (!all && this.#values.get(subject) === value) continue;
      this.#values.set(subject, value);
      const message: Message = { subject, data: Buffer.from(value) };
      retain(message);
      route(message, () => broker.notify(message));
    }
  }

  #lines(): [string, string][] {
    const figures = this.#read();
    this.#clientsMax = Math.max(this.#clientsMax, figures.sessions);
    const seconds = Math.floor((this.#outlets.clock.monotonicMs() - this.#startedMs) / 1000);
    const { connections, sessions } = figures;
    const away = sessions - connections;
    const lines: [string, number | string][] = [
      ['version', `mangrove version ${VERSION}`],
      ['uptime', `${seconds} seconds`],
      ['clients/total', sessions],
      ['clients/maximum', this.#clientsMax],
      ['clients/connected', connections],
      ['clients/active', connections],
      ['clients/disconnected', away],
      ['clients/inactive', away],
      ['clients/expired', figures.sessionsExpired],
      ['messages/received', figures.inPackets],
      ['messages/sent', figures.outPackets],
      ['messages/stored', figures.queuedMessages + figures.retained],
      ['store/messages/count', figures.queuedMessages + figures.retained],
      ['store/messages/bytes', figures.queuedBytes],
      ['publish/messages/received', figures.inMsgs],
      ['publish/messages/sent', figures.outMsgs],
      ['publish/messages/dropped', figures.droppedMsgs],
      ['publish/bytes/received', figures.inBytes],
      ['publish/bytes/sent', figures.outBytes],
      ['bytes/received', figures.inPacketBytes],
      ['bytes/sent', figures.outPacketBytes],
      ['subscriptions/count', figures.subscriptions],
      ['shared_subscriptions/count', figures.sharedSubscriptions],
      ['retained messages/count', figures.retained],
      ['mangrove/publish/messages/refused', figures.refusedMsgs],
      ['mangrove/queues/messages', figures.queuedMessages],
      ['mangrove/queues/bytes', figures.queuedBytes],
      ['mangrove/queues/dropped', figures.droppedQueueMsgs],
      ['mangrove/disk/full', figures.diskFull ? 1 : 0],
      ...this.#load.lines(),
    ];
    return lines.map(([topic, value]) => [topic, `${value}`]);
  }
}

function isBelow(filter: string): boolean {
  return filter === ROOT || filter.startsWith(`${ROOT}.`);
}
