// Programs that use JetStream through the official client while the agent is killed under them: each writes down what it
// was promised, and says in the end what of it was not kept. What it was not told, it takes for unknown: there or not.

import { jetstream, jetstreamManager, type JetStreamClient } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { Objm } from '@nats-io/obj';
import type { NatsConnection } from '@nats-io/transport-node';
import { createHash, randomBytes } from 'node:crypto';

/** Promises count while it is open: what comes while the power goes may speak of a sync that the cut overtook. */
export interface Account {
  open: boolean;
}

export interface Actor {
  readonly name: string;
  /** Once, before the first crash. */
  setUp(nc: NatsConnection): Promise<void>;
  /** Works until the connection ends, which it takes for an answer. */
  live(nc: NatsConnection, account: Account): Promise<void>;
  /** Looks at what is there after the last crash; what is wrong, as sentences. */
  audit(nc: NatsConnection): Promise<string[]>;
  /** Promises it was given. */
  readonly promises: number;
}

interface Stored {
  readonly seq: number;
  readonly subject: string;
  readonly data: string;
}

const READ_MS = 20_000;

/** All messages of a stream, by way of an ordered consumer. */
async function readAll(nc: NatsConnection, stream: string): Promise<Stored[]> {
  const { state } = await (await jetstreamManager(nc)).streams.info(stream);
  const found: Stored[] = [];
  if (state.messages === 0) return found;
  const consumer = await jetstream(nc).consumers.get(stream);
  const messages = await consumer.fetch({ max_messages: state.messages, expires: READ_MS });
  for await (const message of messages)
    found.push({ seq: message.seq, subject: message.subject, data: message.string() });
  return found;
}

function some(values: Iterable<number | string>): string {
  const all = [...values];
  return `${all.slice(0, 5).join(', ')}${all.length > 5 ? `, … (${all.length})` : ''}`;
}

/** Publishes with IDs, twenty at a time; what was not answered is published again with its ID. */
export class Orders implements Actor {
  readonly name = 'orders';
  readonly #acked = new Map<number, number>();
  readonly #unknown = new Set<number>();
  #n = 0;

  get promises(): number {
    return this.#acked.size;
  }

  async setUp(nc: NatsConnection): Promise<void> {
    const jsm = await jetstreamManager(nc);
    await jsm.streams.add({ name: 'ORDERS', subjects: ['orders.>'] });
  }

