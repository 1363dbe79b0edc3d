import { once } from 'node:events';
import { createServer, connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { KernelQueue } from '../../sync/leaf/kernel-queue.ts';
import { PING, PONG, subscribeLine } from '../../sync/leaf/leaf-encoder.ts';
import { PacedOutbound } from '../../sync/leaf/paced-outbound.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { arrived, flood, frame, lab, THIN, travelMs, type Lab } from '../support/paced-lab.ts';
import { randomBytes, randomInt, seededRandom } from '../support/random.ts';
import { ThinLine } from '../support/thin-line.ts';
import { until } from '../support/until.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

test('a thin line with megabytes waiting takes what is urgent within two seconds, and stays busy', async () => {
  const it = lab(THIN);
  flood(it);
  // The first window is a guess, and may be too large for such a line.
  await it.clock.advanceAsync(10_000);
  const before = arrived(it, 'bulk');
  const startMs = it.clock.monotonicMs();
  for (let i = 0; i < 20; i++) {
    it.outbound.control(subscribeLine(`s${i}`));
    expect(await travelMs(it, `LS+ s${i}`)).toBeLessThan(2000);
    it.outbound.ping();
    expect(await travelMs(it, 'PING')).toBeLessThan(2000);
    it.outbound.message(frame(`live${i}`, 20), 'live');
    expect(await travelMs(it, `live${i}`)).toBeLessThan(2000);
    await it.clock.advanceAsync(700);
    expect(it.outbound.crossing.unackedBytes).toBeLessThan(12 * KIB);
  }
  const seconds = (it.clock.monotonicMs() - startMs) / 1000;
  const bytes = (arrived(it, 'bulk') - before) * 200;
  expect(bytes / seconds).toBeGreaterThan(0.8 * THIN.bytesPerSecond);
});

test('a fast line gets a large window within some turns there and back', async () => {
  const it = lab({ bytesPerSecond: 32 * MIB, delayMs: 0 });
  flood(it, 8000);
  await it.clock.advanceAsync(1000);
  expect(it.outbound.windowBytes).toBe(8 * MIB);
});

test('a long fast line is filled within two seconds', async () => {
  const it = lab({ bytesPerSecond: 4 * MIB, delayMs: 50 });
  flood(it, 1000);
  await it.clock.advanceAsync(2000);
  expect(it.outbound.windowBytes).toBeGreaterThan(0.1 * 4 * MIB);
  const before = arrived(it, 'bulk');
  await it.clock.advanceAsync(2000);
  expect((arrived(it, 'bulk') - before) * 500).toBeGreaterThan(0.9 * 4 * MIB);
});

test('a line that is very long is not taken for a narrow one', async () => {
  const it = lab({ bytesPerSecond: 100_000, delayMs: 600 });
  flood(it);
  await it.clock.advanceAsync(30_000);
  const before = arrived(it, 'bulk');
  await it.clock.advanceAsync(10_000);
  expect((arrived(it, 'bulk') - before) * 20).toBeGreaterThan(80_000);
});

test('a line that becomes narrow gets a small window again', async () => {
  const options = { bytesPerSecond: MIB, delayMs: 25 };
  const it = lab(options);
  flood(it);
  await it.clock.advanceAsync(5000);
  expect(it.outbound.windowBytes).toBeGreaterThan(200 * KIB);
  options.bytesPerSecond = 20 * KIB;
  await it.clock.advanceAsync(60_000);
  expect(it.outbound.windowBytes).toBeLessThan(30 * KIB);
});

test('room that is not used is given back', async () => {
  const it = lab({ bytesPerSecond: 32 * MIB, delayMs: 1 });
  while (it.outbound.windowBytes < MIB) {
    while (!it.outbound.isFull) it.outbound.message(frame('bulk', 8000), 'bulk');
    await it.clock.advanceAsync(5);
  }
  const had = it.outbound.windowBytes;
  const quiet = async (rounds: number): Promise<void> => {
    for (let i = 0; i < rounds; i++) {
      it.outbound.ping();
      await it.clock.advanceAsync(10);
    }
  };
  await quiet(80);
  expect(it.outbound.windowBytes, 'a burst may need it again').toBeGreaterThanOrEqual(had);
  await quiet(100);
  expect(it.outbound.windowBytes).toBe(8 * KIB);
});

test('compressing takes many turns where there is much', async () => {
  let sizes: number[] = [];
  const options = { compressed: true, encoded: (bytes: number) => void sizes.push(bytes) };
  const it = lab({ bytesPerSecond: 64 * MIB, delayMs: 1 }, options);
  while (it.outbound.windowBytes < 4 * MIB) {
    while (!it.outbound.isFull) it.outbound.message(frame('bulk', 8000), 'bulk');
    await it.clock.advanceAsync(5);
  }
  await it.clock.advanceAsync(1000);
  it.outbound.message(frame('live', 4 * MIB), 'live');
  sizes = [];
  it.outbound.flush();
  const sum = sizes.reduce((total, each) => total + each, 0);
  expect(sum).toBeGreaterThan(256 * KIB);
  expect(sum).toBeLessThan(1 * MIB);
  expect(Math.max(...sizes)).toBeLessThan(256 * KIB);
  await it.clock.advanceAsync(5000);
  expect(arrived(it, 'live')).toBe(1);
});

test('a window that shrinks below what is under way opens again', async () => {
  const it = lab({ bytesPerSecond: 32 * MIB, delayMs: 1 });
  while (it.outbound.windowBytes < 8 * MIB) {
    while (!it.outbound.isFull) it.outbound.message(frame('bulk', 8000), 'bulk');
    await it.clock.advanceAsync(5);
  }
  const pongs: (() => void)[] = [];
  it.line.ponged = () => void pongs.push(() => it.outbound.pong());
  for (let i = 0; i < 7 * 128; i++) it.outbound.message(frame('bulk', 8000), 'bulk');
  await it.clock.advanceAsync(1_000_000);
  it.line.ponged = () => it.outbound.pong();
  for (const pong of pongs) pong();
  expect(it.outbound.windowBytes).toBeLessThan(8 * KIB);
  it.outbound.message(frame('live'), 'live');
  expect(await travelMs(it, 'live')).toBeLessThan(1000);
});

test('a hub that asks without end and reads nothing is not answered without end', () => {
  const it = lab({ bytesPerSecond: 0, delayMs: 0 });
  it.outbound.message(frame('large', 100_000), 'live');
  it.outbound.flush();
  for (let i = 0; i < 100_000; i++) it.outbound.control(PONG);
  expect(it.outbound.waitingBytes).toBeLessThan(100_000);
});

test('lines of control pass first, then live messages, then bulk; each keeps its order', async () => {
  const it = lab(THIN);
  flood(it);
  await it.clock.advanceAsync(1000);
  const before = it.line.arrivals.length;
  for (let i = 0; i < 50; i++)
    it.outbound.message(frame(`live ${i}`.replace(' ', '.'), 50), 'live');
  for (let i = 0; i < 50; i++) it.outbound.control(subscribeLine(`a${i}`));
  it.outbound.control(PONG);
  await it.clock.advanceAsync(8000);
  const seen = it.line.arrivals.slice(before).map(({ what }) => what);
  const lines = seen.filter((what) => what.startsWith('LS+'));
  const lives = seen.filter((what) => what.startsWith('live'));
  expect(lines).toEqual(Array.from({ length: 50 }, (_, i) => `LS+ a${i}`));
  expect(lives).toEqual(Array.from({ length: 50 }, (_, i) => `live.${i}`));
  expect(seen.indexOf('PONG')).toBeLessThan(seen.indexOf('LS+ a0'));
  expect(seen.indexOf('LS+ a49')).toBeLessThan(seen.indexOf('live.0'));
});

test('bulk has its share where live messages never end, and only that', async () => {
  const it = lab({ bytesPerSecond: 50_000, delayMs: 10 });
  flood(it);
  const talk = (): void => {
    while (it.outbound.waitingBytes < 200 * KIB) it.outbound.message(frame('live', 200), 'live');
    it.clock.after(10, talk);
  };
  talk();
  await it.clock.advanceAsync(5000);
  const [bulk, live] = [arrived(it, 'bulk'), arrived(it, 'live')];
  await it.clock.advanceAsync(40_000);
  const share = (arrived(it, 'live') - live) / (arrived(it, 'bulk') - bulk);
  expect(share).toBeGreaterThan(6);
  expect(share).toBeLessThan(10);
});

test('a turn leaves in one write, in the order of the lanes', async () => {
  const clock = new FakeClock();
  const line = new ThinLine(clock, { bytesPerSecond: MIB, delayMs: 0 });
  const writes: string[] = [];
  line._write = (chunk, _encoding, done) => {
    writes.push(chunk.toString('latin1'));
    done();
  };
  const outbound = new PacedOutbound(line, { clock, dead: () => undefined });
  outbound.message(frame('b', 1), 'bulk');
  outbound.message(frame('l', 1), 'live');
  outbound.control('LS+ a\r\n');
  outbound.ping();
  outbound.ping();
  outbound.control(PONG);
  expect(writes).toEqual([]);
  clock.turn();
  await Promise.resolve();
  expect(writes).toEqual([`${PING}${PONG}LS+ a\r\nLMSG l 1\r\nx\r\nLMSG b 1\r\nx\r\n`]);
  expect(outbound.waitingBytes).toBe(0);
});

test('live messages beyond a limit are dropped and counted; one that is alone passes', () => {
  const { outbound } = lab(THIN);
  expect(outbound.message(frame('large', 5 * MIB), 'live')).toBe(true);
  expect(outbound.message(frame('more', 1000), 'live')).toBe(false);
  expect(outbound.counters).toEqual({ outMsgs: 1, outBytes: 5 * MIB, droppedMsgs: 1 });
  const other = lab(THIN).outbound;
  let taken = 0;
  while (other.message(frame('live', 1000), 'live')) taken++;
  expect(taken * 1000).toBeGreaterThan(1.9 * MIB);
  expect(other.waitingBytes).toBeLessThan(2.1 * MIB);
  // What a consumer delivers is never dropped: it looks before.
  expect(other.message(frame('bulk', 1000), 'bulk')).toBe(true);
});

test('whoever delivers is told when there is room again', async () => {
  let rooms = 0;
  const it = lab(THIN, { room: () => void rooms++ });
  while (!it.outbound.isFull) it.outbound.message(frame('bulk'), 'bulk');
  expect(it.outbound.waitingBytes).toBeLessThan(10 * KIB);
  expect(rooms).toBe(0);
  await it.clock.advanceAsync(100);
  expect([rooms, it.outbound.isFull]).toEqual([1, false]);
  await it.clock.advanceAsync(5000);
  expect(rooms).toBe(1);
});

test('a hub that takes no lines of control is given up', () => {
  const it = lab({ bytesPerSecond: 0, delayMs: 0 });
  const line = subscribeLine('s'.repeat(1000));
  for (let i = 0; i < 20_000; i++) it.outbound.control(line);
  expect(it.dead).toEqual(['the hub does not take our lines of control']);
  expect(it.outbound.waitingBytes).toBe(0);
});

test('a large message goes in pieces, as the kernel says what has crossed', async () => {
  const it = lab(THIN);
  it.outbound.message(frame('large', 200_000), 'live');
  for (let i = 0; i < 30; i++) {
    await it.clock.advanceAsync(1000);
    expect(it.outbound.crossing.unackedBytes).toBeLessThan(20 * KIB);
  }
  await it.clock.advanceAsync(8000);
  expect(arrived(it, 'large')).toBe(1);
});

test('where the kernel says nothing, a large message passes all the same', async () => {
  const it = lab(THIN, { blind: true });
  it.outbound.message(frame('large', 100_000), 'live');
  it.outbound.message(frame('next'), 'live');
  await it.clock.advanceAsync(20_000);
  expect([arrived(it, 'large'), arrived(it, 'next')]).toEqual([1, 1]);
});

/** The hub sends so much that its PONGs stand behind it, and come `lateMs` late. */
function download(it: Lab, lateMs: number): void {
  it.line.ponged = () => void it.clock.after(lateMs, () => it.outbound.pong());
  const more = (): void => {
    it.line.receivedBytes += 500;
    it.clock.after(20, more);
  };
  more();
}

test('PONGs that stand behind data of the hub hold nothing back, and say nothing of the window', async () => {
  const it = lab({ bytesPerSecond: 20_000, delayMs: 20 });
  flood(it);
  await it.clock.advanceAsync(10_000);
  const window = it.outbound.windowBytes;
  download(it, 60_000);
  await it.clock.advanceAsync(20_000);
  const before = arrived(it, 'bulk');
  await it.clock.advanceAsync(60_000);
  expect((arrived(it, 'bulk') - before) * 200).toBeGreaterThan(0.6 * 60 * 20_000);
  expect(it.outbound.windowBytes).toBeGreaterThan(window / 2);
  expect(it.outbound.windowBytes).toBeLessThan(window * 2);
});

test('a proxy that takes everything at once gets no more than the hub is seen to take', async () => {
  const it = lab({ ...THIN, proxy: true });
  flood(it);
  await it.clock.advanceAsync(20_000);
  for (let i = 0; i < 10; i++) {
    it.outbound.message(frame(`live${i}`, 20), 'live');
    expect(await travelMs(it, `live${i}`)).toBeLessThan(2000);
    await it.clock.advanceAsync(700);
    expect(it.outbound.windowBytes).toBeLessThan(12 * KIB);
  }
});

test('behind a large message that a proxy has taken, the next waits for the hub', async () => {
  const it = lab({ ...THIN, proxy: true });
  it.outbound.message(frame('large', 100_000), 'live');
  await it.clock.advanceAsync(5000);
  for (let i = 0; i < 200; i++) it.outbound.message(frame('next', 1000), 'live');
  it.outbound.message(frame('large', 100_000), 'live');
  await it.clock.advanceAsync(5000);
  expect(it.line.writtenBytes).toBeLessThan(120_000);
  expect(it.outbound.crossing.patienceMs).toBeGreaterThan(15_000);
  await it.clock.advanceAsync(60_000);
  expect([arrived(it, 'large'), arrived(it, 'next')]).toEqual([2, 200]);
});

test('a PONG that nobody asked for says nothing', async () => {
  const it = lab(THIN);
  it.outbound.pong();
  it.outbound.login(`CONNECT {}\r\n${PING}LS+ a\r\n`.replace('CONNECT {}', '+OK'));
  expect(it.outbound.crossing.unansweredPings).toBe(1);
  expect(it.outbound.rttMs).toBeUndefined();
  await it.clock.advanceAsync(200);
  expect(it.line.arrivals.map(({ what }) => what)).toEqual(['PING', 'LS+ a']);
  expect(it.outbound.crossing.unansweredPings).toBe(0);
  expect(it.outbound.rttMs).toBeGreaterThan(49);
  expect(it.outbound.rttMs).toBeLessThan(61);
});

test('draining ends when all is written, or in time; nothing leaves after closing', async () => {
  const it = lab(THIN);
  for (let i = 0; i < 100; i++) it.outbound.message(frame('live'), 'live');
  const ends: string[] = [];
  void it.outbound.drain(60_000).then(() => ends.push('all'));
  void it.outbound.drain(500).then(() => ends.push('late'));
  await it.clock.advanceAsync(600);
  expect(ends).toEqual(['late']);
  await it.clock.advanceAsync(4000);
  expect(ends).toEqual(['late', 'all']);
  expect(it.outbound.waitingBytes).toBe(0);
  it.outbound.message(frame('large', 100_000), 'live');
  await it.clock.advanceAsync(100);
  const written = it.line.writtenBytes;
  void it.outbound.drain(60_000).then(() => ends.push('closed'));
  it.outbound.close();
  it.outbound.control(PONG);
  it.outbound.ping();
  expect(it.outbound.message(frame('a'), 'bulk')).toBe(false);
  expect(it.outbound.isFull).toBe(true);
  await it.clock.advanceAsync(5000);
  expect(ends).toEqual(['late', 'all', 'closed']);
  expect(it.line.writtenBytes).toBe(written);
  expect(it.clock.nextDueMs()).toBeGreaterThan(it.clock.monotonicMs());
});

test('whatever is sent arrives whole, once and in the order of its lane', async () => {
  for (let seed = 1; seed <= 12; seed++) {
    const random = seededRandom(seed);
    const rate = [6_000, 100_000, 50 * MIB][seed % 3] ?? 0;
    const it = lab({ bytesPerSecond: rate, delayMs: randomInt(random, 50) });
    const sent = { live: [] as Buffer[], bulk: [] as Buffer[] };
    for (let turn = 0; turn < 60; turn++) {
      for (let i = randomInt(random, 8); i > 0; i--) {
        const lane = random() < 0.5 ? 'live' : 'bulk';
        const data = randomBytes(random, randomInt(random, random() < 0.05 ? 20_000 : 600));
        if (lane === 'bulk' && it.outbound.isFull) continue;
        const headers = random() < 0.3 ? Buffer.from('NATS/1.0\r\n\r\n') : undefined;
        it.outbound.message({ ...frame(lane, data), headers }, lane);
        sent[lane].push(data);
      }
      if (random() < 0.3) it.outbound.ping();
      await it.clock.advanceAsync(randomInt(random, 40));
    }
    await it.clock.advanceAsync(100_000);
    for (const lane of ['live', 'bulk'] as const) {
      const got = it.line.arrivals.flatMap(({ what, message }) =>
        what === lane && message !== undefined ? [message.data] : [],
      );
      expect(Buffer.concat(got).equals(Buffer.concat(sent[lane])), `${seed} ${lane}`).toBe(true);
      expect(got.length).toBe(sent[lane].length);
    }
    expect([it.outbound.waitingBytes, it.outbound.crossing.unansweredPings]).toEqual([0, 0]);
  }
});

/** A connected pair of real sockets. */
async function pair(host: string): Promise<{ near: Socket; far: Socket; close: () => void }> {
  const server = createServer({ pauseOnConnect: true }).listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const near = connect(address.port, host);
  const [[far]] = (await Promise.all([once(server, 'connection'), once(near, 'connect')])) as [
    [Socket],
    unknown,
  ];
  const close = (): void => {
    near.destroy();
    far.destroy();
    server.close();
  };
  return { near, far, close };
}

test.each(['127.0.0.1', '::1'])(
  'the kernel of Linux says what the peer has not taken, at %s',
  async (host) => {
    const { near, far, close } = await pair(host);
    try {
      const kernel = new KernelQueue(near);
      expect(await kernel.bytes()).toBe(0);
      near.write(Buffer.alloc(32 * MIB));
      await until('bytes wait', async () => ((await kernel.bytes()) ?? 0) > 0);
      far.resume();
      await until(
        'the peer has all',
        async () => near.writableLength === 0 && (await kernel.bytes()) === 0,
      );
      near.destroy();
      await once(near, 'close');
      expect(await kernel.bytes()).toBeUndefined();
    } finally {
      close();
    }
  },
);

test('of what is no socket the kernel says nothing', async () => {
  expect(await new KernelQueue({}).bytes()).toBeUndefined();
  expect(await new KernelQueue({ localPort: 1, remotePort: 1 }).bytes()).toBeUndefined();
});

test('megabytes pass a real socket unharmed, large and small', async () => {
  const { near, far, close } = await pair('127.0.0.1');
  try {
    const clock = new FakeClock();
    const hub = new ThinLine(clock, THIN);
    const outbound = new PacedOutbound(near, { clock: systemClock, dead: () => undefined });
    hub.ping = () => outbound.pong();
    far.on('data', (chunk: Buffer) => hub.hear(chunk)).resume();
    const random = seededRandom(99);
    const sent: Buffer[] = [];
    for (let i = 0; i < 300; i++) {
      sent.push(randomBytes(random, i % 30 === 0 ? 300_000 : 500));
      outbound.message(frame('m', sent[i] ?? Buffer.alloc(0)), 'bulk');
    }
    await until('all to arrive', () => hub.arrivals.length === 300);
    const got = hub.arrivals.map(({ message }) => message?.data ?? Buffer.alloc(0));
    expect(Buffer.concat(got).equals(Buffer.concat(sent))).toBe(true);
  } finally {
    close();
  }
});
