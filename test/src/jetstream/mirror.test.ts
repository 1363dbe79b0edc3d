// A stream that mirrors another: exactly the origin's messages under the origin's sequences, through losses, silence, full
// disks, starts and origins that became other streams.

import { expect, test } from 'vitest';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';
import {
  askedAgain,
  contents,
  EXTERNAL,
  info,
  mirrored,
  NAME,
  opened,
  pass,
} from '../../support/mirror-lab.ts';
import { MirrorOrigin } from '../../support/mirror-origin.ts';

test('a mirror has the messages of its origin under their sequences, times and headers, holes included', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  origin.put('a', '1');
  origin.put(undefined);
  const headers = Buffer.from('NATS/1.0\r\nOne: 1\r\nNats-Expected-Last-Sequence: 2\r\n\r\n');
  origin.put('b', '3', { headers });
  const stream = await mirrored(at);
  origin.deliver();
  at.settle();
  expect(contents(at)).toEqual(['1 a 1', '3 b 3']);
  expect(stream.get(3)?.timeMs).toBe(origin.messages.get(3)?.timeMs);
  expect(stream.get(3)?.headers?.toString()).toBe('NATS/1.0\r\nOne: 1\r\n\r\n');
  expect(stream.state()).toMatchObject({ messages: 2, firstSeq: 1, lastSeq: 3, numDeleted: 1 });
  expect(origin.asked).toHaveLength(1);
  expect(origin.asked[0]).toMatchObject({
    headers: 'NATS/1.0\r\nNats-Required-Api-Level: 4\r\n\r\n',
    config: { deliver_policy: 'all', flow_control: true, direct: true, sourcing: true },
  });
  expect(info(at)).toMatchObject({ lag: 0 });
});

test('nothing of a mirror is shown before the disk has it', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  const stream = await mirrored(at);
  origin.put('a', '1');
  origin.deliver();
  at.clock.turn();
  expect(stream.get(1)).toBeUndefined();
  expect(stream.state().lastSeq).toBe(0);
  at.settle();
  expect(stream.get(1)?.data.toString()).toBe('1');
});

test('a hole of a million sequences is leapt over, and what comes behind it keeps its number', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  origin.put('a', '1');
  origin.lastSeq = 1_000_000;
  origin.put('a', 'far');
  origin.put('a', 'next');
  const stream = await mirrored(at);
  origin.deliver();
  at.settle();
  expect(stream.state()).toMatchObject({ messages: 3, firstSeq: 1, lastSeq: 1_000_002 });
  expect(stream.get(1_000_002)?.data.toString()).toBe('next');
});

test('a message that is lost on the way is asked for again, and none is stored out of order', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  await mirrored(at);
  for (let i = 1; i <= 5; i++) origin.put('a', `${i}`);
  origin.deliver([3]);
  at.settle();
  expect(contents(at)).toEqual(['1 a 1', '2 a 2']);
  await pass(at);
  expect(origin.asked.at(-1)?.config).toMatchObject({ opt_start_seq: 2 });
  origin.deliver();
  at.settle();
  expect(contents(at)).toEqual(['1 a 1', '2 a 2', '3 a 3', '4 a 4', '5 a 5']);
});

test('a lost last message is found out by the heartbeat', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  await mirrored(at);
  origin.put('a', '1');
  origin.put('a', '2');
  origin.deliver([2]);
  origin.heartbeat();
  await pass(at);
  expect(origin.asked).toHaveLength(2);
  origin.deliver();
  at.settle();
  expect(contents(at)).toEqual(['1 a 1', '2 a 2']);
});

test('an origin that falls silent is asked again after 10 s, and while it is heard it is not', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  await mirrored(at);
  for (let i = 0; i < 30; i++) {
    origin.heartbeat();
    await pass(at, 1_000);
  }
  expect(origin.asked).toHaveLength(1);
  origin.isSilent = true;
  await pass(at, 9_000);
  expect(info(at)?.error).toBeUndefined();
  await pass(at, 3_000);
  expect(info(at)?.error?.description).toMatch(/fallen silent/);
  origin.isSilent = false;
  await pass(at, 30_000);
  expect(origin.asked.length).toBeGreaterThan(1);
});

