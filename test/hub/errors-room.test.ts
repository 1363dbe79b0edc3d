// A hub without room: in the stream, in the account, in the server, on its disk. Nothing is dropped or set aside; the data
// waits at the gateway until there is room, and the operator is told that there is none.

import { expect, test } from 'vitest';
import { canLoop, LoopFs } from '../support/loop-fs.ts';
import { EDGE } from './hub-admin.ts';
import { Accounts, FAILED, MISCONFIGURED, restartHub, suffer, told } from './mishaps.ts';
import { Rig } from './rig.ts';
import { burst } from './traffic.ts';
import { execFileSync } from 'node:child_process';
import { rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';

const TEST_MS = 180_000;

/** Limits that the thirty messages of the beginning pass, and a further thirty do not. */
const LIMITS: readonly (readonly [string, Record<string, unknown>, Record<string, unknown>])[] = [
  ['in messages', { max_msgs: 40 }, { max_msgs: -1 }],
  ['in bytes', { max_bytes: 14_000 }, { max_bytes: -1 }],
  [
    'in messages a subject',
    { max_msgs_per_subject: 40, discard_new_per_subject: true },
    { max_msgs_per_subject: -1, discard_new_per_subject: false },
  ],
];

test.concurrent.each(
  LIMITS.flatMap(([what, limit, more]) => [
    { what, limit, more, how: 'batches', atomic: true },
    { what, limit, more, how: 'single publishes', atomic: false },
  ]),
)('the hub stream is full $what ($how)', { timeout: TEST_MS }, async ({ limit, more, atomic }) => {
  await using rig = await Rig.start({ stream: { ...EDGE, allow_atomic: atomic, ...limit } });
  await suffer(rig, {
    wrong: () => undefined,
    says: FAILED,
    remedy: /no room/,
    mend: () => rig.admin.update('EDGE', more),
  });
  expect(await rig.admin.messages()).toBe(90);
});

test.concurrent.each([
  ['account', true],
  ['server', false],
])('the %s has no more room for streams', { timeout: TEST_MS }, async (_, byAccount) => {
  using accounts = new Accounts();
  const server = { config: accounts.config };
  await using rig = await Rig.start({
    server,
    auth: Accounts.admin,
    agent: { hub: accounts.login },
  });
  await suffer(rig, {
    wrong: () =>
      restartHub(rig, () =>
        byAccount
          ? accounts.write({ jetstream: '{ max_file: 12KB }' })
          : rig.hub.configure({ jetstream: 'max_file_store: 12KB' }),
      ),
    says: FAILED,
    remedy: /no room/,
    mend: () =>
      restartHub(rig, () => {
        accounts.write();
        rig.hub.configure({ jetstream: '' });
      }),
  });
});

test.concurrent('the account may have no more streams', { timeout: TEST_MS }, async () => {
  using accounts = new Accounts();
  accounts.write({ jetstream: '{ max_streams: 1 }' });
  const server = { config: accounts.config };
  await using rig = await Rig.start({
    stream: { ...EDGE, name: 'OTHER', subjects: ['other.>'] },
    server,
    auth: Accounts.admin,
    agent: { hub: `${accounts.login}\ncreate = true` },
  });
  await burst(rig.agent, rig.ledger, 20);
  await told(rig.agent, MISCONFIGURED, /max_streams/);
  await rig.admin.delete('OTHER');
  expect(await rig.audit()).toEqual([]);
});

test.concurrent('the disk of the hub is full', { timeout: TEST_MS }, async () => {
  if (!canLoop()) return;
  await using fs = await LoopFs.create(16 * 1024 * 1024);
  const storeDir = join(fs.path, 'jetstream');
  const filler = join(fs.path, 'filler');
  await using rig = await Rig.start({ server: { storeDir } });
  await suffer(rig, {
    wrong: () => {
      const { bavail, bsize } = statfsSync(fs.path);
      execFileSync('fallocate', ['-l', String(bavail * bsize - 8192), filler]);
    },
    says: FAILED,
    remedy: /its disk is full/,
    passing: true,
    // A server that could not write has turned JetStream off, until it is started again.
    mend: () => restartHub(rig, () => rmSync(filler)),
  });
  await rig.stopAgent();
  await rig.hub.kill();
});
