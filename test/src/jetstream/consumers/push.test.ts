// The way out of a push consumer, on a real broker and a clock that the test moves.

import { expect, test } from 'vitest';
import { Broker } from '../../../../src/broker.ts';
import type { Message } from '../../../../src/message.ts';
import { readConfig } from '../../../../src/jetstream/consumers/config.ts';
import { PushOutlet } from '../../../../src/jetstream/consumers/push.ts';
import type { OutletHost, SequencePair } from '../../../../src/jetstream/consumers/types.ts';
import { wireConsumer, type WireConsumer } from '../../../../src/jetstream/consumers/wire.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const MIB = 1024 * 1024;

function configOf(given: Partial<WireConsumer>) {
  const stream = { retention: 'limits', subjects: ['data.>'] } as const;
  const wire = wireConsumer({ deliver_subject: 'd', ...given });
  return readConfig(wire, stream, { name: 'c', pedantic: false });
}

/** A consumer with messages of one size without end, as its outlet sees it. */
class Endless implements OutletHost {
  readonly streamName = 'S';
  readonly name = 'c';
  readonly broker = new Broker();
  readonly clock = new FakeClock();
  readonly outlet: PushOutlet;
  config;
  pending = 0;
  ackPending = 0;
  redeliveries = 0;
  uses = 0;
  #seq = 0;
  #limit = 0;
  #bytes = 100;

  constructor(given: Partial<WireConsumer> = {}, prepare: (broker: Broker) => void = () => {}) {
    prepare(this.broker);
    this.config = configOf(given);
    const { push } = this.config;
    if (push === undefined) throw new Error('not a push consumer');
    const { broker, clock } = this;
    this.outlet = new PushOutlet(this, push, { broker, clock, messageBytesMax: MIB });
  }

  get lastDeliveredSeq(): number {
    return this.delivered.streamSeq;
  }

  confirmed(): void {
    throw new Error('nothing acknowledges here');
  }