test('flow control is answered when the disk has what came before, with how far it is', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  await mirrored(at);
  origin.put('a', '1');
  origin.put(undefined);
  origin.put('a', '3');
  origin.deliver();
  origin.askFlow('$JS.FC.ORIGIN.c.1');
  at.clock.turn();
  expect(origin.flow).toEqual([]);
  at.settle();
  expect(origin.flow).toEqual([
    {
      subject: '$JS.FC.ORIGIN.c.1',
      headers: 'NATS/1.0\r\nNats-Last-Consumer: 2\r\nNats-Last-Stream: 3\r\n\r\n',
    },
  ]);
  origin.heartbeat('Nats-Consumer-Stalled: $JS.FC.ORIGIN.c.2\r\n');
  at.settle();
  expect(origin.flow.at(-1)?.subject).toBe('$JS.FC.ORIGIN.c.2');
});

test('a mirror goes on behind what it has after a start, however long that was', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  origin.put('a', '1');
  await mirrored(at);
  origin.deliver();
  at.settle();
  await at.close();
  await at.open();
  expect(contents(at)).toEqual(['1 a 1']);
  await pass(at, 120_000);
  const again = new MirrorOrigin(at.broker);
  again.put('a', '1');
  again.put('a', '2');
  await askedAgain(at, again);
  again.deliver();
  at.settle();
  expect(again.asked.at(-1)?.config).toMatchObject({ opt_start_seq: 1 });
  expect(contents(at)).toEqual(['1 a 1', '2 a 2']);
});

test.each([
  ['was made anew', (origin: MirrorOrigin) => void (origin.created = '2026-04-01T00:00:00Z')],
  ['has lost its end', () => {}],
])(
  'a mirror whose origin %s is copied anew, and the old copy is read until then',
  async (_what, change) => {
    const { at, origin } = await opened();
    await using _ = at;
    for (let i = 1; i <= 5; i++) origin.put('a', `old ${i}`);
    const before = await mirrored(at);
    origin.deliver();
    at.settle();
    const old = contents(at);
    expect(old).toHaveLength(5);
    change(origin);
    origin.messages.clear();
    origin.lastSeq = 0;
    origin.put('b', 'new 1');
    origin.put('b', 'new 2');
    origin.consumer = undefined;
    await askedAgain(at, origin);
    expect(contents(at)).toEqual(old);
    expect(origin.asked.at(-1)?.config).toMatchObject({ deliver_policy: 'all' });
    origin.deliver();
    await pass(at);
    expect(contents(at)).toEqual(['1 b new 1', '2 b new 2']);
    expect(at.jetstream.streams.map(({ name }) => name)).toEqual(['DATA', NAME]);
    expect(at.jetstream.stream(NAME)).not.toBe(before);
    expect(at.logged.map(({ msg }) => msg)).toContain(
      'the origin of a mirror is another stream than before: it is copied anew',
    );
    // It goes on, and a start finds the new one.
    origin.put('b', 'new 3');
    await pass(at, 1_000);
    origin.deliver();
    at.settle();
    expect(contents(at)).toEqual(['1 b new 1', '2 b new 2', '3 b new 3']);
    await at.close();
    await at.open();
    expect(contents(at)).toEqual(['1 b new 1', '2 b new 2', '3 b new 3']);
  },
);

test('a start in the middle of a new copy reads the old one and begins the copy again', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  origin.put('a', 'old');
  await mirrored(at);
  origin.deliver();
  at.settle();
  origin.created = 'other';
  origin.consumer = undefined;
  await askedAgain(at, origin);
  expect(origin.asked.at(-1)?.config).toMatchObject({ deliver_policy: 'all' });
  await at.close();
  await at.open();
  expect(contents(at)).toEqual(['1 a old']);
  expect(at.jetstream.streams.map(({ name }) => name)).toEqual(['DATA', NAME]);
  const again = new MirrorOrigin(at.broker);
  again.created = 'other';
  again.put('a', 'new');
  await askedAgain(at, again);
  again.deliver();
  await pass(at);
  expect(contents(at)).toEqual(['1 a new']);
});

