// Pull requests and what they are answered with, to the letter.

import { expect, test } from 'vitest';
import { ConsumerLab, seqOf, tokensOf } from '../../../support/consumer-lab.ts';

test('a request for nothing in particular gets one message, with its subject and an ack subject', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  await lab.publish(3);
  const inbox = lab.inbox();
  lab.request(inbox);
  await lab.settle();
  const [message, ...more] = inbox.take();
  expect(more).toEqual([]);
  expect(message?.subject).toBe('data.a');
  expect(message?.reply).toMatch(/^\$JS\.ACK\.DATA\.c\.1\.1\.1\.\d{19}\.2$/);
});

test('a batch is given in order and with what is left', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  await lab.publish(5);
  const messages = await lab.pull(4);
  expect(messages.map(seqOf)).toEqual([1, 2, 3, 4]);
  expect(messages.map((message) => tokensOf(message).pending)).toEqual([4, 3, 2, 1]);
  expect(lab.consumer().state()).toMatchObject({
    delivered: { consumerSeq: 4, streamSeq: 4 },
    ackFloor: { consumerSeq: 0, streamSeq: 0 },
    ackPending: 4,
    pending: 1,
  });
});

test('a request that waits gets what comes, and is told when its time is over and what it missed', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  const inbox = lab.inbox();
  lab.request(inbox, { batch: 3, max_bytes: 10_000, expires: 2e9 });
  await lab.settle();
  expect(inbox.takeShort()).toEqual([]);
  await lab.publish(1);
  const [message] = inbox.take();
  const bytes = `data.a${message?.reply}x`.length;
  await lab.advance(1_900);
  expect(inbox.takeShort()).toEqual([]);
  await lab.advance(200);
  const left = `Nats-Pending-Messages: 2 | Nats-Pending-Bytes: ${10_000 - bytes}`;
  expect(inbox.takeShort()).toEqual([`408 Request Timeout | ${left}`]);
  expect(lab.consumer().state().waiting).toBe(0);
});

test('who does not wait is told at once that there is nothing, or that others get it', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ maxAckPending: 1 });
  const [first, second, third] = [lab.inbox(), lab.inbox(), lab.inbox()];
  lab.request(first, { batch: 5, no_wait: true });
  await lab.settle();
  expect(first.takeShort()).toEqual(['404 No Messages']);
  await lab.publish(3);
  lab.request(first, { batch: 5, no_wait: true });
  await lab.settle();
  expect(first.takeShort(), 'it is stopped by max_ack_pending, not by the end').toEqual(['s1']);
  lab.request(second, { batch: 5, no_wait: true });
  await lab.settle();
  expect(second.takeShort()).toEqual(['408 Requests Pending']);
  lab.request(third, { batch: 5, no_wait: true, expires: 1e9 });
  await lab.settle();
  expect(third.takeShort()).toEqual(['408 Requests Pending']);
});

test('who does not wait gets what there is and then the end; with an expiry it waits for the first', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  await lab.publish(2);
  const inbox = lab.inbox();
  lab.request(inbox, { batch: 5, no_wait: true });
  await lab.settle();
  expect(inbox.takeShort()).toEqual(['s1', 's2', '404 No Messages']);
  lab.request(inbox, { batch: 5, no_wait: true, expires: 5e9 });
  await lab.settle();
  expect(inbox.takeShort()).toEqual([]);
  await lab.publish(1);
  expect(inbox.takeShort()).toEqual(['s3', '404 No Messages']);
});

test('heartbeats come while nothing else does, and say how far the consumer is', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  const inbox = lab.inbox();
  lab.request(inbox, { batch: 3, expires: 10e9, idle_heartbeat: 1e9 });
  await lab.advance(600);
  await lab.publish(1);
  expect(inbox.takeShort()).toEqual(['s1']);
  await lab.advance(600);
  expect(inbox.takeShort(), 'the message counts as a sign of life').toEqual([]);
  await lab.advance(600);
  const beat = '100 Idle Heartbeat | Nats-Last-Consumer: 1 | Nats-Last-Stream: 1';
  expect(inbox.takeShort()).toEqual([beat]);
  await lab.advance(1_100);
  expect(inbox.takeShort()).toEqual([beat]);
});

