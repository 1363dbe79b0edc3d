// Which branches of the reconciliation a run went through, told from what the forwarder says and from what it was told.

import type { HubStream } from '../../sync/hub.ts';
import type { World } from './world.ts';

const SAID: readonly (readonly [RegExp, string])[] = [
  [/"kind":"lost ack"/, 'verdict: lost ack'],
  [/"kind":"removed"/, 'verdict: removed'],
  [/never had; going on behind/, 'verdict: unknown epoch'],
  [/holds later messages of this gateway/, 'verdict: beyond'],
  [/among ours at the hub is not ours/, 'verdict: no id'],
  [/sends under our name/, 'verdict: conflict'],
  [/going on without acceleration for a while/, 'fell back'],
  [/it is set aside/, 'set aside'],
  [/failed its checksum/, 'checksum failed'],
  [/the database was damaged/, 'salvaged'],
  [/the wall clock was set/, 'wall clock set'],
  [/Serial port lost/, 'port lost'],
  [/consumers at the hub remove the checkpoints/, 'checkpoints lost'],
];

const whys = new WeakMap<World, Map<string, string>>();

export function countLine(world: World, line: string): void {
  for (const [pattern, what] of SAID) if (pattern.test(line)) world.count(what);
  if (!line.includes('lost messages that it had confirmed')) return;
  const { stream } = JSON.parse(line) as { stream: string };
  world.count(`verdict: refill, ${whys.get(world)?.get(stream) ?? 'why'}`);
}

/** The forwarder has learned what the hub stream is: notes what it may make of it. */
export function lossSeen(world: World, { created, lastSeq }: HubStream): void {
  const known = whys.get(world) ?? new Map<string, string>();
  whys.set(world, known);
  for (const { name, mark } of world.gateway?.forwarded ?? []) {
    if (mark === null) continue;
    if (mark.hubCreated !== created) known.set(name, 'recreated');
    else known.set(name, lastSeq < mark.hubSeq ? 'rolled back' : 'overwritten');
  }
}
