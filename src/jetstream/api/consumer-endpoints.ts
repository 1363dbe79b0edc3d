// The endpoints of the JetStream API about consumers. What they answer is on the disk. The forwarder's mark is a consumer,
// `hub`, that can be listed and read; whoever wants to change it is refused.

import type { Clock } from '../../clock.ts';
import { checkGroup } from '../consumers/config-rules.ts';
import { configToWire, isZeroTime, readConfig } from '../consumers/config.ts';
import { consumerInfo, hubConsumerInfo } from '../consumers/info.ts';
import type { ConsumerConfig } from '../consumers/types.ts';
import { decodeCreateRequest, type CreateRequest, type WireConsumer } from '../consumers/wire.ts';
import { ApiError } from './api-error.ts';
import { readOffset, readPause, readReset, readUnpin } from './consumer-requests.ts';
import {
  checkHub,
  find,
  freeName,
  isHub,
  listed,
  notFound,
  page,
  type ApiConsumer,
  type ConsumerHome,
  type ConsumersView,
  type Home,
} from './consumer-view.ts';
import { IDENTITY_LEVEL } from './api-level.ts';
import { isEmptyRequest } from './decode.ts';
import { AnswerWithHeaders, type ApiRequest, type Endpoint } from './endpoint.ts';
import { timeToMs, toUtc, ZERO_TIME } from './rfc3339.ts';
import {
  asDurable,
  askedSeq,
  checkIdentity,
  identityHeader,
  namesIdentity,
  isOfReader,
  isSource,
  keepAhead,
  knownToSource,
} from './source-requests.ts';

/** As many as one answer has. */
const NAMES_MAX = 1024;
const LIST_MAX = 256;
/** What most clients take in one message. */
const LIST_BYTES_MAX = 1024 * 1024;

export interface ConsumerEndpointParts {
  readonly clock: Clock;
  /** Of nats-server, as INFO says it. */
  readonly version: string;
}

/** The endpoints over the consumers of `view`. */
export function consumerEndpoints(view: ConsumersView, parts: ConsumerEndpointParts): Endpoint[] {
  const on = new ConsumerApi(view, parts);
  const create = (subject: string): Endpoint =>
    of5(endpoint(subject, 'create', (request) => on.create(request)));
  return [
    create('CONSUMER.CREATE.*'),
    create('CONSUMER.CREATE.*.*'),
    create('CONSUMER.CREATE.*.*.>'),
    endpoint('CONSUMER.DURABLE.CREATE.*.*', 'create', (request) => on.createDurable(request)),
    endpoint('CONSUMER.INFO.*.*', 'info', (request) => on.info(request)),
    endpoint('CONSUMER.NAMES.*', 'names', (request) => on.names(request), NO_PAGE),
    endpoint('CONSUMER.LIST.*', 'list', (request) => on.list(request), NO_PAGE),
    endpoint('CONSUMER.DELETE.*.*', 'delete', (request) => on.delete(request)),
    endpoint('CONSUMER.PAUSE.*.*', 'pause', (request) => on.pause(request), {
      paused: false,
      pause_until: ZERO_TIME,
    }),
    of5(endpoint('CONSUMER.RESET.*.*', 'reset', (request) => on.reset(request), { reset_seq: 0 })),
    endpoint('CONSUMER.UNPIN.*.*', 'unpin', (request) => on.unpin(request)),
  ];
}

/** Hubs ask for these with what the others do not have. */
function of5(base: Endpoint): Endpoint {
  return { ...base, apiLevel: IDENTITY_LEVEL };
}

const NO_PAGE = { total: 0, offset: 0, limit: 0, consumers: [] };

function endpoint(
  subject: string,
  type: string,
  answer: Endpoint['answer'],
  errorFields?: object,
): Endpoint {
  const base = { subject, type: `consumer_${type}_response`, answer };
  return errorFields === undefined ? base : { ...base, errorFields };
}

class ConsumerApi {
  readonly #view: ConsumersView;
  readonly #parts: ConsumerEndpointParts;

  constructor(view: ConsumersView, parts: ConsumerEndpointParts) {
    this.#view = view;
    this.#parts = parts;
  }

  // --- create ---

  create(request: ApiRequest): Promise<object> {
    const { tokens, data } = request;
    const [stream = '', subjectName = '', subjectFilter = ''] = tokens;
    const asked = decodeCreateRequest(data, isOfReader(request.message));
    const { config } = asked;
    const isNamed = tokens.length > 1;
    checkPlace(asked, stream, isNamed ? subjectName : config.name);
    if (isNamed && config.durable_name !== '' && config.durable_name !== subjectName)
      throw nameMismatch();
    if (!isNamed && config.durable_name !== '')
      throw new ApiError(
        400,
        10020,
        'consumer expected to be ephemeral but a durable name was set in request',
      );
    if (subjectFilter !== '' && config.filter_subjects.length > 0)
      throw new ApiError(
        400,
        10137,
        'consumer with multiple subject filters cannot use subject based API',
      );
    if (subjectFilter !== '' && config.filter_subject !== subjectFilter)
      throw new ApiError(
        400,
        10131,
        'Consumer create request did not match filtered subject from create subject',
      );
    return this.#make(asked, isNamed ? { ...config, name: subjectName } : config, request);
  }

