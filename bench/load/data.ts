// What the load programs send: data of a fixed length, numbered where the hub's copy shall be audited, and either
// incompressible or like a sensor's. Two of a pool never compress into one another by accident.

import { randomBytes } from 'node:crypto';

/** `x`: one letter; `random`: incompressible; `json`: keys that repeat and values that change, as sensors send. */
export type DataKind = 'x' | 'random' | 'json';

/** Digits of a number in numbered data. */
export const NUMBER_DIGITS = 10;
/** Where the number begins: the first key of `json`, and the first byte of the others. */
const JSON_HEAD = '{"n":"';

/** The offset of the number in data of this kind. */
export function numberAt(kind: DataKind): number {
  return kind === 'json' ? JSON_HEAD.length : 0;
}

/** `count` pieces of data of `bytes` bytes each, one behind the other; the number of each is still 0. */
export function dataPool(kind: DataKind, bytes: number, count: number): Buffer {
  const pool = Buffer.alloc(bytes * count, 'x');
  for (let i = 0; i < count && kind !== 'x'; i++) {
    const data = kind === 'random' ? random(bytes) : reading(bytes);
    pool.write(data, i * bytes, bytes, 'latin1');
    pool.write('0'.repeat(NUMBER_DIGITS), i * bytes + numberAt(kind), 'latin1');
  }
  return pool;
}

function random(bytes: number): string {
  return randomBytes(bytes).toString('latin1').replaceAll('\r', 'r').replaceAll('\n', 'n');
}

function reading(bytes: number): string {
  const value = (span: number): string => (Math.random() * span).toFixed(2);
  const text =
    `${JSON_HEAD}${'0'.repeat(NUMBER_DIGITS)}","temperature":${value(100)},"humidity":${value(100)},` +
    `"pressure":${value(1100)},"battery":${value(4)},"rssi":-${value(90)}`;
  return `${text.padEnd(bytes - 1).slice(0, bytes - 1)}}`;
}
