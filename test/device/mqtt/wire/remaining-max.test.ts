import { expect, test } from 'vitest';
import { DEFAULT_LIMITS } from '../../../../device/mqtt/limits.ts';
import { ProtocolError } from '../../../../device/mqtt/wire/protocol-error.ts';
import { remainingMax } from '../../../../device/mqtt/wire/remaining-max.ts';
import type { Version } from '../../../../device/mqtt/wire/types.ts';

const { connectBytesMax, controlBytesMax, packetBytesMax } = DEFAULT_LIMITS;

/** Every first byte that a client of this version may send, and how long the packet may be. */
function allowed(version: Version | undefined): Map<number, number> {
  const all = new Map<number, number>();
  for (let first = 0; first < 256; first++)
    try {
      all.set(first, remainingMax(first, version, DEFAULT_LIMITS));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
    }
  return all;
}

const publishes = Array.from({ length: 16 }, (_, flags): [number, number] => [
  0x30 | flags,
  packetBytesMax,
]);
const older: [number, number][] = [
  ...publishes,
  [0x40, 2],
  [0x50, 2],
  [0x62, 2],
  [0x70, 2],
  [0x82, controlBytesMax],
  [0xa2, controlBytesMax],
  [0xc0, 0],
  [0xe0, 0],
];
const repeated: [number, number][] = [
  [0x6a, 2],
  [0x8a, controlBytesMax],
  [0xaa, controlBytesMax],
];
const short5 = [0x40, 0x50, 0x62, 0x70, 0xe0, 0xf0];

test.each([
  [undefined, [[0x10, connectBytesMax]]],
  [3, [...older, ...repeated]],
  [4, older],
  [5, [...older, ...short5.map((first) => [first, controlBytesMax])]],
] as [Version | undefined, [number, number][]][])(
  'a client of version %s may send what its standard says, as long as the limits say, and nothing else',
  (version, wanted) => {
    expect(allowed(version)).toEqual(new Map(wanted.toSorted(([a], [b]) => a - b)));
  },
);
