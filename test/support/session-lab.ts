// Sessions without connections: the real sessions, broker and tables in memory, and clients that are links written down.

import { pino } from 'pino';
import { createBase, type Base } from '../../device/mqtt/base.ts';
import type { MqttLimits } from '../../device/mqtt/limits.ts';
import { Retained } from '../../device/mqtt/retained.ts';
import type { Opened } from '../../device/mqtt/session/sessions.ts';
import { Sessions } from '../../device/mqtt/session/sessions.ts';
import type { Session } from '../../device/mqtt/session/session.ts';
import { SharedGroups } from '../../device/mqtt/session/shared-groups.ts';
import type {
  Closing,
  Link,
  OpenRequest,
  Outgoing,
  Subscription,
} from '../../device/mqtt/session/types.ts';
import { Wills } from '../../device/mqtt/session/wills.ts';
import { filterToSubject } from '../../device/mqtt/topic.ts';
import type { QoS } from '../../device/mqtt/wire/types.ts';
import { Broker } from '../../src/broker.ts';
import { FakeClock } from './fake-clock.ts';
import { MemoryStore } from './mqtt-store.ts';

/** A connection that notes what it is told. */
export class FakeLink implements Link {
  readonly version = 5;
  receiveMaximum = 65_535;
  roomy = true;
  mayReceive: ((subject: string) => boolean) | undefined;
  /** Data that is too large for the client. */
  tooLarge: string | undefined;
  readonly published: Outgoing[] = [];
  /** `[packet identifier, reason code]`. */
  readonly pubrels: [number, number | undefined][] = [];
  taken = false;
  onTakeOver: () => void = () => undefined;

  publish(outgoing: Outgoing): boolean {
    if (outgoing.form.data.toString() === this.tooLarge) return false;
    this.published.push(outgoing);
    return true;
  }

  pubrel(packetId: number, reasonCode?: number): void {
    this.pubrels.push([packetId, reasonCode]);
  }

  takeOver(): void {
    this.taken = true;
    this.onTakeOver();
  }

  get data(): string[] {
    return this.published.map(({ form }) => form.data.toString());
  }

  get ids(): number[] {
    return this.published.map(({ packetId }) => packetId);
  }
}

export interface LabOptions {
  limits?: Partial<MqttLimits>;
  clock?: FakeClock;
  store?: MemoryStore;
  knowsUser?: (user: string) => boolean;
}

export const NEVER = 0xffff_ffff;

export class SessionLab {
  readonly clock: FakeClock;
  readonly store: MemoryStore;
  readonly broker = new Broker();
  readonly base: Base;
  readonly sessions: Sessions;
  readonly warnings: string[] = [];
  /** Client Identifiers of the Wills that were published. */
  readonly wills: string[] = [];
  readonly limits: Partial<MqttLimits>;

  constructor({ limits = {}, clock, store, knowsUser }: LabOptions = {}) {
    this.limits = limits;
    this.clock = clock ?? new FakeClock();
    this.store = store ?? new MemoryStore(this.clock);
    const log = pino({ level: 'warn' }, { write: (line: string) => void this.warnings.push(line) });
    const { broker } = this;
    this.base = createBase({ broker, clock: this.clock, log, store: this.store }, limits);
    const wills = new Wills(this.base, {
      publishWill: (_will, clientId, settled) => {
        this.wills.push(clientId);
        settled(null);
      },
    });
    this.sessions = new Sessions(this.base, {
      retained: new Retained(this.base),
      groups: new SharedGroups(this.base),
      wills,
      ...(knowsUser === undefined ? {} : { knowsUser }),
    });
    this.sessions.load();
    wills.load();
  }

  /** The next process on the same disk. */
  after(how: 'afterKill' | 'afterPowerCut'): SessionLab {
    return new SessionLab({ limits: this.limits, clock: this.clock, store: this.store[how]() });
  }

  /** Opens the session of `meter`; by default one that never expires, and starts it when the disk has answered. */
  open(request: Partial<OpenRequest> = {}, link = new FakeLink()): Opened & { link: FakeLink } {
    const all = {
      clientId: 'meter',
      cleanStart: false,
      expirySeconds: NEVER,
      will: undefined,
      user: undefined,
      ...request,
    };
    const opened: Opened = this.sessions.open(all, link, (error) => {
      if (error === null && opened.session.owner === link) opened.session.start();
    });
    if (!opened.written) opened.session.start();
    return { ...opened, link };
  }

  close(session: Session, link: Link, closing: Partial<Closing> = {}): void {
    this.sessions.close(session, link, { will: 'publish', ...closing });
  }

  subscribe(session: Session, filter: string, qos: QoS, more: Partial<Subscription> = {}): void {
    const subscription = {
      filter,
      subject: filterToSubject(filter),
      share: undefined,
      qos,
      noLocal: false,
      retainAsPublished: false,
      retainHandling: 0 as const,
      identifier: undefined,
      ...more,
    };
    this.sessions.subscribe(session, subscription);
    this.sessions.save(session, () => undefined);
  }

  /** Publishes by MQTT; `settled` is told what its PUBACK would wait for. */
  publish(subject: string, data: string, qos: QoS, settled?: (error: Error | null) => void): void {
    let waits = 1;
    let failure: Error | null = null;
    const part = (error: Error | null): void => {
      failure ??= error;
      if (--waits === 0) settled?.(failure);
    };
    const hold = (): ((error: Error | null) => void) => {
      waits++;
      return part;
    };
    const message = { subject, data: Buffer.from(data) };
    const origin = { message, qos, retain: false, clientId: undefined, hold };
    this.store.together(() => this.base.routing.run(origin, () => this.broker.publish(message)));
    part(null);
  }
}
