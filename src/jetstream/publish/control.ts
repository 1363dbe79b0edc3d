// The headers by which a publisher tells the stream something: what it expects, how long the message lives, to which
// batch it belongs. All begin with `Nats-`, so one look over a block finds them or finds that there are none.

import { valueAt } from '../../headers.ts';

/** Names are case-sensitive, and the first value of a name counts, as in nats-server. */
const NAMES = [
  'Nats-Msg-Id',
  'Nats-Expected-Stream',
  'Nats-Expected-Last-Sequence',
  'Nats-Expected-Last-Subject-Sequence',
  'Nats-Expected-Last-Subject-Sequence-Subject',
  'Nats-Expected-Last-Msg-Id',
  'Nats-Rollup',
  'Nats-TTL',
  'Nats-Batch-Id',
  'Nats-Batch-Sequence',
  'Nats-Batch-Commit',
  'Nats-Required-Api-Level',
  'Nats-Incr',
  'Nats-Schedule',
  'Nats-Schedule-Time-Zone',
  'Nats-Schedule-Next',
  'Nats-Scheduler',
  'Nats-Stream-Source',
  'Nats-Request-Info',
] as const;
export type ControlName = (typeof NAMES)[number];

/** The values that are there, which may be empty. */
export type Control = { readonly [name in ControlName]?: string };

const KNOWN: ReadonlyMap<string, ControlName> = new Map(NAMES.map((name) => [name, name]));
const LONGEST_NAME = Math.max(...NAMES.map((name) => name.length));
const NEEDLE = Buffer.from('\r\nNats-', 'latin1');
const COLON = 58;

/** What a block tells the stream, or undefined for nothing. */
export function readControl(block: Buffer | undefined): Control | undefined {
  if (block === undefined) return undefined;
  let control: { [name in ControlName]?: string } | undefined;
  for (let at = block.indexOf(NEEDLE); at >= 0; at = block.indexOf(NEEDLE, at + NEEDLE.length)) {
    const colon = nameEnd(block, at + 2);
    const name = colon < 0 ? undefined : KNOWN.get(block.toString('latin1', at + 2, colon));
    if (name === undefined || control?.[name] !== undefined) continue;
    control ??= {};
    control[name] = valueAt(block, colon + 1);
  }
  return control;
}

/** Where the colon behind a name stands; -1 where there is none or the name is none of ours. */
function nameEnd(block: Buffer, from: number): number {
  const end = Math.min(block.length, from + LONGEST_NAME + 1);
  for (let at = from; at < end; at++) if (block[at] === COLON) return at;
  return -1;
}

/** A header value that says something: what is absent or empty says nothing. */
export function said(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}
