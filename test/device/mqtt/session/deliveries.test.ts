import { expect, test } from 'vitest';
import { FakeLink, NEVER, SessionLab } from '../../../support/session-lab.ts';

/** A lab with a connected session `meter` on `a/#` at QoS 2. */
function setup(options: ConstructorParameters<typeof SessionLab>[0] = {}, expirySeconds = NEVER) {
  const lab = new SessionLab(options);
  const { session, link } = lab.open({ expirySeconds });
  lab.subscribe(session, 'a/#', 2);
  settle(lab);
  return { lab, session, link };
}

function settle(lab: SessionLab): void {
  for (let i = 0; i < 5; i++) lab.clock.turn();
}

function send(lab: SessionLab, qos: 0 | 1 | 2, ...data: string[]): void {
  for (const each of data) lab.publish('a.b', each, qos);
  settle(lab);
}

function reopen(lab: SessionLab, link = new FakeLink()): ReturnType<SessionLab['open']> {
  const opened = lab.open({}, link);
  settle(lab);
  return opened;
}

test.each([NEVER, 0])(
  'QoS 2: PUBLISH, PUBREC, PUBREL, PUBCOMP, and nothing is left (expiry %d)',
  (expirySeconds) => {
    const { lab, session, link } = setup({}, expirySeconds);
    send(lab, 2, 'x');
    expect(link.published).toMatchObject([{ qos: 2, dup: false, retain: false }]);
    const [id = 0] = link.ids;
    expect(session.pubrec(id, 0)).toBe(true);
    settle(lab);
    expect(link.pubrels).toEqual([[id, undefined]]);
    expect(session.pubrec(id, 0)).toBe(true);
    expect(link.pubrels).toHaveLength(2);
    expect(session.pubcomp(id)).toBe(true);
    settle(lab);
    expect([session.queuedMessages, session.queuedBytes, session.inFlight]).toEqual([0, 0, 0]);
    expect(lab.sessions.stats).toMatchObject({ queuedBytes: 0, memoryBytes: 0 });
    expect(lab.store.synced.queue.size).toBe(0);
  },
);

test('a message goes at the lower of the QoS published and granted', () => {
  const { lab, session, link } = setup();
  lab.subscribe(session, 'c', 1);
  send(lab, 0, '0');
  send(lab, 1, '1');
  lab.publish('c', '2', 2);
  settle(lab);
  expect(link.published.map(({ qos, packetId }) => [qos, packetId > 0])).toEqual([
    [0, false],
    [1, true],
    [1, true],
  ]);
});

test('PUBREL waits until the disk knows that the client has the message', () => {
  const { lab, session, link } = setup();
  send(lab, 2, 'x');
  lab.store.auto = false;
  session.pubrec(link.ids[0] ?? 0, 0);
  settle(lab);
  expect(link.pubrels).toEqual([]);
  lab.store.sync();
  expect(link.pubrels).toHaveLength(1);
});

test('nothing leaves at QoS 1 or 2 before the disk has what was published up to it, for sessions in memory too', () => {
  for (const expirySeconds of [0, NEVER]) {
    const { lab, link } = setup({}, expirySeconds);
    lab.store.auto = false;
    lab.store.queueMessage();
    send(lab, 1, 'x');
    expect(link.published).toEqual([]);
    lab.store.sync();
    expect(link.data).toEqual(['x']);
  }
});

test('a marker that a full disk refuses is written when there is room, and PUBRELs keep their order', () => {
  const { lab, session, link } = setup();
  send(lab, 2, '1', '2', '3');
  const [one = 0, two = 0, three = 0] = link.ids;
  lab.store.full = true;
  session.pubrec(two, 0);
  settle(lab);
  lab.sessions.tick();
  settle(lab);
  expect(link.pubrels).toEqual([]);
  lab.store.full = false;
  session.pubrec(one, 0);
  session.pubrec(three, 0);
  settle(lab);
  expect(link.pubrels).toEqual([]);
  lab.sessions.tick();
  settle(lab);
  expect(link.pubrels.map(([id]) => id)).toEqual([two, one, three]);
});