test('requests are refused with nats-server’s words', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({
    pull: { maxWaiting: 2, maxBatch: 10, maxExpiresMs: 90_000, maxBytes: 1_000 },
  });
  const inbox = lab.inbox();
  const answered = async (request: object | string): Promise<string[]> => {
    lab.request(inbox, request);
    await lab.settle();
    return inbox.takeShort();
  };
  expect(await answered({ batch: 11 })).toEqual(['409 Exceeded MaxRequestBatch of 10']);
  expect(await answered('11')).toEqual(['409 Exceeded MaxRequestBatch of 10']);
  expect(await answered({ expires: 91e9 })).toEqual(['409 Exceeded MaxRequestExpires of 1m30s']);
  expect(await answered({ max_bytes: 1_001 })).toEqual(['409 Exceeded MaxRequestMaxBytes of 1000']);
  expect(await answered({ expires: 1e9, idle_heartbeat: 0.6e9 })).toEqual([
    '400 Bad Request - heartbeat value too large',
  ]);
  expect(await answered({ idle_heartbeat: 1e9 })).toEqual([
    '400 Bad Request - heartbeat value too large',
  ]);
  expect((await answered('{"batch":'))[0]).toMatch(/^400 Bad Request - /);
  // Letters whose lower bytes are CR and LF.
  expect((await answered('{"batch": \u010d\u010aX-Header: 1}'))[0]).not.toContain('|');
  expect(
    await answered('{"constructor":1,"__proto__":2,"expires":1e9,"idle_heartbeat":1e9}'),
  ).toEqual(['400 Bad Request - heartbeat value too large']);
  expect(await answered({ group: 'A', id: 'p' })).toEqual([
    '400 Bad Request - Not a Pinned Client Priority consumer',
  ]);
  expect(await answered({ min_pending: 1 })).toEqual([
    '400 Bad Request - Not a Overflow Priority consumer',
  ]);
  expect(await answered({ priority: 10 })).toEqual([
    '400 Bad Request - Priority must be between 0 and 9',
  ]);
  expect([await answered('1'), await answered('1')]).toEqual([[], []]);
  expect(await answered('1')).toEqual(['409 Exceeded MaxWaiting']);
  expect(await answered({ batch: 1, expires: 9e9, idle_heartbeat: 1e9 }), 'silent').toEqual([]);
});

test('room in the queue is found among requests that nobody waits for', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ pull: { maxWaiting: 1 } });
  const [gone, there] = [lab.inbox(), lab.inbox()];
  lab.request(gone, '1');
  gone.leave();
  await lab.advance(2_000);
  lab.request(there, '1');
  await lab.publish(1);
  expect(there.takeShort()).toEqual(['s1']);
});

test('there is no such consumer: nobody is there', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  expect(lab.request(lab.inbox(), '', 'other')).toBe(false);
  expect(lab.request(lab.inbox())).toBe(true);
});

test('a message that does not fit ends the request, and goes to the next', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  await lab.publish(1, 'data.a', 'x'.repeat(1_000));
  const [small, large] = [lab.inbox(), lab.inbox()];
  lab.request(small, { batch: 2, max_bytes: 500 });
  lab.request(large, { batch: 2, max_bytes: 5_000, expires: 1e9 });
  await lab.settle();
  expect(small.takeShort()).toEqual([
    '409 Message Size Exceeds MaxBytes | Nats-Pending-Messages: 2 | Nats-Pending-Bytes: 500',
  ]);
  expect(large.takeShort()).toEqual(['s1']);
});

test('a batch that is complete says how many bytes it did not need; one that is exactly full says nothing', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  await lab.publish(3);
  const inbox = lab.inbox();
  lab.request(inbox, { batch: 1, max_bytes: 1_000 });
  await lab.settle();
  const [message, status] = inbox.take();
  const bytes = `data.a${message?.reply}x`.length;
  expect(status?.headers?.toString()).toBe(
    `NATS/1.0 409 Batch Completed\r\nNats-Pending-Messages: 0\r\nNats-Pending-Bytes: ${1_000 - bytes}\r\n\r\n`,
  );
  lab.request(inbox, { batch: 5, max_bytes: bytes });
  await lab.settle();
  expect(inbox.takeShort()).toEqual(['s2']);
  expect(lab.consumer().state().waiting).toBe(0);
});

test('requests that wait take turns, message by message', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  const inboxes = [lab.inbox(), lab.inbox(), lab.inbox()];
  for (const inbox of inboxes) lab.request(inbox, { batch: 3, expires: 9e9 });
  await lab.publish(9);
  expect(inboxes.map((inbox) => inbox.takeShort())).toEqual([
    ['s1', 's4', 's7'],
    ['s2', 's5', 's8'],
    ['s3', 's6', 's9'],
  ]);
});

test('what nobody was there to get goes to the next who asks, and counts as not delivered', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  const [gone, there] = [lab.inbox(), lab.inbox()];
  lab.request(gone, { batch: 5, expires: 9e9 });
  lab.request(there, { batch: 5, expires: 9e9 });
  gone.leave();
  await lab.publish(2);
  const messages = there.take();
  expect(messages.map(seqOf)).toEqual([1, 2]);
  expect(messages.map((message) => tokensOf(message).consumerSeq)).toEqual([1, 2]);
  expect(tokensOf(messages[0] ?? { subject: '', data: Buffer.alloc(0) }).deliveries).toBe(1);
});

