// What the endpoints about consumers need of streams and their consumers, and how they find one there. The forwarder's mark
// is among them, as a consumer `hub` that is only to be read.

import { randomBytes } from 'node:crypto';
import { HUB_CONSUMER, type ForwardedStream, type ShownConsumer } from '../consumers/info.ts';
import type { SourcingLedger } from '../consumers/sourcing-ledger.ts';
import type { ConsumerConfig } from '../consumers/types.ts';
import type { CreateRequest } from '../consumers/wire.ts';
import type { Numbering } from '../numbering.ts';
import type { StreamConfig } from '../stream-types.ts';
import { ApiError } from './api-error.ts';

/** What the endpoints need of a consumer. */
export interface ApiConsumer extends ShownConsumer {
  /** Resolves when all that it shows now is on the disk. */
  settled(): Promise<void>;
  /** On the disk when it resolves; undefined ends a pause. */
  pause(untilMs: number | undefined): Promise<void>;
  /**
   * Goes on with `seq`, or right above the ack floor, as if nothing from there on had been delivered; resolves with where,
   * on the disk. A `reader` is a hub that reads the stream into one of its own.
   */
  reset(seq?: number, reader?: boolean): Promise<number>;
}

/** What they need of the consumers of one stream. Its promises reject with ApiErrors. */
export interface ApiConsumers {
  readonly all: Iterable<ApiConsumer>;
  get(name: string): ApiConsumer | undefined;
  create(config: ConsumerConfig, action: CreateRequest['action']): Promise<ApiConsumer>;
  /** Makes what a hub reads the stream with, or goes on with what it has, with `askedSeq` or where the acknowledgements end. */
  source(config: ConsumerConfig, askedSeq: number | undefined): Promise<ApiConsumer>;
  delete(name: string): Promise<boolean>;
}

export interface ConsumerHome extends ForwardedStream {
  readonly config: StreamConfig;
  readonly isForwarded: boolean;
  readonly numbering: Pick<Numbering, 'identity' | 'lastSeq' | 'jump' | 'met'>;
  seqAtTime(timeMs: number): number;
}

export interface ConsumersView {
  stream(name: string): ConsumerHome | undefined;
  consumers(stream: string): ApiConsumers | undefined;
  readonly sourcing: SourcingLedger;
}

/** A stream with its consumers. */
export interface Home {
  readonly stream: ConsumerHome;
  readonly consumers: ApiConsumers;
}

/** Whether `name` is the forwarder's mark. */
export function isHub(stream: ConsumerHome, name: string): boolean {
  return stream.isForwarded && name === HUB_CONSUMER;
}

/** Throws an ApiError where `name` is not to be changed. */
export function checkHub(stream: ConsumerHome, name: string): void {
  if (isHub(stream, name))
    throw new ApiError(
      500,
      10012,
      `consumer ${HUB_CONSUMER} is the forwarder of the gateway: it can be read, not changed`,
    );
}

export function notFound(): ApiError {
  return new ApiError(404, 10014, 'consumer not found');
}

/** Throws the ApiError 10014 where there is none. */
export function find(consumers: ApiConsumers, name: string): ApiConsumer {
  const consumer = consumers.get(name);
  if (consumer === undefined) throw notFound();
  return consumer;
}

/** By name; the forwarder's mark has no consumer. */
export function listed({ stream, consumers }: Home): [string, ApiConsumer | undefined][] {
  const all: [string, ApiConsumer | undefined][] = stream.isForwarded
    ? [[HUB_CONSUMER, undefined]]
    : [];
  for (const consumer of consumers.all)
    if (consumer.config.direct !== true && !isHub(stream, consumer.config.name))
      all.push([consumer.config.name, consumer]);
  return all.sort(([a], [b]) => (a < b ? -1 : 1));
}

/** The part of `all` that one answer has. */
export function page<T>(
  all: readonly T[],
  from: number,
  limit: number,
): { total: number; offset: number; limit: number; consumers: T[] } {
  const offset = Math.min(from, all.length);
  return { total: all.length, offset, limit, consumers: all.slice(offset, offset + limit) };
}

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const NAME_LENGTH = 8;

/** A name that none of them has. */
export function freeName(consumers: ApiConsumers): string {
  for (;;) {
    const name = Array.from(randomBytes(NAME_LENGTH), (byte) => DIGITS[byte % DIGITS.length]).join(
      '',
    );
    if (consumers.get(name) === undefined) return name;
  }
}
