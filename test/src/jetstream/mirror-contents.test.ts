// What the messages of a mirror do to each other, and what it does not take: roll-ups, lives, limits, sizes.

import { expect, test } from 'vitest';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';
import {
  askedAgain,
  contents,
  info,
  mirrored,
  NAME,
  opened,
  pass,
} from '../../support/mirror-lab.ts';
import { MirrorOrigin } from '../../support/mirror-origin.ts';

const kvHeaders = (text: string): Buffer => Buffer.from(`NATS/1.0\r\n${text}\r\n\r\n`);

test('a purge of the origin replaces what the subject had, and a time to live counts from the origin', async () => {
  const now = Date.UTC(2026, 2, 1) + 10_000;
  const { at, origin } = await opened(now);
  await using _ = at;
  const stream = await mirrored(at, { allowRollup: true, maxMsgsPerSubject: 5 });
  origin.put('k.a', '1');
  origin.put('k.a', '2');
  origin.put('k.a', '', { headers: kvHeaders('KV-Operation: PURGE\r\nNats-Rollup: sub') });
  origin.put('k.b', 'short', { headers: kvHeaders('Nats-TTL: 10s'), timeMs: now - 5_000 });
  origin.deliver();
  at.settle();
  expect(contents(at)).toEqual(['3 k.a ', '4 k.b short']);
  await pass(at, 4_000);
  expect(stream.get(4)).toBeDefined();
  await pass(at, 2_500);
  expect(contents(at)).toEqual(['3 k.a ']);
});

test('the limits of the mirror are its own', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  for (let i = 1; i <= 6; i++) origin.put(`k.${i % 2}`, `${i}`);
  await mirrored(at, { maxMsgsPerSubject: 1 });
  origin.deliver();
  at.settle();
  expect(contents(at)).toEqual(['5 k.1 5', '6 k.0 6']);
});

test('a full disk holds a mirror up, and it goes on where it was', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  const stream = await mirrored(at, { maxMsgs: 2, discard: 'new' });
  for (let i = 1; i <= 4; i++) origin.put('a', `${i}`);
  origin.deliver();
  at.settle();
  expect(contents(at)).toEqual(['1 a 1', '2 a 2']);
  await pass(at);
  expect(info(at)?.error?.err_code).toBe(10077);
  stream.reconfigure({ ...stream.config, maxMsgs: 10 }, null);
  await askedAgain(at, origin);
  origin.deliver();
  at.settle();
  expect(contents(at)).toEqual(['1 a 1', '2 a 2', '3 a 3', '4 a 4']);
});

test('a message that no mirror can store leaves its number empty and is told of; the rest comes', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  await mirrored(at, { maxMsgBytes: 10 });
  origin.put('a', '1');
  origin.put('a', 'x'.repeat(11));
  origin.put('a', '3');
  origin.deliver();
  at.settle();
  expect(contents(at)).toEqual(['1 a 1', '3 a 3']);
  expect(at.logged.map(({ msg }) => msg)).toContain(
    'a mirror cannot store a message of its origin: its number stays empty',
  );
});

test('a mirror that is faster than the disk waits for it, and nothing is asked for twice', async () => {
  await using at = await new GatewayStore([streamOrder()], {
    limits: { undurableMessagesMax: 3 },
  }).open();
  const origin = new MirrorOrigin(at.broker);
  await mirrored(at);
  for (let i = 1; i <= 20; i++) origin.put('a', `${i}`);
  origin.deliver();
  at.settle();
  expect(contents(at)).toHaveLength(20);
  expect(origin.asked).toHaveLength(1);
});

test('what is missing is asked for when it is known what the disk has', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  await mirrored(at);
  for (let i = 1; i <= 3; i++) origin.put('a', `${i}`);
  origin.deliver([2]);
  const { infos } = origin;
  at.clock.advance(2_000);
  expect(origin.infos).toBe(infos);
  at.settle();
  at.clock.advance(2_000);
  expect(origin.infos).toBe(infos + 1);
});

test('an older message that is delivered again is not looked at', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  const stream = await mirrored(at);
  origin.put('a', '1');
  origin.put('a', '2');
  origin.deliver();
  at.settle();
  origin.heartbeat();
  origin.say(1, 'again', { dseq: 3 });
  await pass(at);
  origin.put('a', '3');
  await askedAgain(at, origin);
  origin.say(1, 'of an older place', { dseq: 1 });
  await pass(at, 100);
  expect(contents(at)).toEqual(['1 a 1', '2 a 2']);
  expect(at.jetstream.stream(NAME)).toBe(stream);
  expect(at.logged.map(({ msg }) => msg).join()).not.toMatch(/another stream/);
});
