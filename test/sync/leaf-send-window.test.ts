// The window of a leafnode connection on lines that are harder to judge, in simulated time: they let a burst pass before
// they are narrow, lose packets, change, or carry what shrinks and then what does not.

import { expect, test } from 'vitest';
import { PING } from '../../sync/leaf/leaf-encoder.ts';
import { PacedOutbound } from '../../sync/leaf/paced-outbound.ts';
import { SendWindow } from '../../sync/leaf/send-window.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { arrived, flood, frame, lab, THIN, travelMs, type Lab } from '../support/paced-lab.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { ThinLine } from '../support/thin-line.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
/** Of a live message, once the line is known. */
const LIVE_MS = 2500;

/** Readings, no two of them alike; they shrink to about a tenth. */
function readings(): () => Buffer {
  let number = 0;
  return () => {
    const reading = { unit: 'boiler-7', temperature: 20 + (number % 9), pressure: 1.013 };
    const more = { humidity: 45.2, quality: 'good', site: 'plant1', alarm: false };
    return Buffer.from(JSON.stringify({ ...reading, ...more, number: number++ }));
  };
}

/** Sends a live message each half second; how long the slowest took. */
async function slowestMs(it: Lab, seconds: number): Promise<number> {
  const startMs = it.clock.monotonicMs();
  const before = it.line.arrivals.length;
  const count = 2 * seconds;
  for (let i = 0; i < count; i++) {
    it.outbound.message(frame(`live.${i}`, 20), 'live');
    await it.clock.advanceAsync(500);
  }
  while (it.outbound.waitingBytes > 0 && it.clock.monotonicMs() < startMs + 200_000) {
    const last = it.line.arrivals.findLast(({ what }) => what.startsWith('live.'));
    if (last?.what === `live.${count - 1}`) break;
    await it.clock.advanceAsync(20);
  }
  const lives = it.line.arrivals.slice(before).filter(({ what }) => what.startsWith('live.'));
  expect(lives.length).toBe(count);
  return Math.max(...lives.map(({ atMs }, i) => atMs - startMs - 500 * i));
}

/** Fills the bulk lane once. */
function feed({ outbound }: Lab, bytes = 200): void {
  while (!outbound.isFull) outbound.message(frame('bulk', bytes), 'bulk');
}

/** What is on its way in front of the line. */
const queued = ({ line }: Lab): number => line.writtenBytes - line.passedBytes;

test.each([4, 16, 32, 64])(
  'where %i KiB pass at once, the line is known after one round, and stays known when it was idle',
  async (burst) => {
    const it = lab({ ...THIN, burstBytes: burst * KIB });
    let floods = true;
    const more = (): void => {
      if (floods) feed(it);
      it.clock.after(10, more);
    };
    more();
    // The first burst is a guess; what came of it drains, and is not filled up meanwhile.
    await it.clock.advanceAsync(1000);
    const drainMs = (queued(it) / THIN.bytesPerSecond) * 1000;
    await it.clock.advanceAsync(drainMs + 2000);
    const passed = it.line.passedBytes;
    expect(await slowestMs(it, 20)).toBeLessThan(LIVE_MS);
    expect(it.line.passedBytes - passed).toBeGreaterThan(0.95 * 20 * THIN.bytesPerSecond);
    floods = false;
    await it.clock.advanceAsync(30_000);
    floods = true;
    await it.clock.advanceAsync(1000);
    expect(queued(it)).toBeLessThan(5 * THIN.bytesPerSecond);
    expect(await slowestMs(it, 10)).toBeLessThan(5000);
    expect(await slowestMs(it, 20)).toBeLessThan(LIVE_MS);
  },
);

test.each([
  [100, 0, 700],
  [300, 0, 2000],
  [100, 0.01, 1500],
])(
  'a fast line of %i ms with a loss of %d opens to 4 MiB in %i ms',
  async (rttMs, loss, openMs) => {
    const random = seededRandom(1);
    const loses = (): boolean => random() < loss;
    const line = { bytesPerSecond: 64 * MIB, delayMs: rttMs / 2, loses };
    const it: Lab = lab(line, { room: () => feed(it, 2000) });
    feed(it, 2000);
    await it.clock.advanceAsync(openMs);
    expect(it.outbound.windowBytes).toBeGreaterThanOrEqual(4 * MIB);
  },
);

test('a line that was narrow for a time is used whole some seconds later, and at once from then on', async () => {
  const options = { ...THIN };
  let floods = true;
  const it: Lab = lab(options, { room: () => void (floods && feed(it, 2000)) });
  feed(it, 2000);
  await it.clock.advanceAsync(20_000);
  // So fast that not even the largest window queues for long.
  options.bytesPerSecond = 20 * MIB;
  await it.clock.advanceAsync(5000);
  const passed = it.line.passedBytes;
  await it.clock.advanceAsync(1000);
  expect(it.line.passedBytes - passed).toBeGreaterThan(0.9 * options.bytesPerSecond);
  floods = false;
  await it.clock.advanceAsync(2000);
  for (let i = 0; i < 80; i++) {
    it.outbound.ping();
    await it.clock.advanceAsync(100);
  }
  expect(it.outbound.windowBytes).toBe(8 * KIB);
  floods = true;
  feed(it, 2000);
  await it.clock.advanceAsync(500);
  expect(it.outbound.windowBytes).toBeGreaterThan(MIB);
});

