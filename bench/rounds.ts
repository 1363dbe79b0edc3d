// How contestants are measured side by side: in short rounds, each contestant once a round and in turns first, so that
// what disturbs the machine disturbs all of them. What counts is the ratio within a round; the median of those is shown.

/** A contestant: each call is one measurement; the result is in whatever unit the question has. */
export type Contestant = () => Promise<number>;

/** One contestant's measurements, one a round. */
export type Measured<Name extends string> = Record<Name, number[]>;

/** Measures every contestant once a round. Odd rounds run in the opposite order. */
export async function inRounds<Name extends string>(
  rounds: number,
  contestants: Record<Name, Contestant>,
): Promise<Measured<Name>> {
  const names = Object.keys(contestants) as Name[];
  const measured = Object.fromEntries(names.map((name) => [name, []])) as unknown as Measured<Name>;
  for (let round = 0; round < rounds; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed())
      measured[name].push(await contestants[name]());
  }
  return measured;
}

/** The middle value; of an even number the mean of the two in the middle. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? NaN) + (sorted[Math.floor(middle)] ?? NaN)) / 2;
}

/** The value below which the share `p` (0 to 1) of `values` lies. NaN of none. */
export function quantile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? NaN;
}
