// Waits for a condition instead of sleeping.

const PAUSE_MS = 10;
/** What takes longer than this is looked at less often: the machine is busy, and a look may cost it something. */
const SOON_MS = 1_000;
const LATE_PAUSE_MS = 50;

/** Resolves with the first truthy value of `probe`; rejects after `timeoutMs` naming `what` was awaited. */
export async function until<T>(
  what: string,
  probe: () => T | Promise<T>,
  timeoutMs = 40_000,
): Promise<NonNullable<T>> {
  const begun = performance.now();
  for (;;) {
    const value = await probe();
    if (value) return value;
    const elapsedMs = performance.now() - begun;
    if (elapsedMs > timeoutMs) throw new Error(`gave up waiting for ${what}`);
    const pauseMs = elapsedMs < SOON_MS ? PAUSE_MS : LATE_PAUSE_MS;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}
