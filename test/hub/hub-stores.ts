// Directories put back from older copies: of a gateway's store, and of what a hub's servers have on their disks.

import { execFileSync } from 'node:child_process';
import { renameSync, rmSync } from 'node:fs';
import type { NatsServer } from '../support/nats-server.ts';

/** Copies a directory as an operator does; in a process of its own, because ours may have the database open. */
export function copy(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  execFileSync('cp', ['-a', from, to]);
}

/** Puts the directory `by` in the place of another one. */
export function replace(directory: string, by: string): void {
  rmSync(directory, { recursive: true });
  renameSync(by, directory);
}

/** Keeps a copy of what the servers of one hub have stored up to now; they are restarted for it. */
export async function snapshot(servers: readonly NatsServer[]): Promise<void> {
  await Promise.all(servers.map((server) => server.stop()));
  for (const { storeDir } of servers) copy(storeDir, `${storeDir}-copy`);
  await Promise.all(servers.map((server) => server.restart()));
}

/** Kills them, and puts the copy in its place: they lose whatever they have stored since. */
export async function rollBack(servers: readonly NatsServer[]): Promise<void> {
  await Promise.all(servers.map((server) => server.kill()));
  for (const { storeDir } of servers) replace(storeDir, `${storeDir}-copy`);
  await Promise.all(servers.map((server) => server.restart()));
}
