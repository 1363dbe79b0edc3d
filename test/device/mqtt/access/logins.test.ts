// Who may connect: users with passwords and with the hashes of the real mosquitto_passwd, certificates, and nobody in
// particular.

import { execFileSync } from 'node:child_process';
import { createHash, pbkdf2Sync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  HashLine,
  LOGINS_REMEMBERED_MAX,
  LOGINS_WAITING_MAX,
} from '../../../../device/mqtt/access/hash-line.ts';
import { Logins, type LoginOptions } from '../../../../device/mqtt/access/logins.ts';
import type { Admitted, Peer, Verdict } from '../../../../device/mqtt/access/types.ts';
import { parseHash, parsePasswordFile } from '../../../../src/config/password-file.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { until } from '../../../support/until.ts';

const PEER: Peer = { ip: '192.0.2.1', port: 4, door: 'tcp', local: false, tls: false };
const TLS_PEER: Peer = { ...PEER, door: 'tls', tls: true };
const dir = mkdtempSync(join(tmpdir(), 'mangrove-passwd-'));
afterAll(() => rmSync(dir, { recursive: true }));

function logins(options: Partial<LoginOptions> = {}): Logins {
  return new Logins({ allowAnonymous: false, ...options }, new FakeClock());
}

function check(
  target: Logins,
  username: string | undefined,
  password: string | Buffer = '',
  peer = PEER,
): Promise<Verdict> {
  return new Promise((resolve) => {
    target.check({ username, password: Buffer.from(password) }, peer, 'c1', resolve);
  });
}

async function admitted(target: Logins, ...login: [string?, string?, Peer?]): Promise<Admitted> {
  const verdict = await check(target, ...login);
  if ('refused' in verdict) throw new Error(verdict.reason);
  return verdict;
}

/** A file of the real mosquitto_passwd. */
function passwordFile(users: readonly (readonly [string, string, ...string[]])[]): string {
  const file = join(dir, `${Math.random()}`);
  for (const [i, [user, password, ...options]] of users.entries())
    execFileSync('mosquitto_passwd', [
      ...(i === 0 ? ['-c'] : []),
      ...options,
      '-b',
      file,
      user,
      password,
    ]);
  return readFileSync(file, 'utf8');
}

function pbkdf2(password: string, rounds: number): string {
  const salt = Buffer.from('salt of a user');
  const hash = pbkdf2Sync(password, salt, rounds, 64, 'sha512').toString('base64');
  return `$7$${rounds}$${salt.toString('base64')}$${hash}`;
}

const WRONG = { refused: 'badUserNameOrPassword', reason: 'wrong user name or password' };

test('the files of mosquitto_passwd let in who knows the password', async () => {
  const long = 'ä long password of much more than 128 bytes '.repeat(5);
  const middle = 'a password of less than 128 bytes '.repeat(3);
  const text = passwordFile([
    ['alice', 'sw0rdfish'],
    ['bob', 'old one', '-H', 'sha512'],
    ['carol', long, '-I', '2000'],
    ['dave', ':$7$:', '-H', 'sha512-pbkdf2'],
    ['erin', middle],
  ]);
  const users = parsePasswordFile(text);
  if (typeof users === 'string') throw new Error(users);
  expect(users.map(({ user }) => user)).toEqual(['alice', 'bob', 'carol', 'dave', 'erin']);
  const target = logins({ users });
  for (const [user, password] of [
    ['alice', 'sw0rdfish'],
    ['bob', 'old one'],
    ['carol', long],
    ['dave', ':$7$:'],
    ['erin', middle],
  ] as const)
    for (const again of [1, 2])
      expect(await check(target, user, password), `${user} ${again}`).toMatchObject({ user });
  for (const [user, password] of [
    ['alice', 'swordfish'],
    ['alice', ''],
    ['alice', 'old one'],
    ['bob', 'old'],
    ['carol', `${long}x`],
    ['carol', long.slice(0, 128)],
    ['eve', 'sw0rdfish'],
    ['', ''],
  ] as const)
    expect(await check(target, user, password), user).toEqual(WRONG);
});

test('passwords of the configuration and hashes stand side by side', async () => {
  const target = logins({
    users: [
      { user: 'plain', password: 'p' },
      { user: 'hashed', hash: pbkdf2('h', 50) },
    ],
  });
  expect(await check(target, 'plain', 'p')).toMatchObject({ user: 'plain' });
  expect(await check(target, 'hashed', 'h')).toMatchObject({ user: 'hashed' });
  expect(await check(target, 'plain', 'h')).toEqual(WRONG);
  expect(await check(target, 'hashed', 'p')).toEqual(WRONG);
  expect(await check(target, 'hashed', 'h ')).toEqual(WRONG);
});

