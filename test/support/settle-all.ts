// Lets everything that a stream does in slices come to its end, on a clock and a disk that the test moves.

import type { GatewayStore } from './gateway-store.ts';

const ROUNDS_MAX = 5_000;

/** Ends turns and syncs until `work` is over; what it resolves with. */
export async function settleAll<T>(store: GatewayStore, work: Promise<T>): Promise<T> {
  let over = false;
  void work.then(
    () => (over = true),
    () => (over = true),
  );
  for (let i = 0; i < ROUNDS_MAX && !over; i++) await settleOnce(store);
  if (!over) throw new Error('the work does not end');
  return await work;
}

/** The same for what nobody waits for, such as a review of what consumers still need. */
export async function settleRounds(store: GatewayStore, rounds = 20): Promise<void> {
  for (let i = 0; i < rounds; i++) await settleOnce(store);
}

async function settleOnce(store: GatewayStore): Promise<void> {
  store.settle();
  for (let tick = 0; tick < 5; tick++) await Promise.resolve();
}
