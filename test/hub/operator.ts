// An operator of one's own making for tests: accounts and users by JWT, as nsc would make them, with expiry and
// revocation. The server keeps accounts in a directory and takes new ones at run time.

import { connect, jwtAuthenticator, nkeys } from '@nats-io/transport-node';

type KeyPair = ReturnType<typeof nkeys.createUser>;

export interface UserOptions {
  /** When it ends, in seconds since 1970. */
  readonly exp?: number;
  readonly permissions?: { readonly pub?: object; readonly sub?: object };
}

const UNLIMITED = {
  subs: -1,
  data: -1,
  payload: -1,
  imports: -1,
  exports: -1,
  wildcards: true,
  conn: -1,
  leaf: -1,
};
const JETSTREAM = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };

/** One account, which a test's server knows by `Operator.config`. */
export class Operator {
  readonly #operator = nkeys.createOperator();
  readonly #system = nkeys.createAccount();
  readonly #account = nkeys.createAccount();
  readonly #revoked: Record<string, number> = {};
  /** Seconds; the account's own end. */
  accountExp: number | undefined;

  /** What the server's configuration needs; `dir` is for its accounts. */
  config(dir: string): string {
    const system = this.#system.getPublicKey();
    const account = this.#account.getPublicKey();
    return `operator: ${this.#jwt(this.#operator, this.#operator, { type: 'operator', system_account: system })}
system_account: ${system}
resolver: { type: full, dir: "${dir}", limit: 100 }
resolver_preload: {
  ${system}: ${this.#jwt(this.#operator, this.#system, { type: 'account', limits: UNLIMITED })}
  ${account}: ${this.#accountJwt()}
}`;
  }

  /** A new user of the account: the text of a .creds file, and the public key. */
  user(options: UserOptions = {}): { creds: string; key: string; jwt: string; seed: string } {
    const user = nkeys.createUser();
    const { exp, permissions = {} } = options;
    const nats = { type: 'user', subs: -1, data: -1, payload: -1, ...permissions };
    const jwt = this.#jwt(this.#account, user, nats, exp);
    const seed = Buffer.from(user.getSeed()).toString();
    const creds = `-----BEGIN NATS USER JWT-----
${jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
${seed}
------END USER NKEY SEED------

*************************************************************
`;
    return { creds, key: user.getPublicKey(), jwt, seed };
  }

  revoke(key: string): void {
    this.#revoked[key] = Math.floor(Date.now() / 1000) + 1;
  }

  /** Hands the account as it is now to the running server. */
  async push(url: string): Promise<void> {
    const user = nkeys.createUser();
    const jwt = this.#jwt(this.#system, user, { type: 'user', subs: -1, data: -1, payload: -1 });
    const connection = await connect({
      servers: url,
      authenticator: jwtAuthenticator(jwt, user.getSeed()),
    });
    const reply = await connection.request('$SYS.REQ.CLAIMS.UPDATE', this.#accountJwt());
    if (!reply.string().includes('"code":200')) throw new Error(reply.string());
    await connection.close();
  }

  #accountJwt(): string {
    const limits = { ...UNLIMITED, ...JETSTREAM };
    const nats = { type: 'account', limits, revocations: this.#revoked };
    return this.#jwt(this.#operator, this.#account, nats, this.accountExp);
  }

  #jwt(by: KeyPair, subject: KeyPair, nats: object, exp?: number): string {
    const base64 = (bytes: string | Uint8Array): string => Buffer.from(bytes).toString('base64url');
    const claims = {
      jti: subject.getPublicKey(),
      iat: Math.floor(Date.now() / 1000) - 10,
      iss: by.getPublicKey(),
      name: 'test',
      sub: subject.getPublicKey(),
      nats: { version: 2, ...nats },
      ...(exp === undefined ? {} : { exp }),
    };
    const head = base64(JSON.stringify({ typ: 'JWT', alg: 'ed25519-nkey' }));
    const signed = `${head}.${base64(JSON.stringify(claims))}`;
    return `${signed}.${base64(by.sign(Buffer.from(signed)))}`;
  }
}
