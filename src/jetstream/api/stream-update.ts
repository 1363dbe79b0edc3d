// What may become of the configuration of a stream that there is already, with nats-server's words.

import { isDeepStrictEqual } from 'node:util';
import type { StreamConfig } from '../stream-types.ts';
import { ApiError } from './api-error.ts';
import type { StreamConfigRequest } from './stream-config.ts';
import { given, refuseIf } from './stream-refusals.ts';
import { refuseReplicas, refuseUnbuilt } from './stream-rules.ts';

/**
 * The configuration that `wanted`, the checked form of `request`, makes of `old`. Throws an ApiError where it cannot
 * become that.
 */
export function updatedStreamConfig(
  old: StreamConfig,
  wanted: StreamConfig,
  request: StreamConfigRequest,
): StreamConfig {
  refuseReplicas(request);
  const cannot = 'stream configuration update can not';
  refuseIf(wanted.storage !== old.storage, `${cannot} change storage type`);
  const isQueue = [wanted.retention, old.retention].includes('workqueue');
  refuseIf(
    wanted.retention !== old.retention && isQueue,
    `${cannot} change retention policy to/from workqueue`,
  );
  refuseIf(isLost(old.sealed, wanted.sealed), `${cannot} unseal a sealed stream`);
  refuseIf(isLost(old.denyDelete, wanted.denyDelete), `${cannot} cancel deny message deletes`);
  refuseIf(isLost(old.denyPurge, wanted.denyPurge), `${cannot} cancel deny purge`);
  if (wanted.mirror !== undefined && !isDeepStrictEqual(wanted.mirror, old.mirror))
    throw new ApiError(400, 10055, 'stream mirror configuration can not be updated');
  refuseIf(isLost(old.allowMsgTtl, wanted.allowMsgTtl), 'message TTL status can not be disabled');
  refuseIf(request.allow_msg_counter === true, `${cannot} change message counter setting`);
  refuseIf(
    wanted.inert?.['persist_mode'] !== old.inert?.['persist_mode'],
    `${cannot} change persist mode`,
  );
  refuseUnbuilt(request);
  // A mirror that becomes a stream like others goes on counting in the time of its messages.
  const config = { ...wanted, ...given('wallTime', old.wallTime) };
  return wanted.sealed === true ? sealed(config) : config;
}

function isLost(before: boolean | undefined, after: boolean | undefined): boolean {
  return before === true && after !== true;
}

/** Nothing goes any more, be it by age or by request. */
function sealed(config: StreamConfig): StreamConfig {
  return {
    ...config,
    maxAgeMs: undefined,
    discard: 'new',
    denyDelete: true,
    denyPurge: true,
    allowRollup: false,
  };
}

/** Consumers that ask for more than `wanted` allows, where it allows less than `old`; see ADR-8's consumer limits. */
export function violating(
  old: StreamConfig,
  wanted: StreamConfig,
  consumers: readonly {
    readonly name: string;
    readonly maxAckPending: number;
    readonly inactiveThresholdMs?: number | undefined;
  }[],
): string[] {
  const { inactiveThresholdMs = 0, maxAckPending = 0 } = wanted.consumerLimits ?? {};
  const { inactiveThresholdMs: oldThresholdMs = 0, maxAckPending: oldPending = 0 } =
    old.consumerLimits ?? {};
  if (inactiveThresholdMs === oldThresholdMs && maxAckPending === oldPending) return [];
  return consumers
    .filter(
      (one) =>
        (inactiveThresholdMs > 0 && (one.inactiveThresholdMs ?? 0) > inactiveThresholdMs) ||
        (maxAckPending > 0 && one.maxAckPending > maxAckPending),
    )
    .map(({ name }) => name);
}