test('a file that is none names the line, and no secret', () => {
  const good = pbkdf2('a', 10);
  const [, , , salt, hash] = good.split('$');
  for (const [text, problem] of [
    ['alice', 'line 1: expected "user:hash", as mosquitto_passwd writes it'],
    [`# x\n\n:${good}`, 'line 3: expected "user:hash", as mosquitto_passwd writes it'],
    [`a:${good}\na:${good}`, 'line 2: user "a" a second time'],
    ['a:sw0rdfish', /^line 1: user "a" has no hash of mosquitto_passwd \([^)]*\); a file/],
    [`a:$7$0$${salt}$${hash}`, /line 1/],
    [`a:$7$1000001$${salt}$${hash}`, /line 1/],
    [`a:$7$10$${salt}$${hash?.slice(4)}`, /line 1/],
    [`a:$7$10$$${hash}`, /line 1/],
    [`a:$5$${salt}$${hash}`, /line 1/],
    [`a:$argon2id$v=19$m=1$${salt}$${hash}`, /line 1/],
  ] as const) {
    const found = parsePasswordFile(text);
    expect(found, text).toMatch(problem);
    expect(found).not.toMatch(/sw0rdfish/);
  }
  expect(parsePasswordFile(`# users\r\na:${good}\r\n\r\n`)).toEqual([{ user: 'a', hash: good }]);
  expect(parsePasswordFile('')).toEqual([]);
});

test('who has no user name comes in only where anonymous clients may', async () => {
  const users = [{ user: 'a', password: 'b' }];
  const refused = { refused: 'notAuthorized', reason: 'no user name' };
  expect(await check(logins({ users }), undefined)).toEqual(refused);
  expect(await check(logins(), undefined)).toEqual(refused);
  expect(await check(logins({ allowAnonymous: true }), undefined)).toMatchObject({
    user: undefined,
  });
  const both = logins({ users, allowAnonymous: true });
  expect(await check(both, undefined)).toMatchObject({ user: undefined });
  expect(await check(both, 'a', 'b')).toMatchObject({ user: 'a' });
  expect(await check(both, 'a', 'c')).toEqual(WRONG);
});

test('where nobody has a password, a user name proves nothing', async () => {
  const acl = [
    { users: ['root'], publish: ['#'], subscribe: [], denyPublish: [], denySubscribe: [] },
  ];
  const { user, access } = await admitted(logins({ allowAnonymous: true, acl }), 'root', 'x');
  expect([user, access.mayPublish('a')]).toEqual([undefined, false]);
  expect(await check(logins(), 'root', 'x')).toEqual(WRONG);
});

test('a certificate names the user where it is asked for, whatever CONNECT says', async () => {
  const users = [{ user: 'a', password: 'b' }];
  const target = logins({ users, userFromCertificate: true, allowAnonymous: true });
  const peer = { ...TLS_PEER, certificateName: 'Meter 7' };
  expect(await check(target, undefined, '', peer)).toMatchObject({ user: 'Meter 7' });
  expect(await check(target, 'a', 'b', peer)).toMatchObject({ user: 'Meter 7' });
  expect(await check(target, 'a', 'wrong', { ...peer, door: 'websocket' })).toMatchObject({
    user: 'Meter 7',
  });
  for (const certificateName of [undefined, ''])
    expect(await check(target, 'a', 'b', { ...TLS_PEER, certificateName })).toEqual({
      refused: 'notAuthorized',
      reason: 'no name in its certificate',
    });
  // Other doors ask for passwords.
  expect(await check(target, 'a', 'wrong', PEER)).toEqual(WRONG);
  expect(await check(target, 'a', 'wrong', { ...PEER, door: 'websocket' })).toEqual(WRONG);
  // Without the key the certificate is only what the handshake asks for.
  expect(await check(logins({ users }), 'a', 'wrong', peer)).toEqual(WRONG);
});

test('others may connect: who is gone or changed must go, the others have new rights at once', async () => {
  const list = (topic: string) => [
    { users: undefined, publish: [topic], subscribe: [], denyPublish: [], denySubscribe: [] },
  ];
  const before = [
    { user: 'stays', password: 'a' },
    { user: 'changes', password: 'a' },
    { user: 'goes', hash: pbkdf2('a', 10) },
    { user: 'hashed', hash: pbkdf2('a', 10) },
  ];
  const target = logins({
    users: before,
    allowAnonymous: true,
    userFromCertificate: true,
    acl: list('old'),
  });
  const stays = await admitted(target, 'stays', 'a');
  const changes = await admitted(target, 'changes', 'a');
  const goes = await admitted(target, 'goes', 'a');
  const hashed = await admitted(target, 'hashed', 'a');
  const nobody = await admitted(target);
  const certified = await admitted(target, undefined, '', { ...TLS_PEER, certificateName: 'goes' });
  const all = [stays, changes, goes, hashed, nobody, certified];
  expect(all.map((each) => target.renew(each))).not.toContain(false);
  const users = [
    { user: 'stays', password: 'a' },
    { user: 'changes', password: 'b' },
    { user: 'hashed', hash: pbkdf2('a', 10) },
  ];
  target.replace({ users, allowAnonymous: true, userFromCertificate: true, acl: list('new') });
  expect(stays.access.mayPublish('old')).toBe(true);
  expect(all.map((each) => target.renew(each))).toEqual([true, false, false, true, true, true]);
  expect([stays.access.mayPublish('old'), stays.access.mayPublish('new')]).toEqual([false, true]);
  target.replace({ users, allowAnonymous: false, userFromCertificate: false });
  expect([stays, nobody, certified].map((each) => target.renew(each))).toEqual([
    true,
    false,
    false,
  ]);
  expect(stays.access.mayPublish('new')).toBe(false);
});

