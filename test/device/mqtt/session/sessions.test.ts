import { expect, test } from 'vitest';
import type { Will } from '../../../../device/mqtt/session/types.ts';
import { NEVER, SessionLab } from '../../../support/session-lab.ts';

function settle(lab: SessionLab): void {
  for (let i = 0; i < 5; i++) lab.clock.turn();
}

const will: Will = {
  message: { subject: 'wills', data: Buffer.from('gone') },
  qos: 0,
  retain: false,
  delaySeconds: 0,
};

test('a session ends when its expiry is over, in store time, and never before', () => {
  const lab = new SessionLab();
  const { session, link } = lab.open({ expirySeconds: 60 });
  lab.subscribe(session, 'a', 1);
  settle(lab);
  lab.clock.advance(1_000_000);
  lab.sessions.tick();
  lab.close(session, link);
  expect([...lab.sessions.views()][0]).toMatchObject({ connected: false, expiryLeftMs: 60_000 });
  lab.clock.advance(59_999);
  lab.sessions.tick();
  expect(lab.sessions.stats.sessions).toBe(1);
  lab.clock.advance(1);
  lab.sessions.tick();
  settle(lab);
  expect(lab.sessions.stats).toMatchObject({ sessions: 0, subscriptions: 0 });
  expect(lab.broker.subscriptions).toBe(0);
  expect(lab.store.synced.sessions.size).toBe(0);
});

test('a session that is over is not resumed, though nobody has looked at the time', () => {
  const lab = new SessionLab();
  const { session, link } = lab.open({ expirySeconds: 60 });
  lab.close(session, link);
  lab.clock.advance(60_000);
  expect(lab.open({ expirySeconds: 60 }).present).toBe(false);
});

test('expiry goes on over a restart; a client that was connected at the end has all of it', () => {
  const lab = new SessionLab();
  const away = lab.open({ clientId: 'away', expirySeconds: 60 });
  lab.open({ clientId: 'here', expirySeconds: 60 });
  const back = lab.open({ clientId: 'back', expirySeconds: 60 });
  lab.close(away.session, away.link);
  lab.close(back.session, back.link);
  settle(lab);
  lab.clock.advance(30_000);
  lab.open({ clientId: 'back', expirySeconds: 60 });
  settle(lab);
  const next = lab.after('afterPowerCut');
  next.clock.advance(30_000);
  next.sessions.tick();
  expect([...next.sessions.views()].map(({ clientId }) => clientId)).toEqual(['back', 'here']);
  next.clock.advance(30_000);
  next.sessions.tick();
  expect(next.sessions.stats.sessions).toBe(0);
  settle(next);
  expect(next.store.synced.sessions.size).toBe(0);
});

test('DISCONNECT may change the expiry, and it counts over a restart', () => {
  const lab = new SessionLab();
  const longer = lab.open({ clientId: 'longer', expirySeconds: 10 });
  const none = lab.open({ clientId: 'none', expirySeconds: 10 });
  settle(lab);
  lab.close(longer.session, longer.link, { expirySeconds: 100 });
  lab.close(none.session, none.link, { expirySeconds: 0 });
  expect(lab.sessions.stats.sessions).toBe(1);
  settle(lab);
  const next = lab.after('afterPowerCut');
  next.clock.advance(99_999);
  next.sessions.tick();
  expect(next.open({ clientId: 'longer', expirySeconds: 100 }).present).toBe(true);
  settle(next);
  // Its row knows the new expiry now.
  const last = next.after('afterKill');
  last.clock.advance(99_999);
  last.sessions.tick();
  expect(last.sessions.stats.sessions).toBe(1);
});

test('a session of 0 seconds ends with its connection, and with its process', () => {
  const lab = new SessionLab();
  const kept = lab.open();
  lab.close(kept.session, kept.link);
  const resumed = lab.open({ expirySeconds: 0 });
  expect(resumed.present).toBe(true);
  settle(lab);
  const next = lab.after('afterKill');
  next.sessions.tick();
  expect(next.sessions.stats.sessions).toBe(0);
  lab.close(resumed.session, resumed.link);
  expect(lab.sessions.stats.sessions).toBe(0);
});

