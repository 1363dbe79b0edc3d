// /subsz: how many subscriptions there are, of clients, sessions and streams.

import { formatTime } from './format.ts';

export interface SubszInput {
  readonly serverId: string;
  readonly wallMs: number;
  readonly subscriptions: number;
  /** Subjects whose subscribers are remembered. */
  readonly cachedSubjects: number;
}

/** The JSON of /subsz. */
export function subsz(input: SubszInput): Record<string, unknown> {
  return {
    server_id: input.serverId,
    now: formatTime(input.wallMs),
    num_subscriptions: input.subscriptions,
    num_cache: input.cachedSubjects,
  };
}
