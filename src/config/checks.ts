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

/** Reports when one of two keys is there without the other. */
export function checkPair(a: string, b: string, problems: Problems): void {
  for (const [one, other] of [[a, b] as const, [b, a] as const])
    if (problems.isWritten(one) && !problems.isWritten(other))
      problems.add(one, `found without ${other}, expected both or neither`);
}

/** How the gateway logs in at a hub, in the table `at`, and which of its `servers` (a list of the key `key`) speak TLS. */
export function checkServers(
  at: string,
  { key, servers, tls }: { key: string; servers: readonly { tls: boolean }[]; tls: boolean },
  problems: Problems,
): void {
  const ways = ['credentials', 'user', 'token_file', 'nkey_file'].filter((way) =>
    problems.isWritten(`${at}.${way}`),
  );
  if (ways.length > 1) {
    const [first = '', second = ''] = ways;
    problems.add(
      `${at}.${second}`,
      `found beside ${first} (${problems.where(`${at}.${first}`)}), expected one way to log in`,
    );
  }
  checkPair(`${at}.user`, `${at}.password_file`, problems);
  checkPair(`${at}.tls.cert`, `${at}.tls.key`, problems);
  const plain = servers.findIndex((server) => !server.tls);
  if (!tls && plain >= 0 && servers.some((server) => server.tls))
    problems.add(
      `${at}.${key}[${plain + 1}]`,
      'found a server without TLS beside one with tls://, expected tls:// for all of one cluster',
    );
}
