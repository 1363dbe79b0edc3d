// Names that nobody else has, and numbers that spread a fleet: what mirrors need of chance.

import { randomBytes } from 'node:crypto';

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const TOKEN_LENGTH = 8;

/** A token of a subject that is used once. */
export function token(): string {
  return Array.from(randomBytes(TOKEN_LENGTH), (byte) => DIGITS[byte % DIGITS.length]).join('');
}

/** A number in [0, 1), as coarse as waiting times need it. */
export function chance(): number {
  return randomBytes(2).readUInt16BE() / 65_536;
}
