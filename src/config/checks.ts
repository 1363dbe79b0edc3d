// Checks that several tables share.

import { octal } from './files.ts';
import type { Problems } from './problems.ts';

/** Reports the second table of a list that has the same `key` as an earlier one. */
export function distinct<K extends string>(
  list: readonly { readonly [k in K]?: unknown }[],
  at: string,
  key: K,
  problems: Problems,
): void {
  const seen = new Map<unknown, string>();
  for (const [i, item] of list.entries()) {
    const value = item[key];
    if (typeof value !== 'string') continue;
    const path = `${at}[${i + 1}].${key}`;
    const first = seen.get(value);
    if (first === undefined) seen.set(value, path);
    else
      problems.add(
        path,
        `found "${value}" again (first in ${problems.where(first)}), expected each ${key} once`,
      );
  }
}

/** A password in the configuration makes the configuration a secret. */
export function checkExposure(path: string, fileMode: number, problems: Problems): void {
  if ((fileMode & 0o007) === 0) return;
  problems.add(
    path,
    `a password in a file that others may read (mode ${octal(fileMode)}): ` +
      `chmod 640 ${problems.file}, or use password_file`,
  );
}
