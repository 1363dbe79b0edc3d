// NKeys of users: an ed25519 public key as text, `U…`, and the check of what its owner signed.

import { createPublicKey, randomBytes, verify, type KeyObject } from 'node:crypto';

/** Base32 of a prefix byte, 32 bytes of key and a CRC of 2. */
const TEXT = /^U[A-Z2-7]{55}$/;
const USER_PREFIX = 20 << 3;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
/** What stands before the 32 bytes of an ed25519 key in its DER form. */
const DER_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const NONCE_BYTES = 11;

/** The key of `U…`, or undefined when it is none. */
export function parseUserKey(text: string): KeyObject | undefined {
  if (!TEXT.test(text)) return undefined;
  const raw = decodeBase32(text);
  if (raw[0] !== USER_PREFIX || crc16(raw.subarray(0, 33)) !== raw.readUInt16LE(33))
    return undefined;
  const key = Buffer.concat([DER_PREFIX, raw.subarray(1, 33)]);
  return createPublicKey({ key, format: 'der', type: 'spki' });
}

/** What a client has to sign; new for each connection. */
export function newNonce(): string {
  return randomBytes(NONCE_BYTES).toString('base64url');
}

/** Whether `signature` (base64, of either alphabet) is that of `nonce` by the owner of `key`. */
export function isSigned(nonce: string, signature: string, key: KeyObject): boolean {
  return verify(null, Buffer.from(nonce, 'latin1'), key, Buffer.from(signature, 'base64'));
}

/** Of RFC 4648, without padding; the text must be such. */
export function decodeBase32(text: string): Buffer {
  const bytes: number[] = [];
  let bits = 0;
  let value = 0;
  for (const char of text) {
    value = (value << 5) | ALPHABET.indexOf(char);
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((value >>> bits) & 0xff);
    value &= (1 << bits) - 1;
  }
  return Buffer.from(bytes);
}

/** The other way. */
export function encodeBase32(bytes: Buffer): string {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET.charAt((value >>> (bits - 5)) & 31);
    value &= (1 << bits) - 1;
  }
  return bits === 0 ? text : text + ALPHABET.charAt((value << (5 - bits)) & 31);
}

/** CRC-16/XMODEM. */
export function crc16(bytes: Buffer): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) !== 0 ? (crc << 1) ^ 0x1021 : crc << 1;
    crc &= 0xffff;
  }
  return crc;
}
