// What the access list lets clients do, subject by subject.

import { expect, test } from 'vitest';
import {
  ACCESS_SUBJECTS_MAX,
  Acl,
  type AclEntry,
  type Who,
} from '../../../../device/mqtt/access/rules.ts';
import { ClientAccess, RESPONSE_TOPICS_MAX } from '../../../../device/mqtt/access/access.ts';
import { filterToSubject, topicToSubject } from '../../../../device/mqtt/topic.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const NOTHING: AclEntry = {
  users: undefined,
  publish: [],
  subscribe: [],
  denyPublish: [],
  denySubscribe: [],
};

/** The access of `who` by `entries`, asked in topics. */
function access(
  entries: readonly Partial<AclEntry>[] | undefined,
  who: Partial<Who> = {},
  local = false,
) {
  const clock = new FakeClock();
  const acl =
    entries === undefined ? undefined : new Acl(entries.map((each) => ({ ...NOTHING, ...each })));
  const rights = new ClientAccess({ user: undefined, clientId: 'c1', ...who }, local, acl, clock);
  return {
    clock,
    rights,
    publish: (topic: string) => rights.mayPublish(topicToSubject(topic)),
    subscribe: (filter: string) => rights.maySubscribe(filterToSubject(filter)),
    sifted: (filter: string) => rights.isSifted(filterToSubject(filter)),
    receive: (topic: string) => rights.mayReceive(topicToSubject(topic)),
  };
}

test('without a list everything is open to this machine but what is the system’s own', () => {
  const { publish, subscribe, receive, sifted, rights } = access(undefined, {}, true);
  expect([publish('a/b'), subscribe('#'), subscribe('a/+'), receive('a/b')]).not.toContain(false);
  expect([subscribe('$SYS/#'), receive('$SYS/broker/uptime')]).toEqual([true, true]);
  for (const topic of ['$SYS/a', '$JS/API/x', '$other', '_INBOX/a'])
    expect(publish(topic), topic).toBe(false);
  for (const filter of ['$JS/#', '$other/+', '_INBOX/#', '_INBOX'])
    expect(subscribe(filter), filter).toBe(false);
  for (const topic of ['$JS/a', '$other', '_INBOX/a']) expect(receive(topic), topic).toBe(false);
  expect([sifted('#'), sifted('+/a'), sifted('a/#')]).toEqual([true, true, false]);
  expect(rights.mayPublish('$SYSTEM.x')).toBe(false);
});

test('without a list nothing is open to other machines', () => {
  const { publish, subscribe, receive, sifted } = access(undefined);
  expect([publish('a'), subscribe('a'), subscribe('$SYS/#'), receive('a')]).not.toContain(true);
  expect(sifted('a')).toBe(true);
});

test('with a list only what it allows is allowed, on loopback too', () => {
  for (const local of [true, false]) {
    const list = [{ publish: ['plant/+/temp', 'log/#'], subscribe: ['cmd/#'] }];
    const { publish, subscribe, receive } = access(list, {}, local);
    expect(publish('plant/a/temp')).toBe(true);
    expect(publish('log')).toBe(true);
    expect(publish('log/a/b')).toBe(true);
    for (const topic of ['plant/a', 'plant/a/temp/x', 'plant//b/temp', 'cmd/a', 'other'])
      expect(publish(topic), topic).toBe(false);
    for (const filter of ['cmd/#', 'cmd', 'cmd/+', 'cmd/a/#', 'cmd/+/x'])
      expect(subscribe(filter), filter).toBe(true);
    for (const filter of ['#', '+', '+/a', 'log/#', 'cmd2/#', '$SYS/#'])
      expect(subscribe(filter), filter).toBe(false);
    expect([receive('cmd'), receive('cmd/a'), receive('log/a')]).toEqual([true, true, false]);
  }
});

test('a denial wins over every permission, wherever it stands', () => {
  const { publish, subscribe, sifted, receive } = access([
    { denyPublish: ['plant/secret/#'], denySubscribe: ['plant/secret/#', 'plant/+/key'] },
    { publish: ['#'], subscribe: ['#'] },
    { publish: ['plant/secret/a'], subscribe: ['plant/secret/a'] },
  ]);
  expect([publish('plant/secret'), publish('plant/secret/a'), publish('plant/open')]).toEqual([
    false,
    false,
    true,
  ]);
  for (const filter of ['plant/secret', 'plant/secret/#', 'plant/secret/a', 'plant/x/key'])
    expect(subscribe(filter), filter).toBe(false);
  for (const filter of ['#', 'plant/#', 'plant/+', 'plant/+/+'])
    expect([subscribe(filter), sifted(filter)], filter).toEqual([true, true]);
  expect([subscribe('other/#'), sifted('other/#')]).toEqual([true, false]);
  expect([receive('plant/secret'), receive('plant/x/key'), receive('plant/x')]).toEqual([
    false,
    false,
    true,
  ]);
});