test('a queue in front of a line that became narrow is not filled up while it drains', async () => {
  const options = { bytesPerSecond: 125_000, delayMs: 25 };
  const it = lab(options);
  flood(it);
  await it.clock.advanceAsync(5000);
  options.bytesPerSecond = THIN.bytesPerSecond;
  await it.clock.advanceAsync(1000);
  const written = it.line.writtenBytes;
  const drainMs = (queued(it) / THIN.bytesPerSecond) * 1000;
  expect(drainMs).toBeGreaterThan(5000);
  await it.clock.advanceAsync(drainMs - 1000);
  expect(it.line.writtenBytes - written).toBeLessThan(4 * KIB);
  await it.clock.advanceAsync(3000);
  expect(await slowestMs(it, 20)).toBeLessThan(LIVE_MS);
});

test('compressed, a thin line carries several times as much, and live messages pass as soon', async () => {
  const counts: number[] = [];
  for (const compressed of [false, true]) {
    const it = lab(THIN, { compressed });
    flood(it, readings());
    await it.clock.advanceAsync(5000);
    const before = arrived(it, 'bulk');
    expect(await slowestMs(it, 30)).toBeLessThan(LIVE_MS);
    counts.push(arrived(it, 'bulk') - before);
  }
  const [plain = 0, compressed = 0] = counts;
  expect(compressed / plain).toBeGreaterThan(4);
});

test('data that shrinks, and then does not: the window is known again after one round', async () => {
  const random = seededRandom(11);
  let data = readings();
  const it = lab(THIN, { compressed: true });
  flood(it, () => data());
  await it.clock.advanceAsync(20_000);
  data = () => randomBytes(random, 200);
  await it.clock.advanceAsync(1000);
  // What was on its way at a tenth of its size may be on its way at its size.
  const drainMs = (queued(it) / THIN.bytesPerSecond) * 1000;
  expect(drainMs).toBeLessThan(10_000);
  await it.clock.advanceAsync(drainMs + 2000);
  expect(await slowestMs(it, 20)).toBeLessThan(LIVE_MS);
  data = readings();
  await it.clock.advanceAsync(5000);
  const before = arrived(it, 'bulk');
  await it.clock.advanceAsync(5000);
  expect((arrived(it, 'bulk') - before) * 170).toBeGreaterThan(4 * 5 * THIN.bytesPerSecond);
});

test('live messages that come at once wait up to ten seconds of the line, and no more', async () => {
  const thin = lab(THIN);
  flood(thin);
  await thin.clock.advanceAsync(10_000);
  const fast = lab({ bytesPerSecond: 32 * MIB, delayMs: 1 });
  flood(fast, 8000);
  await fast.clock.advanceAsync(1000);
  const taken = [thin, fast].map(({ outbound }) => {
    let count = 0;
    while (count < 30_000 && outbound.message(frame('live', 1000), 'live')) count++;
    return count;
  });
  expect(thin.outbound.counters.droppedMsgs).toBe(1);
  expect(thin.outbound.waitingBytes).toBeLessThan(2.2 * MIB);
  expect(taken[0]).toBeLessThan((2.1 * MIB) / 1000);
  // Some of it has left already.
  expect(taken[1]).toBeGreaterThan((15 * MIB) / 1000);
  expect(fast.outbound.waitingBytes).toBeLessThan(18 * MIB);
  expect(await travelMs(thin, 'live')).toBeLessThan(LIVE_MS);
});

test('an answer that came late on a line without load makes no less room for live messages', async () => {
  const it = lab({ bytesPerSecond: 32 * MIB, delayMs: 1 });
  for (const lateMs of [0, 500]) {
    it.line.ponged = () => void it.clock.after(lateMs, () => it.outbound.pong());
    it.outbound.ping();
    await it.clock.advanceAsync(1000);
  }
  expect(it.outbound.rttMs).toBeGreaterThan(500);
  for (let i = 0; i < 20_000; i++) it.outbound.message(frame('live'), 'live');
  expect(it.outbound.counters).toMatchObject({ outMsgs: 20_000, droppedMsgs: 0 });
});

test('compressed, a PING ends what is compressed with it: its answer waits for nothing behind it', async () => {
  const clock = new FakeClock();
  const line = new ThinLine(clock, THIN);
  const chunks: string[] = [];
  const encode = (data: Buffer): Buffer => {
    chunks.push(data.toString('latin1'));
    return data;
  };
  const parts = { clock, kernel: line, encode, dead: (): void => undefined };
  const outbound = new PacedOutbound(line, parts);
  line.ponged = () => outbound.pong();
  flood({ clock, outbound });
  await clock.advanceAsync(10_000);
  const withPing = chunks.filter((chunk) => chunk.includes(PING));
  expect(withPing.length).toBeGreaterThan(10);
  expect(withPing.filter((chunk) => chunk.indexOf(PING) < chunk.length - PING.length)).toEqual([]);
});

test('who delivers in bursts, with and without something left to wait, gets a large window and keeps it', () => {
  const window = new SendWindow();
  let sent = 0;
  for (let burst = 0; burst < 100; burst++) {
    const startMs = 10 * burst;
    const marks: number[] = [];
    const bytes = burst % 2 === 0 ? window.bytes : window.bytes / 2;
    for (let i = 0; i < 4; i++) {
      // A message more than it should be: a PING goes between two.
      sent += bytes / 4 + 100;
      window.mark(sent, startMs, 0);
      marks.push(sent);
    }
    if (burst % 2 === 0) window.limits(sent, startMs);
    for (const mark of marks) window.cross(mark, sent, startMs + 1, 0);
    if (burst > 20) expect(window.bytes).toBeGreaterThan(256 * KIB);
  }
});