  get delivered(): SequencePair {
    return { consumerSeq: this.#seq, streamSeq: this.#seq + 10 };
  }

  used(): void {
    this.uses++;
  }

  /** Has so many messages more, and gives what the outlet takes. */
  offer(count: number, bytes = 100): number {
    this.clock.turn();
    this.#limit = this.#seq + count;
    this.#bytes = bytes;
    return this.#deliver();
  }

  wake(): void {
    this.clock.soon(() => this.#deliver());
  }

  #deliver(): number {
    let sent = 0;
    while (this.#seq < this.#limit) {
      const target = this.outlet.target(this.#bytes);
      if (target === undefined) break;
      const message = { subject: 'data.x', data: Buffer.from(`${this.#seq + 1}`) };
      const routed = this.broker.deliverTo(target.subject, message);
      if (routed !== 'nobody') this.#seq++;
      this.outlet.sent(target, this.#bytes, routed === 'nobody' ? 'nobody' : 'delivered');
      if (routed === 'nobody') break;
      sent++;
    }
    return sent;
  }

  get seq(): number {
    return this.#seq;
  }

  send(subject: string, message: Omit<Message, 'subject'>): boolean {
    return this.broker.answer({ ...message, subject }) !== 'nobody';
  }

  /** A client on `subject`: what it gets, as `data`, or the header block of a status with its reply. */
  listen(subject = 'd', queue?: string): { got: string[]; end: () => void } {
    const got: string[] = [];
    const deliver = ({ headers, reply, data }: Message): void =>
      void got.push(`${headers?.toString() ?? data.toString()}${reply ?? ''}`);
    return { got, end: this.broker.subscribe(subject, { deliver }, queue) };
  }
}

test('nothing goes before somebody listens, and nothing after', () => {
  const host = new Endless();
  expect(host.offer(2)).toBe(0);
  expect(host.outlet.bound).toBe(false);
  const client = host.listen();
  expect(host.outlet.bound).toBe(true);
  expect(client.got, 'not in the midst of a subscription').toEqual([]);
  host.clock.turn();
  expect(client.got).toEqual(['1', '2']);
  client.end();
  expect(host.outlet.bound).toBe(false);
  expect(host.offer(1)).toBe(0);
  expect(host.uses, 'it is in use when a client comes and until it goes').toBe(2);
});

test('a client that listens already is found', () => {
  const got: string[] = [];
  const deliver = ({ data }: Message): void => void got.push(data.toString());
  const host = new Endless({}, (broker) => void broker.subscribe('d', { deliver }));
  expect(host.outlet.bound).toBe(true);
  host.offer(1);
  expect(got).toEqual(['1']);
});

test('who watches with a wildcard, in a group, or stores, uses nothing up; but gets copies', () => {
  const host = new Endless();
  const watcher = host.listen('>');
  const group = host.listen('d', 'g');
  host.broker.subscribe('d', { store: () => {} });
  expect(host.outlet.bound).toBe(false);
  expect(host.offer(1)).toBe(0);
  host.listen();
  host.clock.turn();
  expect([watcher.got, group.got]).toEqual([['1'], ['1']]);
});

test('with a deliver group a member of it makes the consumer active, and nobody else', () => {
  const host = new Endless({ deliver_group: 'g' });
  const plain = host.listen();
  host.listen('d', 'h');
  expect(host.outlet.bound).toBe(false);
  const members = [host.listen('d', 'g'), host.listen('d', 'g')];
  expect(host.outlet.bound).toBe(true);
  host.offer(10);
  expect(members.flatMap(({ got }) => got)).toHaveLength(10);
  expect(plain.got, 'as in nats-server').toHaveLength(10);
  members[0]?.end();
  expect(host.outlet.bound).toBe(true);
  members[1]?.end();
  expect(host.outlet.bound).toBe(false);
});

const FLOW = { flow_control: true, idle_heartbeat: 5000 };

/** The subject on which the client is to answer. */
function asked(got: string[]): string {
  const request = got.find((one) => one.includes('FlowControl'));
  return request?.split('\r\n\r\n')[1] ?? '';
}

test('at half of the window the client is asked, and beyond it nothing goes until it answers', () => {
  const host = new Endless(FLOW);
  const client = host.listen();
  host.clock.turn();
  // 2 MiB, in messages of 256 KiB: the fifth is beyond the half, the ninth beyond the whole.
  expect(host.offer(20, MIB / 4)).toBe(9);
  expect(host.outlet.ready).toBe(false);
  expect(client.got.slice(0, 5)).toEqual(['1', '2', '3', '4', '5']);
  expect(client.got[5]).toMatch(
    /^NATS\/1\.0 100 FlowControl Request\r\n\r\n\$JS\.FC\.S\.c\.[0-9A-Za-z]{4}$/,
  );
  expect(client.got).toHaveLength(10);
  const reply = asked(client.got);
  host.outlet.flowControl(`${reply}x`, undefined);
  expect(host.outlet.ready, 'an answer to something else').toBe(false);
  host.outlet.flowControl(reply, undefined);
  expect(host.outlet.ready).toBe(true);
  host.clock.turn();
  // The window is 4 MiB now, and four messages of 1 MiB wait in it.
  expect(host.seq).toBe(20);
  host.outlet.flowControl(reply, undefined);
  expect(host.offer(100, MIB / 4), 'one answer counts once').toBeLessThan(17);
});

test('the window doubles up to 32 MiB', () => {
  const host = new Endless(FLOW);
  const client = host.listen();
  let most = 0;
  for (let round = 0; round < 12; round++) {
    const sent = host.offer(1000, MIB / 4);
    most = Math.max(most, sent);
    host.outlet.flowControl(asked(client.got.splice(0)), undefined);
    host.clock.turn();
  }
  const went = host.seq;
  host.outlet.flowControl(asked(client.got.splice(0)), undefined);
  host.clock.turn();
  expect(host.seq - went).toBeGreaterThanOrEqual(60);
  expect(host.seq - went).toBeLessThanOrEqual(129);
});

test('a heartbeat comes when nothing else did, and says where flow control stands', () => {
  const host = new Endless(FLOW);
  const client = host.listen();
  host.clock.advance(4000);
  host.offer(1);
  host.clock.advance(4000);
  expect(client.got, 'a message is as good as a heartbeat').toEqual(['1']);
  host.clock.advance(1000);
  const beat = 'NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\nNats-Last-Stream: 11\r\n';
  expect(client.got.splice(0)).toEqual(['1', `${beat}\r\n`]);
  host.clock.advance(5000);
  expect(client.got.splice(0)).toHaveLength(1);
  host.offer(20, MIB / 4);
  const reply = asked(client.got.splice(0));
  host.clock.advance(5000);
  expect(client.got.splice(0)[0]).toMatch(
    new RegExp(`Nats-Consumer-Stalled: ${reply.replaceAll('$', '\\$')}\r\n\r\n$`),
  );
  host.offer(0);
  client.end();
  expect(host.clock.nextDueMs(), 'nobody is there to wait for one').toBeUndefined();
  const next = host.listen();
  host.clock.advance(15_000);
  expect(client.got).toEqual([]);
  expect(next.got, 'each interval has one').toHaveLength(3);
});

test('another client begins with a window of its own', () => {
  const host = new Endless(FLOW);
  const first = host.listen();
  expect(host.offer(20, MIB / 4)).toBe(9);
  first.end();
  const second = host.listen();
  host.clock.turn();
  expect(second.got.filter((one) => !one.startsWith('NATS'))).toHaveLength(9);
  host.outlet.flowControl(asked(first.got), undefined);
  expect(host.outlet.ready, 'the answer of the one that went').toBe(false);
});

test('without flow control a client that does not read holds its consumer, and is not drowned', () => {
  const host = new Endless();
  const slow = { offer: () => true, unreadBytes: 0 };
  host.broker.subscribe('d', slow);
  expect(host.offer(100, 64 * 1024)).toBe(100);
  slow.unreadBytes = 2 * MIB + 1;
  expect(host.offer(100, 64 * 1024)).toBe(0);
  host.clock.advance(1000);
  expect(host.seq).toBe(100);
  slow.unreadBytes = 0;
  host.clock.advance(10);
  expect(host.seq).toBe(200);
});

test('in a group one member that reads is enough', () => {
  const host = new Endless({ deliver_group: 'g' });
  const slow = { offer: () => true, unreadBytes: 3 * MIB };
  const quick = { offer: () => true, unreadBytes: 0 };
  host.broker.subscribe('d', slow, 'g');
  host.broker.subscribe('d', quick, 'g');
  expect(host.offer(10, MIB)).toBe(10);
  quick.unreadBytes = 3 * MIB;
  expect(host.offer(10, MIB)).toBe(0);
});

test('what nobody takes though somebody listens is tried again a second later', () => {
  const host = new Endless();
  let takes = false;
  let asks = 0;
  host.broker.subscribe('d', { offer: () => (asks++, takes) });
  expect(host.offer(1)).toBe(0);
  host.clock.advance(999);
  expect(asks).toBe(1);
  takes = true;
  host.clock.advance(1);
  expect(host.seq).toBe(1);
});

test('a rate limit lets the largest message through at once, then so many bits a second', () => {
  const host = new Endless({ rate_limit_bps: 8 * MIB });
  const client = host.listen();
  expect(host.offer(100, MIB / 4)).toBe(4);
  host.clock.advance(249);
  expect(client.got).toHaveLength(4);
  host.clock.advance(1);
  expect(client.got).toHaveLength(5);
  host.clock.advance(10_000);
  expect(client.got).toHaveLength(45);
  host.offer(0);
  host.clock.advance(60_000);
  expect(host.offer(100, MIB / 4), 'a rest saves nothing up').toBe(4);
  host.offer(0);
  client.got.length = 45;
  expect(host.offer(100, 4 * MIB), 'larger than all that is let through at once').toBe(0);
  host.clock.advance(1_000);
  expect(client.got).toHaveLength(46);
  host.clock.advance(3_999);
  expect(client.got).toHaveLength(46);
  host.clock.advance(1);
  expect(client.got).toHaveLength(47);
});

test('a consumer that is given another deliver subject goes on there', () => {
  const host = new Endless(FLOW);
  const old = host.listen();
  const other = host.listen('e');
  host.offer(1);
  host.config = configOf({ ...FLOW, deliver_subject: 'e', rate_limit_bps: 8 });
  host.outlet.reconfigure(host.config);
  old.end();
  expect(host.outlet.bound).toBe(true);
  host.offer(1);
  expect([old.got, other.got]).toEqual([['1'], ['2']]);
  other.end();
  expect(host.outlet.bound).toBe(false);
});

test('when it is over it leaves nothing behind', () => {
  const host = new Endless({ ...FLOW, rate_limit_bps: 8 });
  const client = host.listen();
  host.offer(2, MIB);
  const before = client.got.length;
  host.outlet.close();
  expect(host.outlet.ready).toBe(false);
  expect(host.clock.nextDueMs()).toBeUndefined();
  client.end();
  host.listen();
  host.offer(1);
  expect(client.got).toHaveLength(before);
  expect(host.outlet.bound).toBe(false);
});