test('a/# is also about a: a denial of a sifts it', () => {
  const { sifted, receive } = access([{ subscribe: ['a/#'], denySubscribe: ['a'] }]);
  expect([sifted('a/#'), sifted('a/b/#')]).toEqual([true, false]);
  expect([receive('a'), receive('a/b')]).toEqual([false, true]);
});

test('an entry with users is about them alone', () => {
  const list = [{ users: ['ann', 'bob'], publish: ['staff'] }, { publish: ['all'] }];
  for (const [user, staff] of [
    ['ann', true],
    ['bob', true],
    ['eve', false],
    [undefined, false],
  ] as const) {
    const { publish } = access(list, { user });
    expect([publish('staff'), publish('all')], user).toEqual([staff, true]);
  }
});

test('%c and %u are the client’s own, as a level or a part of one', () => {
  const list = [{ publish: ['dev/%c/#', 'u-%u/x', '%u/%c'], subscribe: ['in/%u-%c/+'] }];
  const { publish, subscribe } = access(list, { user: 'ann', clientId: 'm.7' });
  for (const topic of ['dev/m.7', 'dev/m.7/a/b', 'u-ann/x', 'ann/m.7'])
    expect(publish(topic), topic).toBe(true);
  for (const topic of ['dev/m/7', 'dev/m7/a', 'dev/%c/a', 'u-bob/x', 'u-/x', 'bob/m.7'])
    expect(publish(topic), topic).toBe(false);
  expect([subscribe('in/ann-m.7/+'), subscribe('in/+/+'), subscribe('in/#')]).toEqual([
    true,
    false,
    false,
  ]);
});

test('no name widens what is allowed', () => {
  const list = [{ publish: ['dev/%c', '%c/x', 'u/%u', '%u'], subscribe: ['dev/%c/#', 'u/%u/#'] }];
  for (const name of [
    '+',
    '#',
    'a+',
    'a#',
    'a/b',
    '/',
    '',
    '*',
    '>',
    '$SYS',
    '$x',
    '_INBOX',
    '%u',
  ]) {
    const { publish, subscribe, rights } = access(list, { clientId: name, user: name });
    for (const topic of [
      'dev/other',
      'dev/a/b',
      'other/x',
      'u/other',
      'u/a/b',
      '$SYS',
      '$x',
      '$x/x',
      '_INBOX',
      '_INBOX/x',
    ])
      expect(publish(topic), `${name} to ${topic}`).toBe(false);
    for (const filter of ['dev/#', 'dev/+', 'dev/other/#', 'u/#', '#'])
      expect(subscribe(filter), `${name} from ${filter}`).toBe(false);
    expect(rights.mayPublish('dev.other')).toBe(false);
  }
  const star = access(list, { clientId: '*', user: '>' });
  expect([star.publish('dev/*'), star.publish('u/>')]).toEqual([true, true]); // Their own, letter by letter.
});

test('without a user no entry with %u applies', () => {
  const { publish, subscribe } = access([{ publish: ['u/%u', 'x%u'], subscribe: ['u/%u/#'] }]);
  expect([publish('u/'), publish('u/undefined'), publish('x'), subscribe('u//#')]).not.toContain(
    true,
  );
});

test('a name that cannot stand in a level is denied all that a denial could mean', () => {
  const list = [
    { publish: ['#'], subscribe: ['#'], denyPublish: ['dev/%c/admin'], denySubscribe: ['key/%u'] },
  ];
  const odd = access(list, { clientId: 'a/b', user: 'a+' });
  expect([odd.publish('dev/a/b/admin'), odd.publish('dev/x'), odd.publish('other')]).toEqual([
    false,
    false,
    true,
  ]);
  expect([odd.receive('key/a+'.replace('+', 'b')), odd.receive('other')]).toEqual([false, true]);
  const even = access(list, { clientId: 'a', user: undefined });
  expect([even.publish('dev/a/admin'), even.publish('dev/b/admin'), even.receive('key/a')]).toEqual(
    [false, true, true],
  );
});

