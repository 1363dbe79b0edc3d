// What a consumer tells whoever listens (ADR-15): advisories of what became of its messages and of itself, and samples
// of how long acks take.

import type { Advisories } from '../advisories.ts';
import { msToTime, ZERO_TIME } from '../api/rfc3339.ts';
import type { PendingMessage } from './pending.ts';

export class ConsumerEvents {
  readonly #advisories: Advisories;
  readonly #stream: string;
  readonly #consumer: string;
  readonly #name: string;

  constructor(advisories: Advisories, stream: string, consumer: string) {
    this.#advisories = advisories;
    this.#stream = stream;
    this.#consumer = consumer;
    this.#name = `${stream}.${consumer}`;
  }

  #tell(event: string, type: string, fields: () => object): void {
    this.#advisories.emit(
      `ADVISORY.CONSUMER.${event}.${this.#name}`,
      `advisory.v1.${type}`,
      () => ({
        stream: this.#stream,
        consumer: this.#consumer,
        ...fields(),
      }),
    );
  }

  created(): void {
    this.#tell('CREATED', 'consumer_action', () => ({ action: 'create' }));
  }

  deleted(): void {
    this.#tell('DELETED', 'consumer_action', () => ({ action: 'delete' }));
  }

  /** `untilMs` is wall-clock time. */
  paused(isPaused: boolean, untilMs: number | undefined): void {
    this.#tell('PAUSE', 'consumer_pause', () => ({
      paused: isPaused,
      // The zero time of nats-server stands for none.
      pause_until: untilMs === undefined ? ZERO_TIME : msToTime(untilMs),
    }));
  }

  naked(seq: number, consumerSeq: number, deliveries: number): void {
    this.#tell('MSG_NAKED', 'nak', () => ({
      consumer_seq: consumerSeq,
      stream_seq: seq,
      deliveries,
    }));
  }

  terminated(seq: number, consumerSeq: number, deliveries: number, reason: string): void {
    this.#tell('MSG_TERMINATED', 'terminated', () => ({
      consumer_seq: consumerSeq,
      stream_seq: seq,
      deliveries,
      ...(reason === '' ? {} : { reason }),
    }));
  }

  exceeded(message: PendingMessage): void {
    this.#tell('MAX_DELIVERIES', 'max_deliver', () => ({
      stream_seq: message.seq,
      deliveries: message.deliveries,
    }));
  }

  pinned(group: string, id: string): void {
    this.#tell('PINNED', 'consumer_group_pinned', () => ({ account: '$G', group, pinned_id: id }));
  }

  unpinned(group: string, reason: 'timeout' | 'admin'): void {
    this.#tell('UNPINNED', 'consumer_group_unpinned', () => ({ account: '$G', group, reason }));
  }

  /** `afterMs` after its last delivery. */
  acked(message: PendingMessage, consumerSeq: number, afterMs: number): void {
    this.#advisories.emit(`METRIC.CONSUMER.ACK.${this.#name}`, 'metric.v1.consumer_ack', () => ({
      stream: this.#stream,
      consumer: this.#consumer,
      consumer_seq: consumerSeq,
      stream_seq: message.seq,
      ack_time: Math.round(afterMs * 1e6),
      deliveries: message.deliveries,
    }));
  }
}