  createDurable(request: ApiRequest): Promise<object> {
    const { tokens, data } = request;
    const [stream = '', name = ''] = tokens;
    const asked = decodeCreateRequest(data);
    const { config } = asked;
    checkPlace(asked, stream, name);
    if (config.durable_name === '')
      throw new ApiError(
        400,
        10018,
        'consumer expected to be durable but a durable name was not set',
      );
    if (config.durable_name !== name) throw nameMismatch();
    return this.#make(asked, { ...config, name }, request);
  }

  async #make(
    { stream: streamName, action, pedantic }: CreateRequest,
    given: WireConsumer,
    { message }: ApiRequest,
  ): Promise<object> {
    if (given.num_replicas > 1)
      throw new ApiError(500, 10074, 'replicas > 1 not supported in non-clustered mode');
    const home = this.#home(streamName);
    if (given.direct || given.sourcing) checkIdentity(home.stream, message.headers);
    if (isSource(given)) return await this.#source(home, given);
    const { stream, consumers } = home;
    const wire = given;
    checkHub(stream, wire.name);
    const config = readConfig(wire, stream.config, { name: freeName(consumers), pedantic });
    const existing = consumers.get(config.name);
    const made = await consumers.create(
      existing === undefined ? config : withPauseOf(config, existing.config),
      action,
    );
    const shown = await this.#shown(made);
    return given.sourcing ? new AnswerWithHeaders(shown, identityHeader(stream)) : shown;
  }

  /** What another server reads the stream into one of its own with. */
  async #source({ stream, consumers }: Home, given: WireConsumer): Promise<object> {
    const fromSeq = askedSeq(given);
    await keepAhead(stream, given.name, fromSeq, this.#view.sourcing);
    const { firstSeq } = stream;
    const free = freeName(consumers);
    const isStable = given.sourcing && given.name !== '';
    const read = (wire: WireConsumer): ConsumerConfig => {
      checkHub(stream, wire.name);
      return readConfig(wire, stream.config, { name: free, pedantic: false });
    };
    let made: ApiConsumer;
    if (stream.config.retention === 'limits') {
      // It comes again under the same name: each time it is another consumer.
      const name = isStable ? `${given.name}-${free}` : given.name;
      made = await consumers.create(read({ ...given, name }), '');
    } else {
      const name = isStable ? given.name : `hub-${free}`;
      const config = read(asDurable({ ...given, name }, stream.config));
      made = await consumers.source(isStable ? config : ofOldHub(config), fromSeq);
    }
    if (fromSeq !== undefined && fromSeq < firstSeq)
      this.#view.sourcing.askedTooLate(stream.name, made.config.name, fromSeq, firstSeq - 1);
    const shown = await this.#shown(made);
    const fields = isStable ? {} : this.#forOldHub(made, given);
    return new AnswerWithHeaders({ ...shown, ...fields }, identityHeader(stream));
  }

  /** What hubs before 2.14 are told otherwise. */
  #forOldHub({ config: made }: ApiConsumer, given: WireConsumer): object {
    // They do not know the word for how one acknowledges, and would not read the answer.
    const config = { ...configToWire(made, this.#parts.version), ack_policy: 'none' };
    const stream_seq = knownToSource(given);
    if (stream_seq === undefined) return { config };
    return { config, delivered: { consumer_seq: 0, stream_seq } };
  }

  // --- read ---

  info(request: ApiRequest): object | Promise<object> {
    checkEmpty(request);
    const [streamName = '', name = ''] = request.tokens;
    const { stream, consumers } = this.#home(streamName);
    if (isHub(stream, name)) return hubConsumerInfo(stream, this.#infoOptions());
    return this.#shown(find(consumers, name));
  }

  /** What an answer says of acks holds after a crash too. */
  async #shown(consumer: ApiConsumer): Promise<object> {
    const info = this.#info(consumer);
    await consumer.settled();
    return info;
  }

  #info(consumer: ApiConsumer): object {
    return consumerInfo(consumer, this.#infoOptions());
  }

  #infoOptions(): { nowMs: number; version: string } {
    return { nowMs: this.#parts.clock.wallMs(), version: this.#parts.version };
  }

  names({ tokens: [streamName = ''], data }: ApiRequest): object {
    const offset = readOffset(data);
    const names = listed(this.#home(streamName)).map(([name]) => name);
    return page(names, offset, NAMES_MAX);
  }

  async list({ tokens: [streamName = ''], data }: ApiRequest): Promise<object> {
    const offset = readOffset(data);
    const home = this.#home(streamName);
    const options = { nowMs: this.#parts.clock.wallMs(), version: undefined };
    const shown = page(listed(home), offset, LIST_MAX);
    const consumers: object[] = [];
    const settled: Promise<void>[] = [];
    let bytes = 0;
    for (const [, consumer] of shown.consumers) {
      const info =
        consumer === undefined
          ? hubConsumerInfo(home.stream, options)
          : consumerInfo(consumer, options);
      bytes += Buffer.byteLength(JSON.stringify(info));
      if (bytes > LIST_BYTES_MAX && consumers.length > 0) break;
      consumers.push(info);
      if (consumer !== undefined) settled.push(consumer.settled());
    }
    await Promise.all(settled);
    return { ...shown, consumers };
  }

  // --- change ---

  async delete(request: ApiRequest): Promise<object> {
    checkEmpty(request);
    const { consumers, name } = this.#named(request);
    if (!(await consumers.delete(name))) throw notFound();
    return { success: true };
  }

  async pause(request: ApiRequest): Promise<object> {
    const until = readPause(request.data);
    const { consumers, name } = this.#named(request);
    const consumer = find(consumers, name);
    if (isZeroTime(until)) {
      await consumer.pause(undefined);
      return { paused: false, pause_until: ZERO_TIME };
    }
    const untilMs = timeToMs(until);
    await consumer.pause(untilMs);
    const remainingMs = untilMs - this.#parts.clock.wallMs();
    return {
      paused: remainingMs > 0,
      pause_until: toUtc(until),
      ...(remainingMs > 0 ? { pause_remaining: Math.round(remainingMs * 1e6) } : {}),
    };
  }

  async reset(request: ApiRequest): Promise<object> {
    const asked = readReset(request.data);
    const { stream, consumers, name } = this.#named(request);
    const consumer = find(consumers, name);
    checkIdentity(stream, request.message.headers);
    if (asked > 0) checkReset(stream, consumer.config, asked);
    const seq = await consumer.reset(asked === 0 ? undefined : asked, isOfReader(request.message));
    const fields = { ...(await this.#shown(consumer)), reset_seq: seq };
    // As nats-server: only whoever names one, be it empty, reads it.
    const wanted = namesIdentity(request.message.headers);
    return wanted ? new AnswerWithHeaders(fields, identityHeader(stream)) : fields;
  }

  unpin(request: ApiRequest): object {
    const group = readUnpin(request.data);
    checkGroup(group);
    const { consumers, name } = this.#named(request);
    const consumer = find(consumers, name);
    if (consumer.config.pull?.priority?.groups.includes(group) !== true)
      throw new ApiError(400, 10160, 'Provided priority group does not exist for this consumer');
    consumer.outlet.pin?.takeAway();
    return {};
  }

  // --- lookups ---

  #home(name: string): Home {
    const stream = this.#view.stream(name);
    const consumers = this.#view.consumers(name);
    if (stream === undefined || consumers === undefined)
      throw new ApiError(404, 10059, 'stream not found');
    return { stream, consumers };
  }

  /** Where the consumer that a request wants to change lives. */
  #named({ tokens: [streamName = '', name = ''] }: ApiRequest): Home & { name: string } {
    const home = this.#home(streamName);
    checkHub(home.stream, name);
    return { ...home, name };
  }
}

function checkPlace({ stream }: CreateRequest, subjectStream: string, name: string): void {
  if (stream !== subjectStream)
    throw new ApiError(400, 10056, 'stream name in subject does not match request');
  if (/[\\/]/.test(name))
    throw new ApiError(400, 10127, 'Consumer name can not contain path separators');
}

function checkEmpty({ data }: ApiRequest): void {
  if (!isEmptyRequest(data)) throw new ApiError(400, 10038, 'expected an empty request payload');
}

/** Only so far back as the consumer may begin. */
function checkReset(stream: ConsumerHome, config: ConsumerConfig, seq: number): void {
  const { deliverPolicy, optStartSeq = 0, optStartTimeMs = 0 } = config;
  if (deliverPolicy === 'all') return;
  if (deliverPolicy === 'by_start_sequence') {
    if (seq < optStartSeq) throw badReset('below start seq');
  } else if (deliverPolicy === 'by_start_time') {
    if (seq < stream.seqAtTime(optStartTimeMs)) throw badReset('below start time');
  } else throw badReset('not allowed');
}

function badReset(why: string): ApiError {
  return new ApiError(400, 10204, `invalid reset: ${why}`);
}

function nameMismatch(): ApiError {
  return new ApiError(
    400,
    10017,
    'consumer name in subject does not match durable name in request',
  );
}

function ofOldHub(config: ConsumerConfig): ConsumerConfig {
  return { ...config, asked: { ...config.asked, oldHub: true } };
}

/** Its pause is changed by CONSUMER.PAUSE alone. */
function withPauseOf(
  config: ConsumerConfig,
  { pauseUntilMs, asked }: ConsumerConfig,
): ConsumerConfig {
  const { pauseUntil: _ours, ...rest } = config.asked ?? {};
  const pauseUntil = asked?.pauseUntil;
  return {
    ...config,
    pauseUntilMs,
    asked: pauseUntil === undefined ? rest : { ...rest, pauseUntil },
  };
}
