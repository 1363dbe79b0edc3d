// The nats-servers of yesterday's distributions, which hubs still run: 2.9.10 is Debian bookworm's, 2.10.27 is Debian
// trixie's. A missing binary is a failure, never a skip.

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const SCRIPT = join(import.meta.dirname, '../../scripts/fetch-old-nats-server.sh');

export type OldVersion = '2.9' | '2.10';

const binaries = new Map<OldVersion, string>();

/** The path of a nats-server of that version; fetches one on the first use. Throws where none can be had. */
export function oldNatsServer(version: OldVersion): string {
  const known = binaries.get(version);
  if (known !== undefined) return known;
  const stdio: ['ignore', 'pipe', 'inherit'] = ['ignore', 'pipe', 'inherit'];
  const binary = execFileSync('sh', [SCRIPT, version], { encoding: 'utf8', stdio }).trim();
  binaries.set(version, binary);
  return binary;
}
