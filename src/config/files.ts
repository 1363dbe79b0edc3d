// The kinds of value that name files. They are looked at when the configuration is read: a credential that is missing,
// or that others can read, is a mistake to hear of before the agent runs, not when the WAN is back.

import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { Refusal, text, type Context, type Kind } from './kinds.ts';
import { parsePasswordFile } from './password-file.ts';

/** A password, a .creds file, a bundle of all public authorities (220 KB); what is larger is another file. */
const FILE_BYTES_MAX = 1024 * 1024;

/** A path that need not exist yet, made absolute from the directory of the file. */
export const path: Kind<string> = text('a path', (found, context) =>
  isPath(found) ? resolve(context.baseDir, found) : undefined,
);

/** A device: absolute, because a port does not lie beside the configuration. It may be unplugged, so it need not exist. */
export const device: Kind<string> = text('an absolute path such as "/dev/ttyUSB0"', (found) =>
  isPath(found) && found.startsWith('/') ? found : undefined,
);

/** A file of PEM blocks with certificates. */
export const pemFile: Kind<string> = text('a readable PEM file', (found, context) => {
  const read = open(found, context);
  if (read instanceof Refusal) return read;
  return (
    holds(read, /-----BEGIN /, 'PEM block') ??
    holds(read, /-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----/, 'certificate') ??
    read.file
  );
});

/** The PEM file of a private key. What else it is, is said before who may read it: a certificate is no secret. */
export const pemSecretFile: Kind<string> = text('a readable PEM file', (found, context) => {
  const read = open(found, context);
  if (read instanceof Refusal) return read;
  return (
    holds(read, /-----BEGIN [A-Z ]*PRIVATE KEY-----/, 'private key') ?? hidden(read) ?? read.file
  );
});

/** A file that holds one secret. Its content is read when it is used, so that it can be replaced while the agent runs. */
export const secretFile: Kind<string> = text('a readable file', (found, context) => {
  const read = openSecret(found, context);
  return read instanceof Refusal ? read : read.file;
});

/** A file of users and hashes, as mosquitto_passwd writes it. */
export const passwordFile: Kind<string> = text(
  'a readable file of mosquitto_passwd',
  (found, context) => {
    const read = openSecret(found, context);
    if (read instanceof Refusal) return read;
    const users = parsePasswordFile(read.content);
    if (typeof users === 'string') return new Refusal(`${read.file}: ${users}`);
    return users.length === 0 ? new Refusal(`${read.file} has no users`) : read.file;
  },
);

/** A credentials file as `nsc` writes it: a JWT and the seed of its NKey. */
export const credentialsFile: Kind<string> = text('a readable .creds file', (found, context) => {
  const read = openSecret(found, context);
  return read instanceof Refusal
    ? read
    : (holds(read, /BEGIN NATS USER JWT/, '"BEGIN NATS USER JWT" block') ?? read.file);
});

/** The seed of an NKey. */
export const seedFile: Kind<string> = text(
  'a readable file with an NKey seed',
  (found, context) => {
    const read = openSecret(found, context);
    return read instanceof Refusal
      ? read
      : (holds(read, /^S[A-Z][A-Z2-7]{54,}$/m, 'NKey seed (SU…)') ?? read.file);
  },
);

interface Read {
  readonly file: string;
  readonly content: string;
  readonly mode: number;
  readonly uid: number;
}

function isPath(found: string): boolean {
  return found !== '' && !found.includes('\0');
}

function open(found: string, context: Context): Read | Refusal {
  if (!isPath(found)) return new Refusal('');
  const file = resolve(context.baseDir, found);
  try {
    const stats = statSync(file);
    if (!stats.isFile()) return new Refusal(`${file} is not a file`);
    if (stats.size > FILE_BYTES_MAX) return new Refusal(`${file} is larger than 1MiB`);
    return { file, content: readFileSync(file, 'utf8'), mode: stats.mode, uid: stats.uid };
  } catch (error) {
    return new Refusal(`${file}: ${systemError(error)}`);
  }
}

function openSecret(found: string, context: Context): Read | Refusal {
  const read = open(found, context);
  if (read instanceof Refusal) return read;
  return hidden(read) ?? (read.content.trim() === '' ? new Refusal(`${read.file} is empty`) : read);
}

function hidden({ file, mode, uid }: Read): Refusal | undefined {
  return isExposed(mode, uid)
    ? new Refusal(`others may read it (mode ${octal(mode)}): chmod 600 ${file}`)
    : undefined;
}

function holds(read: Read, pattern: RegExp, what: string): Refusal | undefined {
  if (pattern.test(read.content)) return undefined;
  const [, label] =
    /-----BEGIN (?:[A-Z ]+ )?(PRIVATE KEY|PUBLIC KEY|CERTIFICATE(?: REQUEST)?)-----/.exec(
      read.content,
    ) ?? [];
  const instead = label === undefined ? '' : `, but a ${label.toLowerCase()}`;
  return new Refusal(`${read.file} holds no ${what}${instead}`);
}

/**
 * Whether a secret is open to more than its owner. A file of root's may be open to its group, and to nobody else:
 * that is how `root:mangrove 0640` and systemd's LoadCredential (an ACL shows up as group bits) hand a secret over.
 */
export function isExposed(mode: number, uid: number): boolean {
  return (mode & (uid === 0 ? 0o037 : 0o077)) !== 0;
}

export function octal(mode: number): string {
  return `0${(mode & 0o777).toString(8).padStart(3, '0')}`;
}

/** What a system call's error means to an operator. */
export function systemError(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
  if (code === 'ENOENT') return 'there is no such file (ENOENT)';
  if (code === 'EACCES') return 'this user may not read it (EACCES)';
  if (code === 'ENOTDIR') return 'a part of the path is not a directory (ENOTDIR)';
  return code === 'EISDIR' ? 'it is a directory (EISDIR)' : `it cannot be read (${code})`;
}
