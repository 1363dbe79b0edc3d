// Which way out a consumer has.

import { PullOutlet, type PullDeps } from './pull-outlet.ts';
import { PushOutlet } from './push.ts';
import type { Outlet, OutletHost } from './types.ts';

/** What a rate limit lets through at once: the largest message of most clients. */
const BURST_BYTES = 1024 * 1024;

export function openOutlet(host: OutletHost, deps: PullDeps): Outlet {
  const { push } = host.config;
  if (push === undefined) return new PullOutlet(host, deps);
  return new PushOutlet(host, push, { ...deps, messageBytesMax: BURST_BYTES });
}
