// The interest of a leafnode link with the real broker and a fake clock; the hub is what the test writes down.

import { pino } from 'pino';
import { Broker } from '../../src/broker.ts';
import type { Message } from '../../src/message.ts';
import { LeafInterest, type HubTerms } from '../../sync/leaf/leaf-interest.ts';
import type { BoundaryConfig, Lane, LeafFrame, Outbound } from '../../sync/leaf/types.ts';
import { FakeClock } from './fake-clock.ts';

const EVERYTHING: HubTerms = { mayImport: undefined, mayExport: undefined, payloadBytesMax: 0 };

/** What the hub would read. */
export class Recorded implements Outbound {
  isFull = false;
  waitingBytes = 0;
  /** Lines and messages in the order in which they were given. */
  said: string[] = [];
  frames: { frame: LeafFrame; lane: Lane }[] = [];

  control(line: string): void {
    this.said.push(...line.split('\r\n').slice(0, -1));
  }

  message(frame: LeafFrame, lane: Lane): boolean {
    this.frames.push({ frame, lane });
    const { subject, reply, plain, queues, data } = frame;
    const to = [...(plain ? ['plain'] : []), ...queues].join(' ');
    const answer = reply === undefined ? '' : ` reply ${reply}`;
    this.said.push(`${lane} ${subject}${answer} for ${to}: ${data.toString()}`);
    return true;
  }
}

export class LeafEnds {
  readonly clock = new FakeClock();
  readonly broker = new Broker();
  readonly log: string[] = [];
  readonly interest: LeafInterest;
  out = new Recorded();
  /** `<stream> <consumer>` of those that are here. */
  readonly consumers = new Set<string>();

  constructor(boundary: Partial<BoundaryConfig> = {}) {
    this.interest = new LeafInterest(
      { exports: [], imports: [], domain: 'gw', ...boundary },
      {
        broker: this.broker,
        clock: this.clock,
        log: pino({}, { write: (line: string) => void this.log.push(line) }),
        ownsConsumer: (stream, consumer) => this.consumers.has(`${stream} ${consumer}`),
      },
    );
  }

  connect(terms: Partial<HubTerms> = {}, jetstream = true): this {
    this.out = new Recorded();
    this.interest.open(this.out, { ...EVERYTHING, ...terms }, { jetstream });
    return this;
  }

  /** What the hub has read since it was last asked. */
  heard(): string[] {
    this.clock.turn();
    return this.out.said.splice(0);
  }

  /** The hub says `LS+ <subject>`, or with a group and a weight. */
  wants(...subjects: string[]): void {
    for (const each of subjects) {
      const [subject = '', queue] = each.split(' ');
      this.interest.subscribe(subject, queue);
    }
  }

  wantsNoMore(subject: string, queue?: string): void {
    this.interest.unsubscribe(subject, queue);
  }

  /** The hub sends a message. */
  sends(subject: string, reply?: string, queues: readonly string[] = [], data = 'x'): void {
    this.interest.message(made(subject, reply, data), queues);
  }

  /** A program here publishes. */
  publish(subject: string, reply?: string, data = 'x'): string {
    return this.broker.publish(made(subject, reply, data), undefined, {});
  }

  /** A program here listens; what it gets is `<subject>[ reply]`. */
  listen(filter: string, queue?: string): { got: string[]; end: () => void } {
    const got: string[] = [];
    const offer = ({ subject, reply }: Message): boolean =>
      got.push(reply === undefined ? subject : `${subject} ${reply}`) > 0;
    return { got, end: this.broker.subscribe(filter, { offer }, queue) };
  }

  /** A stream here, which has each message on the disk at once. */
  stream(filter: string): string[] {
    const got: string[] = [];
    this.broker.subscribe(filter, {
      store: ({ subject }, receipt) => {
        got.push(subject);
        receipt?.(null, { stream: 'S', seq: got.length });
      },
    });
    return got;
  }
}

export function made(subject: string, reply: string | undefined, data = 'x'): Message {
  const message = { subject, data: Buffer.from(data) };
  return reply === undefined ? message : { ...message, reply };
}
