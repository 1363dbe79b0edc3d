// Lets time pass where its passing is what is tested: the length of an outage, or quiet in which nothing may happen.

import { until } from '../support/until.ts';

export async function lasting(ms: number): Promise<void> {
  const endMs = performance.now() + ms;
  await until('the time to have passed', () => performance.now() >= endMs, ms + 5_000);
}
