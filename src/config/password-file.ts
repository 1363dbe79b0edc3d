// Password files as mosquitto_passwd writes them: a line `user:hash` for each user. The hash is `$7$rounds$salt$hash`
// (PBKDF2 with SHA-512) or `$6$salt$hash` (SHA-512 once, from mosquitto 1.6 and older); salt and hash are base64.

import { readFileSync } from 'node:fs';

/** Rounds of one hash: mosquitto_passwd's default is 101, OWASP's advice 210,000. More would stop all other logins for seconds. */
export const HASH_ROUNDS_MAX = 1_000_000;
/** Bytes of SHA-512. */
export const HASH_BYTES = 64;

export interface PasswordHash {
  readonly salt: Buffer;
  readonly hash: Buffer;
  /** Of PBKDF2; 0: SHA-512 once, of the password and the salt. */
  readonly rounds: number;
}

export interface HashedUser {
  readonly user: string;
  readonly hash: string;
}

/** Undefined for what is no such hash. */
export function parseHash(text: string): PasswordHash | undefined {
  const [, digits, salted = '', hashed = ''] =
    /^\$(?:7\$(\d{1,7})|6)\$([A-Za-z0-9+/]+={0,2})\$([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? [];
  const [salt, hash] = [Buffer.from(salted, 'base64'), Buffer.from(hashed, 'base64')];
  const rounds = Number(digits ?? '0');
  if (salt.length === 0 || hash.length !== HASH_BYTES) return undefined;
  if (digits !== undefined && (rounds < 1 || rounds > HASH_ROUNDS_MAX)) return undefined;
  return { salt, hash, rounds };
}

/** The users of a file; or `line N`, and what is wrong with it: no part of a secret. */
export function parsePasswordFile(text: string): readonly HashedUser[] | string {
  const users = new Map<string, HashedUser>();
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const problem = addLine(users, line.trimEnd());
    if (problem !== undefined) return `line ${i + 1}: ${problem}`;
  }
  return [...users.values()];
}

function addLine(users: Map<string, HashedUser>, line: string): string | undefined {
  const colon = line.indexOf(':');
  if (colon < 1) return 'expected "user:hash", as mosquitto_passwd writes it';
  const [user, hash] = [line.slice(0, colon), line.slice(colon + 1)];
  if (users.has(user)) return `user "${user}" a second time`;
  if (parseHash(hash) === undefined)
    return `user "${user}" has no hash of mosquitto_passwd ("$7$…" or "$6$…"); a file with passwords becomes one by mosquitto_passwd -U`;
  users.set(user, { user, hash });
  return undefined;
}

/** The names in the file at `path`; none where it cannot be used, which is reported where that matters. */
export function namesInPasswordFile(path: string | undefined): ReadonlySet<string> {
  if (path === undefined) return new Set();
  try {
    const users = parsePasswordFile(readFileSync(path, 'utf8'));
    return new Set(typeof users === 'string' ? [] : users.map(({ user }) => user));
  } catch {
    return new Set();
  }
}
