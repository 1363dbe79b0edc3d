// Shorthands for scripts of the differential test that are about the consumers of one stream.

import type { ScriptWriter } from './jetstream-script.ts';

/** Nanoseconds, as the wire has them. */
export const MS = 1_000_000;
export const SECOND = 1_000 * MS;

export type StepsBody = (script: ScriptWriter, steps: ConsumerSteps) => void;

export class ConsumerSteps {
  readonly #script: ScriptWriter;
  readonly #stream: string;

  constructor(script: ScriptWriter, stream: string) {
    this.#script = script;
    this.#stream = stream;
  }

  get name(): string {
    return this.#stream;
  }

  stream(options: object = {}): void {
    const name = this.#stream;
    const config = { name, subjects: [`${name}.>`], storage: 'file', ...options };
    this.#script.api(`STREAM.CREATE.${name}`, config);
  }

  consumer(name: string, config: object = {}): number {
    return this.#script.api(`CONSUMER.CREATE.${this.#stream}.${name}`, {
      stream_name: this.#stream,
      config: { durable_name: name, name, ack_policy: 'explicit', ...config },
    });
  }

  update(name: string, config: object): number {
    return this.#script.api(`CONSUMER.CREATE.${this.#stream}.${name}`, {
      stream_name: this.#stream,
      action: 'update',
      config: { durable_name: name, name, ack_policy: 'explicit', ...config },
    });
  }

  info(name: string): void {
    this.#script.api(`CONSUMER.INFO.${this.#stream}.${name}`);
  }

  streamInfo(): void {
    this.#script.api(`STREAM.INFO.${this.#stream}`, { deleted_details: true });
  }

  reset(name: string, body?: unknown): void {
    this.#script.api(`CONSUMER.RESET.${this.#stream}.${name}`, body);
  }

  pause(name: string, until: string): void {
    const body = until === '' ? undefined : { pause_until: until };
    this.#script.api(`CONSUMER.PAUSE.${this.#stream}.${name}`, body);
  }

  delete(name: string): void {
    this.#script.api(`CONSUMER.DELETE.${this.#stream}.${name}`);
  }

  /** Messages on `<stream>.1`, `<stream>.2` and so on. */
  publish(count: number, from = 1): void {
    for (let i = from; i < from + count; i++) this.#script.publish(`${this.#stream}.${i}`, `m${i}`);
  }

  fetch(name: string, body: unknown, messages: number, ms = 400): number {
    const subject = `CONSUMER.MSG.NEXT.${this.#stream}.${name}`;
    return this.#script.add({ do: 'fetch', subject, body, messages, ms });
  }

  /** What there is, at once. */
  take(name: string, batch: number): number {
    return this.fetch(name, { batch, no_wait: true }, batch);
  }

  ack(of: number, index: number, data = '+ACK'): void {
    this.#script.add({ do: 'ack', of, index, data, sync: true });
  }

  listen(subject: string, queue?: string): number {
    return this.#script.add({
      do: 'subscribe',
      subject,
      ...(queue === undefined ? {} : { queue }),
    });
  }

  leave(of: number): void {
    this.#script.add({ do: 'unsubscribe', of });
  }

  wait(ms: number): void {
    this.#script.add({ do: 'wait', ms });
  }
}
