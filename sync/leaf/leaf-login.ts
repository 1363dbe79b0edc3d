// The CONNECT of a leaf node: who we are, and the proof of it. The secret goes into this one line and nowhere else. The
// line is written only where the connection is as safe as the configuration asks.

import type { Secret } from '../credentials.ts';
import { fileError } from '../link-error.ts';
import { connectLine } from './leaf-encoder.ts';
import type { LeafInfo } from './leaf-info.ts';
import { readUserSeed, type UserSeed } from './user-seed.ts';

/** The protocol version that we keep to, for a hub that asks for one at least. */
const PROTOCOL_VERSION = '2.14.0';
/** Our side has one account. A hub needs a name for it to replace a connection of ours that is dead. */
const ACCOUNT = '$G';

export interface LeafIdentity {
  /** Of the gateway: a hub has one connection of a name. */
  readonly name: string;
  readonly serverId: string;
  /** Undefined: nothing of JetStream crosses. */
  readonly domain: string | undefined;
}

/** The complete line of CONNECT. Throws a LinkError where a seed is damaged. */
export function loginLine(identity: LeafIdentity, secret: Secret, info: LeafInfo): string {
  const { name, serverId, domain } = identity;
  const options = {
    version: PROTOCOL_VERSION,
    server_id: serverId,
    name,
    ...(domain === undefined ? {} : { domain }),
    headers: true,
    jetstream: domain !== undefined,
    remote_account: ACCOUNT,
    // What other gateways listen to is none of our business, and would cost every one of us the line of all.
    isolate: true,
    ...proof(secret, info.nonce ?? ''),
  };
  return connectLine(options);
}

function proof(secret: Secret, nonce: string): Record<string, string> {
  switch (secret.kind) {
    case 'none':
      return {};
    case 'user':
      // A name alone may be meant as a token; a hub takes what it asks for.
      return secret.password === ''
        ? { user: secret.user, auth_token: secret.user }
        : { user: secret.user, pass: secret.password };
    case 'token':
      return { auth_token: secret.token };
    case 'nkey': {
      const seed = seedOf(secret);
      return { nkey: seed.publicKey, sig: seed.sign(nonce) };
    }
    case 'creds':
      return { jwt: secret.jwt, sig: seedOf(secret).sign(nonce) };
  }
}

function seedOf({ file, seed }: { file: string; seed: string }): UserSeed {
  const key = readUserSeed(seed);
  // The seed itself must not be said.
  if (key === undefined) throw fileError(file, new Error('the nkey seed (SU…) in it is damaged'));
  return key;
}
