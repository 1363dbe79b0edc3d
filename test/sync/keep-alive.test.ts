import { expect, test } from 'vitest';
import { KeepAlive } from '../../sync/keep-alive.ts';
import { FakeClock } from '../support/fake-clock.ts';

class Line {
  readonly clock = new FakeClock();
  received = 0;
  unsent = 0;
  pings = 0;
  /** Whether the hub answers pings. */
  alive = true;
  deadAtMs: number | undefined;
  readonly keepAlive = new KeepAlive(
    this.clock,
    {
      receivedBytes: () => this.received,
      unsentBytes: () => this.unsent,
      ping: () => {
        this.pings++;
        if (this.alive) this.clock.after(100, () => (this.received += 6));
      },
    },
    15_000,
    () => (this.deadAtMs = this.clock.monotonicMs()),
  );
}

test('a quiet link lives as long as pings are answered', () => {
  const line = new Line();
  line.clock.advance(24 * 3_600_000);
  expect(line.deadAtMs).toBeUndefined();
  expect(line.pings).toBeGreaterThan(24 * 60);
});

test('a hole is noticed within the keep-alive, wherever it opens', () => {
  for (let openedMs = 0; openedMs < 12_000; openedMs += 700) {
    const line = new Line();
    line.clock.advance(60_000 + openedMs);
    line.alive = false;
    const lastSignMs = line.clock.monotonicMs();
    line.clock.advance(60_000);
    expect(line.deadAtMs).toBeDefined();
    expect((line.deadAtMs ?? 0) - lastSignMs).toBeLessThanOrEqual(15_000);
  }
});

test('a slow line that still takes our bytes is no hole', () => {
  const line = new Line();
  line.alive = false;
  line.unsent = 1_000_000;
  for (let i = 0; i < 50; i++) {
    line.clock.advance(5_000);
    line.unsent -= 10_000;
  }
  expect(line.deadAtMs).toBeUndefined();
  line.clock.advance(16_000);
  expect(line.deadAtMs).toBeDefined();
});

test('bytes that we hand over are no sign of life', () => {
  const line = new Line();
  line.clock.advance(20_000);
  line.alive = false;
  for (let i = 0; i < 20; i++) {
    line.unsent += 1_000;
    line.clock.advance(1_000);
  }
  expect(line.deadAtMs).toBeDefined();
});

test('silence that was asked for is borne, and no longer', () => {
  const line = new Line();
  line.alive = false;
  const release = line.keepAlive.bear(100_000);
  line.clock.advance(110_000);
  expect(line.deadAtMs).toBeUndefined();
  release();
  line.clock.advance(1_000);
  expect(line.deadAtMs).toBeDefined();
});

test('a process that was stopped for an hour does not blame the link', () => {
  const line = new Line();
  line.clock.advance(10_000);
  // Nothing ran: the timer comes late, and so do our eyes.
  const { clock } = line;
  const before = clock.monotonicMs();
  Object.defineProperty(clock, 'monotonicMs', {
    value: () => before + 3_600_000 + (FakeClock.prototype.monotonicMs.call(clock) - before),
  });
  clock.advance(2_000);
  expect(line.deadAtMs).toBeUndefined();
  clock.advance(60_000);
  expect(line.deadAtMs).toBeUndefined();
});

test('after stop() nothing is looked at any more', () => {
  const line = new Line();
  line.alive = false;
  line.keepAlive.stop();
  line.clock.advance(60_000);
  expect(line.deadAtMs).toBeUndefined();
  expect(line.pings).toBe(0);
});
