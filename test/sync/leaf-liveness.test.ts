import { expect, test } from 'vitest';
import { Crossing } from '../../sync/leaf/crossing.ts';
import { LeafLiveness } from '../../sync/leaf/leaf-liveness.ts';
import { PacedOutbound } from '../../sync/leaf/paced-outbound.ts';
import type { LeafFrame } from '../../sync/leaf/types.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { ThinLine, type LineOptions } from '../support/thin-line.ts';

const KEEP_ALIVE_MS = 15_000;
const THIN = { bytesPerSecond: 50_000 / 8, delayMs: 25 };

function frame(subject: string, bytes = 200): LeafFrame {
  const data = Buffer.alloc(bytes, 'x');
  return { subject, reply: undefined, headers: undefined, data, plain: true, queues: [] };
}

interface Lab {
  readonly clock: FakeClock;
  readonly line: ThinLine;
  readonly outbound: PacedOutbound;
  readonly liveness: LeafLiveness;
  /** When it was given up, in simulated ms. */
  readonly deadMs: number[];
}

function lab(options: LineOptions = THIN): Lab {
  const clock = new FakeClock();
  const line = new ThinLine(clock, options);
  const received = (): number => line.receivedBytes;
  const parts = { clock, kernel: line, received, dead: () => undefined };
  const outbound = new PacedOutbound(line, parts);
  line.ponged = () => outbound.pong();
  const deadMs: number[] = [];
  const wire = { outbound, received };
  const liveness = new LeafLiveness(clock, wire, KEEP_ALIVE_MS, () => {
    deadMs.push(clock.monotonicMs());
    outbound.close();
  });
  return { clock, line, outbound, liveness, deadMs };
}

const pings = ({ line }: Lab): number => line.arrivals.filter(({ what }) => what === 'PING').length;

/** What the gateway does while the line breaks. */
const LOADS: Readonly<Record<string, (it: Lab) => void>> = {
  nothing: () => undefined,
  'a message now and then': (it) => {
    it.outbound.message(frame('live'), 'live');
    it.clock.after(700, () => LOADS['a message now and then']?.(it));
  },
  'as much as the line takes': (it) => {
    while (!it.outbound.isFull) it.outbound.message(frame('bulk'), 'bulk');
    it.clock.after(20, () => LOADS['as much as the line takes']?.(it));
  },
  'one large message': (it) => void it.outbound.message(frame('large', 500_000), 'live'),
};

for (const [load, begin] of Object.entries(LOADS)) {
  test(`a hole in the line is noticed within 15 s while we send ${load}`, async () => {
    const it = lab();
    begin(it);
    await it.clock.advanceAsync(20_000);
    expect(it.deadMs).toEqual([]);
    it.line.cut = true;
    const cutMs = it.clock.monotonicMs();
    await it.clock.advanceAsync(30_000);
    expect(it.deadMs.length).toBe(1);
    expect(it.deadMs[0] ?? 0).toBeGreaterThan(cutMs + 7_000);
    expect(it.deadMs[0] ?? 0).toBeLessThanOrEqual(cutMs + KEEP_ALIVE_MS - 1000);
  });

  test(`a hub that hangs is noticed though its kernel takes ${load}`, async () => {
    const it = lab();
    begin(it);
    await it.clock.advanceAsync(20_000);
    it.line.hung = true;
    // The large message is progress until the PING behind it has crossed, and then a proxy may have it.
    await it.clock.advanceAsync(load === 'one large message' ? 200_000 : 25_000);
    expect(it.deadMs.length).toBe(1);
  });

  test(`a line that works is kept while we send ${load}`, async () => {
    const it = lab();
    begin(it);
    await it.clock.advanceAsync(120_000);
    expect(it.deadMs).toEqual([]);
    it.liveness.stop();
  });
}

test('a message that takes minutes is progress, though nothing comes in', async () => {
  const it = lab();
  it.outbound.message(frame('large', 1_000_000), 'live');
  await it.clock.advanceAsync(155_000);
  expect([it.line.receivedBytes, it.deadMs]).toEqual([0, []]);
  await it.clock.advanceAsync(20_000);
  expect(it.deadMs).toEqual([]);
  expect(it.line.arrivals.some(({ what }) => what === 'large')).toBe(true);
  expect(it.line.receivedBytes).toBeGreaterThan(0);
});

