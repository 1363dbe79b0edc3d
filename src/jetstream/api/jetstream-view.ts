// What the endpoints of the API need of JetStream.

import type { Clock } from '../../clock.ts';
import type { Advisories } from '../advisories.ts';
import type { SubjectFilter } from '../subject-filter.ts';
import type { StreamConfig } from '../stream-types.ts';
import { ApiError } from './api-error.ts';
import type { ShownStream } from './stream-info.ts';

/** What the endpoints need of a stream. */
export interface StreamView extends ShownStream {
  subjects(filter: SubjectFilter): Iterable<[subject: string, count: number]>;
  /** Sequences between the first and the last that are gone, ascending, the first `max`. */
  deletedSeqs(max: number): Promise<readonly number[]>;
  purge(options: {
    readonly filter?: string;
    readonly belowSeq?: number;
    readonly keep?: number;
  }): Promise<number>;
  remove(seq: number, options: { readonly erase: boolean }): Promise<boolean>;
}

export interface ConsumersView {
  readonly count: number;
  readonly all: Iterable<{
    readonly config: {
      readonly name: string;
      readonly maxAckPending: number;
      readonly inactiveThresholdMs?: number | undefined;
    };
  }>;
}

/** What the endpoints need of JetStream. Its promises reject with ApiErrors. */
export interface JetStreamView {
  readonly streams: readonly StreamView[];
  stream(name: string): StreamView | undefined;
  createStream(config: StreamConfig): Promise<StreamView>;
  updateStream(config: StreamConfig): Promise<StreamView>;
  deleteStream(name: string): Promise<void>;
  consumers(stream: string): ConsumersView | undefined;
}

export interface StreamEndpointParts {
  readonly clock: Clock;
  readonly advisories: Advisories;
  readonly serverName: string;
  readonly domain: string | undefined;
  /** Of nats-server, as INFO says it. */
  readonly version: string;
}

/** The stream of that name. Throws the ApiError 10059 where there is none. */
export function streamOf(
  view: Pick<JetStreamView, 'stream'>,
  name: string | undefined,
): StreamView {
  const stream = name === undefined ? undefined : view.stream(name);
  if (stream === undefined) throw new ApiError(404, 10059, 'stream not found');
  return stream;
}

/** Consumers of a stream; the forwarder's mark counts as one. */
export function consumerCount(view: JetStreamView, stream: StreamView): number {
  return (view.consumers(stream.name)?.count ?? 0) + (stream.isForwarded ? 1 : 0);
}
