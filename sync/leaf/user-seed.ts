// The secret half of a user's nkey: the seed `SU…`, what it signs, and the public key that belongs to it.

import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { crc16, decodeBase32, encodeBase32 } from '../../src/nats/nkey.ts';

const TEXT = /^SU[A-Z2-7]{56}$/;
const SEED_PREFIX = 18 << 3;
const USER_PREFIX = 20 << 3;
/** What stands before the 32 bytes of an ed25519 seed in its DER form. */
const DER_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
/** Bytes of a seed or key. */
const KEY_BYTES = 32;

export interface UserSeed {
  /** `U…` */
  readonly publicKey: string;
  /** The signature of a text, in base64url. */
  sign(text: string): string;
}

/** Reads a seed; undefined where it is none, or its checksum does not fit. */
export function readUserSeed(text: string): UserSeed | undefined {
  if (!TEXT.test(text)) return undefined;
  const raw = decodeBase32(text);
  const [first = 0, second = 0] = raw;
  const isUser = (((first & 7) << 5) | (second >> 3)) === USER_PREFIX;
  if ((first & 0xf8) !== SEED_PREFIX || !isUser) return undefined;
  const end = 2 + KEY_BYTES;
  if (crc16(raw.subarray(0, end)) !== raw.readUInt16LE(end)) return undefined;
  const der = Buffer.concat([DER_PREFIX, raw.subarray(2, end)]);
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const body = Buffer.concat([Buffer.from([USER_PREFIX]), spki.subarray(-KEY_BYTES)]);
  const crc = Buffer.alloc(2);
  crc.writeUInt16LE(crc16(body));
  return {
    publicKey: encodeBase32(Buffer.concat([body, crc])),
    sign: (said) => sign(null, Buffer.from(said, 'latin1'), key).toString('base64url'),
  };
}
