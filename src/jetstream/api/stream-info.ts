// How a stream is shown in an answer: its configuration, its state, and when it was looked at.

import type { StreamConfig, StreamState } from '../stream-types.ts';
import { msToTime, ZERO_TIME } from './rfc3339.ts';
import { wireStreamConfig } from './stream-config.ts';

/** What an answer needs of a stream. */
export interface ShownStream {
  readonly name: string;
  readonly config: StreamConfig;
  readonly createdMs: number;
  readonly origin: 'file' | 'api';
  /** A forwarder reads it: its mark is a consumer, `hub`. */
  readonly isForwarded: boolean;
  /** How far a mirror is; absent for other streams. */
  readonly mirrorInfo?: (() => object) | undefined;
  state(): StreamState & { readonly numDeleted: number };
}

/** What an answer says besides. */
export interface InfoOptions {
  /** Wall clock. */
  readonly nowMs: number;
  readonly consumers: number;
  /** As which server we answer, in the metadata; undefined where the answer is about many streams. */
  readonly version: string | undefined;
  readonly domain: string | undefined;
  /** Who leads the stream; undefined where that is not said. */
  readonly leader: string | undefined;
}

/** What a stream of the configuration file says of itself. */
const FROM_FILE = { 'mangrove.origin': 'configuration file' };

/** The configuration as clients see it: that of the configuration file cannot be changed by them. */
export function shownConfig({
  config,
  origin,
}: Pick<ShownStream, 'config' | 'origin'>): StreamConfig {
  if (origin === 'api') return config;
  const metadata = { ...config.metadata, ...FROM_FILE };
  return { ...config, denyDelete: true, denyPurge: true, metadata };
}

/** nats-server's StreamInfo; `more` are further fields of its state. */
export function streamInfo(stream: ShownStream, options: InfoOptions, more: object = {}): object {
  const { nowMs, consumers, version, domain, leader } = options;
  return {
    config: wireStreamConfig(shownConfig(stream), version),
    created: msToTime(stream.createdMs),
    state: { ...wireState(stream.state()), ...more, consumer_count: consumers },
    ...(domain === undefined ? {} : { domain }),
    ...(leader === undefined ? {} : { cluster: { leader } }),
    ...(stream.mirrorInfo === undefined ? {} : { mirror: stream.mirrorInfo() }),
    ts: msToTime(nowMs),
  };
}

function wireState(state: StreamState & { readonly numDeleted: number }): object {
  const { messages, bytes, firstSeq, firstTimeMs, lastSeq, lastTimeMs } = state;
  return {
    messages,
    bytes,
    first_seq: lastSeq === 0 && state.begun !== true ? 0 : firstSeq,
    first_ts: firstTimeMs === null ? ZERO_TIME : msToTime(firstTimeMs),
    last_seq: lastSeq,
    last_ts: lastTimeMs === null ? ZERO_TIME : msToTime(lastTimeMs),
    ...(state.subjects === 0 ? {} : { num_subjects: state.subjects }),
    ...(state.numDeleted === 0 ? {} : { num_deleted: state.numDeleted }),
  };
}
