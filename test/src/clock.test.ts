// The clock of the machine.

import { expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';

test('what is to run in a month or never does not run at once', async () => {
  const ran: string[] = [];
  const cancels = [2 ** 31, 1e12, Infinity].map((ms) =>
    systemClock.after(ms, () => void ran.push(`${ms}`)),
  );
  // What would run at once has run before it.
  await new Promise<void>((resolve) => void systemClock.after(20, resolve));
  for (const cancel of cancels) cancel();
  expect(ran).toEqual([]);
});