test('PUBREC with an error ends the message; for an unknown identifier it gets 0x92', () => {
  const { lab, session, link } = setup();
  send(lab, 2, 'x');
  session.pubrec(link.ids[0] ?? 0, 0x97);
  settle(lab);
  expect([session.queuedMessages, link.pubrels]).toEqual([0, []]);
  session.pubrec(77, 0);
  session.pubrec(78, 0x80);
  expect(link.pubrels).toEqual([[77, 0x92]]);
});

test('an answer of the wrong kind is told, an unknown one is not', () => {
  const { lab, session, link } = setup();
  send(lab, 1, 'x');
  send(lab, 2, 'y');
  const [x = 0, y = 0] = link.ids;
  expect(session.puback(y)).toBe(false);
  expect(session.pubrec(x, 0)).toBe(false);
  expect(session.pubcomp(x)).toBe(false);
  expect(session.pubcomp(y)).toBe(false);
  expect([session.puback(999), session.pubcomp(999)]).toEqual([true, true]);
  session.pubrec(y, 0);
  settle(lab);
  expect(session.puback(y)).toBe(false);
  expect(session.queuedMessages).toBe(2);
});

test.each(['afterKill', 'afterPowerCut'] as const)(
  'after a restart messages come with DUP and markers as PUBREL, with the same identifiers in order: %s',
  (how) => {
    const { lab, session, link } = setup();
    send(lab, 2, '1', '2');
    send(lab, 1, '3');
    const ids = link.ids;
    session.pubrec(ids[0] ?? 0, 0);
    settle(lab);
    const next = lab.after(how);
    const again = reopen(next);
    expect(again.present).toBe(true);
    expect(again.link.pubrels).toEqual([[ids[0], undefined]]);
    expect(again.link.published.map(({ packetId, dup }) => [packetId, dup])).toEqual([
      [ids[1], true],
      [ids[2], true],
    ]);
    expect(again.link.data).toEqual(['2', '3']);
  },
);

test('a client that had left gets DUP only on what it was sent, over a restart too', () => {
  const { lab, session, link } = setup({ limits: { deliveriesInFlightMax: 2 } });
  send(lab, 1, '1', '2', '3');
  lab.close(session, link);
  send(lab, 1, '4');
  const next = lab.after('afterPowerCut');
  const again = reopen(next);
  again.session.puback(again.link.ids[0] ?? 0);
  again.session.puback(again.link.ids[1] ?? 0);
  expect(again.link.published.map(({ dup }) => dup)).toEqual([true, true, false, false]);
});

test('messages are sent again at a new connection only, within its window', () => {
  const { lab, session, link } = setup();
  send(lab, 1, '1', '2', '3', '4');
  lab.clock.advance(3_600_000);
  lab.sessions.tick();
  expect(link.published).toHaveLength(4);
  lab.close(session, link);
  const slow = new FakeLink();
  slow.receiveMaximum = 2;
  reopen(lab, slow);
  send(lab, 1, '5');
  expect(slow.data).toEqual(['1', '2']);
  for (let i = 0; i < 5; i++) session.puback(slow.ids[i] ?? 0);
  expect(slow.data).toEqual(['1', '2', '3', '4', '5']);
  expect(slow.published.map(({ dup }) => dup)).toEqual([true, true, true, true, false]);
  expect(slow.ids.slice(0, 4)).toEqual(link.ids);
});

test('a PUBLISH that waits for PUBCOMP is in the window too', () => {
  const { lab, session, link } = setup();
  link.receiveMaximum = 1;
  send(lab, 2, '1', '2');
  session.pubrec(link.ids[0] ?? 0, 0);
  settle(lab);
  expect(link.data).toEqual(['1']);
  session.pubcomp(link.ids[0] ?? 0);
  expect(link.data).toEqual(['1', '2']);
});

