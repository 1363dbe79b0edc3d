// The one door through which time comes in. Ages, windows and back-off count monotonic time; wall-clock time is a
// label for people and may step by years (a Raspberry Pi without an RTC boots in the past).

/** Stops a timer. Calling it twice, or after the timer ran, is harmless. */
export type Cancel = () => void;

export interface Clock {
  /** Milliseconds since an arbitrary start; never steps, never goes back. */
  monotonicMs(): number;
  /** Wall-clock milliseconds since the Unix epoch. May step; never measure with it. */
  wallMs(): number;
  /** Runs `fn` once after `ms` of monotonic time. */
  after(ms: number, fn: () => void): Cancel;
  /** Runs `fn` once, after the input of this event-loop turn has been read. */
  soon(fn: () => void): void;
}

/** A wall clock before this date was never set: it is earlier than this program. */
export const WALL_FLOOR_MS = Date.UTC(2026, 0, 1);
/** setTimeout runs at once what is to wait longer. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(ms, fn) {
    if (ms > LONGEST_TIMEOUT_MS) return afterLong(ms, fn);
    const timer = setTimeout(fn, ms);
    return () => clearTimeout(timer);
  },
  soon: (fn) => void setImmediate(fn),
};

function afterLong(ms: number, fn: () => void): Cancel {
  const endMs = performance.now() + ms;
  let cancel = systemClock.after(LONGEST_TIMEOUT_MS, () => {
    cancel = systemClock.after(endMs - performance.now(), fn);
  });
  return () => cancel();
}

/** Runs `fn` every `ms`, until cancelled; the next run is armed only when `fn` has returned. */
export function every(clock: Clock, ms: number, fn: () => void): Cancel {
  let cancel = clock.after(ms, tick);
  let stopped = false;
  function tick(): void {
    fn();
    if (!stopped) cancel = clock.after(ms, tick);
  }
  return () => {
    stopped = true;
    cancel();
  };
}

/** Resolves after `ms` of the clock's time, or as soon as `signal` aborts. */
export function delay(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const cancel = clock.after(ms, done);
    signal?.addEventListener('abort', done, { once: true });
    function done(): void {
      cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    }
  });
}
