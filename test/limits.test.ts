// docs/architecture.md lists every named maximum of the source, with the figure that the source has.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  ms: 1,
  s: 1000,
  min: 60_000,
};

/** `file name` to its value; undefined where the source computes it. */
function ofSource(): Map<string, number | undefined> {
  const found = new Map<string, number | undefined>();
  for (const folder of ['src', 'device', 'sync'])
    for (const file of readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts')) continue;
      const text = readFileSync(join(ROOT, folder, file), 'utf8');
      const constants = /^(?:export )?const ([A-Z0-9_]+) = (.+);$/gm;
      const values = new Map<string, number | undefined>();
      for (const [, name = '', expression = ''] of text.matchAll(constants))
        values.set(name, value(expression, values));
      for (const [, name = '', expression = ''] of text.matchAll(
        /^  (\w+Max): ((?:\d|[A-Z]+\b)[\w *]*),$/gm,
      ))
        values.set(name, value(expression, values));
      for (const [name, size] of values)
        if (/(^|_)MAX(_|$)|Max$/.test(name) && !isOption(text, name))
          found.set(`${folder}/${file} ${name}`, size);
    }
  return found;
}

/** A figure that a stream's configuration replaces is no limit of ours. */
function isOption(text: string, name: string): boolean {
  return new RegExp(`^  ${name}: 0,$`, 'm').test(text);
}

/** A product of numbers and of constants of the same file. */
function value(
  expression: string,
  known: ReadonlyMap<string, number | undefined>,
): number | undefined {
  let product = 1;
  for (const factor of expression.split(' * ')) {
    const number = /^[\d_]+$/.test(factor) ? Number(factor.replaceAll('_', '')) : known.get(factor);
    if (number === undefined) return undefined;
    product *= number;
  }
  return product;
}

/** The rows of the page's tables, as above. */
function ofPage(): Map<string, number> {
  const text = readFileSync(join(ROOT, 'docs/architecture.md'), 'utf8');
  const rows = /^\| `(\w+)` \| `([\w./-]+)` \| ([\d,]+) ?(\w*) \| (.+) \|$/gm;
  return new Map(
    [...text.matchAll(rows)].map(([, name, file, digits = '', unit = '']) => [
      `${file} ${name}`,
      Number(digits.replaceAll(',', '')) * (UNITS[unit] ?? Number.NaN),
    ]),
  );
}

test('every maximum of the source is on the page, and no other', () => {
  expect([...ofPage().keys()].toSorted()).toEqual([...ofSource().keys()].toSorted());
});

test('the page has the figures of the source', () => {
  const source = ofSource();
  const page = ofPage();
  const wrong = [...page].filter(([key, size]) => (source.get(key) ?? size) !== size);
  expect(wrong).toEqual([]);
});
