// A consumer's configuration, between its client and the engine: what was asked for becomes a ConsumerConfig or a refusal,
// and a ConsumerConfig becomes what an answer shows. What goes in valid comes out the same, but for filled-in defaults.

import { isDeepStrictEqual } from 'node:util';
import { ownMetadata, shownMetadata } from '../api/api-level.ts';
import { msToTime, timeToMs, toUtc } from '../api/rfc3339.ts';
import { checkRules, withDefaults, type StreamRules } from './config-rules.ts';
import { EPHEMERAL_MS } from './inactivity.ts';
import type { AskedConfig, ConsumerConfig, PullConfig, PushConfig } from './types.ts';
import { answered, wireConsumer, type WireConsumer } from './wire.ts';

/**
 * What a client asks for, with defaults and checked against everything but the other consumers of the stream (see
 * `checkAgainst`); `name` is what it is called where the client did not say. Throws an ApiError.
 */
export function readConfig(
  given: WireConsumer,
  stream: StreamRules,
  options: { readonly name: string; readonly pedantic: boolean },
): ConsumerConfig {
  const wire = withDefaults(given, stream, options.pedantic);
  checkRules(wire, stream);
  return toConfig(wire, wire.ack_policy, options.name);
}

function toConfig(
  wire: WireConsumer,
  ackPolicy: ConsumerConfig['ackPolicy'],
  fallbackName: string,
): ConsumerConfig {
  const durable = wire.durable_name !== '';
  const isPull = wire.deliver_subject === '';
  const hasDefaultThreshold = !durable && wire.inactive_threshold === 0;
  const { filter_subject: filter, filter_subjects: filters } = wire;
  return {
    name: wire.durable_name || wire.name || fallbackName,
    durable,
    description: wire.description || undefined,
    metadata: ownMetadata(wire.metadata),
    deliverPolicy: wire.deliver_policy,
    optStartSeq: wire.opt_start_seq || undefined,
    optStartTimeMs: wire.opt_start_time === '' ? undefined : timeToMs(wire.opt_start_time),
    ackPolicy,
    ackWaitMs: wire.ack_wait,
    maxDeliver: wire.max_deliver,
    backoffMs: wire.backoff.length === 0 ? undefined : wire.backoff,
    filterSubjects: filter === '' ? filters : [filter],
    replayPolicy: wire.replay_policy,
    rateLimitBps: wire.rate_limit_bps || undefined,
    samplePercent: samplePercent(wire.sample_freq),
    maxAckPending: wire.max_ack_pending === 0 ? -1 : wire.max_ack_pending,
    headersOnly: wire.headers_only || undefined,
    inactiveThresholdMs: hasDefaultThreshold ? EPHEMERAL_MS : wire.inactive_threshold || undefined,
    memoryStorage: wire.mem_storage || undefined,
    pauseUntilMs: isZeroTime(wire.pause_until) ? undefined : timeToMs(wire.pause_until),
    pull: isPull ? toPull(wire) : undefined,
    push: isPull ? undefined : toPush(wire),
    direct: wire.direct || undefined,
    sourcing: wire.sourcing || undefined,
    asked: toAsked(wire, hasDefaultThreshold),
  };
}

/** Not given, or Go's zero time, which means the same. */
export function isZeroTime(text: string): boolean {
  return text === '' || timeToMs(text) === ZERO_TIME_MS;
}

const ZERO_TIME_MS = Date.parse('0001-01-01T00:00:00Z');

function samplePercent(frequency: string): number | undefined {
  if (frequency === '') return undefined;
  return Math.min(100, Number.parseInt(frequency, 10)) || undefined;
}

function toPull(wire: WireConsumer): PullConfig {
  return {
    maxWaiting: wire.max_waiting,
    maxBatch: wire.max_batch || undefined,
    maxExpiresMs: wire.max_expires || undefined,
    maxBytes: wire.max_bytes || undefined,
    priority:
      wire.priority_policy === 'none'
        ? undefined
        : {
            policy: wire.priority_policy,
            groups: wire.priority_groups,
            timeoutMs: wire.priority_timeout || undefined,
          },
  };
}

function toPush(wire: WireConsumer): PushConfig {
  return {
    deliverSubject: wire.deliver_subject,
    deliverGroup: wire.deliver_group || undefined,
    flowControl: wire.flow_control || undefined,
    idleHeartbeatMs: wire.idle_heartbeat || undefined,
    maxBatch: wire.max_batch || undefined,
    maxExpiresMs: wire.max_expires || undefined,
    maxBytes: wire.max_bytes || undefined,
  };
}

