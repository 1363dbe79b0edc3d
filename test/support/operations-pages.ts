// The pages for operators: docs/operations.md and everything under docs/operations/.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const DOCS = join(import.meta.dirname, '../../docs');

/** The pages, by their path under docs/. */
export function operationsPages(): ReadonlyMap<string, string> {
  const names = readdirSync(join(DOCS, 'operations')).filter((name) => name.endsWith('.md'));
  const paths = ['operations.md', ...names.toSorted().map((name) => `operations/${name}`)];
  return new Map(paths.map((path) => [path, readFileSync(join(DOCS, path), 'utf8')]));
}

/** All pages as one text. */
export function operationsText(): string {
  return [...operationsPages().values()].join('\n');
}
