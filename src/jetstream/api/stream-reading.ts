// The endpoints that look at streams: STREAM.INFO with pages of subjects, STREAM.NAMES, STREAM.LIST. An answer is bounded
// and says where to go on.

import { collide } from '../../subject.ts';
import { nextTurn } from '../slices.ts';
import { SubjectFilter } from '../subject-filter.ts';
import { bool, decode, int, isObjectOrArray, string, struct } from './decode.ts';
import { endpoint, type ApiRequest, type Endpoint } from './endpoint.ts';
import { JsonText } from './json-text.ts';
import {
  consumerCount,
  streamOf,
  type JetStreamView,
  type StreamEndpointParts,
  type StreamView,
} from './jetstream-view.ts';
import { streamInfo } from './stream-info.ts';

/** Names in one answer, streams in one, subjects in one: nats-server's. */
const NAMES_MAX = 1_024;
const LIST_MAX = 256;
const SUBJECTS_SHOWN_MAX = 100_000;
/** A list of streams with much metadata is cut here; the client asks for the rest. */
const LIST_BYTES_MAX = 1024 * 1024;
/** Sequences of deleted messages in one answer. */
const DELETED_SHOWN_MAX = 100_000;
/** Subjects that are looked at in one turn. */
const SUBJECTS_PER_TURN = 5_000;
/** Streams that are described in one turn. */
const STREAMS_PER_TURN = 32;

const INFO_REQUEST = struct('JSApiStreamInfoRequest', {
  offset: int,
  deleted_details: bool,
  subjects_filter: string,
});
const NAMES_REQUEST = struct('JSApiStreamNamesRequest', { offset: int, subject: string });
const LIST_REQUEST = struct('JSApiStreamListRequest', { offset: int, subject: string });

const NO_PAGES = { total: 0, offset: 0, limit: 0 };

export function readingEndpoints(view: JetStreamView, parts: StreamEndpointParts): Endpoint[] {
  const on = new Reading(view, parts);
  const noStreams = { ...NO_PAGES, streams: null };
  return [
    endpoint('STREAM.INFO.*', 'stream_info', (request) => on.info(request), NO_PAGES),
    endpoint('STREAM.NAMES', 'stream_names', (request) => on.names(request), noStreams),
    endpoint('STREAM.LIST', 'stream_list', (request) => on.list(request), noStreams),
  ];
}

class Reading {
  readonly #view: JetStreamView;
  readonly #parts: StreamEndpointParts;

  constructor(view: JetStreamView, parts: StreamEndpointParts) {
    this.#view = view;
    this.#parts = parts;
  }

  async info(request: ApiRequest): Promise<object> {
    const asked = isObjectOrArray(request.data) ? decode(INFO_REQUEST, request.data) : {};
    const stream = streamOf(this.#view, request.tokens[0]);
    const { clock, domain, serverName, version } = this.#parts;
    const consumers = consumerCount(this.#view, stream);
    const nowMs = clock.wallMs();
    const options = { nowMs, consumers, version, domain, leader: serverName };
    const filter = asked.subjects_filter ?? '';
    const page =
      filter === '' ? undefined : await this.#subjects(stream, filter, asked.offset ?? 0);
    const deleted =
      asked.deleted_details === true ? await stream.deletedSeqs(DELETED_SHOWN_MAX) : [];
    const more = {
      ...(page === undefined || page.shown.length === 0
        ? {}
        : { subjects: await this.#written(page.shown) }),
      ...(deleted.length === 0 ? {} : { deleted }),
    };
    return { ...NO_PAGES, ...page?.page, ...streamInfo(stream, options, more) };
  }

  /** A page of the subjects under `filter`, in order where they are more than one page. */
  async #subjects(
    stream: StreamView,
    filter: string,
    from: number,
  ): Promise<{ page: object; shown: [string, number][] }> {
    const found = new Map<string, number>();
    let looked = 0;
    for (const [subject, count] of stream.subjects(new SubjectFilter([filter]))) {
      found.set(subject, count);
      if (++looked % SUBJECTS_PER_TURN === 0) await this.#turn();
    }
    const all = [...found];
    if (all.length === 0) return { page: {}, shown: [] };
    const offset = Math.max(0, from);
    const page = { total: all.length, offset, limit: SUBJECTS_SHOWN_MAX };
    if (offset === 0 && all.length <= SUBJECTS_SHOWN_MAX) return { page, shown: all };
    all.sort(([a], [b]) => (a < b ? -1 : 1));
    return { page, shown: all.slice(offset, offset + SUBJECTS_SHOWN_MAX) };
  }

  /** As an object of JSON. */
  async #written(shown: readonly [string, number][]): Promise<JsonText> {
    let text = '';
    for (const [i, [subject, count]] of shown.entries()) {
      text += `${i === 0 ? '' : ','}${JSON.stringify(subject)}:${count}`;
      if ((i + 1) % SUBJECTS_PER_TURN === 0) await this.#turn();
    }
    return new JsonText(`{${text}}`);
  }

  /** Lets others have their turn. */
  #turn(): Promise<void> {
    return nextTurn(this.#parts.clock);
  }

  names({ data }: ApiRequest): object {
    const request = isObjectOrArray(data) ? decode(NAMES_REQUEST, data) : {};
    const { streams, page } = this.#page(request, NAMES_MAX);
    const names = streams.map(({ name }) => name);
    // As nats-server, which has no list where there is nothing.
    return { ...page, streams: names.length === 0 ? null : names };
  }

  async list({ data }: ApiRequest): Promise<object> {
    const request = isObjectOrArray(data) ? decode(LIST_REQUEST, data) : {};
    const { streams, page } = this.#page(request, LIST_MAX);
    const { clock, domain } = this.#parts;
    const common = { nowMs: clock.wallMs(), version: undefined, leader: undefined, domain };
    const shown: object[] = [];
    let bytes = 0;
    for (const stream of streams) {
      const consumers = consumerCount(this.#view, stream);
      const info = streamInfo(stream, { ...common, consumers });
      bytes += JSON.stringify(info).length;
      if (bytes > LIST_BYTES_MAX && shown.length > 0) break;
      shown.push(info);
      if (shown.length % STREAMS_PER_TURN === 0) await this.#turn();
    }
    return { ...page, streams: shown };
  }

  #page(
    { subject = '', offset: from = 0 }: { subject?: string; offset?: number },
    limit: number,
  ): { streams: readonly StreamView[]; page: object } {
    const all = this.#view.streams
      .filter(
        ({ config }) => subject === '' || config.subjects.some((one) => collide(one, subject)),
      )
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
    const offset = Math.min(Math.max(0, from), all.length);
    const page = { total: all.length, offset, limit };
    return { streams: all.slice(offset, offset + limit), page };
  }
}
