import { expect, test } from 'vitest';
import { formatTime, formatUptime, toNanoseconds, toSnakeCase } from '../../src/monitor/format.ts';
import { ProcessUsage } from '../../src/monitor/process-usage.ts';
import { FakeClock } from '../support/fake-clock.ts';

test('the processor share is that of the last second or more, not of the last instant', () => {
  const clock = new FakeClock();
  let micros = 5_000_000;
  const usage = new ProcessUsage(clock, () => micros);
  expect(usage.read().cpuPercent).toBe(0);
  clock.advance(2000);
  micros += 1_000_000; // One second of work in two.
  expect(usage.read().cpuPercent).toBe(50);
  clock.advance(10);
  micros += 10_000; // A burst, read at once by a second reader.
  expect(usage.read().cpuPercent).toBe(50);
  clock.advance(9990);
  expect(usage.read().cpuPercent).toBe(0.1);
  expect(usage.read().memBytes).toBeGreaterThan(10_000_000);
  expect(usage.read().cores).toBeGreaterThan(0);
});

test('uptimes, times and names are written as nats-server writes them', () => {
  const uptimes: [number, string][] = [
    [0, '0s'],
    [999, '0s'],
    [61_000, '1m1s'],
    [3_600_000, '1h0m0s'],
    [86_400_000, '1d0h0m0s'],
    [(365 * 24 + 25) * 3_600_000 + 5000, '1y1d1h0m5s'],
  ];
  for (const [ms, text] of uptimes) expect(formatUptime(ms)).toBe(text);
  expect(formatTime(null)).toBe('0001-01-01T00:00:00Z');
  expect(toNanoseconds(365 * 86_400_000)).toBe(31_536_000_000_000_000);
  expect(toSnakeCase({ lastError: [{ atMs: 1 }], none: undefined, nothing: null })).toEqual({
    last_error: [{ at_ms: 1 }],
    nothing: null,
  });
});
