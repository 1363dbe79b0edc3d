// What the disk holds when the power goes: the database as SQLite has synced it, the log as the last sync that returned
// left it, and of what was written since as much as happened to get there.

import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GatewayStore } from './gateway-store.ts';
import { randomInt, type Random } from './random.ts';

/** SQLite syncs the header of a log that begins anew before it writes frames behind it. */
const HEADER_BYTES = 32;

/** Writes what is left of `store`, which goes on for as long as nobody ends it, into the directory of another. */
export function cutPower(store: GatewayStore, after: GatewayStore, random: Random): void {
  const from = join(store.dir, 'mangrove.db');
  const to = join(after.dir, 'mangrove.db');
  copyFileSync(from, to);
  const synced = store.disk?.syncedWal ?? Buffer.alloc(0);
  const written = existsSync(`${from}-wal`) ? readFileSync(`${from}-wal`) : Buffer.alloc(0);
  const isSame = synced.subarray(0, HEADER_BYTES).equals(written.subarray(0, HEADER_BYTES));
  const lucky = random() < 0.5 ? 0 : randomInt(random, written.length + 1);
  const upTo = Math.min(written.length, Math.max(isSame ? 0 : HEADER_BYTES, lucky));
  writeFileSync(`${to}-wal`, Buffer.concat([written.subarray(0, upTo), synced.subarray(upTo)]));
}