test('bytes in flight are bounded', () => {
  const { lab, session, link } = setup({ limits: { deliveryBytesInFlightMax: 10 } });
  send(lab, 1, '1234567890', '2');
  expect(link.data).toEqual(['1234567890']);
  session.puback(link.ids[0] ?? 0);
  expect(link.data).toEqual(['1234567890', '2']);
});

test.each([1, 2] as const)(
  'identifiers run from 1 to 65,535, and one in use stops the line (QoS %i)',
  (qos) => {
    const { lab, session, link } = setup();
    send(lab, qos, 'first');
    const [first = 0] = link.ids;
    if (qos === 2) session.pubrec(first, 0); // Its PUBCOMP is missing.
    settle(lab);
    const seen = new Set<number>([first]);
    for (let i = 0; i < 65_534; i++) {
      lab.publish('a', 'x', 1);
      if (i % 90 === 89 || i > 65_500) settle(lab);
      for (const { packetId } of link.published.splice(0)) {
        seen.add(packetId);
        if (packetId !== first) session.puback(packetId);
      }
    }
    settle(lab);
    for (const id of link.ids) if (id !== first) session.puback(id);
    link.published.length = 0;
    expect(seen.size).toBeGreaterThanOrEqual(65_534);
    expect([Math.min(...seen), Math.max(...seen)]).toEqual([1, 65_535]);
    send(lab, 1, 'blocked');
    expect(link.published).toEqual([]);
    if (qos === 1) session.puback(first);
    else session.pubcomp(first);
    expect(link.published.map(({ packetId }) => packetId)).toEqual([first]);
  },
  90_000,
);

test('what may have been sent at QoS 2 before a crash is finished, expired or not', () => {
  const { lab, link } = setup();
  const headers = Buffer.from('NATS/1.0\r\nMqtt-Message-Expiry: 1\r\n\r\n');
  lab.broker.publish({ subject: 'a.b', headers, data: Buffer.from('x') });
  settle(lab);
  expect(link.data).toEqual(['x']);
  const next = lab.after('afterKill');
  next.clock.advance(2000);
  const again = reopen(next);
  expect(again.link.published).toMatchObject([{ qos: 2, dup: true }]);
});

test('what has expired is not sent and is counted; the rest keeps its time', () => {
  const { lab, session, link } = setup();
  lab.close(session, link);
  const publish = (data: string, expiryHeader: string): void => {
    const headers = Buffer.from(`NATS/1.0\r\nMqtt-Message-Expiry: ${expiryHeader}\r\n\r\n`);
    lab.broker.publish({ subject: 'a.b', headers, data: Buffer.from(data) });
  };
  publish('short', '1');
  publish('long', '100');
  settle(lab);
  lab.clock.advance(1000);
  const again = reopen(lab);
  expect(again.link.data).toEqual(['long']);
  expect(again.link.published[0]?.form.expiresMs).toBe(100_000);
  expect(lab.base.counters.droppedExpiredMsgs).toBe(1);
  expect([...lab.sessions.views()][0]?.dropped.expired).toBe(1);
  // In flight and expired: QoS 2 is finished, for the client may hold its identifier.
  lab.close(again.session, again.link);
  lab.clock.advance(100_000);
  expect(reopen(lab).link.data).toEqual(['long']);
});

test('what is too large for the client is counted and removed, and the next goes on', () => {
  const { lab, session, link } = setup();
  link.tooLarge = 'huge';
  send(lab, 1, 'huge', 'small');
  send(lab, 0, 'huge');
  expect(link.data).toEqual(['small']);
  expect([session.queuedMessages, lab.base.counters.droppedLargeMsgs]).toEqual([1, 2]);
  expect(lab.warnings.join()).toContain('larger than an MQTT client takes');
});

