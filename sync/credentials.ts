// What the gateway proves itself with to the hub. Files are read at each attempt, so that a renewed one counts without a
// restart; their content goes nowhere but into the connection. A file that holds another kind of secret than it should is
// refused here: it must not be sent to a hub as if it were a password.

import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import { isExposed, octal } from '../src/config/files.ts';
import { fileError } from './link-error.ts';

export type Credentials =
  | { readonly kind: 'creds'; readonly file: string }
  | { readonly kind: 'user'; readonly user: string; readonly passwordFile?: string }
  | { readonly kind: 'token'; readonly file: string }
  | { readonly kind: 'nkey'; readonly file: string };

/** The same, read. */
export type Secret =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'user';
      readonly file: string;
      readonly user: string;
      readonly password: string;
    }
  | { readonly kind: 'token'; readonly file: string; readonly token: string }
  | { readonly kind: 'nkey'; readonly file: string; readonly seed: string }
  | {
      readonly kind: 'creds';
      readonly file: string;
      readonly jwt: string;
      readonly seed: string;
      /** When the JWT says that it ends; Infinity where it does not. */
      readonly expiresMs: number;
    };

export interface TlsFiles {
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  /** TLS begins before the server's first word. */
  readonly handshakeFirst?: boolean | undefined;
}

/** The same, read. */
export interface TlsSettings {
  readonly context: SecureContext;
  readonly handshakeFirst: boolean;
}

/** Told of a file with a secret that more than its owner may read; `mode` as chmod takes it. */
export type Exposed = (file: string, mode: string) => void;

/** Larger files are no credentials; a bundle of all public authorities has 220 KB. */
const FILE_BYTES_MAX = 1024 * 1024;

const SEED = /^SU[A-Z2-7]{56}$/;
const JWT = /-----BEGIN NATS USER JWT-----\s+(\S+)\s+-+END/;
const CREDS_SEED = /-----BEGIN USER NKEY SEED-----\s+(SU[A-Z2-7]{56})\s+-+END/;

/** Reads the files. Rejects with a LinkError of kind `files`. */
export async function readCredentials(
  credentials: Credentials | undefined,
  exposed: Exposed,
): Promise<Secret> {
  switch (credentials?.kind) {
    case undefined:
      return { kind: 'none' };
    case 'creds':
      return readCreds(credentials.file, exposed);
    case 'user': {
      const { user, passwordFile: file } = credentials;
      const password = file === undefined ? '' : await readWord(file, exposed);
      return { kind: 'user', file: file ?? '', user, password };
    }
    case 'token': {
      const { file } = credentials;
      return { kind: 'token', file, token: await readWord(file, exposed) };
    }
    case 'nkey':
      return readSeed(credentials.file, exposed);
  }
}

/** Reads the certificates. Rejects with a LinkError of kind `files`. */
export async function readTls(files: TlsFiles, exposed: Exposed): Promise<TlsSettings> {
  const { caFile, certFile, keyFile, handshakeFirst = false } = files;
  const options: SecureContextOptions = { minVersion: 'TLSv1.2' };
  if (caFile !== undefined) options.ca = await readPem(caFile);
  if (certFile !== undefined) options.cert = await readPem(certFile);
  if (keyFile !== undefined) {
    options.key = await read(keyFile, exposed);
    const name = [certFile, keyFile].filter((file) => file !== undefined).join(', ');
    check(name, () => createSecureContext(options));
  }
  return { context: check(caFile ?? '', () => createSecureContext(options)), handshakeFirst };
}

async function readCreds(file: string, exposed: Exposed): Promise<Secret> {
  const text = await read(file, exposed);
  const jwt = JWT.exec(text)?.[1];
  const seed = CREDS_SEED.exec(text)?.[1];
  if (jwt === undefined || seed === undefined)
    throw fileError(file, new Error(`holds no NATS user JWT and seed${looksLike(text)}`));
  return { kind: 'creds', file, jwt, seed, expiresMs: expiryMs(jwt) };
}

/** A seed alone, or with the lines around it that nsc and nk write. */
async function readSeed(file: string, exposed: Exposed): Promise<Secret> {
  const text = await read(file, exposed);
  const lines = text.split('\n').map((line) => line.trim());
  const seed = lines.find((line) => SEED.test(line));
  if (seed === undefined || JWT.test(text))
    throw fileError(file, new Error(`holds no user nkey seed (SU…) alone${looksLike(text)}`));
  return { kind: 'nkey', file, seed };
}

/** The file's only line. */
async function readWord(file: string, exposed: Exposed): Promise<string> {
  const text = await read(file, exposed);
  const word = text.replace(/\r?\n$/, '');
  if (word === '') throw fileError(file, new Error('is empty'));
  if (/[\r\n]/.test(word) || SEED.test(word))
    throw fileError(file, new Error(`holds no single line with the secret${looksLike(text)}`));
  return word;
}

/** What a file seems to be instead. */
function looksLike(text: string): string {
  if (/BEGIN NATS USER JWT/.test(text)) return ': it is a .creds file, for hub.credentials';
  if (/PRIVATE KEY-----/.test(text)) return ': it is a private key, for hub.tls.key';
  if (/^SU[A-Z2-7]{56}\s*$/m.test(text)) return ': it is an nkey seed, for hub.nkey_file';
  if (/^S[AO][A-Z2-7]{56}\s*$/m.test(text))
    return ': it is the seed of an account or operator, which must not lie on a gateway';
  if (/^U[A-Z2-7]{55}\s*$/.test(text)) return ': it is a public key';
  return '';
}

/** The JWT is the hub's to judge; this is for a message only. */
function expiryMs(jwt: string): number {
  try {
    const claims = JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString()) as {
      exp?: unknown;
    };
    return typeof claims.exp === 'number' && claims.exp > 0 ? claims.exp * 1_000 : Infinity;
  } catch {
    return Infinity;
  }
}

async function readPem(file: string): Promise<string> {
  const text = await read(file);
  if (!text.includes('-----BEGIN CERTIFICATE-----'))
    throw fileError(file, new Error(`holds no certificate${looksLike(text)}`));
  return text;
}

function check<T>(file: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw fileError(file, error);
  }
}

async function read(path: string, exposed?: Exposed): Promise<string> {
  try {
    // A FIFO would otherwise wait for a writer.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const { mode, uid, size } = await file.stat();
      if (size > FILE_BYTES_MAX) throw new Error('is too large for credentials');
      if (exposed !== undefined && isExposed(mode, uid)) exposed(path, octal(mode));
      const text = await file.readFile('utf8');
      if (text.trim() === '') throw new Error('is empty');
      return text.replace(/^\uFEFF/, '');
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fileError(path, error);
  }
}
