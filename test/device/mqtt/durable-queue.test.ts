import { ReceivedIds } from '../../../device/mqtt/session/received-ids.ts';
import { expect, test } from 'vitest';
import { Budget } from '../../../device/mqtt/limits.ts';
import { DurableQueue, parseQueueKey } from '../../../device/mqtt/session/durable-queue.ts';
import { MemoryQueue } from '../../../device/mqtt/session/memory-queue.ts';
import { Delivery, isMarker, type DeliveryQueue } from '../../../device/mqtt/session/queue.ts';
import { encodeName } from '../../../device/mqtt/wire/utf8.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryStore } from '../../support/mqtt-store.ts';

interface Options {
  messagesMax?: number;
  bytesMax?: number;
  discard?: 'new' | 'old';
  clientId?: string;
  store?: MemoryStore;
  /** Of all queues. */
  totalMax?: number;
}

function setup(options: Options = {}) {
  const { messagesMax = 100, bytesMax = 10_000, discard = 'new', clientId = 'meter' } = options;
  const clock = new FakeClock();
  const store = options.store ?? new MemoryStore(clock);
  const total = new Budget(options.totalMax ?? 1000);
  const disk = new Budget(10_000);
  const memory = new Budget(10_000);
  const lost: string[] = [];
  const queue = new DurableQueue(store.queue, clientId, {
    messagesMax,
    bytesMax,
    discard,
    total,
    disk,
    memory,
    lost: (loss, messages) => lost.push(`${loss} ${messages}`),
  });
  return { clock, store, total, disk, memory, queue, lost };
}

function inMemory(messagesMax: number, discard: 'new' | 'old', total = new Budget(1000)) {
  const memory = new Budget(10_000);
  const lost: string[] = [];
  const queue = new MemoryQueue({
    messagesMax,
    total,
    memory,
    discard,
    lost: (loss, messages) => lost.push(`${loss} ${messages}`),
  });
  return { memory, queue, lost };
}

function message(data: string, qos: 1 | 2 = 1, expiresMs = Infinity): Delivery {
  const properties = Buffer.alloc(0);
  const form = { topic: encodeName('a'), properties, data: Buffer.from(data), expiresMs };
  return Delivery.of(form, { qos, retain: false, identifiers: [], share: undefined });
}

function push(queue: DeliveryQueue, delivery: Delivery, nowMs = 0): number {
  return queue.push(delivery, nowMs, true);
}

/** Takes everything that is safe. */
function takeAll(queue: DeliveryQueue): string[] {
  const taken: string[] = [];
  for (let first = queue.peek(); first !== undefined; first = queue.peek()) {
    queue.take();
    taken.push(first.delivery.form?.data.toString() ?? '?');
  }
  return taken;
}

/** Puts the rows of `store` into a new queue, as a start does. */
function recovered(store: MemoryStore, sentSeq: number, options: Options = {}) {
  const next = setup({ ...options, store });
  for (const [key, row] of store.synced.queue)
    next.queue.recover(parseQueueKey(key).seq, row, parseQueueKey(key).seq <= sentSeq);
  return next;
}

test('a row keeps all of a message: topic, properties, expiry, data, QoS, retain, identifiers, shared filter', () => {
  const form = {
    topic: encodeName('a/b'),
    properties: Buffer.from('properties'),
    data: Buffer.from('data'),
    expiresMs: 123_456_789_012.5,
  };
  for (const qos of [1, 2] as const)
    for (const retain of [false, true])
      for (const identifiers of [[], [1, 268_435_455]])
        for (const share of [undefined, '$share/g/ä/#'])
          for (const properties of [form.properties, Buffer.alloc(0)])
            for (const expiresMs of [form.expiresMs, Infinity]) {
              const all = { ...form, properties, expiresMs };
              const { row } = Delivery.of(all, { qos, retain, identifiers, share });
              const read = new Delivery(Buffer.from(row));
              expect(read.form).toEqual({ ...all, expiresMs: Math.ceil(expiresMs) });
              expect([read.qos, read.retain, read.identifiers, read.share, read.expiresMs]).toEqual(
                [qos, retain, identifiers, share, Math.ceil(expiresMs)],
              );
              expect(isMarker(row)).toBe(false);
            }
});

test('a row costs one byte more than topic and data where there is nothing else to say', () => {
  expect(message('data').bytes).toBe(1 + 3 + 4);
});