test('one short answer of a server that lags is not believed', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  origin.put('a', '1');
  origin.put('a', '2');
  const stream = await mirrored(at);
  origin.deliver();
  at.settle();
  origin.lastSeq = 1;
  const { infos } = origin;
  for (let i = 0; i < 400 && origin.infos === infos; i++) await pass(at, 50);
  expect(origin.infos).toBe(infos + 1);
  origin.lastSeq = 2;
  await askedAgain(at, origin);
  expect(at.jetstream.stream(NAME)).toBe(stream);
  expect(at.logged.map(({ msg }) => msg).join()).not.toMatch(/another stream/);
});

test('a mirror whose origin has lost its end, and has grown beyond it since, is copied anew', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  for (let i = 1; i <= 3; i++) origin.put('a', `${i}`);
  await mirrored(at);
  origin.deliver();
  at.settle();
  const { timeMs } = origin.messages.get(3) ?? { timeMs: 0 };
  origin.messages.set(3, { subject: 'a', data: 'other', timeMs });
  origin.put('a', '4');
  await askedAgain(at, origin);
  origin.deliver();
  await askedAgain(at, origin);
  origin.deliver();
  await pass(at);
  expect(contents(at)).toEqual(['1 a 1', '2 a 2', '3 a other', '4 a 4']);
});

test('a mirror whose last message is gone at its origin goes on behind it', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  origin.put('a', '1');
  origin.put('a', '2');
  const stream = await mirrored(at);
  origin.deliver();
  at.settle();
  origin.messages.delete(2);
  origin.put('a', '3');
  await askedAgain(at, origin);
  origin.deliver();
  at.settle();
  expect(contents(at)).toEqual(['1 a 1', '2 a 2', '3 a 3']);
  expect(at.jetstream.stream(NAME)).toBe(stream);
});

test('a mirror whose origin was made anew and is empty becomes empty', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  origin.put('a', '1');
  await mirrored(at);
  origin.deliver();
  at.settle();
  origin.created = 'other';
  origin.messages.clear();
  origin.lastSeq = 0;
  await askedAgain(at, origin);
  await pass(at);
  expect(at.jetstream.stream(NAME)?.state()).toMatchObject({ messages: 0, lastSeq: 0 });
});

test('a mirror of an origin that has nothing yet, and begins far up, begins there too', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  origin.firstSeq = 1_000;
  origin.lastSeq = 999;
  const stream = await mirrored(at);
  expect(stream.state()).toMatchObject({ messages: 0, firstSeq: 1_000, lastSeq: 999 });
});

test('what another consumer delivers, and what comes a second time, is not stored', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  await mirrored(at);
  origin.say(1, 'of another', { consumer: 'OTHER' });
  origin.say(1, 'a second time', { deliveries: 2 });
  at.settle();
  expect(contents(at)).toEqual([]);
  origin.say(1, 'good', {});
  at.settle();
  expect(contents(at)).toEqual(['1 said good']);
});

test('the times of a mirror age no other stream', async () => {
  await using at = await new GatewayStore([streamOrder({ maxAgeMs: 3_600_000 })]).open();
  const origin = new MirrorOrigin(at.broker);
  at.publish('data.x', 'young');
  origin.put('a', '1');
  await mirrored(at);
  origin.deliver();
  at.settle();
  await at.close();
  await at.open();
  await pass(at, 2_000);
  expect(contents(at, 'DATA')).toEqual(['1 data.x young']);
});

