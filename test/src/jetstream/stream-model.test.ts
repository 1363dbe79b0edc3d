// Random operations on a stream and on a model of it that fits on a page; now and then the process ends, in good order or
// by a crash. After each step both must have the same messages, counts, subjects and last sequences.

import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SubjectFilter } from '../../../src/jetstream/subject-filter.ts';
import type { StreamOrder } from '../../../src/jetstream/jetstream.ts';
import { matches } from '../../../src/subject.ts';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';
import { randomInt, seededRandom, type Random } from '../../support/random.ts';

const STEPS = 150;
const SUBJECTS = ['k.a', 'k.b', 'k.c.x', 'k.c.y', 'k.d', 'k.e'];
const FILTERS = ['k.a', 'k.c.*', 'k.>', 'k.*', 'k.nobody'];

interface Held {
  readonly seq: number;
  readonly subject: string;
  readonly data: string;
  readonly bornMs: number;
  readonly ttlMs: number | undefined;
}

/** What the stream should have. */
class Model {
  held: Held[] = [];
  lastSeq = 0;
  needed: Set<number> | undefined;
  readonly #order: StreamOrder;

  constructor(order: StreamOrder) {
    this.#order = order;
  }

  publish(message: Omit<Held, 'seq'>, rollup: string | undefined): void {
    const seq = ++this.lastSeq;
    if (rollup === 'all') this.held = [];
    if (rollup === 'sub') this.held = this.held.filter((held) => held.subject !== message.subject);
    this.held.push({ ...message, seq });
  }

  /** After the messages of a transaction. */
  limit(): void {
    const { maxMsgsPerSubject: perSubject, maxMsgs } = this.#order;
    if (perSubject !== undefined)
      for (const subject of SUBJECTS) {
        const own = this.held.filter((held) => held.subject === subject);
        const gone = new Set(own.slice(0, Math.max(0, own.length - perSubject)));
        this.held = this.held.filter((held) => !gone.has(held));
      }
    if (maxMsgs !== undefined) this.held = this.held.slice(-maxMsgs);
  }

  expire(nowMs: number): void {
    const { maxAgeMs = Infinity } = this.#order;
    this.held = this.held.filter(({ bornMs, ttlMs = Infinity }) => {
      const never = ttlMs === -1;
      return never || nowMs - bornMs < Math.min(maxAgeMs, ttlMs);
    });
  }

  purge(options: { filter?: string; belowSeq?: number; keep?: number }): number {
    const { filter = '>', belowSeq = Infinity, keep = 0 } = options;
    const under = this.held.filter((held) => matches(filter, held.subject));
    const gone = new Set(
      under.slice(0, Math.max(0, under.length - keep)).filter(({ seq }) => seq < belowSeq),
    );
    this.held = this.held.filter((held) => !gone.has(held));
    return gone.size;
  }
}

async function settleAll<T>(store: GatewayStore, work?: Promise<T>): Promise<T | undefined> {
  let over = work === undefined;
  void work?.finally(() => (over = true));
  for (let i = 0; i < 200; i++) {
    store.settle();
    for (let tick = 0; tick < 5; tick++) await Promise.resolve();
    if (over && i > 2) break;
  }
  expect(over, 'the work ends').toBe(true);
  return await work;
}

async function compare(store: GatewayStore, model: Model): Promise<void> {
  const { stream } = store;
  const { held } = model;
  const state = stream.state();
  const first = held[0]?.seq ?? model.lastSeq + 1;
  expect(state).toMatchObject({
    messages: held.length,
    bytes:
      held.reduce((sum, { subject, data }) => sum + subject.length + data.length, 0) +
      headersOf(store),
    firstSeq: first,
    lastSeq: model.lastSeq,
    subjects: new Set(held.map(({ subject }) => subject)).size,
    numDeleted: model.lastSeq + 1 - first - held.length,
  });
  for (const filter of FILTERS) {
    const under = held.filter(({ subject }) => matches(filter, subject));
    const asked = new SubjectFilter([filter]);
    const counts = Object.fromEntries(stream.subjects(asked));
    const expected: Record<string, number> = {};
    for (const { subject } of under) expected[subject] = (expected[subject] ?? 0) + 1;
    expect(counts).toEqual(expected);
    expect(stream.lastOf(asked)?.seq).toBe(under.at(-1)?.seq);
    const scanned = stream.scan(asked, 0, { messagesMax: 1_000, bytesMax: 1 << 20 });
    expect(scanned.messages.map(({ seq, data }) => `${seq} ${data.toString()}`)).toEqual(
      under.map(({ seq, data }) => `${seq} ${data}`),
    );
    const upToSeq = first + Math.floor((model.lastSeq - first) / 2);
    for (const upTo of [Infinity, upToSeq]) {
      const lasts = new Map<string, number>();
      for (const { seq, subject } of under) if (seq <= upTo) lasts.set(subject, seq);
      const found = settleAll(store, stream.lastPerSubject(asked, { upToSeq: upTo, max: 100 }));
      expect(await found).toEqual([...lasts.values()].sort((a, b) => a - b));
    }
    let counted: number | undefined;
    stream.count(asked, upToSeq, (messages) => (counted = messages));
    store.clock.turn();
    expect(counted).toBe(under.filter(({ seq }) => seq >= upToSeq).length);
  }
  const gone = [];
  for (let seq = first; seq < model.lastSeq && gone.length < 50; seq++)
    if (!held.some((message) => message.seq === seq)) gone.push(seq);
  const deleted = await settleAll(store, stream.deletedSeqs(50));
  expect(deleted?.slice(0, gone.length)).toEqual(gone);
}

