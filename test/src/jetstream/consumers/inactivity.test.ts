// The end of a consumer that nobody uses.

import { expect, test } from 'vitest';
import { Inactivity } from '../../../../src/jetstream/consumers/inactivity.ts';
import { ConsumerLab } from '../../../support/consumer-lab.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

test('a consumer that cannot be deleted is tried again, until it is closed', () => {
  const clock = new FakeClock();
  let tries = 0;
  const idle = { isPull: false, inUse: false, isKept: false, lastDueMs: undefined };
  const host = { ...idle, expired: () => void tries++ };
  const inactivity = new Inactivity(host, clock);
  inactivity.begin(5_000);
  clock.advance(4_999);
  expect(tries).toBe(0);
  clock.advance(1);
  expect(tries).toBe(1);
  clock.advance(5_000);
  expect(tries).toBe(2);
  inactivity.close();
  clock.advance(60_000);
  expect(tries).toBe(2);
});

test('before a stop whoever waits is told, acks are still taken, and nothing goes for being unused', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ inactiveThresholdMs: 5_000 });
  await lab.publish(1);
  const [message] = await lab.pull(1);
  const [inbox, confirmed] = [lab.inbox(), lab.inbox()];
  lab.request(inbox, { batch: 5 });
  await lab.settle();
  lab.store.jetstream.dismiss();
  expect(inbox.takeShort()[0]).toMatch(/^409 Server Shutdown/);
  await lab.publish(1);
  lab.request(inbox, { batch: 5 });
  if (message !== undefined) lab.say(message, '', confirmed.subject);
  await lab.settle();
  expect(confirmed.take()).toHaveLength(1);
  await lab.advance(40_000);
  expect(inbox.take()).toEqual([]);
  expect(lab.consumer().state()).toMatchObject({ ackPending: 0, pending: 1 });
});

test('as many steps of a backoff as a request can name hold up nothing', async () => {
  await using lab = await ConsumerLab.open();
  const backoffMs = Array<number>(200_000).fill(1);
  await lab.create({ durable: false, backoffMs, ackWaitMs: 1, inactiveThresholdMs: 5_000 });
  await lab.advance(6_000);
  expect(lab.consumers.get('c')).toBeUndefined();
});
