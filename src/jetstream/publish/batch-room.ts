// How much the atomic batches of all streams together may hold: they wait in memory until they are committed.

/** Batches that are open on all streams, as in nats-server. */
export const BATCHES_TOTAL_MAX = 1_000;
/** Bytes that open batches hold together: a share of a gateway with 1 GiB of memory. More are refused (10210). */
export const BATCH_BYTES_TOTAL_MAX = 32 * 1024 * 1024;

export class BatchRoom {
  #batches = 0;
  #bytes = 0;

  get batches(): number {
    return this.#batches;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Counts a batch in; false where there is no room for one more. */
  open(): boolean {
    if (this.#batches >= BATCHES_TOTAL_MAX) return false;
    this.#batches++;
    return true;
  }

  /** Counts bytes in; false where there is no room for them. */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > BATCH_BYTES_TOTAL_MAX) return false;
    this.#bytes += bytes;
    return true;
  }

  /** A batch with all of its `bytes` has ended. */
  close(bytes: number): void {
    this.#batches--;
    this.#bytes -= bytes;
  }
}