test('Clean Start ends what there was, with its messages and identifiers', () => {
  const lab = new SessionLab();
  const { session, link } = lab.open();
  lab.subscribe(session, 'a', 2);
  session.received.add(5);
  lab.publish('a', 'x', 2);
  settle(lab);
  lab.close(session, link);
  const fresh = lab.open({ cleanStart: true });
  settle(lab);
  expect(fresh.present).toBe(false);
  expect(fresh.session.received.has(5)).toBe(false);
  expect(fresh.link.published).toEqual([]);
  expect(lab.store.synced.queue.size + lab.store.synced.received.size).toBe(0);
  expect(lab.sessions.stats).toMatchObject({ sessions: 1, subscriptions: 0, queuedBytes: 0 });
});

test('another connection of the same client takes over; the first hears of it and its Will is published', () => {
  const lab = new SessionLab();
  const first = lab.open({ will });
  settle(lab);
  const second = lab.open();
  expect([first.link.taken, second.present]).toEqual([true, true]);
  expect(second.session).toBe(first.session);
  lab.close(first.session, first.link);
  settle(lab);
  expect(lab.wills).toEqual(['meter']);
  expect(lab.sessions.owned('meter')).toBe(true);
});

test('a taken over session that ends with its connection is not resumed', () => {
  const lab = new SessionLab();
  const first = lab.open({ expirySeconds: 0 });
  const second = lab.open({ expirySeconds: 60 });
  expect(second.present).toBe(false);
  expect(second.session).not.toBe(first.session);
});

test('a session is not given to another user', () => {
  const lab = new SessionLab({ knowsUser: (user) => user !== 'gone' });
  const request = { cleanStart: false, expirySeconds: NEVER, will: undefined };
  for (const user of ['alice', 'gone', undefined]) {
    const clientId = String(user);
    const { session, link } = lab.open({ clientId, user });
    lab.close(session, link);
  }
  const refusal = (clientId: string, user: string | undefined, cleanStart = false) =>
    lab.sessions.refusal({ ...request, clientId, user, cleanStart });
  expect(refusal('alice', 'alice')).toBeUndefined();
  expect(refusal('alice', 'bob')).toBe('foreign');
  expect(refusal('alice', undefined)).toBe('foreign');
  expect(refusal('alice', 'bob', true)).toBe('foreign');
  // Of nobody, or of a user that is gone: another gets a new one.
  for (const clientId of ['gone', 'undefined']) {
    expect(refusal(clientId, 'bob')).toBeUndefined();
    expect(lab.open({ clientId, user: 'bob' }).present).toBe(false);
  }
  settle(lab);
  const next = lab.after('afterPowerCut');
  expect(next.sessions.refusal({ ...request, clientId: 'alice', user: 'bob' })).toBe('foreign');
});

test('sessions and subscriptions have limits, and who has one keeps it', () => {
  const lab = new SessionLab({
    limits: { sessionsMax: 1, sessionSubscriptionsMax: 2, subscriptionsMax: 3 },
  });
  const { session } = lab.open();
  const request = { cleanStart: false, will: undefined, user: undefined };
  const ask = (clientId: string, expirySeconds: number) =>
    lab.sessions.refusal({ ...request, clientId, expirySeconds });
  expect([ask('other', 1), ask('other', 0), ask('meter', 1)]).toEqual([
    'full',
    undefined,
    undefined,
  ]);
  for (const filter of ['a', 'b', 'c']) lab.subscribe(session, filter, 1);
  expect(session.subscriptions.size).toBe(2);
  const other = lab.open({ clientId: 'other', expirySeconds: 0 });
  for (const filter of ['a', 'b']) lab.subscribe(other.session, filter, 1);
  expect(lab.sessions.stats.subscriptions).toBe(3);
  lab.subscribe(session, 'a', 2);
  expect(session.subscriptions.get('a')?.qos).toBe(2);
  expect(lab.sessions.unsubscribe(session, 'a')).toBe(true);
  expect(lab.sessions.unsubscribe(session, 'a')).toBe(false);
});

test('a row keeps subscriptions with all their options, the user and what was received', () => {
  const lab = new SessionLab();
  const { session } = lab.open({ user: 'alice' });
  const options = { noLocal: true, retainAsPublished: true, retainHandling: 2 as const };
  lab.subscribe(session, 'a/+/#', 2, { ...options, identifier: 268_435_455 });
  lab.subscribe(session, '$share/group/b', 1, { subject: 'b', share: 'group', retainHandling: 1 });
  lab.subscribe(session, 'c', 0);
  session.received.add(1);
  session.received.add(65_535);
  session.received.delete(1);
  settle(lab);
  const next = lab.after('afterPowerCut');
  const again = next.open({ user: 'alice' });
  expect(again.present).toBe(true);
  expect([...again.session.subscriptions.all]).toEqual([...session.subscriptions.all]);
  expect([again.session.received.has(1), again.session.received.has(65_535)]).toEqual([
    false,
    true,
  ]);
});