test('a disk without room holds a mirror up: no flow control is answered; with room it goes on', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  await mirrored(at);
  const { db } = at.jetstream.store;
  const pages = Number(db.pragma('page_count', { simple: true }));
  db.pragma(`max_page_count = ${pages}`);
  for (let i = 1; i <= 50; i++) origin.put('a', `${i} ${'x'.repeat(10_000)}`);
  origin.deliver();
  origin.askFlow('$JS.FC.ORIGIN.c.1');
  at.settle();
  expect(contents(at)).toEqual([]);
  expect(origin.flow).toEqual([]);
  await pass(at);
  expect(info(at)?.error).toBeDefined();
  db.pragma('max_page_count = 1000000');
  at.jetstream.store.refreshRoom();
  for (let i = 0; i < 5 && contents(at).length < 50; i++) {
    await askedAgain(at, origin);
    origin.deliver();
    at.settle();
  }
  expect(contents(at)).toHaveLength(50);
  expect(contents(at).at(-1)).toMatch(/^50 a 50 x/);
});

test('an older origin that knows no sourcing consumers is asked for a plain one', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  origin.isOld = true;
  origin.put('a', '1');
  await mirrored(at);
  origin.deliver();
  at.settle();
  expect(contents(at)).toEqual(['1 a 1']);
  expect(origin.asked[1]?.headers).toBeUndefined();
  expect(origin.asked[1]?.config['sourcing']).toBeUndefined();
  expect(origin.asked[1]?.config['name']).not.toBe(origin.asked[0]?.config['name']);
});

test('an origin that is missing is named, and followed as soon as it is there', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  origin.refusal = { code: 404, err_code: 10059, description: 'stream not found' };
  await mirrored(at);
  expect(info(at)).toMatchObject({
    active: -1,
    error: { code: 404, err_code: 10059, description: 'stream not found' },
  });
  origin.refusal = undefined;
  origin.put('a', '1');
  await askedAgain(at, origin);
  origin.deliver();
  at.settle();
  expect(contents(at)).toEqual(['1 a 1']);
  expect(info(at)?.error).toBeUndefined();
});

test('without a way to the hub a mirror waits for ever, and asks at once when the link is up', async () => {
  const at = await new GatewayStore([streamOrder()]).open();
  await using _ = at;
  await mirrored(at);
  await pass(at, 120_000);
  const origin = new MirrorOrigin(at.broker);
  origin.put('a', '1');
  at.jetstream.mirrors.hubIsThere('hub');
  await pass(at, 300);
  expect(origin.asked).toHaveLength(1);
});

test('a filter and transforms are asked for and applied', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  await mirrored(at, {
    mirror: { ...EXTERNAL, subjectTransforms: [{ src: 'a.*', dest: 'x.{{wildcard(1)}}' }] },
  });
  origin.put('a.1', '1');
  origin.deliver();
  at.settle();
  expect(contents(at)).toEqual(['1 x.1 1']);
  expect(origin.asked[0]?.subject).toMatch(/\.JS_MIRROR_[^.]+\.a\.\*$/);
  expect(origin.asked[0]?.config).toMatchObject({ filter_subject: 'a.*' });
});

test('a mirror begins where it is told to, once', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  for (let i = 1; i <= 5; i++) origin.put('a', `${i}`);
  const stream = await mirrored(at, { mirror: { ...EXTERNAL, startSeq: 4 } });
  origin.deliver();
  at.settle();
  expect(stream.state()).toMatchObject({ messages: 2, firstSeq: 4, lastSeq: 5 });
  expect(contents(at)).toEqual(['4 a 4', '5 a 5']);
});

test('a mirror that is deleted asks no more', async () => {
  const { at, origin } = await opened();
  await using _ = at;
  await mirrored(at);
  const deleted = at.jetstream.deleteStream(NAME);
  await pass(at);
  await deleted;
  origin.heartbeat();
  await pass(at, 60_000);
  expect(origin.asked).toHaveLength(1);
  expect(at.broker.listeners(origin.consumer?.target ?? '')).toEqual([]);
});