/** Headers count against the limits, and the model does not have them. */
function headersOf(store: GatewayStore): number {
  const { stream } = store;
  const { messages } = stream.scan(new SubjectFilter([]), 0, {
    messagesMax: 1_000,
    bytesMax: 1 << 20,
  });
  return messages.reduce((sum, { headers }) => sum + (headers?.length ?? 0), 0);
}

function publishSome(store: GatewayStore, model: Model, random: Random, order: StreamOrder): void {
  const count = 1 + randomInt(random, 12);
  for (let i = 0; i < count; i++) {
    const subject = SUBJECTS[randomInt(random, SUBJECTS.length)] ?? '';
    const data = `m${model.lastSeq + 1}`;
    const rollup =
      order.allowRollup === true
        ? [undefined, undefined, 'sub', 'all'][randomInt(random, 4)]
        : undefined;
    const rolls = rollup === 'all' && random() < 0.7 ? undefined : rollup;
    const ttl =
      order.allowMsgTtl === true ? [undefined, '5', 'never'][randomInt(random, 3)] : undefined;
    const headers = [
      ...(rolls === undefined ? [] : [`Nats-Rollup: ${rolls}`]),
      ...(ttl === undefined ? [] : [`Nats-TTL: ${ttl}`]),
    ];
    store.publish(subject, data, headers.length === 0 ? undefined : headers.join('\r\n'));
    const ttlMs = ttl === 'never' ? -1 : ttl === undefined ? undefined : 5_000;
    model.publish({ subject, data, bornMs: store.clock.monotonicMs(), ttlMs }, rolls);
  }
  model.limit();
}

/** Another process finds what the crashed one had committed. */
async function crash(store: GatewayStore, order: StreamOrder): Promise<GatewayStore> {
  const after = new GatewayStore([order], {}, store.clock);
  store.jetstream.store.db.exec(`VACUUM INTO '${join(after.dir, 'mangrove.db')}'`);
  await store[Symbol.asyncDispose]();
  return await after.open();
}

/** A crash loses the store time since the last commit; the model knows none. */
function keepsTime({ maxAgeMs, allowMsgTtl }: StreamOrder): boolean {
  return maxAgeMs === undefined && allowMsgTtl !== true;
}

async function step(
  store: GatewayStore,
  model: Model,
  random: Random,
  order: StreamOrder,
): Promise<GatewayStore> {
  const dice = random();
  if (dice < 0.5) {
    publishSome(store, model, random, order);
    if (random() < 0.15 && keepsTime(order)) {
      // Committed, and not shown to anybody: what replaces others has not done so yet.
      store.clock.turn();
      return await crash(store, order);
    }
    store.settle();
  } else if (dice < 0.62) {
    const filter = FILTERS[randomInt(random, FILTERS.length)];
    const belowSeq = 1 + randomInt(random, model.lastSeq + 1);
    const options = [
      {},
      { filter },
      { belowSeq },
      { keep: 3 },
      { filter, keep: 1 },
      { filter, belowSeq },
    ][randomInt(random, 6)] as { filter?: string; belowSeq?: number; keep?: number };
    if (Object.keys(options).length === 0 && random() < 0.6) return store;
    const purged = await settleAll(store, store.stream.purge(options));
    expect(purged).toBe(model.purge(options));
  } else if (dice < 0.78) {
    const seq = 1 + randomInt(random, model.lastSeq + 1);
    const removed = await settleAll(store, store.stream.remove(seq, { erase: random() < 0.5 }));
    expect(removed).toBe(model.held.some((held) => held.seq === seq));
    model.held = model.held.filter((held) => held.seq !== seq);
  } else if (dice < 0.88) {
    store.clock.advance(1 + randomInt(random, 4_000));
    store.settle();
  } else if (dice < 0.94 || !keepsTime(order)) {
    await store.close();
    await store.open();
  } else {
    return await crash(store, order);
  }
  return store;
}

const CASES: Record<string, Partial<StreamOrder>> = {
  'a plain stream': {},
  'a stream of at most 20 messages': { maxMsgs: 20 },
  'a stream with an age and times to live': { maxAgeMs: 9_000, allowMsgTtl: true },
  'a key-value stream': { maxMsgsPerSubject: 1, allowRollup: true },
  'a stream with a history, limits, roll-ups and times to live': {
    maxMsgsPerSubject: 3,
    maxMsgs: 12,
    allowRollup: true,
    allowMsgTtl: true,
    maxAgeMs: 20_000,
  },
};

for (const [name, extras] of Object.entries(CASES)) {
  test.each([1, 2, 3, 4])(`${name} has what the model has, whatever happens (%i)`, async (seed) => {
    const order = streamOrder({ subjects: ['k.>'], ...extras });
    const random = seededRandom(seed * 7919);
    const model = new Model(order);
    let store = await new GatewayStore([order]).open();
    for (let i = 0; i < STEPS; i++) {
      store = await step(store, model, random, order);
      // A tick after a start: what went by age in the meantime goes then.
      store.clock.advance(1_100);
      await settleAll(store);
      model.expire(store.clock.monotonicMs());
      await compare(store, model);
    }
    await store[Symbol.asyncDispose]();
  });
}