test('a row that is cut short or of another kind has no form, and says so', () => {
  const { row } = message('data');
  for (const broken of [Buffer.alloc(0), Buffer.of(0xff), row.subarray(0, 2), row.subarray(0, 3)])
    expect(new Delivery(broken).form).toBeUndefined();
});

test('a refusal that comes after the queue has ended changes no counter', () => {
  const { clock, store, disk, memory, queue } = setup();
  queue.peek();
  const seqs = ['1', '2', '3'].map((data) => push(queue, message(data)));
  queue.clear();
  for (const seq of seqs) queue.settle(seq, new Error('full'));
  expect([queue.messages, queue.bytes, disk.used, memory.used]).toEqual([0, 0, 0, 0]);
  clock.turn();
  expect(store.synced.queue.size).toBe(0);
});

test('a refused message between two others is taken back alone, wherever it lies', () => {
  for (const awake of [true, false]) {
    const { clock, disk, memory, queue } = setup();
    if (awake) queue.peek();
    const seqs = ['1', '2', '3'].map((data) => push(queue, message(data)));
    clock.turn();
    seqs.forEach((seq, i) => queue.settle(seq, i === 1 ? new Error('full') : null));
    expect(queue.messages).toBe(2);
    expect(disk.used).toBe(2 * message('1').bytes);
    if (awake) expect(takeAll(queue)).toEqual(['1', '3']);
    expect(memory.used).toBe(0);
  }
});

test('a refusal says nothing of the commits before it', () => {
  const { clock, queue } = setup();
  const first = push(queue, message('1'));
  clock.turn();
  queue.settle(push(queue, message('2')), new Error('full'));
  expect(queue.peek()).toBeUndefined();
  queue.settle(first, null);
  expect(queue.peek()?.seq).toBe(first);
});

test('a queue in memory shows what the disk has answered for, and no more', () => {
  const { queue } = inMemory(10, 'new');
  queue.settle(push(queue, message('1')));
  push(queue, message('2'));
  expect(takeAll(queue)).toEqual(['1']);
});

test('a message is removed once', () => {
  const { disk, queue } = setup();
  const seq = push(queue, message('1'));
  queue.remove(seq, 5);
  expect(queue.messages).toBe(1);
  queue.settle(seq, null);
  queue.rest();
  expect(disk.used).toBe(message('1').bytes);
});

test('the owner and the number of a row are in its key, whatever the identifier holds', () => {
  const { clock, store } = setup();
  for (const clientId of ['a', 'a b', 'a/1f', 'ü'])
    push(setup({ clientId, store }).queue, message('1'));
  clock.turn();
  store.sync();
  expect([...store.synced.queue.keys()].map(parseQueueKey)).toEqual(
    ['a', 'a b', 'a/1f', 'ü'].map((clientId) => ({ clientId, seq: 1 })),
  );
});

/** Pushes five messages into a queue for three; each is answered at once, or all at the end. */
function overfill(queue: DeliveryQueue, settle: 'each' | 'end', flush: () => void): void {
  const seqs: number[] = [];
  for (let i = 1; i <= 5; i++) {
    const seq = push(queue, message(String(i)));
    if (seq === 0) continue;
    seqs.push(seq);
    if (settle === 'end') continue;
    flush();
    queue.settle(seq, null);
  }
  flush();
  for (const seq of seqs) queue.settle(seq, null);
}

test.each([
  ['new', ['1', '2', '3'], []],
  ['old', ['3', '4', '5'], ['full 1', 'full 1']],
] as const)('a full queue drops the %s ones', (discard, left, losses) => {
  for (const settle of ['each', 'end'] as const) {
    for (const awake of [true, false]) {
      const { clock, store, queue, lost, disk } = setup({ messagesMax: 3, discard });
      if (awake) queue.peek();
      overfill(queue, settle, () => clock.turn());
      expect(store.synced.queue.size).toBe(3);
      expect(takeAll(queue)).toEqual(left);
      expect(lost).toEqual(losses);
      expect(disk.used).toBe(3 * message('1').bytes);
    }
    const { queue, lost, memory } = inMemory(3, discard);
    overfill(queue, settle, () => undefined);
    expect(takeAll(queue)).toEqual(left);
    expect(lost).toEqual(losses);
    expect(memory.used).toBe(3 * message('1').bytes);
  }
});

