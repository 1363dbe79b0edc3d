// From what is ordered to what the store keeps: gives the streams without a max_bytes their share of the disk, and adds
// the stream for dead letters where there is anything to forward.

import type { StreamConfig } from './stream-types.ts';

/** Where messages go that the hub will never take. */
export const DEAD_LETTER_STREAM = 'dead_letter';
const DEAD_LETTER_BYTES_MAX = 16 * 1024 * 1024;
/** On a small disk dead letters get a share of it: nothing drains them, and a disk full of them takes nothing more. */
const DEAD_LETTER_SHARE = 1 / 16;
/** Room for any one message, twice. */
const DEAD_LETTER_BYTES_MIN = 2 * 1024 * 1024;
/** What the streams without a max_bytes share: the rest is for the system, and for logs. */
const DISK_SHARE = 0.5;
/** What those in memory share of `max_memory`. */
const MEMORY_SHARE = 0.5;

/** A stream as the configuration gives it; `maxBytes` undefined takes an equal part of half the disk, or of half the memory for streams. */
export type StreamOrder = Omit<StreamConfig, 'maxBytes'> & {
  readonly maxBytes: number | undefined;
};

/** The disk that the streams share, in bytes. */
export interface DiskShares {
  readonly totalBytes: number;
  readonly availableBytes: number;
  /** Of the database, whose room the streams have already. */
  readonly databaseBytes: number;
}

/** The configurations for `orders`, in their order. */
export function streamConfigs(
  orders: readonly StreamOrder[],
  {
    forwarding,
    disk,
    memoryBytesMax,
  }: { forwarding: boolean; disk: DiskShares; memoryBytesMax: number },
): StreamConfig[] {
  const all = forwarding ? [...orders, deadLetterOrder(disk.totalBytes)] : orders;
  const sharing = { file: 0, memory: 0 };
  for (const { storage, maxBytes } of all) if (maxBytes === undefined) sharing[storage]++;
  const shared = {
    file: (disk.availableBytes + disk.databaseBytes) * DISK_SHARE,
    memory: memoryBytesMax * MEMORY_SHARE,
  };
  return all.map((order) => {
    const share = Math.floor(shared[order.storage] / Math.max(1, sharing[order.storage]));
    // Reading directly changes nothing, and clients expect it of a stream that they did not make.
    return { ...order, allowDirect: true, maxBytes: order.maxBytes ?? share };
  });
}

function deadLetterOrder(diskBytes: number): StreamOrder {
  const share = Math.max(DEAD_LETTER_BYTES_MIN, Math.floor(diskBytes * DEAD_LETTER_SHARE));
  return {
    name: DEAD_LETTER_STREAM,
    subjects: ['$DEAD.>'],
    retention: 'limits',
    storage: 'file',
    maxAgeMs: undefined,
    maxBytes: Math.min(DEAD_LETTER_BYTES_MAX, share),
    maxMsgs: undefined,
    discard: 'old',
    duplicateWindowMs: 0,
    duplicateIdsMax: 0,
  };
}
