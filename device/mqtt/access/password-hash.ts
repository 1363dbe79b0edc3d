// Checks passwords against hashes: PBKDF2 in libuv's pool, a single SHA-512 at once.

import { createHash, pbkdf2, timingSafeEqual } from 'node:crypto';
import { HASH_BYTES, type PasswordHash } from '../../../src/config/password-file.ts';

/** A longer key of HMAC is its own SHA-512. */
const BLOCK_BYTES = 128;

/** What has to be kept of a password until it is hashed: at most 128 bytes give the same result. */
export function toKey(password: Buffer): Buffer {
  return password.length > BLOCK_BYTES
    ? createHash('sha512').update(password).digest()
    : Buffer.from(password);
}

/** Whether `password` is the one of `hash`; in constant time. Only for hashes without rounds. */
export function isRightAtOnce(password: Buffer, { salt, hash }: PasswordHash): boolean {
  return timingSafeEqual(createHash('sha512').update(password).update(salt).digest(), hash);
}

/** PBKDF2 in libuv's pool. */
export function stretch(
  key: Buffer,
  salt: Buffer,
  rounds: number,
  done: (hash: Buffer) => void,
): void {
  pbkdf2(key, salt, rounds, HASH_BYTES, 'sha512', (error, hash) => {
    if (error !== null) throw error; // Nothing of the peer's makes it fail.
    done(hash);
  });
}