test('a message that takes minutes from a proxy to the hub is waited for', async () => {
  const it = lab({ ...THIN, proxy: true });
  it.outbound.message(frame('large', 1_000_000), 'live');
  await it.clock.advanceAsync(180_000);
  expect(it.deadMs).toEqual([]);
  expect(it.line.arrivals.some(({ what }) => what === 'large')).toBe(true);
  // No longer than it takes.
  it.line.cut = true;
  await it.clock.advanceAsync(15_000);
  expect(it.deadMs.length).toBe(1);
});

test('an idle line costs a PING in five seconds', async () => {
  const it = lab();
  await it.clock.advanceAsync(60_500);
  expect(pings(it)).toBeGreaterThanOrEqual(11);
  expect(pings(it)).toBeLessThanOrEqual(13);
});

test('behind megabytes of the hub, whose PONGs come late, it hears a PING a second', async () => {
  const it = lab();
  it.line.ponged = () => undefined;
  const download = (): void => {
    it.line.receivedBytes += 600;
    it.clock.after(100, download);
  };
  download();
  await it.clock.advanceAsync(10_000);
  const before = pings(it);
  await it.clock.advanceAsync(120_000);
  expect(pings(it) - before).toBeGreaterThanOrEqual(110);
  expect(pings(it) - before).toBeLessThanOrEqual(125);
  expect(it.deadMs).toEqual([]);
});

test('while the hub sends and answers, a PING in three seconds is enough', async () => {
  const it = lab();
  const download = (): void => {
    it.line.receivedBytes += 600;
    it.clock.after(100, download);
  };
  download();
  await it.clock.advanceAsync(60_500);
  expect(pings(it)).toBeGreaterThanOrEqual(19);
  expect(pings(it)).toBeLessThanOrEqual(22);
});

test('a stall of our own process is not silence', () => {
  let nowMs = 0;
  let tick = (): void => undefined;
  const clock = new FakeClock();
  clock.monotonicMs = () => nowMs;
  clock.after = (_ms, fn) => {
    tick = fn;
    return () => (tick = () => undefined);
  };
  let dead = 0;
  let asked = 0;
  const outbound = {
    crossing: { ackedMs: 0, movedMs: 0, patienceMs: 0, unackedBytes: 6, unansweredPings: 1 },
    ping: () => undefined,
    look: () => Promise.resolve(void asked++),
  };
  const wire = { outbound, received: () => 0 };
  const liveness = new LeafLiveness(clock, wire, KEEP_ALIVE_MS, () => void dead++);
  nowMs = 600_000;
  tick();
  expect(dead).toBe(0);
  for (let i = 0; i < 11; i++) {
    nowMs += 1000;
    tick();
  }
  expect([dead, asked]).toEqual([0, 10]);
  nowMs += 1000;
  tick();
  expect(dead).toBe(1);
  nowMs += 1000;
  tick();
  expect(dead).toBe(1);
  liveness.stop();
});

test('a network that takes nothing is given up, whatever patience a large message had earned', async () => {
  const clock = new FakeClock();
  const crossing = {
    ackedMs: 0,
    movedMs: 0,
    patienceMs: 200_000,
    unackedBytes: 6,
    unansweredPings: 1,
  };
  const outbound = { crossing, ping: () => undefined, look: () => Promise.resolve() };
  let dead = 0;
  const wire = { outbound, received: () => 0 };
  const liveness = new LeafLiveness(clock, wire, KEEP_ALIVE_MS, () => void dead++);
  await clock.advanceAsync(KEEP_ALIVE_MS);
  expect(dead).toBe(1);
  liveness.stop();
});

test('what a first look finds may have crossed long ago; what the next one finds has crossed now', () => {
  const clock = new FakeClock();
  const crossing = new Crossing(clock, () => 0);
  crossing.sent = 1000;
  clock.advance(5000);
  crossing.looked(400);
  expect([crossing.unackedBytes, crossing.ackedMs, crossing.movedMs]).toEqual([600, 0, 0]);
  clock.advance(1000);
  crossing.looked(500);
  expect([crossing.unackedBytes, crossing.ackedMs, crossing.movedMs]).toEqual([500, 6000, 6000]);
});
