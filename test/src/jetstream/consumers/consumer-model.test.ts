// Random deliveries, acks, refusals, removals, ends and crashes, and a model of what a consumer owes to whom: nothing that
// was acknowledged on the disk is delivered again, everything else is, in order after a crash, and the counts are exact.

import { expect, test } from 'vitest';
import type { Message } from '../../../../src/message.ts';
import { ConsumerLab, seqOf, type Inbox } from '../../../support/consumer-lab.ts';
import { randomInt, seededRandom, type Random } from '../../../support/random.ts';

const STEPS = 100;
const ACK_WAIT_MS = 10_000;

class Model {
  readonly exists = new Set<number>();
  readonly wanted = new Set<number>();
  /** Delivered and not acknowledged. */
  readonly owed = new Map<number, Message>();
  /** Acknowledged, and the disk has said so. */
  readonly settled = new Set<number>();
  /** Acknowledged, and a crash may forget it. */
  readonly unsettled = new Set<number>();
  lastSeq = 0;
  deliveredSeq = 0;
  floorSeq = 0;

  get isDone(): (seq: number) => boolean {
    return (seq) => this.settled.has(seq) || this.unsettled.has(seq);
  }

  get pending(): number {
    return [...this.wanted].filter((seq) => seq > this.deliveredSeq).length;
  }

  settle(): void {
    for (const seq of this.unsettled) this.settled.add(seq);
    this.unsettled.clear();
  }

  remove(seq: number): void {
    this.exists.delete(seq);
    this.wanted.delete(seq);
    this.owed.delete(seq);
  }
}

class Walk {
  readonly #random: Random;
  readonly #model = new Model();
  #lab: ConsumerLab;
  readonly #filter: string;
  readonly #retention: 'limits' | 'workqueue';
  readonly #trail: string[] = [];

  private constructor(random: Random, lab: ConsumerLab, options: WalkOptions) {
    this.#random = random;
    this.#lab = lab;
    this.#filter = options.filter;
    this.#retention = options.retention;
  }

  static async run(seed: number, options: WalkOptions): Promise<void> {
    const { retention, filter } = options;
    const lab = await ConsumerLab.open({ retention });
    const walk = new Walk(seededRandom(seed), lab, options);
    await lab.create({
      ackWaitMs: ACK_WAIT_MS,
      maxAckPending: -1,
      filterSubjects: filter === '>' ? [] : [filter],
    });
    try {
      for (let i = 0; i < STEPS; i++) {
        await walk.#step();
        walk.#check();
      }
      await walk.#drain();
    } catch (error) {
      throw new Error(`seed ${seed}, ${retention}, after ${walk.#trail.join(' ')}`, {
        cause: error,
      });
    } finally {
      await walk.#lab[Symbol.asyncDispose]();
    }
  }

  #roll(from: number, to: number): number {
    return from + randomInt(this.#random, to - from + 1);
  }