test('a client that may not read a subject any more is not sent what waits', () => {
  const { lab, session, link } = setup();
  lab.close(session, link);
  send(lab, 1, 'secret');
  const stranger = new FakeLink();
  stranger.mayReceive = (subject) => subject !== 'a.b';
  reopen(lab, stranger);
  send(lab, 1, 'secret');
  lab.publish('a.c', 'open', 1);
  settle(lab);
  expect(stranger.data).toEqual(['open']);
  expect(lab.base.counters.droppedForbiddenMsgs).toBe(1);
});

test('a client that does not read gets QoS 1 later and QoS 0 never', () => {
  const { lab, session, link } = setup();
  link.roomy = false;
  send(lab, 1, 'kept');
  send(lab, 0, 'gone');
  expect(link.published).toEqual([]);
  expect(lab.base.counters.droppedSlowMsgs).toBe(1);
  link.roomy = true;
  session.pump();
  expect(link.data).toEqual(['kept']);
});

test('a publisher waits for what is written for a session, and hears of a full disk', () => {
  const { lab, session, link } = setup();
  lab.close(session, link);
  settle(lab);
  lab.store.auto = false;
  const heard: (string | undefined)[] = [];
  lab.publish('a.b', 'x', 1, (error) => heard.push(error?.message));
  settle(lab);
  expect(heard).toEqual([]);
  lab.store.sync();
  expect(heard).toEqual([undefined]);
  lab.store.full = true;
  lab.publish('a.b', 'y', 1, (error) => heard.push(error?.message));
  settle(lab);
  expect(heard).toEqual([undefined, 'the disk is full']);
  expect([session.queuedMessages, lab.base.counters.droppedRefusedMsgs]).toEqual([1, 1]);
});

test('a publisher does not wait for a queue that is full', () => {
  const { lab, session, link } = setup({ limits: { queuedMessagesMax: 1 } });
  lab.close(session, link);
  const heard: unknown[] = [];
  for (const data of ['1', '2']) lab.publish('a.b', data, 1, (error) => heard.push(error));
  settle(lab);
  expect(heard).toEqual([null, null]);
  expect([...lab.sessions.views()][0]?.dropped.full).toBe(1);
  expect(lab.warnings.join()).toContain('the queue of an MQTT client is full');
});

test('a row that cannot be read is counted and does not stop the others', () => {
  const { lab, session, link } = setup();
  lab.close(session, link);
  send(lab, 1, '1', '2');
  const [key = ''] = lab.store.synced.queue.keys();
  lab.store.queue.put(key, Buffer.of(0xff));
  settle(lab);
  const again = reopen(lab.after('afterKill'));
  expect(again.link.data).toEqual(['2']);
  expect(again.session.queuedMessages).toBe(1);
});

test('a client that cannot say how much it takes gets 20 at QoS 2, over each of its connections', () => {
  const lab = new SessionLab();
  const old = (): FakeLink => Object.assign(new FakeLink(), { version: 4 });
  const first = old();
  const { session } = lab.open({ expirySeconds: NEVER }, first);
  lab.subscribe(session, 'a/#', 2);
  settle(lab);
  send(lab, 2, ...Array.from({ length: 50 }, (_, i) => `m${i}`));
  expect(first.published).toHaveLength(20);
  for (const id of first.ids.slice(0, 5)) session.pubrec(id, 0);
  settle(lab);
  expect(first.published, 'PUBREC alone makes no room').toHaveLength(20);
  session.pubcomp(first.ids[0] ?? 0);
  settle(lab);
  expect(first.published).toHaveLength(21);
  // What is released and what is sent again count together.
  const second = old();
  reopen(lab, second);
  expect(second.pubrels).toHaveLength(4);
  expect(second.published.map(({ dup }) => dup)).toEqual(Array<boolean>(16).fill(true));
  // One of 5.0 has said what it takes.
  const third = new FakeLink();
  reopen(lab, third);
  expect(third.published).toHaveLength(45);
});
