// Names that nobody else has: of inboxes, consumers and batches.

import type { Random } from './backoff.ts';

const LETTERS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** 83 bits: no two connections or batches share one. They stand in every message of a fast batch, so no longer. */
const LENGTH = 14;

export function randomToken(random: Random): string {
  let token = '';
  for (let i = 0; i < LENGTH; i++) token += LETTERS[Math.floor(random() * LETTERS.length)] ?? '0';
  return token;
}
