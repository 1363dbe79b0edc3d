// Forwarding to hubs that take no batches and know no fence that names a filter, under faults drawn from a seed: a chain of
// expected sequences and one message in flight keep the whole promise, a window the part of it that it claims.

import { test } from 'vitest';
import { ALWAYS, campaign, LINK, LOSS, ORDERS } from '../support/fault-campaign.ts';

/** Many small publishes take their time. */
const SEEDS = 20;
const OLD = { atomic: false, filterFence: false, duplicateWindowMs: 1_000 };
const ALONE = { ...OLD, subjects: ['edge.gw7.telemetry.>'] };
const { othersPublish: _, ...NOBODY_ELSE } = LINK;

test.each([1, 3] as const)(
  'a chain, %i replicas: each message once and in order after any faults',
  async (replicas) => {
    await campaign({
      seeds: SEEDS,
      config: { ...ALONE, replicas },
      faults: NOBODY_ELSE,
      must: [...ALWAYS, 'refusedByFence'],
    });
  },
);

test.each([1, 3] as const)(
  'one in flight, %i replicas: each message once and in order after any faults',
  async (replicas) => {
    await campaign({
      config: { ...OLD, replicas },
      faults: LINK,
      luck: { messagesMax: 20 },
      // Three replicas look at the ID first.
      must: [...ALWAYS, replicas === 1 ? 'refusedByFence' : 'duplicates'],
    });
  },
);

const RELAXED = { mode: 'auto', order: 'relaxed', onlyForwarder: false } as const;
const WITHOUT_ZOMBIES = ALWAYS.filter((fault) => fault !== 'zombiesPassed');

test.each([1, 3] as const)(
  'a window, %i replicas: no message lost and none twice, while nothing comes later than the duplicate window',
  async (replicas) => {
    await campaign({
      seeds: SEEDS,
      config: { ...OLD, replicas },
      wishes: RELAXED,
      faults: LINK,
      luck: { zombies: false },
      must: WITHOUT_ZOMBIES,
    });
  },
);

test('a window, late messages within the duplicate window: no message lost and none twice', async () => {
  await campaign({
    seeds: SEEDS,
    config: { ...OLD, replicas: 3, duplicateWindowMs: 3_600_000 },
    wishes: RELAXED,
    faults: LINK,
    must: ALWAYS,
  });
});

test('a hub that loses its newest messages gets them again through a chain and through a window', async () => {
  const must = ['rollBack', 'recreate', 'lostAcks'];
  const luck = { zombies: false };
  await campaign({ seeds: SEEDS, config: ALONE, faults: { ...NOBODY_ELSE, ...LOSS }, luck, must });
  await campaign({
    seeds: SEEDS,
    config: OLD,
    wishes: RELAXED,
    faults: { ...LINK, ...LOSS },
    luck,
    must,
  });
});

test('a window and a chain in turns, as an operator changes the order: no message lost and none twice', async () => {
  await campaign({
    config: ALONE,
    wishes: { mode: 'window', order: 'relaxed', onlyForwarder: false },
    faults: { ...NOBODY_ELSE, ...ORDERS },
    luck: { zombies: false },
    must: [...WITHOUT_ZOMBIES, 'changeOrder'],
  });
});

test('somebody else writes into the hub stream of a chain: no message lost and none twice', async () => {
  await campaign({
    config: ALONE,
    wishes: { mode: 'auto', order: 'relaxed', onlyForwarder: false },
    seeds: SEEDS,
    faults: LINK,
    luck: { zombies: false },
    must: [...WITHOUT_ZOMBIES, 'othersPublish'],
  });
});
