// How far the hub has what we said, from what the kernel says of bytes on the wire: against a model that keeps every write.

import { describe, expect, test } from 'vitest';
import { WireMap } from '../../sync/leaf/wire-map.ts';
import { randomInt, seededRandom, type Random } from '../support/random.ts';

interface Knot {
  readonly position: number;
  readonly wire: number;
}

/** The map beside all writes that it was told of. */
class Told {
  readonly map = new WireMap();
  readonly knots: Knot[] = [{ position: 0, wire: 0 }];

  get last(): Knot {
    return this.knots.at(-1) as Knot;
  }

  write(bytes: number, wire: number): void {
    const { last } = this;
    this.knots.push({ position: last.position + bytes, wire: last.wire + wire });
    this.map.wrote(last.position + bytes, wire);
  }

  /** Along a straight line between two writes, in whole numbers that do not round. */
  expected(wire: number): number {
    const next = this.knots.findIndex((knot) => knot.wire > wire);
    if (next < 0) return this.last.position;
    const [a, b] = [this.knots[next - 1] as Knot, this.knots[next] as Knot];
    const share = BigInt(wire - a.wire) * BigInt(b.position - a.position);
    return a.position + Number(share / BigInt(b.wire - a.wire));
  }
}

/** Sizes of a write before and after compression: nothing gained, a little lost, or up to 2000 times less. */
function sizes(random: Random): [bytes: number, wire: number] {
  const bytes = 1 + randomInt(random, random() < 0.02 ? 8 << 20 : 70_000);
  const kind = random();
  if (kind < 0.3) return [bytes, bytes + 18];
  if (kind < 0.5) return [bytes, bytes];
  return [bytes, Math.max(1, Math.ceil(bytes * random() ** 8))];
}

describe('where nothing is compressed', () => {
  test('each byte on the wire is one of the protocol', () => {
    const told = new Told();
    for (const bytes of [1, 49, 3, 103, 7]) told.write(bytes, bytes);
    for (let wire = 0; wire <= 163; wire++) expect(told.map.position(wire)).toBe(wire);
  });

  test('also of a gigabyte in a hundred thousand writes that nobody asked about', () => {
    const random = seededRandom(1);
    const told = new Told();
    for (let i = 0; i < 100_000; i++) {
      const bytes = 1 + randomInt(random, 20_000);
      told.map.wrote(told.map.sent + bytes, bytes);
    }
    const { sent } = told.map;
    expect(sent).toBeGreaterThan(900_000_000);
    for (let wire = 0; wire < sent; wire += 1 + randomInt(random, 100_000))
      expect(told.map.position(wire)).toBe(wire);
    expect(told.map.position(sent)).toBe(sent);
  });
});

describe('where it is', () => {
  test('within a write the bytes count alike, and its end is exact', () => {
    const { map } = new Told();
    map.wrote(1_000, 10);
    map.wrote(1_005, 20);
    expect([0, 1, 9, 10].map((wire) => map.position(wire))).toEqual([0, 100, 900, 1_000]);
    expect([11, 14, 29, 30].map((wire) => map.position(wire))).toEqual([
      1_000, 1_001, 1_004, 1_005,
    ]);
  });

  test('as long as a thousand writes are under way, all of them are told apart', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = seededRandom(seed);
      const told = new Told();
      let asked = 0;
      for (let round = 0; round < 60; round++) {
        for (let i = randomInt(random, 40); i > 0; i--) told.write(...sizes(random));
        const left = told.last.wire - asked;
        const boundary = told.knots[randomInt(random, told.knots.length)]?.wire ?? 0;
        asked = Math.max(asked, random() < 0.5 ? boundary : asked + randomInt(random, left + 1));
        expect([seed, round, told.map.position(asked)]).toEqual([
          seed,
          round,
          told.expected(asked),
        ]);
      }
      expect(told.map.sent).toBe(told.last.wire);
    }
  });

  test('with more of them it never goes back, never beyond what was written, and reaches the end', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const random = seededRandom(seed);
      const told = new Told();
      let asked = 0;
      let reached = 0;
      for (let round = 0; round < 30; round++) {
        for (let i = randomInt(random, 3_000); i > 0; i--) told.write(...sizes(random));
        for (let look = 0; look < 20; look++) {
          asked += randomInt(random, (told.last.wire - asked) / 8 + 1);
          const position = told.map.position(asked);
          expect(position).toBeGreaterThanOrEqual(reached);
          expect(position).toBeLessThanOrEqual(told.last.position);
          reached = position;
        }
      }
      expect(reached).toBeGreaterThan(0);
      expect(reached).toBeLessThan(told.last.position);
      expect(told.map.position(told.last.wire)).toBe(told.last.position);
    }
  });

  test('however many there are, the last one is among them', () => {
    for (let writes = 1_000; writes < 2_600; writes++) {
      const map = new WireMap();
      for (let i = 1; i <= writes; i++) map.wrote(1_000 * i, 100);
      expect(map.position(100 * writes - 50)).toBe(1_000 * writes - 500);
    }
  });

  test('a smaller count than before, as a kernel may say it, changes nothing', () => {
    const told = new Told();
    for (let i = 0; i < 100; i++) told.write(1_000, 100);
    expect(told.map.position(5_050)).toBe(50_500);
    for (const wire of [4_000, 0, -3_000]) expect(told.map.position(wire)).toBe(50_000);
    expect(told.map.position(5_050)).toBe(50_500);
    expect(told.map.position(20_000)).toBe(100_000);
  });

  test('of writes that nobody asks about it keeps a thousand marks, and no more', () => {
    const random = seededRandom(7);
    const told = new Told();
    for (let i = 0; i < 50_000; i++)
      told.write(1 + randomInt(random, 1_000_000), 1 + randomInt(random, 100));
    const kept = told.knots.filter(({ position, wire }) => told.map.position(wire) === position);
    expect(kept.length).toBeGreaterThan(512);
    expect(kept.length).toBeLessThan(1_100);
  });
});
