// What the gateway proves itself with to the hub. Files are read at each attempt, so that a renewed one counts without a
// restart; their content goes nowhere but into the connection.

import { readFile } from 'node:fs/promises';
import { fileError } from './link-error.ts';

export type Credentials =
  | { readonly kind: 'creds'; readonly file: string }
  | { readonly kind: 'user'; readonly user: string; readonly passwordFile?: string }
  | { readonly kind: 'token'; readonly file: string }
  | { readonly kind: 'nkey'; readonly file: string };

/** The same, read. */
export type Secret =
  | { readonly kind: 'none' }
  | { readonly kind: 'creds'; readonly creds: Buffer }
  | { readonly kind: 'user'; readonly user: string; readonly password: string }
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'nkey'; readonly seed: Buffer };

/** Larger files are no credentials. */
const FILE_BYTES_MAX = 64 * 1024;

/** Reads the files. Rejects with a LinkError of kind `files`. */
export async function readCredentials(credentials: Credentials | undefined): Promise<Secret> {
  switch (credentials?.kind) {
    case undefined:
      return { kind: 'none' };
    case 'creds': {
      const creds = await read(credentials.file);
      if (!/BEGIN NATS USER JWT[\s\S]+SEED-----/.test(creds.toString('latin1')))
        throw fileError(credentials.file, new Error('holds no NATS user JWT and seed'));
      return { kind: 'creds', creds };
    }
    case 'user': {
      const password =
        credentials.passwordFile === undefined ? '' : await readLine(credentials.passwordFile);
      return { kind: 'user', user: credentials.user, password };
    }
    case 'token':
      return { kind: 'token', token: await readLine(credentials.file) };
    case 'nkey': {
      const seed = await readLine(credentials.file);
      if (!/^SU[A-Z2-7]{40,}$/.test(seed))
        throw fileError(credentials.file, new Error('holds no user nkey seed (SU…)'));
      return { kind: 'nkey', seed: Buffer.from(seed) };
    }
  }
}

/** The file's only line. */
async function readLine(path: string): Promise<string> {
  return (await read(path)).toString('utf8').replace(/\r?\n$/, '');
}

async function read(path: string): Promise<Buffer> {
  try {
    const bytes = await readFile(path);
    if (bytes.length === 0 || bytes.length > FILE_BYTES_MAX)
      throw new Error(bytes.length === 0 ? 'is empty' : 'is too large for credentials');
    return bytes;
  } catch (error) {
    throw fileError(path, error);
  }
}
