import { pino } from 'pino';
import { expect, test } from 'vitest';
import { Notifier, systemdNotify, watchdogMs, type Carry } from '../../src/notify.ts';
import { FakeClock } from '../support/fake-clock.ts';

function setup() {
  const clock = new FakeClock();
  const lines: { level: number; msg: string; error?: string }[] = [];
  const log = pino({ base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const carried: { assignments: readonly string[]; done: (error: Error | null) => void }[] = [];
  let killed = 0;
  const carry: Carry = (assignments, done) => {
    carried.push({ assignments, done });
    return () => void killed++;
  };
  const notifier = new Notifier({ clock, log }, carry);
  return {
    clock,
    lines,
    carried,
    notifier,
    get killed() {
      return killed;
    },
    said: () => carried.map(({ assignments }) => assignments.join(' ')),
    /** The message under way has arrived. */
    arrive: (error: Error | null = null) => carried.at(-1)?.done(error),
  };
}

test('messages go one at a time and in order', () => {
  const at = setup();
  at.notifier.ready('nothing waits');
  at.notifier.reloading(123n);
  at.notifier.ready('nothing waits');
  expect(at.said()).toEqual(['READY=1 STATUS=nothing waits']);
  at.arrive();
  at.arrive();
  at.arrive();
  expect(at.said().slice(1)).toEqual([
    'RELOADING=1 MONOTONIC_USEC=123 STATUS=reading the configuration again',
    'READY=1 STATUS=nothing waits',
  ]);
});

test('pings that wait for a slow systemd become one, with the latest status', () => {
  const at = setup();
  at.notifier.alive('1 waits');
  for (let i = 2; i < 50; i++) at.notifier.alive(`${i} wait`);
  at.notifier.stopping();
  at.notifier.status('too late');
  for (let i = 0; i < 5; i++) at.arrive();
  expect(at.said()).toEqual([
    'WATCHDOG=1 STATUS=1 waits',
    'WATCHDOG=1 STATUS=49 wait',
    'STOPPING=1 STATUS=stopping',
    'STATUS=too late',
  ]);
});

test('a status that is the same costs nothing, and is one line', () => {
  const at = setup();
  at.notifier.status('a\n  b');
  at.arrive();
  at.notifier.status('a b');
  at.notifier.alive('a b');
  expect(at.said()).toEqual(['STATUS=a b', 'WATCHDOG=1']);
});

test('a systemd-notify that hangs is killed, and the next message goes out', () => {
  const at = setup();
  at.notifier.ready('up');
  at.notifier.alive('up');
  at.clock.advance(9_999);
  expect(at.said()).toHaveLength(1);
  at.clock.advance(1);
  expect(at.killed).toBe(1);
  expect(at.said()[1]).toContain('WATCHDOG=1');
  expect(at.lines).toMatchObject([{ level: 40, msg: 'systemd could not be told' }]);
  // Its late end is nobody's end.
  at.carried[0]?.done(null);
  at.notifier.stopping();
  expect(at.said()).toHaveLength(2);
});

test('a failing systemd-notify is logged once in 30 s, and what it lost is said again', () => {
  const at = setup();
  at.notifier.status('a');
  at.arrive(new Error('no'));
  at.notifier.alive('a');
  at.arrive(new Error('no'));
  at.notifier.alive('a');
  expect(at.said()).toEqual(['STATUS=a', 'WATCHDOG=1 STATUS=a', 'WATCHDOG=1 STATUS=a']);
  expect(at.lines).toHaveLength(1);
});

test('without a socket nothing is run', () => {
  expect(systemdNotify({})).toBeUndefined();
  const notifier = new Notifier(
    { clock: new FakeClock(), log: pino({ level: 'silent' }) },
    undefined,
  );
  expect(notifier.on).toBe(false);
  notifier.ready('up');
});

test('a missing systemd-notify is a warning, no end of the agent', async () => {
  const carry = systemdNotify({ NOTIFY_SOCKET: '/nowhere', PATH: '/nowhere' });
  const error = await new Promise<Error | null>((resolve) => carry?.(['READY=1'], resolve));
  expect(error?.message).toContain('ENOENT');
});

test('the watchdog is fed when systemd means this process', () => {
  expect(watchdogMs({ WATCHDOG_USEC: '60000000' }, 5)).toBe(60_000);
  expect(watchdogMs({ WATCHDOG_USEC: '60000000', WATCHDOG_PID: '5' }, 5)).toBe(60_000);
  expect(watchdogMs({ WATCHDOG_USEC: '60000000', WATCHDOG_PID: '6' }, 5)).toBeUndefined();
  expect(watchdogMs({}, 5)).toBeUndefined();
  expect(watchdogMs({ WATCHDOG_USEC: '0' }, 5)).toBeUndefined();
});
