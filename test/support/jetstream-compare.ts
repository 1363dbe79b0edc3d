// Runs one script against two servers and finds the first step whose outcome differs. A difference has to show again with
// more patience, as what comes by the clock may come late on a busy machine; then it is cut down to the steps it needs.

import { normal } from './jetstream-normal.ts';
import { runScript, type Run } from './jetstream-run.ts';
import { describe, type Script, type Step } from './jetstream-script.ts';
import { schemaFaults, schemaTypes } from './jetstream-schemas.ts';

export interface Difference {
  readonly step: Step;
  readonly theirs: readonly string[];
  readonly ours: readonly string[];
}

export interface Servers {
  readonly theirs: number;
  readonly ours: number;
}

/** A difference that is meant, with the reason. */
export interface Deliberate {
  readonly reason: string;
  /** Whether this is the difference in question. */
  readonly is: (difference: Difference) => boolean;
}

/** How long nothing must come until nothing is taken to come, from try to try. */
const MARGINS_MS = [4, 30, 120];
/** Runs that a script may be cut down in. */
const CUTS_MAX = 60;
const CUTS_MS_MAX = 25_000;

/** The first difference that lasts; undefined for none. */
export async function compare(
  servers: Servers,
  script: Script,
  deliberate: readonly Deliberate[],
): Promise<Difference | undefined> {
  let found: Difference | undefined;
  for (const marginMs of MARGINS_MS) {
    found = await once(servers, script, { marginMs, deliberate });
    if (found === undefined) return undefined;
  }
  return found;
}

interface Terms {
  readonly marginMs: number;
  readonly deliberate: readonly Deliberate[];
}

async function once(
  servers: Servers,
  script: Script,
  { marginMs, deliberate }: Terms,
): Promise<Difference | undefined> {
  const [theirs, ours] = await Promise.all([
    runScript(servers.theirs, script, marginMs),
    runScript(servers.ours, script, marginMs),
  ]);
  const [their, our] = [normal(theirs), normal(ours)];
  for (const [i, step] of script.entries()) {
    const difference = { step, theirs: their[i] ?? [], ours: our[i] ?? [] };
    if (!same(difference) && !deliberate.some(({ is }) => is(difference))) return difference;
  }
  return faults(theirs, ours);
}

function same({ theirs, ours }: Difference): boolean {
  return theirs.length === ours.length && theirs.every((line, i) => line === ours[i]);
}

/** What the published schemas find in our messages and not in theirs. */
function faults(theirs: Run, ours: Run): Difference | undefined {
  const known = new Set(
    theirs.observations.flatMap(({ frames }) => frames.flatMap(({ data }) => schema(data))),
  );
  for (const { step, frames } of ours.observations)
    for (const { data } of frames) {
      const wrong = schema(data).filter((fault) => !known.has(fault));
      if (wrong.length > 0) return { step, theirs: ['(its schema)'], ours: [data, ...wrong] };
    }
  return undefined;
}

function schema(data: string): string[] {
  const message = json(data) as { type?: string } | undefined;
  // Answers of clusters, and to what nobody knows, have no schema, or none that is kept here.
  return schemaTypes().includes(message?.type ?? '') ? schemaFaults(message) : [];
}

/** The steps without which the difference goes away, as far as a few tries find them. */
export async function minimise(
  servers: Servers,
  script: Script,
  deliberate: readonly Deliberate[],
): Promise<Script> {
  const terms = { marginMs: MARGINS_MS[1] ?? 30, deliberate };
  const first = await once(servers, script, terms);
  if (first === undefined) return script;
  let best: Script = script.slice(0, script.indexOf(first.step) + 1);
  let tries = 0;
  const startedMs = performance.now();
  for (let size = Math.ceil(best.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = best.length - 1 - size; at > -size; at -= size) {
      if (tries++ > CUTS_MAX || performance.now() - startedMs > CUTS_MS_MAX) return best;
      const shorter = best.filter((_, i) => i < at || i >= at + size);
      if (shorter.length < best.length && (await once(servers, shorter, terms)) !== undefined)
        best = shorter;
    }
  }
  return best;
}

/** The history up to the difference, and both outcomes; of JSON, what differs. */
export function report(script: Script, difference: Difference): string {
  const { step } = difference;
  const history = script.slice(0, script.findIndex(({ id }) => id === step.id) + 1).map(describe);
  return [...history, ...outcomes(difference)].join('\n');
}

export function outcomes({ theirs, ours }: Difference): string[] {
  const [their, our] = [theirs, ours].map((lines) =>
    lines.length === 1 ? json(lines[0]) : undefined,
  );
  if (their !== undefined && our !== undefined) return differing('', their, our);
  // From where they part.
  const from = Math.max(
    0,
    theirs.findIndex((line, i) => line !== ours[i]),
  );
  return [
    `--- nats-server, from ${from}:`,
    ...theirs.slice(from),
    '--- ours:',
    ...ours.slice(from),
  ];
}

function json(line = ''): unknown {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return undefined;
  }
}

/** The fields that differ, one a line. */
function differing(path: string, theirs: unknown, ours: unknown): string[] {
  const [their, our] = [JSON.stringify(theirs), JSON.stringify(ours)];
  if (their === our) return [];
  const nested = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null;
  if (!nested(theirs) || !nested(ours)) return [`--- ${path}: nats-server ${their}, ours ${our}`];
  const keys = new Set([...Object.keys(theirs), ...Object.keys(ours)]);
  return [...keys].flatMap((key) => differing(`${path}.${key}`, theirs[key], ours[key]));
}