test('a refused subscription is taken back', () => {
  const lab = new SessionLab();
  const { session } = lab.open();
  lab.subscribe(session, 'a', 1);
  settle(lab);
  lab.store.full = true;
  lab.subscribe(session, 'a', 2);
  lab.subscribe(session, 'b', 1);
  settle(lab);
  expect([...session.subscriptions.all].map(({ filter, qos }) => [filter, qos])).toEqual([
    ['a', 1],
  ]);
});

test('a full disk can be drained: a client comes back although nothing can be added', () => {
  const lab = new SessionLab();
  const { session, link } = lab.open();
  lab.subscribe(session, 'a', 1);
  settle(lab);
  lab.close(session, link);
  lab.publish('a', 'x', 1);
  settle(lab);
  lab.store.full = true;
  const again = lab.open();
  lab.store.queueMessage();
  settle(lab);
  expect(again.link.data).toEqual(['x']);
  lab.store.full = false;
  // What was refused beside it has not brought back its absence.
  expect([...lab.store.synced.sessions.keys()]).toEqual(['meter']);
});

test('a new session on a full disk is refused and leaves nothing', () => {
  const lab = new SessionLab();
  lab.store.full = true;
  const { session, link } = lab.open();
  settle(lab);
  lab.close(session, link, { will: 'discard' });
  expect([lab.sessions.stats.sessions, link.published]).toEqual([0, []]);
});

test('rows that belong to nobody are removed at start', () => {
  const lab = new SessionLab();
  const { session, link } = lab.open();
  lab.subscribe(session, 'a', 1);
  session.received.add(7);
  lab.publish('a', 'x', 1);
  settle(lab);
  lab.close(session, link);
  settle(lab);
  lab.store.sessions.delete('meter');
  settle(lab);
  const next = lab.after('afterKill');
  settle(next);
  const { sessions, queue, received } = next.store.synced;
  expect([sessions.size, queue.size, received.size]).toEqual([0, 0, 0]);
  expect(next.sessions.stats.queuedBytes).toBe(0);
});

test('what an ended session had of a shared subscription goes to another member, and nothing else', () => {
  for (const restart of [false, true]) {
    let lab = new SessionLab();
    const leaving = lab.open({ clientId: 'leaving', expirySeconds: 60 });
    const shared = { subject: 's', share: 'g' };
    lab.subscribe(leaving.session, '$share/g/s', 2, shared);
    lab.subscribe(leaving.session, 'a', 2);
    settle(lab);
    lab.publish('s', 'sent at 1', 1);
    lab.publish('s', 'sent at 2', 2);
    lab.publish('a', 'own', 1);
    settle(lab);
    lab.close(leaving.session, leaving.link);
    lab.publish('s', 'waiting', 2);
    settle(lab);
    if (restart) lab = lab.after('afterPowerCut');
    const staying = lab.open({ clientId: 'staying' });
    lab.subscribe(staying.session, '$share/g/s', 2, shared);
    settle(lab);
    lab.clock.advance(60_000);
    lab.sessions.tick();
    settle(lab);
    expect(staying.link.data).toContain('sent at 1');
    expect(staying.link.data).toContain('waiting');
    expect(staying.link.data).not.toContain('own');
    if (!restart) expect(staying.link.data).not.toContain('sent at 2');
    expect(lab.store.synced.sessions.has('leaving')).toBe(false);
  }
});

test('No Local, Retain As Published and Subscription Identifiers go with each message', () => {
  const lab = new SessionLab();
  const { session, link } = lab.open();
  lab.subscribe(session, 'a/#', 1, { noLocal: true, identifier: 1 });
  lab.subscribe(session, 'a/b', 0, { retainAsPublished: true, noLocal: true, identifier: 2 });
  settle(lab);
  const publish = (data: string, clientId: string): void => {
    const message = { subject: 'a.b', data: Buffer.from(data) };
    const origin = { message, qos: 1 as const, retain: true, clientId, hold: undefined };
    lab.base.routing.run(origin, () => lab.broker.publish(message));
  };
  publish('own', 'meter');
  publish('other', 'pump');
  settle(lab);
  expect(link.data).toEqual(['other']);
  expect(link.published[0]).toMatchObject({
    qos: 1,
    retain: true,
    subscriptionIdentifiers: [1, 2],
  });
});
