// Who may connect, and how each proves that he is who he says: by password, by token, or by signing the nonce of INFO with
// an NKey. Comparing takes the same time whether and where a secret differs.

import { createHash, timingSafeEqual, type KeyObject } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { assert } from '../assert.ts';
import type { Login } from './connect.ts';
import { isSigned, parseUserKey } from './nkey.ts';
import type { Permissions } from './permissions.ts';

/** One user, with the one way in which he logs in. */
export interface NatsUser {
  readonly user: string;
  readonly secret:
    | { readonly type: 'password' | 'token'; readonly text: string }
    | { readonly type: 'nkey'; readonly publicKey: string };
  /** Undefined: everything. */
  readonly permissions: Permissions | undefined;
}

interface Known {
  readonly user: NatsUser;
  readonly name: Buffer;
  readonly digest: Buffer;
  readonly key: KeyObject | undefined;
}

/** Why not. */
export type Refused = 'refused';

export class Users {
  #known: readonly Known[] = [];
  #anonymous = false;

  /** Without any user everybody may connect; with users, clients without a login only if `allowAnonymous`. */
  constructor(users: readonly NatsUser[], allowAnonymous: boolean) {
    this.replace(users, allowAnonymous);
  }

  /** Others may connect from now on. */
  replace(users: readonly NatsUser[], allowAnonymous: boolean): void {
    this.#known = users.map(known);
    this.#anonymous = allowAnonymous || users.length === 0;
  }

  /** Whether a client has to log in before anything else. */
  get required(): boolean {
    return !this.#anonymous;
  }

  /** Whether INFO needs a nonce to sign. */
  get usesNkeys(): boolean {
    return this.#known.some(({ key }) => key !== undefined);
  }

  /** The user with this login; undefined for nobody in particular. */
  check(login: Login, nonce: string): NatsUser | undefined | Refused {
    const { user, pass, token, nkey, sig } = login;
    if (this.#known.length === 0) return undefined;
    if (nkey !== '') return this.#byKey(nkey, sig, nonce);
    if (token !== '') return this.#bySecret('token', undefined, token);
    if (user !== '') {
      const found = this.#bySecret('password', user, pass);
      // Clients send the user of `nats://token@host` as one.
      return found === 'refused' && pass === '' ? this.#bySecret('token', undefined, user) : found;
    }
    return this.#anonymous ? undefined : 'refused';
  }

  /** Who `user` is now: the user with the same name and secret; undefined where there is none. */
  successor({ user: name, secret }: NatsUser): NatsUser | undefined {
    return this.#known.find(
      ({ user }) => user.user === name && isDeepStrictEqual(user.secret, secret),
    )?.user;
  }

  #bySecret(
    type: 'password' | 'token',
    user: string | undefined,
    secret: string,
  ): NatsUser | Refused {
    const [name, offered] = [digest(user ?? ''), digest(secret)];
    let found: NatsUser | Refused = 'refused';
    for (const each of this.#known) {
      const sameName = user === undefined || timingSafeEqual(each.name, name);
      const sameSecret = timingSafeEqual(each.digest, offered);
      if (sameName && sameSecret && each.user.secret.type === type) found = each.user;
    }
    return found;
  }

  #byKey(nkey: string, sig: string, nonce: string): NatsUser | Refused {
    const found = this.#known.find(
      ({ user: { secret } }) => secret.type === 'nkey' && secret.publicKey === nkey,
    );
    if (found?.key === undefined || nonce === '') return 'refused';
    return isSigned(nonce, sig, found.key) ? found.user : 'refused';
  }
}

function known(user: NatsUser): Known {
  const { secret } = user;
  const key = secret.type === 'nkey' ? parseUserKey(secret.publicKey) : undefined;
  assert(secret.type !== 'nkey' || key !== undefined, `${user.user} has an NKey`);
  const text = secret.type === 'nkey' ? '' : secret.text;
  return { user, name: digest(user.user), digest: digest(text), key };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
