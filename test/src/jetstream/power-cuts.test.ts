// The power goes at random moments, in the middle of everything. What a stream has promised until then holds: what was
// acknowledged, delivered or read is there, under its number; what was said to be gone is gone; what is acknowledged does
// not come again; and what the stream says of itself is what it has. MANGROVE_SEED adds runs: a seed, or `1-200`.

import { expect, test } from 'vitest';
import type { StreamOrder } from '../../../src/jetstream/jetstream.ts';
import { SubjectFilter } from '../../../src/jetstream/subject-filter.ts';
import type { StoredMessage } from '../../../src/jetstream/stream-types.ts';
import type { Message } from '../../../src/message.ts';
import { consumerConfig, seqOf } from '../../support/consumer-lab.ts';
import { nextEndpoint } from '../../../src/jetstream/consumers/next-endpoint.ts';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';
import { cutPower } from '../../support/power-cut.ts';
import { Promises, type Sent } from '../../support/promises.ts';
import { randomInt, seededRandom, type Random } from '../../support/random.ts';

const STEPS = 250;
const SUBJECTS = ['k.a', 'k.b', 'k.c'];
const FILTERS = ['k.a', 'k.b', 'k.*', 'k.>'];
const TTL_S = 4;

interface Case {
  readonly order: Partial<StreamOrder>;
  readonly consumers?: Readonly<Record<string, string>>;
  readonly rolls?: boolean;
  readonly ages?: boolean;
  readonly purges?: boolean;
  readonly forwarded?: boolean;
}

const CASES: Record<string, Case> = {
  'a plain stream': { order: { allowAtomic: true }, consumers: { c: 'k.>' }, purges: true },
  'a stream of at most 12 messages': { order: { maxMsgs: 12 }, purges: true },
  'a key-value stream': {
    order: { maxMsgsPerSubject: 2, allowRollup: true },
    rolls: true,
    purges: true,
  },
  'a stream with times to live': {
    order: { allowMsgTtl: true, allowRollup: true },
    rolls: true,
    ages: true,
  },
  'a work-queue': { order: { retention: 'workqueue' }, consumers: { c: 'k.a', d: 'k.b' } },
  'an interest stream': {
    order: { retention: 'interest' },
    consumers: { c: 'k.*', d: 'k.a' },
    purges: true,
  },
  'a forwarded stream of at most 12 messages': {
    order: { maxMsgs: 12 },
    forwarded: true,
    purges: true,
  },
  'a forwarded interest stream': {
    order: { retention: 'interest' },
    consumers: { c: 'k.*', d: 'k.a' },
    forwarded: true,
  },
};

/** One process after the other, and what all of them have promised. */
class World {
  store: GatewayStore;
  readonly promises: Promises;
  readonly #order: StreamOrder;
  readonly #case: Case;
  readonly #random: Random;
  /** Deliveries that were not acknowledged, of the present process. */
  #delivered: { readonly consumer: string; readonly message: Message }[] = [];
  #process = 1;
  #inboxes = 0;

  constructor(random: Random, one: Case) {
    this.#random = random;
    this.#case = one;
    this.#order = streamOrder({ subjects: ['k.>'], ...one.order });
    this.store = this.#newStore();
    this.promises = new Promises({
      ...this.#order,
      consumers: new Map(Object.entries(one.consumers ?? {})),
    });
  }

  #newStore(clock = this.store?.clock): GatewayStore {
    const limits = { walBytesMax: 300_000 };
    const store = new GatewayStore([this.#order], { limits, ...this.#forwards() }, clock);
    store.keepsWal = true;
    return store;
  }

  #forwards(): { forwards?: Map<string, { graceMs: number }> } {
    return this.#case.forwarded === true ? { forwards: new Map([['DATA', { graceMs: 0 }]]) } : {};
  }

