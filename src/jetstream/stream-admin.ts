// What clients do to streams: create, update, delete, one after the other, so that two requests never both find a name
// or a subject free. Streams of the configuration file are not theirs to change.

import { ApiError } from './api/api-error.ts';
import { SubjectTree } from './api/subject-tree.ts';
import { republishesToItself } from './republish-cycle.ts';
import type { Stream } from './stream.ts';
import { DEAD_LETTER_STREAM } from './stream-configs.ts';
import type { StreamSet } from './stream-set.ts';
import { STREAMS_MAX, type StreamConfig } from './stream-types.ts';

/** Subjects of all streams that clients made: each is a subscription, and a new stream is held against all of them. */
const CLIENT_SUBJECTS_MAX = 5_000;

/** How it is done, once it may be. */
export interface StreamMaking {
  make(config: StreamConfig): Promise<Stream>;
  change(stream: Stream, config: StreamConfig): Promise<void>;
  discard(stream: Stream): Promise<void>;
  /** Whether a stream of that name lies on the disk unused, as the configuration does not have it any more. */
  isAsleep(name: string): boolean;
}

/** Bytes that streams of clients may have together. */
export interface StreamBudget {
  readonly fileBytesMax: number;
  readonly memoryBytesMax: number;
}

export class StreamAdmin {
  readonly #set: StreamSet;
  readonly #budget: StreamBudget;
  readonly #making: StreamMaking;
  #last: Promise<unknown> = Promise.resolve();

  constructor(set: StreamSet, budget: StreamBudget, making: StreamMaking) {
    this.#set = set;
    this.#budget = budget;
    this.#making = making;
  }

  create(config: StreamConfig): Promise<Stream> {
    return this.#inTurn(() => {
      if (this.#set.known(config.name) !== undefined || this.#making.isAsleep(config.name))
        throw new ApiError(400, 10058, 'stream name already in use with a different configuration');
      if (this.#set.all.length >= STREAMS_MAX)
        throw new ApiError(400, 10027, 'maximum number of streams reached');
      this.#checkSubjects(config);
      this.#checkRoom(config);
      return this.#making.make(config);
    });
  }

  update(config: StreamConfig): Promise<Stream> {
    return this.#inTurn(async () => {
      const stream = this.#own(config.name, 10052);
      this.#checkSubjects(config);
      this.#checkRoom(config);
      await this.#making.change(stream, config);
      return stream;
    });
  }

  delete(name: string): Promise<void> {
    return this.#inTurn(() => this.#making.discard(this.#own(name, 10050)));
  }

  /** Runs `step` when all before it are done. */
  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const result = this.#last.then(step);
    this.#last = result.catch(() => undefined);
    return result;
  }

  #own(name: string, errCode: number): Stream {
    const stream = this.#set.get(name);
    if (stream === undefined) throw new ApiError(404, 10059, 'stream not found');
    if (name === DEAD_LETTER_STREAM)
      throw new ApiError(
        500,
        errCode,
        `stream ${name} belongs to the gateway: it cannot be changed`,
      );
    if (stream.origin === 'file')
      throw new ApiError(
        500,
        errCode,
        `stream ${name} belongs to the configuration file of the gateway: change it there`,
      );
    return stream;
  }

  #checkSubjects(config: StreamConfig): void {
    const { name, subjects } = config;
    const before = this.#set.get(name)?.config.subjects.length ?? 0;
    const together = this.#set.all
      .filter((other) => other.name !== name && other.origin === 'api')
      .reduce((sum, other) => sum + other.config.subjects.length, subjects.length);
    if (together > CLIENT_SUBJECTS_MAX && subjects.length > before)
      throw new ApiError(
        500,
        10052,
        `streams have too many subjects together, maximum allowed is ${CLIENT_SUBJECTS_MAX}`,
      );
    const ours = new SubjectTree();
    for (const subject of subjects) ours.add(subject);
    const taken = this.#set.all.some(
      (other) =>
        other.name !== name &&
        other.config.subjects.some((theirs) => ours.overlapping(theirs) !== undefined),
    );
    if (taken) throw new ApiError(400, 10065, 'subjects overlap with an existing stream');
    const others = this.#set.all.flatMap((other) => (other.name === name ? [] : [other.config]));
    if (republishesToItself(config, others))
      throw new ApiError(
        500,
        10052,
        'stream configuration for republish destination forms a cycle',
      );
  }

  /** What streams are promised by their own limits must fit. */
  #checkRoom({ name, storage, maxBytes }: StreamConfig): void {
    if (maxBytes === Infinity) return;
    const promised = this.#set.all
      .filter(({ origin, config }) => config.storage === storage && origin === 'api')
      .filter((other) => other.name !== name && other.config.maxBytes !== Infinity)
      .reduce((sum, other) => sum + other.config.maxBytes, maxBytes);
    const { fileBytesMax, memoryBytesMax } = this.#budget;
    if (storage === 'file' && promised > fileBytesMax)
      throw new ApiError(500, 10047, 'insufficient storage resources available');
    if (storage === 'memory' && promised > memoryBytesMax)
      throw new ApiError(500, 10028, 'insufficient memory resources available');
  }
}
