// What the store holds in memory and in its write-ahead log, and what it does where that ends.

export interface StoreLimits {
  /** Queued messages at which a transaction starts although a sync is running: bounds one turn's work (about 1 ms). */
  readonly commitRows: number;
  /** And while none is running: the disk works on the first part of a turn's messages while the rest is read. */
  readonly commitRowsIdle: number;
  /** Messages queued or not yet synced; more are refused. A card that stalls for seconds must not eat the memory. */
  readonly undurableMessagesMax: number;
  /** Bytes queued or not yet synced; more are refused. */
  readonly undurableBytesMax: number;
  /** WAL size at which commits rest for a checkpoint. Small: one bad frame makes SQLite drop all that follow it. */
  readonly walBytesMax: number;
}

export const STORE_LIMITS: StoreLimits = {
  commitRows: 512,
  commitRowsIdle: 128,
  undurableMessagesMax: 100_000,
  undurableBytesMax: 16 * 1024 * 1024,
  walBytesMax: 4 * 1024 * 1024,
};
