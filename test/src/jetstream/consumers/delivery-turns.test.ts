// How consumers share the loop and the memory, and what of it a listener within the process may do.

import { expect, test } from 'vitest';
import { DeliveryTurns } from '../../../../src/jetstream/consumers/delivery-turns.ts';
import { ConsumerLab, seqOf } from '../../../support/consumer-lab.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

test('of many consumers only the last ones keep what they have read ahead', () => {
  const clock = new FakeClock();
  const turns = new DeliveryTurns(clock);
  const rested: number[] = [];
  const all = Array.from({ length: 300 }, (_, i) => ({
    deliver: () => false,
    rest: () => void rested.push(i),
  }));
  for (const each of all) turns.add(each);
  clock.turn();
  expect(rested).toEqual(Array.from({ length: 44 }, (_, i) => i));
  const [first] = all;
  if (first === undefined) return;
  turns.add(first);
  clock.turn();
  expect(rested.slice(44)).toEqual([44]);
  turns.delete(first);
  expect(rested.slice(45), 'one that stops keeps nothing').toEqual([0]);
});

test('a consumer that has forgotten what it read ahead goes on where it was', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ filterSubjects: ['data.a'] });
  await lab.publish(3);
  await lab.publish(2, 'data.b');
  await lab.publish(3);
  expect(await lab.pullSeqs(2)).toEqual([1, 2]);
  lab.consumer().rest();
  await lab.done(lab.store.stream.remove(3, { erase: false }));
  expect(lab.consumer().pending).toBe(3);
  expect(await lab.pullSeqs(1)).toEqual([6]);
  lab.consumer().rest();
  lab.consumer().rest();
  expect(await lab.pullSeqs(9)).toEqual([7, 8]);
  lab.consumer().rest();
  await lab.publish(1);
  expect(await lab.pullSeqs(9)).toEqual([9]);
  expect(lab.consumer().pending).toBe(0);
});

test('a listener within the process may acknowledge a message as it comes', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ ackWaitMs: 1_000 });
  await lab.publish(5);
  const seqs: number[] = [];
  const { broker } = lab.store;
  broker.subscribe('_INBOX.quick', {
    deliver: (message) => {
      if (message.reply === undefined) return;
      seqs.push(seqOf(message));
      broker.publish({ subject: message.reply, data: Buffer.from('+ACK') });
    },
  });
  lab.consumer().request('_INBOX.quick', Buffer.from('{"batch":9}'));
  await lab.settle();
  expect(seqs).toEqual([1, 2, 3, 4, 5]);
  expect(lab.consumer().state()).toMatchObject({ ackPending: 0, ackFloor: { streamSeq: 5 } });
  await lab.advance(2_000);
  expect(seqs, 'none comes again').toHaveLength(5);
});

test('a listener within the process may ask for the next message as one comes', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  await lab.publish(20);
  const seqs: number[] = [];
  const { broker } = lab.store;
  broker.subscribe('_INBOX.greedy', {
    deliver: (message) => {
      if (message.reply === undefined) return;
      seqs.push(seqOf(message));
      lab.say(message, '+NXT', '_INBOX.greedy');
      lab.consumer().request('_INBOX.greedy', Buffer.from('{"batch":2}'));
    },
  });
  lab.consumer().request('_INBOX.greedy', Buffer.from('{"batch":2}'));
  await lab.settle();
  expect(seqs).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  expect(lab.consumer().state()).toMatchObject({ ackPending: 0, delivered: { consumerSeq: 20 } });
});
