import { expect, test } from 'vitest';
import { AckQueue, NO_ANSWER } from '../../../device/mqtt/acks.ts';
import { randomInt, seededRandom } from '../../support/random.ts';

function setup(messagesMax = 8, bytesMax = 1000) {
  const acknowledged: number[] = [];
  const acks = new AckQueue(messagesMax, bytesMax, (packetId) => void acknowledged.push(packetId));
  return { acks, acknowledged };
}

test('PUBACKs leave in the order in which the PUBLISHes came, whatever order the disk answers in', () => {
  const { acks, acknowledged } = setup();
  const [a, b, c] = [acks.open(11, 1, 1), acks.open(12, 1, 1), acks.open(13, 1, 1)];
  acks.settle(c, 0);
  acks.settle(b, 0);
  expect(acknowledged).toEqual([]);
  acks.settle(a, 0);
  expect(acknowledged).toEqual([11, 12, 13]);
});

test('a refused PUBLISH gets no PUBACK and holds up no other', () => {
  const { acks, acknowledged } = setup();
  const [a, b, c] = [acks.open(11, 1, 1), acks.open(12, 1, 1), acks.open(13, 1, 1)];
  acks.settle(b, NO_ANSWER);
  acks.settle(c, 0);
  acks.settle(a, 0);
  expect(acknowledged).toEqual([11, 13]);
  expect(acks.waiting).toBe(0);
});

test('the window is full by count or by bytes, and roomy again at half', () => {
  const { acks } = setup(4, 1000);
  const slots = [1, 2, 3, 4].map((id) => acks.open(id, 1, 10));
  expect([acks.full, acks.roomy]).toEqual([true, false]);
  acks.settle(slots[0]!, 0);
  expect([acks.full, acks.roomy]).toEqual([false, false]);
  acks.settle(slots[1]!, 0);
  expect(acks.roomy).toBe(true);
  acks.open(5, 1, 999);
  expect(acks.full).toBe(true);
});

test('the same Packet Identifier twice is answered twice', () => {
  const { acks, acknowledged } = setup();
  const [a, b] = [acks.open(7, 1, 1), acks.open(7, 1, 1)];
  acks.settle(b, 0);
  acks.settle(a, 0);
  expect(acknowledged).toEqual([7, 7]);
});

test('an answer that comes twice is a bug of ours', () => {
  const { acks } = setup();
  const slot = acks.open(1, 1, 1);
  acks.open(2, 1, 1);
  acks.settle(slot, 0);
  expect(() => acks.settle(slot, 0)).toThrow('settled twice');
});

test('ten thousand PUBLISHes settled at random leave in order', () => {
  const random = seededRandom(4);
  const { acks, acknowledged } = setup(64, 1e9);
  const open: number[] = [];
  const wanted: number[] = [];
  for (let i = 0; i < 10_000;) {
    if (!acks.full && randomInt(random, 2) === 0) {
      const packetId = (i++ % 65_535) + 1;
      open.push(acks.open(packetId, 1, 1));
      wanted.push(packetId);
    } else if (open.length > 0) acks.settle(open.splice(randomInt(random, open.length), 1)[0]!, 0);
  }
  for (const slot of open) acks.settle(slot, 0);
  expect(acknowledged).toEqual(wanted);
});

test('PUBACKs and PUBRECs share one order, and take their reasons with them', () => {
  const answers: unknown[] = [];
  const acks = new AckQueue(4, 1000, (...answer) => void answers.push(answer));
  const [a, b, c] = [acks.open(1, 2, 1), acks.open(2, 1, 1), acks.open(3, 2, 1)];
  expect(acks.waitingQos1).toBe(1);
  acks.settle(c, 0x97, 'full');
  acks.settle(b, 0x10);
  expect(answers).toEqual([]);
  acks.settle(a, 0);
  expect(answers).toEqual([
    [1, 2, 0, undefined],
    [2, 1, 0x10, undefined],
    [3, 2, 0x97, 'full'],
  ]);
  expect(acks.waitingQos1).toBe(0);
});
