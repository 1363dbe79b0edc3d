// How requests are spread over the turns of the event loop.

import { expect, test } from 'vitest';
import type { Clock } from '../../../../src/clock.ts';
import { RequestTurns } from '../../../../src/jetstream/api/request-turns.ts';

/** Time passes as work says, and a turn comes when the test wants it. */
class TurnClock implements Clock {
  nowMs = 0;
  #turn: (() => void)[] = [];

  monotonicMs(): number {
    return this.nowMs;
  }
  wallMs(): number {
    return this.nowMs;
  }
  after(): () => void {
    throw new Error('no timer is needed');
  }
  soon(fn: () => void): void {
    this.#turn.push(fn);
  }
  turn(): void {
    for (const fn of this.#turn.splice(0)) fn();
  }
}

test('requests run at once until the turn has spent its time, then in order, a turn after the other', async () => {
  const clock = new TurnClock();
  const turns = new RequestTurns(clock);
  const ran: number[] = [];
  const run = (id: number, ms: number): number | Promise<number> =>
    turns.run(() => {
      ran.push(id);
      clock.nowMs += ms;
      return id;
    });
  expect([run(1, 1), run(2, 2)]).toEqual([1, 2]);
  expect(run(3, 3)).toBe(3);
  const late = [run(4, 5), run(5, 1), run(6, 1), run(7, 0)];
  expect(ran).toEqual([1, 2, 3]);
  clock.turn();
  expect(ran).toEqual([1, 2, 3, 4]);
  // Nobody overtakes who waits.
  const behind = run(8, 0);
  clock.turn();
  expect(ran).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect(await Promise.all([...late, behind])).toEqual([4, 5, 6, 7, 8]);
  clock.turn();
  expect(run(9, 0)).toBe(9);
});

test('a request that comes from within another waits behind those that wait', () => {
  const clock = new TurnClock();
  const turns = new RequestTurns(clock);
  const ran: string[] = [];
  const run = (name: string, ms: number, then?: () => void): void =>
    void turns.run(() => {
      ran.push(name);
      clock.nowMs += ms;
      then?.();
    });
  run('long', 5);
  run('second', 0, () => run('within', 0));
  run('third', 0);
  clock.turn();
  expect(ran).toEqual(['long', 'second', 'third', 'within']);
});

test('what a request throws, its caller gets, at once or later', async () => {
  const clock = new TurnClock();
  const turns = new RequestTurns(clock);
  const fail = (): never => {
    clock.nowMs += 10;
    throw new Error('no');
  };
  expect(() => turns.run(fail)).toThrow('no');
  const later = turns.run(fail);
  clock.turn();
  await expect(later).rejects.toThrow('no');
});
