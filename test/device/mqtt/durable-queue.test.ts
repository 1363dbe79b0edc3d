import { expect, test } from 'vitest';
import { DurableQueue, parseQueueKey } from '../../../device/mqtt/durable-queue.ts';
import { Budget } from '../../../device/mqtt/limits.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryStore } from '../../support/mqtt-store.ts';

function setup() {
  const clock = new FakeClock();
  const store = new MemoryStore(clock);
  const disk = new Budget(1000);
  const memory = new Budget(1000);
  const queue = new DurableQueue(store.queue, 'meter', {
    messagesMax: 100,
    bytesMax: 1000,
    disk,
    memory,
  });
  return { clock, store, disk, memory, queue };
}

const value = Buffer.from('ten bytes!');

test('a refusal that comes after the queue has ended changes no counter', () => {
  const { clock, store, disk, memory, queue } = setup();
  queue.next();
  for (let i = 0; i < 3; i++) queue.push(value);
  const settle = queue.seal();
  queue.clear();
  expect(settle(new Error('full'))).toBe(0);
  expect([queue.messages, queue.bytes, disk.used, memory.used]).toEqual([0, 0, 0, 0]);
  clock.turn();
  expect(store.synced.queue.size).toBe(0);
});

test('a refused batch between two others is taken back alone', () => {
  const { disk, memory, queue } = setup();
  queue.next();
  const settles = [1, 2, 3].map(() => {
    queue.push(value);
    return queue.seal();
  });
  expect(settles.map((settle, i) => settle(i === 1 ? new Error('full') : null))).toEqual([0, 1, 0]);
  expect([queue.next()?.seq, queue.next()?.seq, queue.next()]).toEqual([1, 3, undefined]);
  expect([queue.messages, disk.used, memory.used]).toEqual([2, 20, 0]);
});

test('a message is removed once', () => {
  const { disk, queue } = setup();
  queue.push(value);
  const settle = queue.seal();
  queue.remove({ seq: 1, bytes: value.length });
  expect(queue.messages).toBe(1);
  settle(null);
  queue.rest();
  expect(disk.used).toBe(10);
});

test('the owner and the number of a row are in its key, whatever the identifier holds', () => {
  const { clock, store } = setup();
  for (const clientId of ['a', 'a b', 'a/1f', 'ü']) {
    const queue = new DurableQueue(store.queue, clientId, {
      messagesMax: 10,
      bytesMax: 1000,
      disk: new Budget(1000),
      memory: new Budget(0),
    });
    queue.push(value);
  }
  clock.turn();
  expect([...store.synced.queue.keys()].map(parseQueueKey)).toEqual(
    ['a', 'a b', 'a/1f', 'ü'].map((clientId) => ({ clientId, seq: 1 })),
  );
});
