// A cloned card: two machines with one name. One of them notices within 15 s of both having something to send, says so
// and stops forwarding; both go on storing; and nothing of either is lost or comes twice.

import { expect, test } from 'vitest';
import { auditFleet, cloneCard } from './clones.ts';
import { Rig } from './rig.ts';
import { burst } from './traffic.ts';

const TEST_MS = 180_000;
const NOTICED_MS = 15_000;

test.concurrent.each([
  ['while both send', 'load'],
  ['while the first machine rests, until it sends again', 'rest'],
  ['when both bring the same backlog', 'backlog'],
] as const)('a cloned card is noticed %s', { timeout: TEST_MS }, async (_, situation) => {
  await using rig = await Rig.start();
  await burst(rig.agent, rig.ledger, 100);
  const { noticedMs, stopped, shared } = await cloneCard(rig, { newName: 'gw8', situation });
  expect(noticedMs).toBeLessThan(NOTICED_MS);
  expect(stopped).toHaveLength(1);
  const found = await rig.admin.readAll();
  expect(auditFleet(rig.ledger, found, ['gw7', 'gw8'], shared)).toEqual([]);
});