test('a user who is removed while his password is being checked does not come in', async () => {
  const target = logins({ users: [{ user: 'a', hash: pbkdf2('x', 1000) }] });
  const verdict = check(target, 'a', 'x');
  target.replace({ users: [{ user: 'b', password: 'x' }], allowAnonymous: false });
  expect(await verdict).toEqual(WRONG);
});

test('a name that nobody has takes the rounds of the slowest hash, and so does every other', async () => {
  const target = logins({
    users: [
      { user: 'fast', hash: pbkdf2('x', 10) },
      { user: 'slow', hash: pbkdf2('x', 20_000) },
      { user: 'plain', password: 'x' },
    ],
  });
  // Each waits behind the ones before it: none is answered from what is known without hashing.
  const order: string[] = [];
  const checks = ['nobody', 'plain', 'fast', 'slow'].map(async (user) => {
    await check(target, user, 'wrong');
    order.push(user);
  });
  expect(order).toEqual([]);
  await Promise.all(checks);
  expect(order).toEqual(['nobody', 'plain', 'fast', 'slow']);
});

test('beyond the line clients hear that we are busy; who leaves it makes room', async () => {
  const target = logins({ users: [{ user: 'a', hash: pbkdf2('x', 1000) }] });
  const verdicts: Verdict[] = [];
  const login = { username: 'a', password: Buffer.from('wrong') };
  const cancels = Array.from({ length: LOGINS_WAITING_MAX + 1 }, () =>
    target.check(login, PEER, 'c', (verdict) => verdicts.push(verdict)),
  );
  const busy = { refused: 'serverBusy', reason: 'too many passwords wait to be checked' };
  expect(verdicts).toEqual([busy]);
  for (const cancel of cancels) cancel();
  expect(await check(target, 'a', 'x')).toMatchObject({ user: 'a' });
  expect(verdicts).toEqual([busy]);
  await until('the one under way to end', async () => 'user' in (await check(target, 'a', 'x')));
});

test('a password that was right is not hashed again, also when the line is full', async () => {
  const hash = pbkdf2('x', 100_000);
  const target = logins({
    users: [
      { user: 'a', hash },
      { user: 'b', hash },
    ],
  });
  expect(await check(target, 'a', 'x')).toMatchObject({ user: 'a' });
  const cancels = Array.from({ length: LOGINS_WAITING_MAX }, () =>
    target.check({ username: 'b', password: Buffer.from('y') }, PEER, 'c', () => undefined),
  );
  let verdict: Verdict | undefined;
  const take = (result: Verdict): void => void (verdict = result);
  target.check({ username: 'a', password: Buffer.from('x') }, PEER, 'c', take);
  expect(verdict).toMatchObject({ user: 'a' });
  // Remembered is this user with this hash and password, and nothing else.
  target.check({ username: 'b', password: Buffer.from('x') }, PEER, 'c', take);
  expect(verdict).toMatchObject({ refused: 'serverBusy' });
  target.check({ username: 'a', password: Buffer.from('y') }, PEER, 'c', take);
  expect(verdict).toMatchObject({ refused: 'serverBusy' });
  for (const cancel of cancels) cancel();
});

test('only so many passwords are remembered: the one used longest ago goes', async () => {
  const line = new HashLine();
  const ask = (i: number): Promise<boolean> =>
    new Promise((resolve) => {
      const salt = Buffer.from(String(i));
      const hash = createHash('sha512').update('x').update(salt).digest();
      let atOnce = true;
      // One that is not remembered waits for the round that is asked for.
      line.check(
        { user: `u${i}`, password: Buffer.from('x'), hash: { salt, hash, rounds: 0 }, rounds: 1 },
        (result) => {
          expect(result).toBe('right');
          resolve(atOnce);
        },
      );
      atOnce = false;
    });
  for (let i = 0; i < LOGINS_REMEMBERED_MAX; i++) await ask(i);
  expect(await ask(0)).toBe(true);
  await ask(LOGINS_REMEMBERED_MAX);
  expect([await ask(0), await ask(1)]).toEqual([true, false]);
});

test('a hash is what mosquitto_passwd means by it', () => {
  expect(parseHash('$7$101$c2FsdA==$' + Buffer.alloc(64).toString('base64'))).toEqual({
    salt: Buffer.from('salt'),
    hash: Buffer.alloc(64),
    rounds: 101,
  });
  expect(parseHash('$6$c2FsdA==$' + Buffer.alloc(64).toString('base64'))?.rounds).toBe(0);
});
