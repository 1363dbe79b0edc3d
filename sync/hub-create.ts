// Creates the hub stream where the configuration says so, as large and as safe as this hub allows: older servers do
// not know every key, small ones have no 8 GiB, and a cluster may have no three peers to spare.

import type { Logger } from '../src/log.ts';
import { HubError } from './hub-error.ts';
import { CREATE_BYTES, newStream, NEWER_KEYS } from './hub-stream.ts';

/** Refusals that a smaller stream may pass. */
const TOO_LARGE = new Set([10002, 10023, 10028, 10047, 10122]);
/** Refusals that fewer replicas may pass. */
const TOO_MANY_REPLICAS = new Set([10005, 10074]);
/** Refusals of a key that the server does not know, or may not combine. */
const UNKNOWN_KEY = new Set([10025, 10052]);
/** Somebody was faster, perhaps another gateway: what is there is looked at next. */
const IN_USE = 10058;
/** Each refusal gives one thing up; there are no more than these to give up. */
const ATTEMPTS_MAX = CREATE_BYTES.length + NEWER_KEYS.length + 2;

export interface CreateParts {
  readonly clustered: boolean;
  readonly log: Logger;
  /** Messages come without a fence: see newStream(). */
  readonly remembers: boolean;
  /** STREAM.CREATE; rejects with a HubError. */
  readonly create: (config: Record<string, unknown>) => Promise<unknown>;
}

/** Creates the stream `name` on `<prefix>.>`. Rejects with the HubError of the last attempt. */
export async function createHubStream(
  name: string,
  prefix: string,
  { clustered, log, remembers, create }: CreateParts,
): Promise<void> {
  let size = 0;
  let replicas = clustered ? 3 : 1;
  const without: string[] = [];
  for (let attempt = 1; ; attempt++) {
    const maxBytes = CREATE_BYTES[size] ?? CREATE_BYTES[0];
    try {
      await create(newStream(name, prefix, { replicas, maxBytes, without, remembers }));
      log.info(
        { stream: name, subjects: `${prefix}.>`, replicas, max_bytes: maxBytes, without },
        'created the hub stream',
      );
      if (clustered && replicas === 1)
        log.warn(
          {
            stream: name,
            hint: 'add peers to the hub cluster, then set num_replicas = 3 on the stream',
          },
          'the hub cluster has no three peers for its stream: it has one replica',
        );
      return;
    } catch (error) {
      if (!(error instanceof HubError) || attempt >= ATTEMPTS_MAX) throw error;
      const { errCode } = error;
      const key = NEWER_KEYS.find((newer) => !without.includes(newer));
      if (errCode === IN_USE) return;
      if (TOO_LARGE.has(errCode) && size + 1 < CREATE_BYTES.length) size++;
      else if (TOO_MANY_REPLICAS.has(errCode) && replicas > 1) replicas = 1;
      else if (UNKNOWN_KEY.has(errCode) && key !== undefined) without.push(key);
      else throw refused(name, error);
    }
  }
}

function refused(name: string, error: HubError): HubError {
  const hint =
    error.errCode === 10065
      ? 'another hub stream takes these subjects: let hub.stream name it, or choose another hub.prefix'
      : (error.hint ?? 'create it by hand, and set create = false in [hub]');
  const kind = error.kind === 'retry' ? 'retry' : 'configuration';
  return new HubError(kind, `the hub did not create the stream ${name}: ${error.message}`, {
    errCode: error.errCode,
    hint,
    standing: kind === 'configuration' || error.standing,
    cause: error,
  });
}
