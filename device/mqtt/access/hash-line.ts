// Checks passwords against hashes, one at a time: hashing is slow on purpose, and the threads that do it also write to
// the disk. Who waits stands in a line of bounded length. What was right once is remembered, so that clients that come
// back all at once do not wait for each other.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Cancel } from '../../../src/clock.ts';
import type { PasswordHash } from '../../../src/config/password-file.ts';
import { isRightAtOnce, stretch, toKey } from './password-hash.ts';

/** Passwords that wait, a socket without an answer to its CONNECT each. Beyond it clients hear that we are busy. */
export const LOGINS_WAITING_MAX = 256;
/** Passwords that were right, remembered as digests: one for each client that can be connected. */
export const LOGINS_REMEMBERED_MAX = 10_000;
/** Keyed at random: what is remembered is of no use to another process. */
const KEY_BYTES = 32;
const NO_SALT = Buffer.alloc(12);

export interface Order {
  readonly user: string;
  readonly password: Buffer;
  /** Undefined: there is none to compare with; it takes as long all the same. */
  readonly hash: PasswordHash | undefined;
  /** What every check takes, at least those of the hash itself. */
  readonly rounds: number;
}

type Result = 'right' | 'wrong' | 'busy';

interface Waiting {
  readonly key: Buffer;
  readonly order: Omit<Order, 'password' | 'user'>;
  /** What is known before any round. */
  readonly right: boolean;
  readonly memory: string;
  readonly done: (result: Result) => void;
}

export class HashLine {
  readonly #secret = randomBytes(KEY_BYTES);
  readonly #remembered = new Set<string>();
  readonly #waiting = new Set<Waiting>();
  #busy = false;

  /** `done` comes at once for what is remembered, and when the line is full; later else. The result leaves the line. */
  check({ user, password, hash, rounds }: Order, done: (result: Result) => void): Cancel {
    const memory = this.#memoryOf(user, password, hash);
    if (hash !== undefined && this.#remembered.has(memory)) {
      this.#remember(memory);
      done('right');
      return () => undefined;
    }
    if (this.#waiting.size >= LOGINS_WAITING_MAX) {
      done('busy');
      return () => undefined;
    }
    const right = hash?.rounds === 0 && isRightAtOnce(password, hash);
    const waiting = { key: toKey(password), order: { hash, rounds }, right, memory, done };
    this.#waiting.add(waiting);
    this.#next();
    return () => void this.#waiting.delete(waiting);
  }

  #next(): void {
    if (this.#busy) return;
    for (const first of this.#waiting) {
      this.#busy = true;
      this.#stretch(first, (result) => {
        this.#busy = false;
        if (this.#waiting.delete(first)) {
          if (result === 'right') this.#remember(first.memory);
          first.done(result);
        }
        this.#next();
      });
      return;
    }
  }

  #stretch(
    { key, order: { hash, rounds }, right }: Waiting,
    done: (result: 'right' | 'wrong') => void,
  ): void {
    const own = hash?.rounds ?? 0;
    const wasted = rounds - own;
    const finish = (isRight: boolean): void => {
      const end = (): void => done(isRight ? 'right' : 'wrong');
      if (wasted > 0) stretch(key, NO_SALT, wasted, end);
      else end();
    };
    if (hash === undefined || own === 0) return finish(right);
    stretch(key, hash.salt, own, (found) => finish(timingSafeEqual(found, hash.hash)));
  }

  #memoryOf(user: string, password: Buffer, hash: PasswordHash | undefined): string {
    const hmac = createHmac('sha256', this.#secret);
    for (const part of [Buffer.from(user), hash?.hash ?? NO_SALT, hash?.salt ?? NO_SALT, password])
      hmac.update(String(part.length)).update('\0').update(part);
    return hmac.digest('base64');
  }

  #remember(memory: string): void {
    this.#remembered.delete(memory);
    if (this.#remembered.size >= LOGINS_REMEMBERED_MAX) {
      const oldest = this.#remembered.values().next();
      if (!oldest.done) this.#remembered.delete(oldest.value);
    }
    this.#remembered.add(memory);
  }
}