/** Only what says something: most consumers have none of it. */
function toAsked(wire: WireConsumer, hasDefaultThreshold: boolean): AskedConfig | undefined {
  const asked: AskedConfig = {
    ...(wire.durable_name === '' && wire.name === '' ? { unnamed: true } : {}),
    ...(wire.filter_subjects.length > 0 ? { filterList: true } : {}),
    ...(wire.opt_start_time === '' ? {} : { optStartTime: wire.opt_start_time }),
    ...(isZeroTime(wire.pause_until) ? {} : { pauseUntil: toUtc(wire.pause_until) }),
    ...(wire.sample_freq === '' ? {} : { sampleFreq: wire.sample_freq }),
    ...(wire.num_replicas === 0 ? {} : { replicas: wire.num_replicas }),
    ...(wire.ack_policy === 'none' && wire.max_ack_pending === -1 ? { maxAckPending: -1 } : {}),
    ...(hasDefaultThreshold ? { inactiveDefault: true } : {}),
    ...(wire.deliver_subject === '' && wire.deliver_group !== ''
      ? { deliverGroup: wire.deliver_group }
      : {}),
  };
  return Object.keys(asked).length === 0 ? undefined : asked;
}

/** The ConsumerConfig of an answer. With a `version`, its metadata say who speaks. */
export function configToWire(config: ConsumerConfig, version?: string): Record<string, unknown> {
  const { asked, pull, push } = config;
  const isList = asked?.filterList === true || config.filterSubjects.length > 1;
  const [only = ''] = isList ? [] : config.filterSubjects;
  const { maxAckPending } = config;
  const isUnbounded = config.ackPolicy === 'none' && maxAckPending === -1;
  return answered(
    wireConsumer({
      durable_name: config.durable ? config.name : '',
      name: asked?.unnamed === true ? '' : config.name,
      description: config.description ?? '',
      deliver_policy: config.deliverPolicy,
      opt_start_seq: config.optStartSeq ?? 0,
      opt_start_time: timeText(config.optStartTimeMs, asked?.optStartTime),
      ack_policy: config.ackPolicy,
      ack_wait: config.ackWaitMs,
      max_deliver: config.maxDeliver,
      backoff: config.backoffMs ?? [],
      filter_subject: only,
      filter_subjects: isList ? config.filterSubjects : [],
      replay_policy: config.replayPolicy,
      rate_limit_bps: config.rateLimitBps ?? 0,
      sample_freq: asked?.sampleFreq ?? percent(config.samplePercent),
      max_waiting: pull?.maxWaiting ?? 0,
      max_ack_pending: isUnbounded ? (asked?.maxAckPending ?? 0) : maxAckPending,
      flow_control: push?.flowControl ?? false,
      headers_only: config.headersOnly ?? false,
      max_batch: (pull ?? push)?.maxBatch ?? 0,
      max_expires: (pull ?? push)?.maxExpiresMs ?? 0,
      max_bytes: (pull ?? push)?.maxBytes ?? 0,
      deliver_subject: push?.deliverSubject ?? '',
      deliver_group: push?.deliverGroup ?? asked?.deliverGroup ?? '',
      idle_heartbeat: push?.idleHeartbeatMs ?? 0,
      inactive_threshold: config.inactiveThresholdMs ?? 0,
      num_replicas: asked?.replicas ?? 0,
      mem_storage: config.memoryStorage ?? false,
      direct: config.direct ?? false,
      sourcing: config.sourcing ?? false,
      metadata: shownMetadata(config.metadata, requiredLevel(config), version),
      pause_until: timeText(config.pauseUntilMs, asked?.pauseUntil),
      priority_groups: pull?.priority?.groups ?? [],
      priority_policy: pull?.priority?.policy ?? 'none',
      priority_timeout: pull?.priority?.timeoutMs ?? 0,
    }),
  );
}

/** The words of the client, as long as they say the same. */
function timeText(ms: number | undefined, asked: string | undefined): string {
  if (ms === undefined) return '';
  return asked !== undefined && timeToMs(asked) === ms ? asked : msToTime(ms);
}

function percent(sample: number | undefined): string {
  return sample === undefined ? '' : `${sample}%`;
}

/** The level of the API that a server must speak to have this consumer (ADR-44). */
function requiredLevel({ ackPolicy, pauseUntilMs, pull }: ConsumerConfig): number {
  if (ackPolicy === 'flow_control') return 4;
  return pauseUntilMs !== undefined || pull?.priority !== undefined ? 1 : 0;
}

/**
 * Whether a client that asks to create `wanted` may have `existing`. One that leaves the threshold of an ephemeral consumer
 * open never may: nats-server compares before it fills that in.
 */
export function sameConfig(existing: ConsumerConfig, wanted: ConsumerConfig): boolean {
  if (wanted.asked?.inactiveDefault === true) return false;
  return isDeepStrictEqual(configToWire(existing), configToWire(wanted));
}
