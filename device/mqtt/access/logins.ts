// Who may connect: by password, by the certificate of the TLS handshake, or as nobody in particular. Comparing takes the
// same time whether and where a name or password differs; a name that nobody has costs as much as one with a hash.

import { createHash, timingSafeEqual } from 'node:crypto';
import { assert } from '../../../src/assert.ts';
import type { Cancel, Clock } from '../../../src/clock.ts';
import { parseHash, type PasswordHash } from '../../../src/config/password-file.ts';
import { ClientAccess } from './access.ts';
import { HashLine } from './hash-line.ts';
import { Acl, type AclEntry } from './rules.ts';
import type { Admitted, Login, Peer, Refused, Verdict } from './types.ts';

/** One user, with his password or with what mosquitto_passwd made of it. */
export type MqttUser =
  | { readonly user: string; readonly password: string }
  | { readonly user: string; readonly hash: string };

export interface LoginOptions {
  readonly users?: readonly MqttUser[] | undefined;
  /** Clients without a user name may connect although there are users, or off loopback. */
  readonly allowAnonymous: boolean;
  /** The Common Name of a client's certificate is its user; no password is asked for. */
  readonly userFromCertificate?: boolean | undefined;
  /** Undefined: everything is allowed on loopback, and nothing elsewhere. */
  readonly acl?: readonly AclEntry[] | undefined;
}

interface Known {
  /** The password's digest, or the hash as it was configured: who has another now is another. */
  readonly secret: string;
  readonly digest: Buffer | undefined;
  readonly hash: PasswordHash | undefined;
}

/** By what a client was let in. */
type Proof =
  | { readonly by: 'nothing' | 'certificate' }
  | { readonly by: 'password'; readonly secret: string };

const NOBODY: Known = { secret: '', digest: Buffer.alloc(32), hash: undefined };

export class Logins {
  readonly #clock: Clock;
  readonly #line = new HashLine();
  readonly #proofs = new WeakMap<Admitted['access'], Proof>();
  #known: ReadonlyMap<string, Known> = new Map();
  #anonymous = false;
  #byCertificate = false;
  #acl: Acl | undefined;
  /** Rounds that every check of a password takes. */
  #rounds = 0;

  constructor(options: LoginOptions, clock: Clock) {
    this.#clock = clock;
    this.replace(options);
  }

  /** Others may connect from now on, or do other things; `renew` tells what becomes of those who are there. */
  replace({ users = [], allowAnonymous, userFromCertificate, acl }: LoginOptions): void {
    this.#known = new Map(users.map((user) => [user.user, known(user)]));
    this.#anonymous = allowAnonymous;
    this.#byCertificate = userFromCertificate === true;
    this.#acl = acl === undefined ? undefined : new Acl(acl);
    this.#rounds = Math.max(0, ...[...this.#known.values()].map(({ hash }) => hash?.rounds ?? 0));
  }

  /**
   * Decides about a client; `done` comes before this returns, or later where a password has to be hashed. The result
   * takes the client out of the line: its connection is gone.
   */
  check(login: Login, peer: Peer, clientId: string, done: (verdict: Verdict) => void): Cancel {
    const admit = (user: string | undefined, proof: Proof): void =>
      done(this.#admit(user, proof, peer, clientId));
    if (this.#byCertificate && peer.door !== 'tcp' && peer.tls) {
      const name = peer.certificateName;
      if (name === undefined || name === '')
        done(refuse('notAuthorized', 'no name in its certificate'));
      else admit(name, { by: 'certificate' });
      return ignore;
    }
    const { username, password } = login;
    // Nobody has a password here: what a client calls itself proves nothing.
    if (username === undefined || (this.#known.size === 0 && this.#anonymous)) {
      if (this.#anonymous) admit(undefined, { by: 'nothing' });
      else done(refuse('notAuthorized', 'no user name'));
      return ignore;
    }
    return this.#checkPassword(username, password ?? Buffer.alloc(0), (verdict) => {
      if (typeof verdict === 'string') admit(username, { by: 'password', secret: verdict });
      else done(verdict);
    });
  }

  /** Whether there may be such a user; by certificate anybody may come whom its authority has signed. */
  knows(user: string): boolean {
    return this.#byCertificate || this.#known.has(user);
  }

  /** Whether a client that was let in may stay; what it may do is by the present rules then. */
  renew({ user, access }: Admitted): boolean {
    const proof = this.#proofs.get(access);
    assert(proof !== undefined && access instanceof ClientAccess, 'an access of these logins');
    const stays =
      proof.by === 'password'
        ? user !== undefined && this.#known.get(user)?.secret === proof.secret
        : proof.by === 'certificate'
          ? this.#byCertificate
          : this.#anonymous;
    if (stays) access.follow(this.#acl);
    return stays;
  }

  #admit(user: string | undefined, proof: Proof, { local }: Peer, clientId: string): Admitted {
    const access = new ClientAccess({ user, clientId }, local, this.#acl, this.#clock);
    this.#proofs.set(access, proof);
    return { user, access };
  }

  /** `done` gets the user's secret where the password is right. */
  #checkPassword(user: string, password: Buffer, done: (result: string | Refused) => void): Cancel {
    const found = this.#known.get(user);
    const { secret, digest, hash } = found ?? NOBODY;
    const wrong = refuse('badUserNameOrPassword', 'wrong user name or password');
    const offered = createHash('sha256').update(password).digest();
    const sameDigest = timingSafeEqual(digest ?? NO_DIGEST, offered) && digest !== undefined;
    if (this.#rounds === 0 && hash === undefined) {
      done(found !== undefined && sameDigest ? secret : wrong);
      return ignore;
    }
    const order = { user, password, hash, rounds: this.#rounds };
    return this.#line.check(order, (result) => {
      // It may have been replaced meanwhile.
      const present = found !== undefined && this.#known.get(user)?.secret === secret;
      if (result === 'busy') done(refuse('serverBusy', 'too many passwords wait to be checked'));
      else if (present && (hash === undefined ? sameDigest : result === 'right')) done(secret);
      else done(wrong);
    });
  }
}

const NO_DIGEST = Buffer.alloc(32);

function known(user: MqttUser): Known {
  if ('hash' in user) {
    const hash = parseHash(user.hash);
    assert(hash !== undefined, `${user.user} has a hash that can be checked`);
    return { secret: user.hash, digest: undefined, hash };
  }
  const digest = createHash('sha256').update(user.password).digest();
  return { secret: digest.toString('base64'), digest, hash: undefined };
}

function refuse(refused: Refused['refused'], reason: string): Refused {
  return { refused, reason };
}

function ignore(): void {
  // Nothing waits.
}
