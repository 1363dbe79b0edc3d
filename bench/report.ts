// What a bench says: one Result a case, shown as a line of a table and as one line of JSON, with the machine it ran on.

import { median } from './rounds.ts';

export interface Result {
  /** The file that asked. */
  readonly bench: string;
  readonly case: string;
  readonly unit: string;
  /** One measurement a round. */
  readonly ours: readonly number[];
  readonly peer?: { readonly name: string; readonly measured: readonly number[] };
  /** What is asked of the median: of the ratio ours/peer where there is a peer, of ours otherwise. */
  readonly required?: { readonly atLeast: number } | { readonly atMost: number };
  readonly note?: string;
}

/** The median over the rounds of ours/peer; undefined without a peer. */
export function ratioOf({ ours, peer }: Result): number | undefined {
  if (peer === undefined) return undefined;
  return median(ours.map((value, round) => value / (peer.measured[round] ?? NaN)));
}

/** Whether the requirement holds; undefined where there is none. */
export function holds(result: Result): boolean | undefined {
  const { required, ours } = result;
  if (required === undefined) return undefined;
  const value = ratioOf(result) ?? median(ours);
  return 'atLeast' in required ? value >= required.atLeast : value <= required.atMost;
}

/** The results as a Markdown table, ratios first. */
export function table(results: readonly Result[]): string {
  const lines = [
    '| ours/peer | required | bench | case | ours | peer | unit |',
    '|---|---|---|---|---|---|---|',
  ];
  for (const result of results) {
    const { bench, case: name, unit, ours, peer, note } = result;
    const ratio = ratioOf(result);
    const cells = [
      ratio === undefined ? '' : `${round(ratio)}x`,
      requirement(result),
      bench,
      note === undefined ? name : `${name} (${note})`,
      round(median(ours)),
      peer === undefined ? '' : `${round(median(peer.measured))} ${peer.name}`,
      unit,
    ];
    lines.push(`| ${cells.join(' | ')} |`);
  }
  return lines.join('\n');
}

/** One line of JSON: the result and the machine it was measured on. */
export function jsonLine(result: Result, machine: object): string {
  const ratio = ratioOf(result);
  return JSON.stringify({ ...result, ratio, holds: holds(result), machine });
}

/** Prints the results of one bench: each as JSON, then the table. */
export function print(results: readonly Result[], machine: object): void {
  for (const result of results) console.log(jsonLine(result, machine));
  console.log(`\n${table(results)}\n`);
}

function requirement(result: Result): string {
  const { required, peer } = result;
  if (required === undefined) return '';
  const times = peer === undefined ? '' : 'x';
  const text = 'atLeast' in required ? `>= ${required.atLeast}` : `<= ${required.atMost}`;
  return `${text}${times} ${holds(result) === true ? 'ok' : 'SHORT'}`;
}

function round(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