test('what is the system’s is opened by an entry that names it, and by no other', () => {
  const wide = access([{ publish: ['#', '+/#'], subscribe: ['#', '+/#'] }]);
  for (const topic of ['$other', '_INBOX/a', '$SYS/a'])
    expect([wide.publish(topic), wide.receive(topic)], topic).toEqual([false, false]);
  for (const filter of ['$SYS/#', '$other/#', '_INBOX/#'])
    expect(wide.subscribe(filter)).toBe(false);
  const named = access([
    {
      publish: ['$other/#', '_INBOX/#', '$JS/#', '$SYS/#'],
      subscribe: ['$SYS/#', '$other/+', '_INBOX/a/#'],
    },
  ]);
  expect([named.publish('$other/a'), named.publish('_INBOX/a/b')]).toEqual([true, true]);
  expect([named.publish('$JS/API'), named.publish('$SYS/a'), named.publish('$SYS')]).not.toContain(
    true,
  );
  expect([
    named.subscribe('$SYS/#'),
    named.subscribe('$SYS/broker/+'),
    named.receive('$SYS/a'),
  ]).not.toContain(false);
  expect([
    named.subscribe('$other/a'),
    named.subscribe('$other/#'),
    named.subscribe('_INBOX/#'),
  ]).toEqual([true, false, false]);
});

test('a request of a NATS program may be answered for two minutes, and nothing else by it', () => {
  for (const list of [undefined, [{ subscribe: ['work'] }]]) {
    const { rights, clock } = access(list, {}, list === undefined);
    expect(rights.mayPublish('_INBOX.a.1')).toBe(false);
    rights.received('_INBOX.a.1');
    clock.advance(119_000);
    expect(rights.mayPublish('_INBOX.a.1')).toBe(true);
    expect(rights.mayPublish('_INBOX.a.1')).toBe(true); // It may be sent again.
    expect(rights.mayPublish('_INBOX.a.2')).toBe(false);
    clock.advance(2000);
    expect(rights.mayPublish('_INBOX.a.1')).toBe(false);
  }
  // Who asks would choose where another client publishes.
  const { rights } = access([{ subscribe: ['work'] }]);
  for (const subject of ['plant.valve', '$JS.ACK.x', '$SYS.x', '$other']) {
    rights.received(subject);
    expect(rights.mayPublish(subject), subject).toBe(false);
  }
  const denied = access([{ subscribe: ['work'], denyPublish: ['_INBOX/#'] }]);
  denied.rights.received('_INBOX.a');
  expect(denied.rights.mayPublish('_INBOX.a')).toBe(false);
});

test('more requests than can be remembered: the oldest cannot be answered any more', () => {
  const { rights } = access(undefined, {}, true);
  for (let i = 0; i <= RESPONSE_TOPICS_MAX; i++) rights.received(`_INBOX.${i}`);
  expect([rights.mayPublish('_INBOX.0'), rights.mayPublish('_INBOX.1')]).toEqual([false, true]);
});

test('answers do not change when more subjects were asked for than are remembered', () => {
  const { rights } = access([{ publish: ['a/#'], denyPublish: ['a/7'] }]);
  for (let i = 0; i < ACCESS_SUBJECTS_MAX + 10; i++)
    expect(rights.mayPublish(`a.${i}`), String(i)).toBe(i !== 7);
  expect([rights.mayPublish('a.7'), rights.mayPublish('b')]).toEqual([false, false]);
});

test('another list is in force at once, for what was asked for before too', () => {
  const { rights, publish, subscribe, receive, sifted } = access([
    { publish: ['a'], subscribe: ['a/#'] },
  ]);
  expect([publish('a'), subscribe('a/#'), receive('a/b'), sifted('a/#')]).toEqual([
    true,
    true,
    true,
    false,
  ]);
  rights.follow(new Acl([{ ...NOTHING, subscribe: ['a/b'] }]));
  expect([publish('a'), subscribe('a/#'), receive('a/b'), receive('a/c'), sifted('a/#')]).toEqual([
    false,
    false,
    true,
    false,
    true,
  ]);
  rights.follow(undefined);
  expect([publish('a'), receive('a/b')]).toEqual([false, false]);
});

test('a mosquitto that bridges may say whether it is there, and nothing else of the system’s', () => {
  const state = '$SYS/broker/connection/plant.gw7/state';
  expect(access(undefined, {}, true).publish(state)).toBe(true);
  expect(access(undefined).publish(state), 'another machine, without a list').toBe(false);
  expect(access([{ publish: ['#'] }], {}, true).publish(state)).toBe(false);
  const bridge = access([{ publish: ['$SYS/broker/connection/+/state'] }]);
  expect(bridge.publish(state)).toBe(true);
  for (const topic of [
    '$SYS/broker/connection/a/b/state',
    '$SYS/broker/connection/a',
    '$SYS/broker/version',
  ])
    expect([bridge.publish(topic), access(undefined, {}, true).publish(topic)]).toEqual([
      false,
      false,
    ]);
});
