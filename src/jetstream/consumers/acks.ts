// Hears what clients say about deliveries, and their answers to flow control, and takes it to the consumers: one
// subscription for all of them.

import type { Broker } from '../../broker.ts';
import type { Cancel } from '../../clock.ts';
import type { Message } from '../../message.ts';
import { parseAckSubject } from './ack-subject.ts';
import type { Consumer } from './consumer.ts';
import type { StreamConsumers } from './consumers.ts';
import type { ConsumerConfig } from './types.ts';

const LONG_FC_TOKENS = 7;
/** Others hear nothing on their ack subjects. */
const TAKES_ACKS: ReadonlySet<ConsumerConfig['ackPolicy']> = new Set(['all', 'explicit']);

export class Acks {
  readonly #consumers: (stream: string) => StreamConsumers | undefined;
  readonly #cancels: Cancel[];

  /** Subscribes; `consumers` finds those of a stream. */
  constructor(broker: Broker, consumers: (stream: string) => StreamConsumers | undefined) {
    this.#consumers = consumers;
    this.#cancels = [
      broker.subscribe('$JS.ACK.>', { offer: (message: Message) => this.#ack(message) }),
      broker.subscribe('$JS.FC.>', { offer: (message: Message) => this.#flowControl(message) }),
    ];
  }

  stop(): void {
    for (const cancel of this.#cancels) cancel();
  }

  /** False where there is no such consumer, or one without acknowledgements: who asks for an answer is told so (503). */
  #ack(message: Message): boolean {
    const tokens = parseAckSubject(message.subject);
    if (tokens === undefined) return false;
    const dot = tokens.consumer.indexOf('.');
    const consumer = this.#find(tokens.consumer.slice(0, dot), tokens.consumer.slice(dot + 1));
    if (consumer === undefined || !TAKES_ACKS.has(consumer.config.ackPolicy)) return false;
    consumer.acknowledge(tokens, message);
    return true;
  }

  /** `$JS.FC.<stream>.<consumer>.<id>`, or with a domain and an account before the stream. */
  #flowControl({ subject, headers }: Message): boolean {
    const tokens = subject.split('.');
    const at = tokens.length >= LONG_FC_TOKENS ? 4 : 2;
    const consumer = this.#find(tokens[at] ?? '', tokens[at + 1] ?? '');
    consumer?.outlet.flowControl?.(subject, headers);
    return consumer !== undefined;
  }

  #find(stream: string, name: string): Consumer | undefined {
    return this.#consumers(stream)?.get(name);
  }
}
