// Whatever a pull request waits for, whoever asked for heartbeats gets them.

import { expect, test } from 'vitest';
import { ConsumerLab, consumerConfig, type Inbox } from '../../../support/consumer-lab.ts';

const ORDER = { batch: 5, expires: 10e9, idle_heartbeat: 1e9 };

/** What comes within five intervals; nobody and nothing but timers does anything meanwhile. */
function beats(lab: ConsumerLab, inbox: Inbox): number[] {
  return Array.from({ length: 5 }, () => {
    lab.store.clock.advance(1_001);
    const came = inbox.takeShort();
    expect(came.filter((each) => !each.startsWith('100 Idle Heartbeat'))).toEqual([]);
    return came.length;
  });
}

const EACH = [1, 1, 1, 1, 1];

/** So many without an ack take more than one turn to find. */
const COUNT = 600;

/** A consumer that finds out what it has delivered, until the test lets it. */
async function restoring(): Promise<ConsumerLab> {
  const lab = await ConsumerLab.open();
  await lab.create();
  await lab.publish(COUNT);
  expect(await lab.pull(COUNT)).toHaveLength(COUNT);
  await lab.store.close();
  await lab.store.open();
  return lab;
}

test('a request gets its heartbeats while its consumer is restored, then what there is', async () => {
  await using lab = await restoring();
  const [inbox, hasty] = [lab.inbox(), lab.inbox()];
  lab.request(inbox, ORDER);
  lab.request(hasty, { batch: 1, expires: 1e9 });
  expect(beats(lab, inbox)).toEqual(EACH);
  expect(lab.consumer().progress.isRestored, 'it is at it').toBe(false);
  expect(hasty.takeShort()).toEqual([
    '408 Request Timeout | Nats-Pending-Messages: 1 | Nats-Pending-Bytes: 0',
  ]);
  await lab.settle();
  expect(inbox.takeShort()).toEqual(['s1', 's2', 's3', 's4', 's5']);
});

test('who does not wait is told when it is known what there is', async () => {
  await using lab = await restoring();
  const inbox = lab.inbox();
  lab.request(inbox, { batch: COUNT + 1, no_wait: true });
  lab.store.clock.advance(1_000);
  expect(inbox.takeShort()).toEqual([]);
  await lab.settle();
  const came = inbox.takeShort();
  expect([came.length, ...came.slice(-2)]).toEqual([COUNT + 1, 's600', '404 No Messages']);
});

test('a request to a consumer whose gateway stops is told so, also while it is restored', async () => {
  await using lab = await restoring();
  const inbox = lab.inbox();
  lab.request(inbox, ORDER);
  lab.consumer().close('shutdown');
  expect(inbox.takeShort()).toEqual([
    '409 Server Shutdown | Nats-Pending-Messages: 5 | Nats-Pending-Bytes: 0',
  ]);
});

test('a consumer that is over takes no request, and its clock stands', async () => {
  await using lab = await ConsumerLab.open();
  const consumer = await lab.create();
  consumer.close('shutdown');
  const inbox = lab.inbox();
  consumer.request(inbox.subject, Buffer.from(JSON.stringify(ORDER)));
  await lab.advance(20_000);
  expect(inbox.takeShort()).toEqual([]);
});

test('heartbeats come while a consumer begins anew and the disk has not answered', async () => {
  await using lab = await ConsumerLab.open();
  const consumer = await lab.create();
  await lab.publish(1);
  const [before, after] = [lab.inbox(), lab.inbox()];
  const message = await lab.pull(1);
  expect(message).toHaveLength(1);
  lab.request(before, ORDER);
  const anew = consumer.reset(1);
  for (let i = 0; i < 10; i++) await Promise.resolve();
  lab.request(after, ORDER);
  expect(beats(lab, after)).toEqual(EACH);
  expect(before.take()).toHaveLength(5);
  await lab.done(anew);
  expect([...before.takeShort(), ...after.takeShort()]).toEqual(['s1']);
});

test.each<[string, (lab: ConsumerLab, inbox: Inbox) => Promise<void>]>([
  [
    'its batch is partly delivered',
    async (lab, inbox) => {
      lab.request(inbox, ORDER);
      await lab.publish(2);
    },
  ],
  [
    'no more acks may be outstanding',
    async (lab, inbox) => {
      await lab.done(lab.consumers.create(consumerConfig({ maxAckPending: 1 })));
      lab.request(inbox, ORDER);
      await lab.publish(3);
    },
  ],
  [
    'the consumer rests',
    async (lab, inbox) => {
      await lab.done(lab.consumer().pause(lab.store.clock.wallMs() + 60_000));
      await lab.publish(3);
      lab.request(inbox, ORDER);
    },
  ],
  [
    'the message waits for the disk',
    async (lab, inbox) => {
      lab.request(inbox, ORDER);
      lab.store.publish('data.a', 'x');
    },
  ],
  [
    'another one waits that is less in a hurry',
    async (lab, inbox) => {
      lab.request(lab.inbox(), { ...ORDER, expires: 60e9, idle_heartbeat: 30e9 });
      lab.request(inbox, ORDER);
    },
  ],
  [
    'the one that was due before it has gone',
    async (lab, inbox) => {
      lab.request(lab.inbox(), { batch: 1, expires: 1e9, idle_heartbeat: 0.4e9 });
      lab.request(inbox, ORDER);
      await lab.publish(1);
    },
  ],
  [
    'the configuration changes',
    async (lab, inbox) => {
      lab.request(inbox, ORDER);
      await lab.create({ description: 'new', filterSubjects: ['data.b'] });
    },
  ],
  [
    'not enough overflows',
    async (lab, inbox) => {
      const priority = { policy: 'overflow', groups: ['g'] } as const;
      await lab.create({ pull: { maxWaiting: 512, priority } });
      await lab.publish(1);
      lab.request(inbox, { ...ORDER, group: 'g', min_pending: 100 });
    },
  ],
])('heartbeats come while %s', async (_why, arrange) => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  const inbox = lab.inbox();
  await arrange(lab, inbox);
  inbox.take();
  expect(beats(lab, inbox)).toEqual(EACH);
});
