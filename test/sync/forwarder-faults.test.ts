// The promise of forwarding under faults drawn from a seed: whatever the link, the hub and the process do, the hub ends
// up with every stored message once, in order, and a gap record for each that no longer exists.

import { test } from 'vitest';
import { ALWAYS, campaign, IMAGES, LINK, LOSS, REMOVAL } from '../support/fault-campaign.ts';

test.each([
  ['one replica', { replicas: 1, duplicateWindowMs: 1_000 }, ['refusedByFence']],
  [
    'three replicas',
    { replicas: 3, duplicateWindowMs: 1_000 },
    ['refusedByFence', 'droppedProposals'],
  ],
  ['a long duplicate window', { replicas: 3, duplicateWindowMs: 3_600_000 }, []],
] as const)(
  'hub with %s: each message once and in order after any faults',
  async (_, config, must) => {
    await campaign({ config, faults: LINK, must: [...ALWAYS, ...must] });
  },
);

test('hub without atomic batches: each message once and in order after any faults', async () => {
  await campaign({
    config: { duplicateWindowMs: 1_000, atomic: false },
    faults: LINK,
    luck: { messagesMax: 20 },
    must: ALWAYS,
  });
});

test('a hub that loses its newest messages, or all, is filled again without a duplicate', async () => {
  await campaign({
    config: { duplicateWindowMs: 1_000 },
    faults: { ...LINK, ...LOSS },
    luck: { zombies: false },
    must: ['rollBack', 'recreate', 'lostAcks'],
  });
});

test('a store put back from an older image loses nothing of it and sends nothing twice', async () => {
  await campaign({
    config: { duplicateWindowMs: 1_000 },
    faults: { ...LINK, ...IMAGES },
    luck: { zombies: false },
    must: ['copy', 'putBack', 'lostAcks'],
  });
});

test('a hub that removes messages at any time gets each message once', async () => {
  await campaign({
    config: { duplicateWindowMs: 1_000, retention: 'workqueue' },
    faults: { ...LINK, ...REMOVAL },
    must: ['purge', 'consume', 'consumeAnywhere', 'lostAcks', 'zombiesPassed'],
  });
});
