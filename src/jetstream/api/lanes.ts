// The order of requests, and how many may be under way.
//
// A client's requests see each other's effects in the order in which it sent them, also where it does not wait for the
// answers: a request runs once every earlier one of the same client has ended that is about the same thing: the same
// stream, and there the same consumer, or one of the two is about the whole stream; a request about no stream (a list) is
// about all of them. All others run side by side, so that a hundred consumers created at once share one disk sync. What
// different clients do has no order, as they have none themselves.

import { ApiError } from './api-error.ts';

/** Requests of one client under way; a client that creates a thousand consumers at once is still served. */
const API_CLIENT_REQUESTS_MAX = 1_024;
/** Requests under way in all: nats-server's request queue. */
const API_REQUESTS_MAX = 10_000;
/** Bytes of those requests. */
const API_REQUESTS_BYTES_MAX = 32 * 1024 * 1024;

/** What a request is about: a stream, and perhaps a consumer of it; undefined for all there are. */
export interface Topic {
  readonly stream: string | undefined;
  readonly consumer: string | undefined;
}

interface Under {
  readonly done: Promise<void>;
}

/** Of one client. */
interface Lane {
  requests: number;
  /** The last request under way about each topic; one that waits for others stands for them. */
  readonly last: Map<string, Map<string, Under>>;
}

/** What stands for all there are. */
const ALL = '';

export class Lanes {
  readonly #lanes = new Map<object | undefined, Lane>();
  #requests = 0;
  #bytes = 0;

  /** Requests under way. */
  get inFlight(): number {
    return this.#requests;
  }

  /**
   * Runs `body` in its turn: at once, and then with what it returns, where nothing is before it. Throws the ApiError 10167
   * where too much is under way.
   */
  run<T>(
    from: object | undefined,
    topic: Topic,
    bytes: number,
    body: () => T | Promise<T>,
  ): T | Promise<T> {
    const lane = this.#lanes.get(from);
    this.#admit(lane, bytes);
    const waits = lane === undefined ? [] : concerned(lane, topic);
    if (waits.length === 0) {
      const result = body();
      return result instanceof Promise ? this.#track(from, topic, bytes, result) : result;
    }
    const turn = Promise.all(waits.map((one) => one.done)).then(body);
    return this.#track(from, topic, bytes, turn);
  }

  #admit(lane: Lane | undefined, bytes: number): void {
    const crowded =
      (lane?.requests ?? 0) >= API_CLIENT_REQUESTS_MAX ||
      this.#requests >= API_REQUESTS_MAX ||
      this.#bytes + bytes > API_REQUESTS_BYTES_MAX;
    if (crowded) throw new ApiError(429, 10167, 'too many requests');
  }

  #track<T>(from: object | undefined, topic: Topic, bytes: number, result: Promise<T>): Promise<T> {
    const lane = this.#lanes.get(from) ?? {
      requests: 0,
      last: new Map<string, Map<string, Under>>(),
    };
    this.#lanes.set(from, lane);
    const { stream = ALL, consumer = ALL } = topic;
    // It has waited for these, and whoever waits for it waits for them.
    if (stream === ALL) lane.last.clear();
    else if (consumer === ALL) lane.last.delete(stream);
    const ofStream = lane.last.get(stream) ?? new Map<string, Under>();
    lane.last.set(stream, ofStream);
    const under: Under = { done: result.then(ended, ended) };
    ofStream.set(consumer, under);
    lane.requests++;
    this.#requests++;
    this.#bytes += bytes;
    return result.finally(() => {
      if (ofStream.get(consumer) === under) ofStream.delete(consumer);
      if (ofStream.size === 0 && lane.last.get(stream) === ofStream) lane.last.delete(stream);
      lane.requests--;
      if (lane.requests === 0) this.#lanes.delete(from);
      this.#requests--;
      this.#bytes -= bytes;
    });
  }
}

function ended(): void {}

/** Those under way that are about what `topic` is about. */
function concerned({ last }: Lane, { stream, consumer }: Topic): Under[] {
  if (stream === undefined) return [...last.values()].flatMap((one) => [...one.values()]);
  const found = [...(last.get(ALL)?.values() ?? [])];
  const ofStream = last.get(stream);
  if (ofStream === undefined) return found;
  if (consumer === undefined) return [...found, ...ofStream.values()];
  for (const key of [ALL, consumer]) {
    const one = ofStream.get(key);
    if (one !== undefined) found.push(one);
  }
  return found;
}
