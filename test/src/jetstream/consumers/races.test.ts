// Consumers that are made and changed at the same time: none takes what another is about to have.

import { expect, test } from 'vitest';
import type { ConsumerConfig } from '../../../../src/jetstream/consumers/types.ts';
import { ConsumerLab, consumerConfig } from '../../../support/consumer-lab.ts';

/** Makes or changes all of them at once; the number of the error, or undefined, of each. */
async function atOnce(
  lab: ConsumerLab,
  configs: readonly Partial<ConsumerConfig>[],
): Promise<(number | undefined)[]> {
  const results = configs.map((config) =>
    lab.consumers.create(consumerConfig(config)).then(
      () => undefined,
      (error: { errCode: number }) => error.errCode,
    ),
  );
  return await lab.done(Promise.all(results));
}

const named = (name: string, ...filterSubjects: string[]) => ({ name, filterSubjects });

test('of two consumers that want all of a work-queue at once, one is made', async () => {
  await using lab = await ConsumerLab.open({ retention: 'workqueue' });
  expect(await atOnce(lab, [named('a'), named('b')])).toEqual([undefined, 10099]);
  expect(lab.consumers.all.map(({ name }) => name)).toEqual(['a']);
  expect(await lab.done(lab.consumers.delete('a'))).toBe(true);
  expect(await atOnce(lab, [named('b')])).toEqual([undefined]);
});

test('of consumers of a work-queue whose filters overlap, the first is made', async () => {
  await using lab = await ConsumerLab.open({ retention: 'workqueue' });
  await lab.create(named('z', 'data.z'));
  const raced = [named('a', 'data.a'), named('b', 'data.*'), named('c', 'data.c', 'data.a')];
  expect(await atOnce(lab, [...raced, named('d', 'data.d')])).toEqual([
    undefined,
    10100,
    10100,
    undefined,
  ]);
  expect(await atOnce(lab, [named('e', 'data.a'), named('f', 'data.f')])).toEqual([
    10100,
    undefined,
  ]);
});

test('a filter that a consumer of a work-queue is about to have is taken', async () => {
  await using lab = await ConsumerLab.open({ retention: 'workqueue' });
  await lab.create(named('a', 'data.a'));
  await lab.create(named('b', 'data.b'));
  expect(await atOnce(lab, [named('a', 'data.x'), named('c', 'data.x')])).toEqual([
    undefined,
    10100,
  ]);
  expect(await atOnce(lab, [named('a', 'data.y'), named('b', 'data.y')])).toEqual([
    undefined,
    10100,
  ]);
  expect(await atOnce(lab, [named('d', 'data.q'), named('b', 'data.q')])).toEqual([
    undefined,
    10100,
  ]);
  // What it had is free, once it has changed.
  expect(await atOnce(lab, [named('e', 'data.a'), named('f', 'data.x')])).toEqual([
    undefined,
    undefined,
  ]);
  await lab.done(lab.consumers.delete('a'));
  expect(await atOnce(lab, [named('g', 'data.y')]), 'with it went its filter').toEqual([undefined]);
});

test('consumers that are made at once count, and each of them once', async () => {
  for (let apart = 0; apart < 12; apart++) {
    await using lab = await ConsumerLab.open({ maxConsumers: 2 });
    const first = atOnce(lab, [named('a')]);
    for (let i = 0; i < apart; i++) {
      lab.store.settle();
      await Promise.resolve();
    }
    const others = await atOnce(lab, [named('b'), named('c')]);
    expect([...(await first), ...others], `${apart} turns apart`).toEqual([
      undefined,
      undefined,
      10026,
    ]);
  }
});

test('what could not be made leaves its filter free', async () => {
  await using lab = await ConsumerLab.open({ retention: 'workqueue' });
  await lab.create(named('z', 'data.z'));
  const { store } = lab.store.jetstream;
  const alone = store.alone.bind(store);
  store.alone = () => Promise.reject(new Error('no'));
  await expect(
    lab.done(lab.consumers.create(consumerConfig(named('a', 'data.a')))),
  ).rejects.toThrow('no');
  store.alone = alone;
  expect(await atOnce(lab, [named('b', 'data.a')])).toEqual([undefined]);
});
