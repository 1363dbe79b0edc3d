// The streams that there are, and what each of them takes from the broker. A message has one home: where a stream that a
// client made claims a subject that the configuration gives to another, the configuration wins.

import type { Broker } from '../broker.ts';
import type { Cancel } from '../clock.ts';
import type { Logger } from '../log.ts';
import { collide } from '../subject.ts';
import type { Stream } from './stream.ts';

export class StreamSet {
  readonly #broker: Broker;
  readonly #log: Logger;
  #streams = new Map<string, Stream>();
  /** Streams that were taken out of the configuration since the start: they may come back. */
  readonly #dropped = new Map<string, Stream>();
  readonly #unsubscribe = new Map<string, Cancel[]>();
  #isOpen = false;

  constructor(broker: Broker, log: Logger) {
    this.#broker = broker;
    this.#log = log;
  }

  /** Those of the configuration in its order, then those of clients in the order in which they were made. */
  get all(): readonly Stream[] {
    return [...this.#streams.values()];
  }

  get dropped(): readonly Stream[] {
    return [...this.#dropped.values()];
  }

  get(name: string): Stream | undefined {
    return this.#streams.get(name);
  }

  /** The stream of that name, also a dropped one. */
  known(name: string): Stream | undefined {
    return this.#streams.get(name) ?? this.#dropped.get(name);
  }

  /** Messages may come in. */
  open(): void {
    this.#isOpen = true;
    for (const stream of this.#streams.values()) this.#subscribe(stream);
  }

  /** No more messages come in. */
  close(): void {
    this.#isOpen = false;
    for (const name of this.#unsubscribe.keys()) this.#unsubscribeAll(name);
  }

  add(stream: Stream): void {
    this.#streams.set(stream.name, stream);
    this.#dropped.delete(stream.name);
    if (this.#isOpen) this.#subscribe(stream);
  }

  /** The stream is deleted, or is going to be: it takes no more messages. */
  remove(name: string): void {
    this.#unsubscribeAll(name);
    this.#streams.delete(name);
  }

  /** It takes other subjects now. */
  resubscribe(stream: Stream): void {
    this.#unsubscribeAll(stream.name);
    if (this.#isOpen) this.#subscribe(stream);
  }

  clear(): void {
    this.close();
    this.#streams.clear();
  }

  /** Puts the streams of another configuration in force; returns those that it does not have any more. */
  configure(configured: readonly Stream[]): Stream[] {
    const before = this.#streams;
    this.#streams = new Map(configured.map((stream) => [stream.name, stream]));
    const gone: Stream[] = [];
    for (const stream of before.values()) {
      if (this.#streams.has(stream.name)) continue;
      this.#unsubscribeAll(stream.name);
      if (stream.origin === 'api') {
        this.#streams.set(stream.name, stream);
      } else {
        this.#dropped.set(stream.name, stream);
        gone.push(stream);
      }
    }
    for (const { name } of configured) this.#dropped.delete(name);
    if (this.#isOpen)
      for (const stream of this.#streams.values())
        if (!this.#unsubscribe.has(stream.name)) this.#subscribe(stream);
    return gone;
  }

  #subscribe(stream: Stream): void {
    const free = stream.config.subjects.filter((subject) => this.#isFree(stream, subject));
    const cancels = free.map((subject) => this.#broker.subscribe(subject, stream));
    this.#unsubscribe.set(stream.name, cancels);
  }

  #isFree(stream: Stream, subject: string): boolean {
    if (stream.origin !== 'api') return true;
    const owner = this.all.find(
      ({ origin, config }) =>
        origin === 'file' && config.subjects.some((other) => collide(other, subject)),
    );
    if (owner === undefined) return true;
    this.#log.warn(
      {
        stream: stream.name,
        subject,
        configured: owner.name,
        hint: 'change the subjects of one of the two',
      },
      'a stream that a client made has a subject of a configured stream: it takes no messages from there',
    );
    return false;
  }

  #unsubscribeAll(name: string): void {
    for (const cancel of this.#unsubscribe.get(name) ?? []) cancel();
    this.#unsubscribe.delete(name);
  }
}