  async live(nc: NatsConnection, account: Account): Promise<void> {
    const js = jetstream(nc);
    for (;;) {
      const again = [...this.#unknown].slice(0, 10);
      const fresh = Array.from({ length: 20 - again.length }, () => ++this.#n);
      await Promise.all([...again, ...fresh].map((n) => this.#publish(js, n, account)));
    }
  }

  async #publish(js: JetStreamClient, n: number, account: Account): Promise<void> {
    this.#unknown.add(n);
    const { seq } = await js.publish(`orders.${n % 5}`, `order ${n}`, { msgID: `order-${n}` });
    if (!account.open) return;
    this.#unknown.delete(n);
    this.#acked.set(n, seq);
  }

  async audit(nc: NatsConnection): Promise<string[]> {
    const found: string[] = [];
    const places = new Map<number, number>();
    for (const { seq, data } of await readAll(nc, 'ORDERS')) {
      const n = Number(data.slice('order '.length));
      if (places.has(n)) found.push(`order ${n} is stored at ${places.get(n)} and at ${seq}`);
      places.set(n, seq);
    }
    for (const [n, seq] of this.#acked)
      if (places.get(n) !== seq)
        found.push(`order ${n} was acknowledged at ${seq} and is at ${places.get(n)}`);
    return found.slice(0, 5);
  }
}

/** Works on jobs of a work queue: some are acknowledged twice over, some once, some not at all. */
export class Worker implements Actor {
  readonly name = 'worker';
  readonly #published = new Set<number>();
  /** The reply to the acknowledgement has come. */
  readonly #confirmed = new Set<number>();
  /** An acknowledgement was sent; whether it arrived is unknown. */
  readonly #sent = new Set<number>();
  readonly #back: number[] = [];
  #n = 0;

  get promises(): number {
    return this.#confirmed.size;
  }

  async setUp(nc: NatsConnection): Promise<void> {
    const jsm = await jetstreamManager(nc);
    await jsm.streams.add({ name: 'WORK', subjects: ['work.>'], retention: 'workqueue' });
    await jsm.consumers.add('WORK', {
      durable_name: 'W',
      ack_policy: 'explicit',
      ack_wait: 3_000_000_000,
      max_ack_pending: 10_000,
    });
  }

  async live(nc: NatsConnection, account: Account): Promise<void> {
    const js = jetstream(nc);
    const consumer = await js.consumers.get('WORK', 'W');
    for (;;) {
      const jobs = Array.from({ length: 15 }, () => ++this.#n);
      await Promise.all(
        jobs.map(async (n) => {
          await js.publish(`work.${n % 3}`, `job ${n}`);
          if (account.open) this.#published.add(n);
        }),
      );
      const messages = await consumer.fetch({ max_messages: 20, expires: 1_000 });
      const confirmations: Promise<void>[] = [];
      for await (const message of messages) {
        const n = Number(message.string().slice('job '.length));
        if (this.#confirmed.has(n) && account.open) this.#back.push(n);
        // What came more than once is done at last: it would keep the others from coming.
        if (n % 4 === 0 || message.info.deliveryCount > 2) {
          this.#sent.add(n);
          confirmations.push(
            message.ackAck().then((confirmed) => {
              if (confirmed && account.open) this.#confirmed.add(n);
            }),
          );
        } else if (n % 4 === 1) {
          this.#sent.add(n);
          message.ack();
        } else if (n % 4 === 2) message.nak();
      }
      await Promise.all(confirmations);
    }
  }

  /** What is left comes once more, and what was confirmed does not. */
  async audit(nc: NatsConnection): Promise<string[]> {
    const consumer = await jetstream(nc).consumers.get('WORK', 'W');
    const came = new Set<number>();
    for (let quiet = 0; quiet < 2;) {
      const { num_pending: pending, num_ack_pending: unacked } = await consumer.info();
      if (pending + unacked === 0) break;
      const before = came.size;
      const acks: Promise<boolean>[] = [];
      const batch = { max_messages: Math.min(500, pending + unacked), expires: 3_500 };
      // Acknowledged beside it: who works off a batch for longer than two heartbeats is told by the client, not by the
      // agent, that they were missed.
      for await (const message of await consumer.fetch(batch)) {
        came.add(Number(message.string().slice('job '.length)));
        acks.push(message.ackAck());
      }
      await Promise.all(acks);
      quiet = came.size === before ? quiet + 1 : 0;
    }
    const found: string[] = [];
    const back = [...this.#back, ...[...came].filter((n) => this.#confirmed.has(n))];
    if (back.length > 0) found.push(`confirmed jobs came back: ${some(back)}`);
    const lost = [...this.#published].filter((n) => !came.has(n) && !this.#sent.has(n));
    if (lost.length > 0) found.push(`jobs that nobody acknowledged never came: ${some(lost)}`);
    const { state } = await (await jetstreamManager(nc)).streams.info('WORK');
    if (state.messages > 0) found.push(`${state.messages} jobs are still there when all is done`);
    return found;
  }
}

interface Written {
  readonly revision: number;
  readonly value: string | null;
}

/** Puts, updates and deletes keys of a bucket; every reading must be the last that was promised, or a later one. */
export class Bucket implements Actor {
  readonly name = 'bucket';
  readonly #last = new Map<string, Written>();
  /** Values tried since, whose fate is unknown. */
  readonly #tried = new Map<string, Set<string | null>>();
  readonly #wrong: string[] = [];
  #n = 0;
  promises = 0;

  async setUp(nc: NatsConnection): Promise<void> {
    await new Kvm(nc).create('conf', { history: 3 });
  }

  async live(nc: NatsConnection, account: Account): Promise<void> {
    const kv = await new Kvm(nc).open('conf');
    for (const key of this.#last.keys()) this.#check(key, await read(kv, key));
    for (;;) {
      const n = ++this.#n;
      const key = `k${n % 7}`;
      const value = n % 11 === 0 ? null : `value ${n}`;
      const tried = this.#tried.get(key) ?? new Set();
      this.#tried.set(key, tried.add(value));
      const last = this.#last.get(key);
      let revision: number;
      if (value === null) {
        await kv.delete(key);
        revision = (await kv.get(key))?.revision ?? 0;
      } else if (n % 3 === 0 && last !== undefined && tried.size === 1)
        revision = await kv.update(key, value, last.revision);
      else revision = await kv.put(key, value);
      if (!account.open) continue;
      this.promises++;
      this.#last.set(key, { revision, value });
      this.#tried.set(key, new Set());
    }
  }

  #check(key: string, found: Written | undefined): void {
    const last = this.#last.get(key);
    const tried = this.#tried.get(key) ?? new Set();
    if (last === undefined) return;
    if (found === undefined || found.revision < last.revision)
      this.#wrong.push(`${key} is back at revision ${found?.revision} from ${last.revision}`);
    else if (found.revision === last.revision && found.value !== last.value)
      this.#wrong.push(`${key} has another value at revision ${last.revision}`);
    else if (found.revision > last.revision && !tried.has(found.value))
      this.#wrong.push(`${key} has a value at ${found.revision} that nobody wrote: ${found.value}`);
  }

  async audit(nc: NatsConnection): Promise<string[]> {
    const kv = await new Kvm(nc).open('conf');
    for (const key of this.#last.keys()) this.#check(key, await read(kv, key));
    return this.#wrong.slice(0, 5);
  }
}

async function read(
  kv: Awaited<ReturnType<Kvm['open']>>,
  key: string,
): Promise<Written | undefined> {
  const entry = await kv.get(key);
  if (entry === null) return undefined;
  return { revision: entry.revision, value: entry.operation === 'PUT' ? entry.string() : null };
}

/** Stores objects over and over; each must be whole: the last that was promised, or one that was begun after it. */
export class Objects implements Actor {
  readonly name = 'objects';
  readonly #last = new Map<string, string>();
  readonly #tried = new Map<string, Set<string>>();
  #n = 0;
  promises = 0;

  async setUp(nc: NatsConnection): Promise<void> {
    await new Objm(nc).create('files');
  }

  async live(nc: NatsConnection, account: Account): Promise<void> {
    const store = await new Objm(nc).open('files');
    for (;;) {
      const name = `file ${++this.#n % 3}`;
      const data = randomBytes(150_000 + (this.#n % 5) * 70_000);
      const digest = sha256(data);
      this.#tried.set(name, (this.#tried.get(name) ?? new Set()).add(digest));
      await store.putBlob({ name, options: { max_chunk_size: 60_000 } }, data);
      if (!account.open) continue;
      this.promises++;
      this.#last.set(name, digest);
      this.#tried.set(name, new Set([digest]));
    }
  }

  async audit(nc: NatsConnection): Promise<string[]> {
    const store = await new Objm(nc).open('files');
    const found: string[] = [];
    for (const name of this.#last.keys()) {
      const data = await store.getBlob(name).catch((error: unknown) => String(error));
      if (data === null || typeof data === 'string') found.push(`${name} cannot be read: ${data}`);
      else if (!this.#tried.get(name)?.has(sha256(data)))
        found.push(`${name} has data that nobody stored last`);
    }
    return found;
  }
}

function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

const BATCH = 5;

/** Publishes five messages at a time as one atomic batch. */
export class Batches implements Actor {
  readonly name = 'batches';
  readonly #acked = new Set<number>();
  #n = 0;

  get promises(): number {
    return this.#acked.size;
  }

  async setUp(nc: NatsConnection): Promise<void> {
    const jsm = await jetstreamManager(nc);
    await jsm.streams.add({ name: 'BATCHES', subjects: ['batch.>'], allow_atomic: true });
  }

  async live(nc: NatsConnection, account: Account): Promise<void> {
    const js = jetstream(nc);
    for (;;) {
      const n = ++this.#n;
      const batch = await js.startBatch('batch.a', `${n}:1`);
      for (let i = 2; i < BATCH; i++) batch.add('batch.b', `${n}:${i}`);
      const { count } = await batch.commit('batch.c', `${n}:${BATCH}`);
      if (account.open && count === BATCH) this.#acked.add(n);
    }
  }

  async audit(nc: NatsConnection): Promise<string[]> {
    const places = new Map<number, number[]>();
    for (const { seq, data } of await readAll(nc, 'BATCHES')) {
      const n = Number.parseInt(data, 10);
      places.set(n, [...(places.get(n) ?? []), seq]);
    }
    const found: string[] = [];
    for (const [n, seqs] of places)
      if (seqs.length !== BATCH || (seqs.at(-1) ?? 0) - (seqs[0] ?? 0) !== BATCH - 1)
        found.push(`batch ${n} is at ${seqs.join(', ')}`);
    const lost = [...this.#acked].filter((n) => !places.has(n));
    if (lost.length > 0) found.push(`batches that were acknowledged are not there: ${some(lost)}`);
    return found.slice(0, 5);
  }
}

/** Removes what it has published, and makes and deletes streams: what was answered stays so. */
export class Purger implements Actor {
  readonly name = 'purger';
  readonly #stands = new Set<number>();
  readonly #gone = new Set<number>();
  /** Streams that must be there, and must not. */
  readonly #streams = new Map<string, boolean>();
  #n = 0;
  promises = 0;

  async setUp(nc: NatsConnection): Promise<void> {
    await (await jetstreamManager(nc)).streams.add({ name: 'SCRATCH', subjects: ['scratch.>'] });
  }

  async live(nc: NatsConnection, account: Account): Promise<void> {
    const js = jetstream(nc);
    const jsm = await jetstreamManager(nc);
    for (;;) {
      const n = ++this.#n;
      const mine: number[] = [];
      for (let i = 0; i < 6; i++) {
        const { seq } = await js.publish(`scratch.${n}`, `p ${n}`);
        if (account.open) mine.push(seq);
      }
      for (const seq of mine) this.#stands.add(seq);
      await this.#remove(mine, account, async () => {
        if (n % 3 === 0) await jsm.streams.purge('SCRATCH', { filter: `scratch.${n}` });
        else for (const seq of mine.slice(0, 3)) await jsm.streams.deleteMessage('SCRATCH', seq);
        return n % 3 === 0 ? mine : mine.slice(0, 3);
      });
      await this.#make(`T${n}`, account, () => jsm.streams.add({ name: `T${n}` }), true);
      if (n > 2)
        await this.#make(`T${n - 2}`, account, () => jsm.streams.delete(`T${n - 2}`), false);
    }
  }

  async #remove(seqs: number[], account: Account, body: () => Promise<number[]>): Promise<void> {
    // From here on nobody knows of any of them.
    for (const seq of seqs) this.#stands.delete(seq);
    const gone = await body();
    if (!account.open) return;
    for (const seq of seqs) (gone.includes(seq) ? this.#gone : this.#stands).add(seq);
    this.promises++;
  }

  async #make(
    name: string,
    account: Account,
    body: () => Promise<unknown>,
    there: boolean,
  ): Promise<void> {
    this.#streams.delete(name);
    await body().catch((error: unknown) => {
      // It went with an answer that never came.
      if (there || !String(error).includes('stream not found')) throw error;
    });
    if (!account.open) return;
    this.#streams.set(name, there);
    this.promises++;
  }

  async audit(nc: NatsConnection): Promise<string[]> {
    const seqs = new Set((await readAll(nc, 'SCRATCH')).map(({ seq }) => seq));
    const found: string[] = [];
    const back = [...this.#gone].filter((seq) => seqs.has(seq));
    if (back.length > 0) found.push(`removed messages are back: ${some(back)}`);
    const lost = [...this.#stands].filter((seq) => !seqs.has(seq));
    if (lost.length > 0) found.push(`messages are gone that nobody removed: ${some(lost)}`);
    const names = new Set<string>();
    for await (const name of (await jetstreamManager(nc)).streams.names()) names.add(name);
    for (const [name, there] of this.#streams)
      if (names.has(name) !== there)
        found.push(
          `stream ${name} is ${there ? 'gone' : 'back'} after it was ${there ? 'made' : 'deleted'}`,
        );
    return found.slice(0, 5);
  }
}

/** One of each. */
export function allActors(): Actor[] {
  return [new Orders(), new Worker(), new Bucket(), new Objects(), new Batches(), new Purger()];
}