test('a message that was dropped before the disk refused it is counted once', () => {
  const { queue, disk } = setup({ messagesMax: 1, discard: 'old' });
  const first = push(queue, message('1'));
  const second = push(queue, message('2'));
  for (const seq of [first, second]) queue.settle(seq, new Error('full'));
  expect([queue.messages, disk.used]).toEqual([0, 0]);
});

test('what is in flight is not dropped to make room', () => {
  const { clock, queue } = setup({ messagesMax: 3, discard: 'old' });
  for (const data of ['1', '2', '3']) queue.settle(push(queue, message(data)), null);
  clock.turn();
  queue.take();
  queue.take();
  expect(push(queue, message('4'))).toBe(4);
  queue.settle(4, null);
  clock.turn();
  expect(takeAll(queue)).toEqual(['4']);
  expect(push(queue, message('5'))).toBe(0);
});

test('a message larger than the queue drops nothing', () => {
  const { queue, lost } = setup({ bytesMax: 20, discard: 'old' });
  push(queue, message('1'));
  expect(push(queue, message('x'.repeat(30)))).toBe(0);
  expect([queue.messages, lost]).toEqual([1, []]);
});

test('of what an earlier process may have sent, QoS 1 is dropped to make room and QoS 2 is not', () => {
  const { clock, store, queue } = setup();
  for (const qos of [2, 1, 2, 1] as const) push(queue, message(`q${qos}`, qos));
  clock.turn();
  const next = recovered(store, 3, { messagesMax: 4, discard: 'old' });
  for (const seq of [5, 6, 7]) {
    expect(push(next.queue, message(String(seq)))).toBe(seq);
    clock.turn();
    next.queue.settle(seq, null);
  }
  expect(takeAll(next.queue)).toEqual(['q2', 'q2', '6', '7']);
  expect(next.queue.doubtfulSeq).toBe(3);
});

test('expired messages make room, wherever they lie, before anything else is dropped', () => {
  for (const awake of [true, false]) {
    const { clock, queue, lost, disk } = setup({ messagesMax: 3, discard: 'old' });
    if (awake) queue.peek();
    for (const [data, expiresMs] of [
      ['1', Infinity],
      ['2', 1000],
      ['3', Infinity],
    ] as const)
      queue.settle(push(queue, message(data, 1, expiresMs)), null);
    clock.turn();
    expect(push(queue, message('4'), 1000)).toBe(4);
    queue.settle(4, null);
    clock.turn();
    expect(takeAll(queue)).toEqual(['1', '3', '4']);
    expect(lost).toEqual(['expired 1']);
    expect(disk.used).toBe(3 * message('1').bytes);
  }
  const { queue, lost } = inMemory(2, 'new');
  for (const data of ['1', '2']) queue.settle(push(queue, message(data, 1, 1000)));
  expect(push(queue, message('3'), 999)).toBe(0);
  expect(push(queue, message('3'), 1000)).toBe(3);
  expect([queue.messages, lost]).toEqual([1, ['expired 2']]);
});

test('expired messages of an earlier process make room too, but for QoS 2 that may have been sent', () => {
  const { clock, store, queue } = setup();
  for (const qos of [2, 1, 2, 1] as const) push(queue, message(`q${qos}`, qos, 1000));
  clock.turn();
  const next = recovered(store, 2, { messagesMax: 4 });
  expect(push(next.queue, message('5'), 999)).toBe(0);
  for (const seq of [5, 6, 7]) {
    expect(push(next.queue, message(String(seq)), 1000)).toBe(seq);
    clock.turn();
    next.queue.settle(seq, null);
  }
  expect(push(next.queue, message('8'), 1000)).toBe(0);
  clock.turn();
  expect(takeAll(next.queue)).toEqual(['q2', '5', '6', '7']);
});

test('order holds between what is read back and what is at hand, over rests', () => {
  const { clock, queue } = setup({ messagesMax: 1000, bytesMax: 100_000 });
  const got: string[] = [];
  const all: string[] = [];
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 20; i++) {
      const data = `${round}.${i}`;
      all.push(data);
      queue.settle(push(queue, message(data)), null);
    }
    clock.turn();
    for (let i = 0; i < 10 && round < 19; i++) {
      const first = queue.peek();
      queue.take();
      got.push(first?.delivery.form?.data.toString() ?? '?');
    }
    if (round % 3 === 0) queue.rest();
  }
  expect([...got, ...takeAll(queue)]).toEqual(all);
});

