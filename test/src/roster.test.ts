import { expect, test } from 'vitest';
import { Roster } from '../../src/roster.ts';

interface Order {
  readonly name: string;
  readonly size: number;
}

function setup() {
  const happened: string[] = [];
  const roster = new Roster<Order, { stop(): void; name: string }>(
    ({ name }) => name,
    ({ name, size }) => {
      happened.push(`start ${name} ${size}`);
      return { name, stop: () => void happened.push(`stop ${name} ${size}`) };
    },
  );
  const take = (): string[] => happened.splice(0);
  return { roster, take };
}

test('what is ordered as before is not touched, whatever its place in the list', async () => {
  const { roster, take } = setup();
  await roster.follow([
    { name: 'a', size: 1 },
    { name: 'b', size: 2 },
  ]);
  take();
  const changed = await roster.follow([
    { name: 'b', size: 2 },
    { name: 'c', size: 3 },
    { name: 'a', size: 1 },
  ]);
  expect(take()).toEqual(['start c 3']);
  expect(changed).toEqual(['c']);
  expect(roster.parts.map(({ name }) => name)).toEqual(['b', 'c', 'a']);
});

test('everything that must go is stopped before anything is started: two ports may have changed places', async () => {
  const { roster, take } = setup();
  await roster.follow([
    { name: 'a', size: 1 },
    { name: 'b', size: 2 },
  ]);
  take();
  const changed = await roster.follow([
    { name: 'a', size: 2 },
    { name: 'b', size: 1 },
  ]);
  expect(take()).toEqual(['stop b 2', 'stop a 1', 'start a 2', 'start b 1']);
  expect(changed.toSorted()).toEqual(['a', 'b']);
});

test('what was released before is started by follow', async () => {
  const { roster, take } = setup();
  await roster.follow([{ name: 'a', size: 1 }]);
  expect(await roster.release([{ name: 'a', size: 2 }])).toEqual(['a']);
  expect(roster.parts).toEqual([]);
  await roster.follow([{ name: 'a', size: 2 }]);
  expect(take()).toEqual(['start a 1', 'stop a 1', 'start a 2']);
  await roster.stop();
  expect(take()).toEqual(['stop a 2']);
});