  /** The hub has some more of it. */
  confirm(): void {
    const { stream } = this.store;
    const afterSeq = stream.mark?.seq ?? 0;
    const last = stream.read(afterSeq, 1 + randomInt(this.#random, 20), 1 << 20).at(-1);
    if (last === undefined) return;
    const seq = last.kind === 'gap' ? last.gap.lastSeq : last.message.seq;
    this.promises.confirmedSeq = Math.max(this.promises.confirmedSeq, seq);
    const mark = { seq, id: `id${seq}`, hubSeq: seq, hubCreated: 'c' };
    stream.confirm(mark, this.#random() < 0.7);
  }

  /** The hub hears of every number: a message, or why there is none. */
  #auditEntries(found: readonly StoredMessage[]): void {
    const { stream } = this.store;
    let next = (stream.mark?.seq ?? 0) + 1;
    expect(next - 1).toBeLessThanOrEqual(this.promises.confirmedSeq);
    const came: number[] = [];
    const first = next;
    while (next <= stream.durableSeq) {
      for (const entry of stream.read(next - 1, 7, 1 << 20)) {
        const at = entry.kind === 'gap' ? entry.gap.firstSeq : entry.message.seq;
        expect(at, 'nothing is left out').toBe(next);
        if (entry.kind === 'message') came.push(at);
        next = entry.kind === 'gap' ? entry.gap.lastSeq + 1 : at + 1;
      }
    }
    expect(came).toEqual(found.map(({ seq }) => seq).filter((seq) => seq >= first));
  }

  async begin(): Promise<void> {
    if (this.#case.forwarded === true) this.promises.confirmedSeq = 0;
    await this.store.open();
    for (const [name, filter] of Object.entries(this.#case.consumers ?? {})) {
      const config = consumerConfig({ name, filterSubjects: [filter] });
      const made = this.store.jetstream.consumers('DATA')?.create(config);
      await this.settle();
      await made;
    }
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 30; i++) {
      this.store.settle();
      await this.breathe();
    }
  }

  async breathe(): Promise<void> {
    for (let i = 0; i < 8; i++) await Promise.resolve();
  }

  /** Calls `fn` only for as long as the process lives that is asked now. */
  #alive<T extends unknown[]>(fn: (...args: T) => void): (...args: T) => void {
    const process = this.#process;
    return (...args) => {
      if (process === this.#process) fn(...args);
    };
  }

  get nowMs(): number {
    return this.store.clock.monotonicMs();
  }

  #pick<T>(from: readonly T[]): T {
    return from[randomInt(this.#random, from.length)] as T;
  }

  /** A full disk takes small messages where large ones have left a page. */
  #data(token: string): Buffer {
    const size = this.store.disk?.roomNow === undefined ? 10 : 20_000;
    return Buffer.from(`${token} `.padEnd(size, '.'));
  }

  publish(): void {
    const count = 1 + randomInt(this.#random, 6);
    for (let i = 0; i < count; i++) {
      const dice = this.#random();
      const rollup = !this.#case.rolls || dice > 0.3 ? undefined : dice > 0.06 ? 'sub' : 'all';
      const ages = this.#case.ages === true && this.#random() < 0.5;
      const token = this.promises.token();
      const id = this.#random() < 0.5 ? `id-${token}` : undefined;
      const subject = this.#pick(SUBJECTS);
      const dueMs = ages ? this.nowMs + TTL_S * 1_000 : Infinity;
      const sent = this.promises.publish({ subject, id, rollup, dueMs }, token);
      const headers = [
        ...(id === undefined ? [] : [`Nats-Msg-Id: ${id}`]),
        ...(rollup === undefined ? [] : [`Nats-Rollup: ${rollup}`]),
        ...(ages ? [`Nats-TTL: ${TTL_S}`] : []),
      ];
      const block =
        headers.length === 0 ? undefined : `NATS/1.0\r\n${headers.join('\r\n')}\r\n\r\n`;
      const message = { subject, data: this.#data(token) };
      this.store.broker.publish(
        block === undefined ? message : { ...message, headers: Buffer.from(block) },
        this.#alive((error, ack) => {
          if (error === null && ack !== null) this.promises.shown(sent, ack.seq);
          else sent.refused = true;
        }),
      );
    }
  }

  batch(): void {
    const tokens = Array.from({ length: 2 + randomInt(this.#random, 4) }, () =>
      this.promises.token(),
    );
    const all = tokens.map((token) =>
      this.promises.publish({ subject: this.#pick(SUBJECTS), batch: tokens }, token),
    );
    this.store.stream.storeAll(
      all.map(({ subject, token }) => ({ subject, data: this.#data(token) })),
      this.#alive((error, ack) => {
        for (const [i, sent] of all.entries())
          if (error === null && ack !== null)
            this.promises.shown(sent, ack.seq - all.length + 1 + i);
          else sent.refused = true;
      }),
    );
  }

  purge(): void {
    const filter = this.#pick(FILTERS);
    const whole = filter === 'k.>' && this.#random() < 0.7;
    const before = this.promises.under(filter);
    for (const sent of before) sent.mayGo = true;
    const { purges } = this.promises;
    const purge = { filter };
    purges.add(purge);
    void this.store.stream.purge(whole ? {} : { filter }).then(
      this.#alive(() => {
        purges.delete(purge);
        for (const sent of before) if (!sent.refused) sent.gone = true;
      }),
      // A stop that cuts it short says so.
      () => undefined,
    );
  }

  remove(): void {
    const known = [...this.promises.sent.values()].filter(({ seq, gone }) => seq && !gone);
    if (known.length === 0) return;
    const sent = this.#pick(known.slice(-12));
    sent.mayGo = true;
    const erase = this.#random() < 0.5;
    void this.store.stream
      .remove(sent.seq ?? 0, { erase })
      .then(this.#alive(() => void (sent.gone = true)));
  }

  #found({ seq, data }: { seq: number; data: Buffer }): Sent {
    const sent = this.promises.sent.get(tokenOf(data));
    if (sent === undefined) throw new Error(`nobody has published what ${seq} is`);
    expect(sent.gone, `${sent.token} is gone and comes again`).toBe(false);
    this.promises.shown(sent, seq);
    return sent;
  }

  /** What anybody reads is promised with it. */
  read(): StoredMessage[] {
    const { stream } = this.store;
    const { messages } = stream.scan(new SubjectFilter([]), 0, {
      messagesMax: 10_000,
      bytesMax: 1 << 24,
    });
    for (const message of messages) this.#found(message);
    this.promises.lastSeq = Math.max(this.promises.lastSeq, stream.state().lastSeq);
    return messages;
  }

  pull(batch: number): void {
    for (const consumer of Object.keys(this.#case.consumers ?? {})) {
      const inbox = `_INBOX.${++this.#inboxes}`;
      const deliver = this.#alive((message: Message) => {
        if (message.reply === undefined) return;
        const sent = this.#found({ seq: seqOf(message), data: message.data });
        expect(sent.ackSyncs.has(consumer), `${sent.token} comes again to ${consumer}`).toBe(false);
        this.#delivered.push({ consumer, message });
      });
      this.store.broker.subscribe(inbox, { deliver });
      const data = Buffer.from(JSON.stringify({ batch, no_wait: true }));
      const subject = `$JS.API.CONSUMER.MSG.NEXT.DATA.${consumer}`;
      nextEndpoint({
        broker: this.store.broker,
        consumers: (stream) => this.store.jetstream.consumers(stream),
      }).offer({
        tokens: ['DATA', consumer],
        data,
        message: { subject, reply: inbox, data },
        from: undefined,
      });
    }
  }

  acknowledge(): void {
    const one = this.#delivered.splice(randomInt(this.#random, this.#delivered.length), 1)[0];
    if (one === undefined) return;
    const { consumer, message } = one;
    const sent = this.promises.sent.get(tokenOf(message.data));
    sent?.acks.add(consumer);
    const ack = { subject: message.reply ?? '', data: Buffer.from('+ACK') };
    if (this.#random() < 0.3) return void this.store.broker.publish(ack);
    const reply = `_INBOX.${++this.#inboxes}`;
    const deliver = this.#alive(() => void sent?.ackSyncs.add(consumer));
    this.store.broker.subscribe(reply, { deliver });
    this.store.broker.publish({ ...ack, reply });
  }

  /** What is there after all that was under way has come to its end, or to nothing. */
  async audit(): Promise<void> {
    await this.settle();
    const { promises } = this;
    const found = this.read();
    const present = found.map(({ data }) => promises.sent.get(tokenOf(data)) as Sent);
    const tokens = new Set(present.map(({ token }) => token));
    for (const sent of promises.sent.values()) {
      if (tokens.has(sent.token)) {
        const why = promises.mustBeAbsent(sent, present, this.#markedSeq);
        expect(why, `${sent.token} (${sent.seq}) is there`).toBeUndefined();
      } else {
        const may = promises.mayBeAbsent(sent, this.nowMs);
        expect(may, `${sent.token} (${sent.seq}) is lost`).toBe(true);
        const others = (sent.batch ?? []).filter((token) => tokens.has(token));
        if (sent.seq === undefined)
          expect(others, `${sent.token} is missing in its batch`).toEqual([]);
      }
    }
    if (this.#case.forwarded === true) this.#auditEntries(found);
    this.#auditState(found);
    this.#auditIds(present);
    await this.#auditConsumers(present);
  }

  get #markedSeq(): number {
    return this.#case.forwarded === true ? (this.store.stream.mark?.seq ?? 0) : Infinity;
  }

  #auditState(found: readonly StoredMessage[]): void {
    const { stream } = this.store;
    const state = stream.state();
    expect(state.lastSeq).toBeGreaterThanOrEqual(this.promises.lastSeq);
    const first = found[0]?.seq ?? state.lastSeq + 1;
    expect(state).toMatchObject({
      messages: found.length,
      bytes: found.reduce(
        (sum, { subject, data, headers }) =>
          sum + subject.length + data.length + (headers?.length ?? 0),
        0,
      ),
      firstSeq: first,
      subjects: new Set(found.map(({ subject }) => subject)).size,
      numDeleted: state.lastSeq + 1 - first - found.length,
    });
    expect(this.store.stream.bytes).toBe(state.bytes);
    for (const subject of SUBJECTS) {
      const own = found.filter((message) => message.subject === subject);
      const asked = new SubjectFilter([subject]);
      expect(stream.lastOf(asked)?.seq).toBe(own.at(-1)?.seq);
      expect(Object.fromEntries(stream.subjects(asked))).toEqual(
        own.length === 0 ? {} : { [subject]: own.length },
      );
      const { maxMsgsPerSubject = Infinity } = this.#order;
      expect(own.length).toBeLessThanOrEqual(maxMsgsPerSubject);
    }
    expect(found.length).toBeLessThanOrEqual(this.#order.maxMsgs ?? Infinity);
    const { expiry } = { expiry: 'SELECT count(*) AS n FROM kv WHERE map = ?' };
    const notes = this.store.jetstream.store.db.prepare(expiry).get('rollup') as { n: number };
    expect(notes.n, 'no roll-up is left half done').toBe(0);
  }

  /** A publisher that did not hear of its message sends it again. */
  #auditIds(present: readonly Sent[]): void {
    for (const { id, seq, subject } of present) {
      if (id === undefined) continue;
      let answered: number | undefined;
      const headers = Buffer.from(`NATS/1.0\r\nNats-Msg-Id: ${id}\r\n\r\n`);
      this.store.broker.publish({ subject, headers, data: Buffer.from('again') }, (_error, ack) => {
        if (ack?.duplicate === true) answered = ack.seq;
      });
      expect(answered, `${id} is known`).toBe(seq);
    }
  }

  async #auditConsumers(present: readonly Sent[]): Promise<void> {
    this.pull(10_000);
    await this.settle();
    for (const sent of present)
      for (const name of this.promises.coveredBy(sent)) {
        if (sent.acks.has(name)) continue;
        const came = this.#delivered.some(
          ({ consumer, message }) => consumer === name && tokenOf(message.data) === sent.token,
        );
        expect(came, `${sent.token} comes (again) to ${name}`).toBe(true);
      }
  }

  async cut(): Promise<void> {
    const after = this.#newStore();
    cutPower(this.store, after, this.#random);
    const before = this.store;
    this.#next();
    await before[Symbol.asyncDispose]();
    this.store = after;
    await after.open();
    await this.audit();
  }

  async restart(): Promise<void> {
    if (this.store.disk?.roomNow !== undefined) this.fill();
    await this.settle();
    await this.store.close();
    this.#next();
    await this.store.open();
    await this.audit();
  }

  #next(): void {
    this.#process++;
    this.#delivered = [];
    this.promises.purges.clear();
  }

  /** The disk is full, or has room again. */
  fill(): void {
    const { disk, jetstream } = this.store;
    if (disk === undefined) return;
    disk.roomNow = disk.roomNow ? undefined : { availableBytes: 0, totalBytes: 1 << 30 };
    jetstream.store.refreshRoom();
  }

  async step(): Promise<void> {
    const dice = this.#random();
    const { purges, consumers, order } = this.#case;
    if (dice < 0.3) this.publish();
    else if (dice < 0.45) this.store.clock.turn();
    else if (dice < 0.58) this.store.disk?.finish();
    else if (dice < 0.64) await this.breathe();
    else if (dice < 0.68) this.read();
    else if (dice < 0.74 && consumers !== undefined) this.pull(1 + randomInt(this.#random, 5));
    else if (dice < 0.84 && consumers !== undefined) this.acknowledge();
    else if (dice < 0.87 && order.allowAtomic === true) this.batch();
    else if (dice < 0.9 && purges === true) this.remove();
    else if (dice < 0.92 && purges === true) this.purge();
    else if (dice < 0.94) this.store.clock.advance(randomInt(this.#random, 1_500));
    else if (dice < 0.95) this.fill();
    else if (dice < 0.96 && this.#case.forwarded === true) this.confirm();
    else if (dice < 0.97) await this.settle();
    else if (dice < 0.99) await this.cut();
    else if (dice > 0.997) await this.restart();
  }
}

function tokenOf(data: Buffer): string {
  return data.toString().split(' ', 1)[0] ?? '';
}

/** `7`, or `1-200`. */
function seeds(): number[] {
  const [first, last = first] = (process.env['MANGROVE_SEED'] ?? '').split('-').map(Number);
  if (!first || !last) return [1, 2];
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

for (const [name, one] of Object.entries(CASES)) {
  test.each(seeds())(`${name} keeps its promises when the power goes (%i)`, async (seed) => {
    const world = new World(seededRandom(seed * 6007), one);
    await world.begin();
    for (let i = 0; i < STEPS; i++) await world.step();
    await world.cut();
    expect(world.store.fatal).toBeUndefined();
    await world.store[Symbol.asyncDispose]();
  });
}