test('a marker takes the place of its message, and only a message that was taken has one', () => {
  const { clock, store, disk, queue } = setup();
  const { bytes } = message('1', 2);
  queue.settle(push(queue, message('1', 2)), null);
  clock.turn();
  takeAll(queue);
  queue.mark(1);
  clock.turn();
  expect([...store.synced.queue.values()].every(isMarker)).toBe(true);
  expect(queue.marked(1, bytes)).toBe(1);
  expect([disk.used, queue.bytes, queue.messages]).toEqual([1, 1, 1]);
  const next = recovered(store, 1);
  expect(next.queue.peek()).toBeUndefined();
  expect(next.queue.messages).toBe(1);
  queue.remove(1, 1);
  expect([disk.used, queue.messages]).toEqual([0, 0]);
});

test('all queues together hold no more messages than their share, and give back what they are done with', () => {
  const { clock, store, queue, total } = setup({ totalMax: 10 });
  for (let i = 0; i < 6; i++) push(queue, message(`${i}`));
  // One alone gets half: what it leaves to others.
  expect([queue.messages, total.used]).toEqual([5, 5]);
  store.sync();
  queue.settle(queue.lastSeq, null);
  const first = queue.peek();
  if (first === undefined) throw new Error('nothing is shown');
  queue.take();
  queue.remove(first.seq, first.delivery.bytes);
  expect(total.used).toBe(4);
  expect(push(queue, message('5'))).toBeGreaterThan(0);
  queue.settle(queue.lastSeq, new Error('the disk is full'));
  expect(total.used).toBe(4);
  const next = setup({ store: store.afterKill() });
  for (const [i, row] of ['a', 'b'].entries()) next.queue.recover(i + 1, message(row).row, false);
  expect(next.total.used).toBe(2);
  next.queue.clear();
  queue.clear();
  expect([next.total.used, total.used]).toEqual([0, 0]);
  clock.turn();
});

test('the queues in memory count among them', () => {
  const total = new Budget(8);
  const { queue } = inMemory(100, 'new', total);
  const { queue: old } = inMemory(100, 'old', total);
  for (const name of ['x', 'y']) push(queue, message(name, 1, 5));
  for (let i = 0; i < 4; i++) push(queue, message(`${i}`));
  expect([queue.messages, total.used]).toEqual([4, 4]);
  expect(push(queue, message('z'), 10)).toBeGreaterThan(0);
  expect([queue.messages, total.used]).toEqual([3, 3]);
  push(queue, message('4'));
  for (let i = 0; i < 4; i++) push(old, message(`${i}`));
  expect([old.messages, total.used]).toEqual([2, 6]);
  queue.settle(queue.lastSeq);
  const first = queue.peek();
  if (first === undefined) throw new Error('nothing is shown');
  queue.take();
  queue.mark(first.seq);
  queue.remove(first.seq, first.delivery.bytes);
  expect([queue.messages, total.used]).toEqual([3, 5]);
  queue.clear();
  old.clear();
  expect(total.used).toBe(0);
});

test('what has expired and was removed is not shown while the table still has it', () => {
  const { store, queue } = setup({ messagesMax: 2 });
  push(queue, message('x', 1, 5));
  store.sync();
  queue.settle(1, null);
  push(queue, message('z'));
  store.commit();
  expect(push(queue, message('y'), 10)).toBe(3);
  queue.settle(2, null);
  const first = queue.peek();
  expect([first?.seq, first?.delivery.form?.data.toString()]).toEqual([2, 'z']);
});

test('a marker of a session that has ended meanwhile gives nothing back twice', () => {
  const { store, queue, disk, total } = setup();
  const two = message('x', 2);
  push(queue, two);
  store.sync();
  queue.settle(1, null);
  queue.peek();
  queue.take();
  queue.mark(1);
  queue.clear();
  expect(queue.marked(1, two.bytes)).toBe(two.bytes);
  expect([disk.used, total.used]).toEqual([0, 0]);
});

test('to forget an identifier that nobody knows writes nothing', () => {
  const store = new MemoryStore(new FakeClock());
  const received = new ReceivedIds('meter', 10, store.received);
  let isIdle = false;
  expect(received.delete(5)).toBe(false);
  store.whenDurable(() => (isIdle = true));
  expect(isIdle).toBe(true);
});