test('whoever waits is told when the consumer goes, or the gateway', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  const inbox = lab.inbox();
  lab.request(inbox, { batch: 5, max_bytes: 77, expires: 9e9 });
  await lab.done(lab.consumers.delete('c'));
  expect(inbox.takeShort()).toEqual(['409 Consumer Deleted']);
  expect(lab.request(inbox)).toBe(false);
  await lab.create();
  lab.request(inbox, { batch: 5, max_bytes: 77, expires: 9e9 });
  await lab.settle();
  await lab.store.close();
  expect(inbox.takeShort()).toEqual([
    '409 Server Shutdown | Nats-Pending-Messages: 5 | Nats-Pending-Bytes: 77',
  ]);
});

test('an ack can ask for the next messages', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create();
  await lab.publish(4);
  const [first] = await lab.pull(1);
  const inbox = lab.inbox();
  if (first !== undefined) lab.say(first, '+NXT {"batch":2}', inbox.subject);
  await lab.settle();
  expect(inbox.takeShort()).toEqual(['s2', 's3']);
  expect(lab.consumer().state()).toMatchObject({ ackFloor: { streamSeq: 1 }, ackPending: 2 });
});

test('overflow: who asks for what is too much for others gets nothing until it is', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({
    pull: { maxWaiting: 9, priority: { policy: 'overflow', groups: ['A'] } },
  });
  const [spare, other] = [lab.inbox(), lab.inbox()];
  lab.request(spare, { batch: 9, expires: 9e9, group: 'A', min_pending: 3 });
  lab.request(spare, { batch: 9, expires: 9e9, group: 'B' });
  lab.request(spare, { batch: 9, expires: 9e9 });
  await lab.publish(2);
  expect(spare.takeShort()).toEqual([
    '400 Bad Request - Invalid Priority Group',
    '400 Bad Request - Priority Group missing',
  ]);
  lab.request(other, { batch: 1, expires: 9e9, group: 'A' });
  await lab.settle();
  expect(other.takeShort()).toEqual(['s1']);
  await lab.publish(2);
  expect(spare.takeShort()).toEqual(['s2']);
});

test('pinned client: one client gets all, until it has not asked for too long', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({
    pull: {
      maxWaiting: 9,
      priority: { policy: 'pinned_client', groups: ['A'], timeoutMs: 10_000 },
    },
  });
  const [one, two] = [lab.inbox(), lab.inbox()];
  lab.request(one, { batch: 2, group: 'A' });
  lab.request(two, { batch: 2, group: 'A' });
  await lab.publish(3);
  const mine = one.take();
  expect(mine.map(seqOf)).toEqual([1, 2]);
  const id = /Nats-Pin-Id: (\S+)/.exec(mine[0]?.headers?.toString() ?? '')?.[1];
  expect(id).toMatch(/^\S{8,}$/);
  expect(two.takeShort()).toEqual([]);
  lab.request(two, { batch: 2, group: 'A', id: 'wrong' });
  await lab.settle();
  expect(two.takeShort()).toEqual(['423 Nats-Pin-Id mismatch']);
  lab.request(one, { batch: 1, group: 'A', id });
  await lab.settle();
  expect(one.takeShort()).toEqual(['s3']);
  await lab.publish(1);
  expect(two.takeShort()).toEqual([]);
  await lab.advance(11_000);
  expect(two.takeShort()).toEqual(['s4']);
  lab.request(one, { batch: 1, group: 'A', id });
  await lab.settle();
  expect(one.takeShort()).toEqual(['423 Nats-Pin-Id mismatch']);
});

test('prioritized: the lower number is served first, and its requests take turns', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({
    pull: { maxWaiting: 9, priority: { policy: 'prioritized', groups: ['A'] } },
  });
  const [low, high, high2] = [lab.inbox(), lab.inbox(), lab.inbox()];
  lab.request(low, { batch: 9, expires: 9e9, group: 'A', priority: 5 });
  lab.request(high, { batch: 2, expires: 9e9, group: 'A', priority: 1 });
  lab.request(high2, { batch: 2, expires: 9e9, group: 'A', priority: 1 });
  await lab.publish(6);
  expect(high.takeShort()).toEqual(['s1', 's3']);
  expect(high2.takeShort()).toEqual(['s2', 's4']);
  expect(low.takeShort()).toEqual(['s5', 's6']);
});

test('however many requests a consumer is told to keep, it keeps a bounded number', async () => {
  await using lab = await ConsumerLab.open();
  await lab.create({ pull: { maxWaiting: 1_000_000 } });
  const inbox = lab.inbox();
  for (let i = 0; i < 16_384; i++) lab.request(inbox, '1');
  expect(inbox.takeShort()).toEqual([]);
  lab.request(inbox, '1');
  expect(inbox.takeShort()).toEqual(['409 Exceeded MaxWaiting']);
});