  async #step(): Promise<void> {
    const roll = this.#roll(0, 99);
    if (roll < 22) return await this.#publish();
    if (roll < 45) return await this.#pull(this.#roll(1, 12));
    if (roll < 62) return await this.#ack(false);
    if (roll < 72) return await this.#ack(true);
    if (roll < 78) return await this.#say('-NAK');
    if (roll < 82) return await this.#end('+TERM', false);
    if (roll < 87) return await this.#remove();
    if (roll < 91) return await this.#advance(ACK_WAIT_MS + 100);
    if (roll < 95) return await this.#reopen();
    await this.#crash();
  }

  async #publish(): Promise<void> {
    const count = this.#roll(1, 12);
    this.#trail.push(`publish(${count})`);
    for (let i = 0; i < count; i++) {
      const subject = this.#roll(0, 2) === 0 ? 'data.b' : 'data.a';
      this.#lab.store.publish(subject, 'x');
      const seq = ++this.#model.lastSeq;
      this.#model.exists.add(seq);
      if (this.#filter === '>' || this.#filter === subject) this.#model.wanted.add(seq);
    }
    await this.#lab.settle();
  }

  async #pull(batch: number): Promise<void> {
    const messages = await this.#lab.pull(batch);
    this.#trail.push(`pull(${batch})=${messages.map(seqOf).join()}`);
    const model = this.#model;
    for (const message of messages) {
      const seq = seqOf(message);
      expect(model.settled.has(seq), `${seq} was acknowledged`).toBe(false);
      expect(model.unsettled.has(seq), `${seq} was acknowledged`).toBe(false);
      expect(model.wanted.has(seq), `${seq} is there and wanted`).toBe(true);
      if (seq > model.deliveredSeq) {
        const skipped = [...model.wanted].filter((each) => each > model.deliveredSeq && each < seq);
        expect(skipped, 'in order').toEqual([]);
        model.deliveredSeq = seq;
      } else expect(model.owed.has(seq), `${seq} was owed`).toBe(true);
      model.owed.set(seq, message);
    }
  }

  #one(): Message | undefined {
    const owed = [...this.#model.owed.values()];
    return owed[this.#roll(0, Math.max(0, owed.length - 1))];
  }

  async #say(data: string): Promise<void> {
    const message = this.#one();
    if (message === undefined) return;
    this.#trail.push(`${data}(${seqOf(message)})`);
    this.#lab.say(message, data);
    await this.#lab.settle();
  }

  async #ack(isDouble: boolean): Promise<void> {
    for (let left = this.#roll(1, 6); left > 0; left--) await this.#end('', isDouble);
  }

  async #end(data: string, isDouble: boolean): Promise<void> {
    const message = this.#one();
    if (message === undefined) return;
    const seq = seqOf(message);
    this.#trail.push(`${data}${isDouble ? 'ACK' : 'ack'}(${seq})`);
    const inbox: Inbox | undefined = isDouble ? this.#lab.inbox() : undefined;
    this.#lab.say(message, data, inbox?.subject);
    const model = this.#model;
    model.owed.delete(seq);
    model.unsettled.add(seq);
    await this.#lab.settle();
    if (inbox !== undefined) {
      expect(inbox.take(), 'the ack is answered').toHaveLength(1);
      // One transaction has all of it.
      model.settle();
    }
    if (this.#retention === 'workqueue') {
      model.settle();
      model.remove(seq);
    }
  }

  async #remove(): Promise<void> {
    const exists = [...this.#model.exists];
    const seq = exists[this.#roll(0, Math.max(0, exists.length - 1))];
    if (seq === undefined) return;
    this.#trail.push(`remove(${seq})`);
    await this.#lab.done(this.#lab.store.stream.remove(seq, { erase: false }));
    this.#model.remove(seq);
  }

  async #advance(ms: number): Promise<void> {
    this.#trail.push(`+${ms}ms`);
    await this.#lab.advance(ms);
    this.#model.settle();
  }

  async #reopen(): Promise<void> {
    this.#trail.push('reopen');
    await this.#lab.store.close();
    await this.#lab.store.open();
    await this.#lab.settle();
    this.#model.settle();
    await this.#redelivered();
  }

  async #crash(): Promise<void> {
    this.#trail.push('crash');
    const after = await this.#lab.crashed();
    await this.#lab[Symbol.asyncDispose]();
    this.#lab = after;
    await this.#redelivered();
  }

  /** After a start: what was owed comes first and in order, before anything new. */
  async #redelivered(): Promise<void> {
    const model = this.#model;
    const { delivered, ackPending } = this.#lab.consumer().state();
    expect(delivered.streamSeq).toBeLessThanOrEqual(Math.max(model.deliveredSeq, 0));
    model.deliveredSeq = delivered.streamSeq;
    const owed = [...model.owed.keys()].filter((seq) => seq <= model.deliveredSeq);
    const messages = await this.#lab.pull(Math.max(1, ackPending));
    const seqs = messages.map(seqOf).slice(0, ackPending);
    this.#trail.push(`again=${seqs.join()}`);
    expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
    for (const seq of owed) expect(seqs, `${seq} is owed`).toContain(seq);
    for (const seq of seqs) {
      expect(model.settled.has(seq), `${seq} was acknowledged on the disk`).toBe(false);
      model.unsettled.delete(seq);
    }
    for (const seq of model.owed.keys()) model.owed.delete(seq);
    for (const message of messages) {
      const seq = seqOf(message);
      model.unsettled.delete(seq);
      model.owed.set(seq, message);
      model.deliveredSeq = Math.max(model.deliveredSeq, seq);
    }
    // What was delivered and acknowledged after the last write is new again.
    for (const seq of model.unsettled)
      if (seq > model.deliveredSeq) model.unsettled.delete(seq);
      else model.settled.add(seq);
    model.unsettled.clear();
    model.floorSeq = 0;
  }

  #check(): void {
    const model = this.#model;
    const state = this.#lab.consumer().state();
    expect(state.pending, 'pending').toBe(model.pending);
    expect(state.ackPending, 'ack pending').toBe(model.owed.size);
    expect(state.delivered.streamSeq, 'delivered').toBe(model.deliveredSeq);
    const { streamSeq: floor } = state.ackFloor;
    for (const seq of model.owed.keys()) expect(seq, 'above the floor').toBeGreaterThan(floor);
    expect(floor, 'it does not go back').toBeGreaterThanOrEqual(model.floorSeq);
    expect(floor).toBeLessThanOrEqual(model.deliveredSeq);
    model.floorSeq = floor;
    expect(this.#lab.store.stream.state().messages).toBe(model.exists.size);
  }

  /** In the end everything that was not acknowledged has come. */
  async #drain(): Promise<void> {
    await this.#advance(ACK_WAIT_MS + 100);
    const model = this.#model;
    const want = [...model.wanted].filter((seq) => !model.isDone(seq));
    const got = await this.#lab.pull(1_000);
    expect(got.map(seqOf).sort((a, b) => a - b)).toEqual(want);
    for (const message of got) this.#lab.say(message);
    await this.#lab.advance(ACK_WAIT_MS + 100);
    expect(await this.#lab.pullSeqs(1_000)).toEqual([]);
    expect(this.#lab.consumer().state()).toMatchObject({ ackPending: 0, pending: 0 });
  }
}

interface WalkOptions {
  readonly filter: string;
  readonly retention: 'limits' | 'workqueue';
}

for (const retention of ['limits', 'workqueue'] as const)
  for (const filter of ['>', 'data.a'])
    test(`nothing acknowledged comes again and nothing else is lost: ${retention}, ${filter}`, async () => {
      for (let seed = 1; seed <= 5; seed++) await Walk.run(seed, { filter, retention });
    }, 60_000);
