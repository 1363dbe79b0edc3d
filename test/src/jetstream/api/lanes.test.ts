// The order of requests: what one client asks about one thing happens in the order in which it asks.

import { expect, test } from 'vitest';
import { Lanes, type Topic } from '../../../../src/jetstream/api/lanes.ts';
import { randomInt, seededRandom } from '../../../support/random.ts';

/** Work that ends when the test says so. */
class Work {
  readonly begun: string[] = [];
  readonly ended: string[] = [];
  readonly #ends = new Map<string, () => void>();

  run(lanes: Lanes, from: object, name: string, stream?: string, consumer?: string): void {
    void lanes.run(from, { stream, consumer }, 10, () => {
      this.begun.push(name);
      return new Promise<void>((resolve) => this.#ends.set(name, resolve)).then(
        () => void this.ended.push(name),
      );
    });
  }

  async end(name: string): Promise<void> {
    this.#ends.get(name)?.();
    for (let i = 0; i < 20; i++) await Promise.resolve();
  }
}

test('requests of one client about one stream wait for each other, those about others do not', async () => {
  const lanes = new Lanes();
  const work = new Work();
  const me = {};
  work.run(lanes, me, 'create A', 'A');
  work.run(lanes, me, 'info A', 'A');
  work.run(lanes, me, 'consumer A.c', 'A', 'c');
  work.run(lanes, me, 'create B', 'B');
  work.run(lanes, me, 'list');
  work.run(lanes, {}, 'somebody else', 'A');
  expect(work.begun).toEqual(['create A', 'create B', 'somebody else']);
  expect(lanes.inFlight).toBe(6);
  await work.end('create A');
  expect(work.begun.slice(3)).toEqual(['info A']);
  await work.end('info A');
  expect(work.begun.slice(4)).toEqual(['consumer A.c']);
  await work.end('create B');
  await work.end('consumer A.c');
  expect(work.begun.slice(5)).toEqual(['list']);
  await work.end('list');
  await work.end('somebody else');
  expect(lanes.inFlight).toBe(0);
});

test('consumers of one stream are made side by side, each in its own order', async () => {
  const lanes = new Lanes();
  const work = new Work();
  const me = {};
  for (let i = 0; i < 5; i++) {
    work.run(lanes, me, `create ${i}`, 'A', `c${i}`);
    work.run(lanes, me, `info ${i}`, 'A', `c${i}`);
  }
  expect(work.begun).toEqual(['create 0', 'create 1', 'create 2', 'create 3', 'create 4']);
  await work.end('create 3');
  expect(work.begun.at(-1)).toBe('info 3');
});

test('a request that fails holds up nobody, and one that is answered at once leaves nothing behind', async () => {
  const lanes = new Lanes();
  const me = {};
  const failed = lanes.run(me, { stream: 'A', consumer: undefined }, 1, () =>
    Promise.reject(new Error('no')),
  );
  const next = lanes.run(me, { stream: 'A', consumer: undefined }, 1, () => 'done');
  await expect(failed).rejects.toThrow('no');
  expect(await next).toBe('done');
  expect(lanes.run(me, { stream: 'A', consumer: undefined }, 1, () => 'at once')).toBe('at once');
  expect(lanes.inFlight).toBe(0);
});

test('whoever comes when the first has ended waits for the second', async () => {
  const lanes = new Lanes();
  const work = new Work();
  const me = {};
  work.run(lanes, me, 'first', 'A');
  work.run(lanes, me, 'second', 'A');
  await work.end('first');
  work.run(lanes, me, 'third', 'A');
  expect(work.begun).toEqual(['first', 'second']);
  await work.end('second');
  expect(work.begun).toEqual(['first', 'second', 'third']);
});

test('what was asked and answered long ago does not count, however much it was', async () => {
  const lanes = new Lanes();
  const work = new Work();
  const me = {};
  work.run(lanes, me, 'a long one', 'A');
  for (let i = 0; i < 3_000; i++) {
    work.run(lanes, me, `${i}`, 'B');
    await work.end(`${i}`);
  }
  expect(work.ended).toHaveLength(3_000);
});

test('too many requests of one client, or too many bytes, are refused; others are served', async () => {
  const lanes = new Lanes();
  const work = new Work();
  const [one, other] = [{}, {}];
  for (let i = 0; i < 1_024; i++) work.run(lanes, one, `${i}`, 'A');
  const topic: Topic = { stream: 'B', consumer: undefined };
  expect(() => lanes.run(one, topic, 10, () => 0)).toThrow('too many requests');
  expect(lanes.run(other, topic, 10, () => 0)).toBe(0);
  expect(() => lanes.run(other, topic, 33 * 1024 * 1024, () => 0)).toThrow('too many requests');
  for (let i = 0; i < 1_024; i++) await work.end(`${i}`);
  expect(work.ended).toHaveLength(1_024);
  expect(lanes.inFlight).toBe(0);
});

test('whatever is asked in whatever order, nothing overtakes what it depends on', async () => {
  const random = seededRandom(8);
  for (let round = 0; round < 200; round++) {
    const lanes = new Lanes();
    const work = new Work();
    const me = {};
    const topics: { name: string; stream?: string; consumer?: string }[] = [];
    for (let i = 0; i < 12; i++) {
      const name = `${i}`;
      const stream = [undefined, 'A', 'B'][randomInt(random, 3)];
      const consumer =
        stream === undefined ? undefined : [undefined, 'c', 'd'][randomInt(random, 3)];
      topics.push({
        name,
        ...(stream === undefined ? {} : { stream }),
        ...(consumer === undefined ? {} : { consumer }),
      });
      work.run(lanes, me, name, stream, consumer);
    }
    while (work.ended.length < topics.length) {
      const open = work.begun.filter((name) => !work.ended.includes(name));
      expect(open.length).toBeGreaterThan(0);
      await work.end(open[randomInt(random, open.length)] ?? '');
    }
    for (const [i, a] of topics.entries())
      for (const b of topics.slice(i + 1)) {
        const related =
          a.stream === undefined ||
          b.stream === undefined ||
          (a.stream === b.stream &&
            (a.consumer === undefined || b.consumer === undefined || a.consumer === b.consumer));
        if (!related) continue;
        expect(work.ended.indexOf(a.name)).toBeLessThan(work.ended.indexOf(b.name));
      }
  }
});
