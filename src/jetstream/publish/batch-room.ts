// How much the batches of all streams together may hold: atomic ones wait in memory until they are committed, fast ones
// are no more than their state.

/** Batches that are open on all streams, as in nats-server. */
export const BATCHES_TOTAL_MAX = 1_000;
/** Bytes that open batches hold together: a share of a gateway with 1 GiB of memory. More are refused (10210). */
export const BATCH_BYTES_TOTAL_MAX = 32 * 1024 * 1024;
/** Fast batches that are open on all streams: a few hundred bytes each. More are refused (10211). */
export const FAST_BATCHES_TOTAL_MAX = 10_000;

export class BatchRoom {
  #batches = 0;
  #bytes = 0;
  #fastBatches = 0;

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

  get fastBatches(): number {
    return this.#fastBatches;
  }

  /** Counts a fast batch in; false where there is no room for one more. */
  openFast(): boolean {
    if (this.#fastBatches >= FAST_BATCHES_TOTAL_MAX) return false;
    this.#fastBatches++;
    return true;
  }

  closeFast(): void {
    this.#fastBatches--;
  }
}
