// The endpoints of the JetStream API that make, change and delete streams, and with them all others about streams. What
// they answer is on the disk. Streams of the configuration file are shown and filled like any other, and are changed there
// only.

import type { StreamConfig } from '../stream-types.ts';
import { ApiError } from './api-error.ts';
import { decode, isEmptyRequest } from './decode.ts';
import { endpoint, type ApiRequest, type Endpoint } from './endpoint.ts';
import {
  consumerCount,
  streamOf,
  type JetStreamView,
  type StreamEndpointParts,
  type StreamView,
} from './jetstream-view.ts';
import {
  sameStreamConfig,
  STREAM_CONFIG_REQUEST,
  wireStreamConfig,
  type StreamConfigRequest,
} from './stream-config.ts';
import { streamInfo } from './stream-info.ts';
import { messageEndpoints } from './stream-messages.ts';
import { readingEndpoints } from './stream-reading.ts';
import { invalidConfig } from './stream-refusals.ts';
import { checkedStreamConfig, refuseUnbuilt } from './stream-rules.ts';
import { updatedStreamConfig, violating } from './stream-update.ts';

/** The endpoints over the streams of `view`. */
export function streamEndpoints(view: JetStreamView, parts: StreamEndpointParts): Endpoint[] {
  const on = new StreamChanges(view, parts);
  return [
    endpoint('STREAM.CREATE.*', 'stream_create', (request) => on.create(request)),
    endpoint('STREAM.UPDATE.*', 'stream_update', (request) => on.update(request)),
    endpoint('STREAM.DELETE.*', 'stream_delete', (request) => on.delete(request)),
    ...readingEndpoints(view, parts),
    ...messageEndpoints(view),
  ];
}

class StreamChanges {
  readonly #view: JetStreamView;
  readonly #parts: StreamEndpointParts;

  constructor(view: JetStreamView, parts: StreamEndpointParts) {
    this.#view = view;
    this.#parts = parts;
  }

  readonly #lookup = (name: string): StreamConfig | undefined => this.#view.stream(name)?.config;

  #info(stream: StreamView, domain: string | undefined): object {
    const { clock, version } = this.#parts;
    const consumers = consumerCount(this.#view, stream);
    const nowMs = clock.wallMs();
    return streamInfo(stream, { nowMs, consumers, version, domain, leader: undefined });
  }

  #tell(what: 'CREATED' | 'UPDATED' | 'DELETED', stream: string): void {
    const action = { CREATED: 'create', UPDATED: 'modify', DELETED: 'delete' }[what];
    this.#parts.advisories.emit(
      `ADVISORY.STREAM.${what}.${stream}`,
      'advisory.v1.stream_action',
      () => ({ stream, action }),
    );
  }

  async create({ tokens: [name = ''], data }: ApiRequest): Promise<object> {
    const request = decode(STREAM_CONFIG_REQUEST, data);
    checkName(request, name);
    if (/[\\/]/.test(name))
      throw new ApiError(400, 10128, 'Stream name can not contain path separators');
    if (request.sealed === true)
      throw invalidConfig('stream configuration for create can not be sealed');
    if (request.mirror_direct === true && request.mirror === undefined)
      throw invalidConfig('stream has no mirror but does have mirror direct');
    const config = checkedStreamConfig(request, this.#lookup);
    refuseUnbuilt(request);
    const stream = this.#existing(config, request) ?? (await this.#make(config, request));
    return { ...this.#info(stream, undefined), did_create: true };
  }

  async #make(config: StreamConfig, request: StreamConfigRequest): Promise<StreamView> {
    try {
      const stream = await this.#view.createStream(config);
      this.#tell('CREATED', stream.name);
      return stream;
    } catch (error) {
      // Somebody else has made it in the meantime: just this one, perhaps.
      const stream = isNameTaken(error) ? this.#existing(config, request) : undefined;
      if (stream === undefined) throw error;
      return stream;
    }
  }

  /** The stream of that name, where it is what is asked for. */
  #existing(config: StreamConfig, request: StreamConfigRequest): StreamView | undefined {
    const stream = this.#view.stream(config.name);
    if (stream === undefined) return undefined;
    const same =
      stream.origin === 'file'
        ? isOfFile(stream, request)
        : sameStreamConfig(config, stream.config);
    if (same) return stream;
    throw new ApiError(400, 10058, 'stream name already in use with a different configuration');
  }

  async update({ tokens: [name = ''], data }: ApiRequest): Promise<object> {
    const request = decode(STREAM_CONFIG_REQUEST, data);
    const wanted = checkedStreamConfig(request, this.#lookup);
    checkName(request, name);
    const { domain } = this.#parts;
    const old = streamOf(this.#view, name);
    if (old.origin === 'file' && isOfFile(old, request)) return this.#info(old, domain);
    const config = updatedStreamConfig(old.config, wanted, request);
    this.#checkConsumers(old, config);
    const stream = await this.#view.updateStream(config);
    this.#tell('UPDATED', name);
    return this.#info(stream, domain);
  }

  #checkConsumers({ name, config: old }: StreamView, wanted: StreamConfig): void {
    const consumers = [...(this.#view.consumers(name)?.all ?? [])];
    const names = violating(
      old,
      wanted,
      consumers.map(({ config }) => config),
    );
    if (names.length === 0) return;
    throw new ApiError(500, 10069, `change to limits violates consumers: ${names.join(', ')}`);
  }

  async delete(request: ApiRequest): Promise<object> {
    if (!isEmptyRequest(request.data))
      throw new ApiError(400, 10038, 'expected an empty request payload');
    const { name } = streamOf(this.#view, request.tokens[0]);
    await this.#view.deleteStream(name);
    this.#tell('DELETED', name);
    return { success: true };
  }
}

function checkName(request: StreamConfigRequest, name: string): void {
  if (request.name !== name)
    throw new ApiError(400, 10056, 'stream name in subject does not match request');
}

function isNameTaken(error: unknown): boolean {
  return error instanceof ApiError && error.errCode === 10058;
}

/**
 * Whether a program that asks for `request` can work with a stream of the configuration file: what it does not name (or
 * leaves at a default) is as the file has it.
 */
function isOfFile({ config }: StreamView, request: StreamConfigRequest): boolean {
  const wire = Buffer.from(JSON.stringify(wireStreamConfig(config)), 'utf8');
  const { duplicate_window: _, ...theirs } = decode(STREAM_CONFIG_REQUEST, wire);
  const named = Object.entries(request).filter(
    ([key, value]) => !(typeof value === 'number' && value <= 0) && key !== 'metadata',
  );
  const asked = checkedStreamConfig({
    ...theirs,
    ...(Object.fromEntries(named) as StreamConfigRequest),
    deny_delete: config.denyDelete === true,
    deny_purge: config.denyPurge === true,
  });
  const { duplicateWindowMs } = (request.duplicate_window ?? 0) > 0 ? asked : config;
  return sameStreamConfig(config, { ...asked, duplicateWindowMs });
}
