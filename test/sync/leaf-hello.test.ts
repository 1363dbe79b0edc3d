// Gateways with one JetStream domain find each other, and nobody else.

import { expect, test } from 'vitest';
import type { Message } from '../../src/message.ts';
import { Hello } from '../../sync/leaf/hello.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** Gateways on one hub, which sends what one says to all others that listen to the subject. */
class Air {
  readonly clock = new FakeClock();
  readonly said: string[] = [];
  readonly #all: { hello: Hello; domain: string; found: string[]; on: boolean }[] = [];

  gateway(name: string, domain: string): { hello: Hello; found: string[] } {
    const found: string[] = [];
    const hello = new Hello(
      { name, domain, id: `id${this.#all.length}`, found: (other) => void found.push(other) },
      this.clock,
    );
    const entry = { hello, domain, found, on: true };
    this.#all.push(entry);
    hello.open((subject, data) => {
      this.said.push(subject);
      this.clock.soon(() => this.#spread(entry, { subject, data }));
    });
    return { hello, found };
  }

  leave(hello: Hello): void {
    hello.close();
    for (const entry of this.#all) if (entry.hello === hello) entry.on = false;
  }

  #spread(from: object, message: Message): void {
    for (const entry of this.#all)
      if (entry !== from && entry.on && message.subject.startsWith(`$JS.${entry.domain}.API.`))
        entry.hello.take(message);
  }
}

test('two with one domain hear of each other at once, and say it once', () => {
  const air = new Air();
  const first = air.gateway('gw7', 'plant');
  air.clock.turn();
  expect(first.hello.other).toBeUndefined();
  const second = air.gateway('gw8', 'plant');
  air.clock.turn();
  expect(first.hello.other).toBe('gw8');
  expect(second.hello.other).toBe('gw7');
  air.clock.advance(600_000);
  expect(first.found).toEqual(['gw8']);
  expect(second.found).toEqual(['gw7']);
});

test('two with domains of their own hear nothing, and say hello once a connection', () => {
  const air = new Air();
  const first = air.gateway('gw7', 'one');
  const second = air.gateway('gw8', 'two');
  air.clock.advance(3_600_000);
  expect([first.hello.other, second.hello.other]).toEqual([undefined, undefined]);
  expect(air.said).toEqual(['$JS.one.API.MANGROVE.HELLO.id0', '$JS.two.API.MANGROVE.HELLO.id1']);
});

test('when the other one has got a domain of its own, it is over', () => {
  const air = new Air();
  const first = air.gateway('gw7', 'plant');
  const second = air.gateway('gw8', 'plant');
  air.clock.advance(300_000);
  expect(first.hello.other).toBe('gw8');
  air.leave(second.hello);
  air.clock.advance(160_000);
  expect(first.hello.other).toBeUndefined();
  const before = air.said.length;
  air.clock.advance(600_000);
  expect(air.said).toHaveLength(before);
});

test('a hundred with one domain make no storm', () => {
  const air = new Air();
  const all = Array.from({ length: 100 }, (_, i) => air.gateway(`gw${i}`, 'plant'));
  air.clock.turn();
  expect(all.every(({ hello }) => hello.other !== undefined)).toBe(true);
  const joined = air.said.length;
  expect(joined).toBeLessThanOrEqual(200);
  air.clock.advance(600_000);
  // One hello a minute each, and at most one answer a second.
  expect((air.said.length - joined) / 10).toBeLessThanOrEqual(200);
});

test('what others say there is taken, and believed as far as it is a name', () => {
  const air = new Air();
  const { hello, found } = air.gateway('gw7', 'plant');
  const say = (subject: string, data = 'x'): boolean =>
    hello.take({ subject, data: Buffer.from(data) });
  expect(say('$JS.plant.API.INFO')).toBe(false);
  expect(say('$JS.plant.API.MANGROVE.HELLO.id0', 'gw7')).toBe(true);
  expect(say('$JS.plant.API.MANGROVE.OTHER.id9', 'gw9')).toBe(true);
  expect(say('$JS.plant.API.MANGROVE.HELLO', 'gw9')).toBe(true);
  expect(say('$JS.plant.API.MANGROVE.HELLO.id9.more', 'gw9')).toBe(true);
  expect(hello.other).toBeUndefined();
  expect(say('$JS.plant.API.MANGROVE.HERE.id9', 'two words\n')).toBe(true);
  expect(hello.other).toBe('unknown');
  expect(found).toEqual(['unknown']);
});
