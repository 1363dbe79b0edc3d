// How the numbers of a stream stand with whoever else keeps its messages by number: hubs whose streams are filled from it,
// or mirror it.
//
// Why a number that a hub knows is never given to another message: a hub asks for what comes behind the last sequence that
// it has stored. Asked for more than there is, this store has lost its end (an image was put back, a card has lost records,
// on old hubs also: the data directory was replaced), and the numbers in between were given out once already. Then `jump`
// makes the next number one that no hub has, on the disk before anybody is answered. What was stored under numbers of the
// second run is stored again behind, in its order, or no hub would ever get it: everything of the epochs that began after
// the last one in which that hub had asked for something (`met`, kept in the store, goes back with it). An epoch in which
// it asked has numbers that it has asked behind. So nothing is lost; what was stored in an epoch offline, then went to the
// hub, and only then was put back as an image comes a second time.

import type { Database } from 'better-sqlite3';
import { randomBytes } from 'node:crypto';
import type { Epochs } from './epochs.ts';
import type { Intake } from './intake.ts';
import { recordCrc } from './rows.ts';
import { shared } from './statements.ts';
import type { Stock } from './stock.ts';
import type { Store } from './store.ts';

/** Hubs of which each stream remembers the last epoch in which they asked; the others share a place. */
const MET_MAX = 64;
/** Rows read at once. */
const SLICE_ROWS = 500;
const SLICE_BYTES = 8 * 1024 * 1024;
/** No number beyond it is taken from a request: what is left is enough for all times. */
const JUMP_SEQ_MAX = 4_503_599_627_370_496;

const IDENTITY = 'stream-identity';
const MET = 'stream-met';

export interface NumberingParts {
  readonly store: Store;
  readonly stock: Stock;
  readonly epochs: Epochs;
  readonly intake: Pick<Intake, 'takeOwn'>;
}

/** What a jump did. */
export interface Jumped {
  /** The last number that is not used again. */
  readonly toSeq: number;
  /** Messages that were stored once more. */
  readonly moved: number;
  /** Numbers whose messages could not be, for want of room: they stay where they are, and the hub misses them. */
  readonly left: number;
}

export class Numbering {
  /** Of this incarnation of the stream: another one of the same name has another. It has no spaces. */
  readonly identity: string;
  readonly #parts: NumberingParts;
  readonly #streamId: number;
  #wanted: { toSeq: number; fromSeq: number; done: (jumped: Jumped) => void } | undefined;

  /** Part of the transaction that opens the stream. */
  constructor(parts: NumberingParts, streamId: number) {
    this.#parts = parts;
    this.#streamId = streamId;
    const { db } = parts.store;
    const key = String(streamId);
    const known = readKv(db, IDENTITY, key);
    this.identity = known ?? randomBytes(6).toString('base64url');
    if (known === undefined) putKv(db, IDENTITY, key, this.identity);
  }

  /** The last number given out, whether the disk has it or not. */
  get lastSeq(): number {
    return this.#parts.stock.totals.lastSeq;
  }

  /** The hub's stream that calls itself `name` has asked in this epoch; on the disk when it resolves. */
  async met(name: string): Promise<void> {
    const { store, epochs } = this.#parts;
    const key = this.#metKey(name);
    if (readKv(store.db, MET, key) === epochs.current) return;
    await store.alone(() => putKv(store.db, MET, key, epochs.current));
  }

  #metKey(name: string): string {
    const { db } = this.#parts.store;
    const key = `${this.#streamId}.${name}`;
    if (readKv(db, MET, key) !== undefined) return key;
    const count = shared<[string, string, string], { n: number }>(
      db,
      'SELECT count(*) AS n FROM kv WHERE map = ? AND key >= ? AND key < ?',
    ).get(MET, `${this.#streamId}.`, `${this.#streamId}/`);
    return (count?.n ?? 0) < MET_MAX ? key : `${this.#streamId}.`;
  }

  /** The first number that the hub's stream `name` may know as another message's. */
  #doubtfulFrom(name: string): number {
    const { store, stock, epochs } = this.#parts;
    const met = readKv(store.db, MET, this.#metKey(name));
    const own = epochs.list(stock.durableSeq).filter(({ retired }) => !retired);
    const at = own.findIndex(({ epoch }) => epoch === met);
    if (at < 0) return 1;
    return own[at + 1]?.firstSeq ?? stock.totals.lastSeq + 1;
  }

  /**
   * The hub's stream `name` has everything up to `toSeq`, which is beyond what there is: goes on behind it. Resolves when that is on
   * the disk; undefined where the number is none that can be gone on from.
   */
  jump(toSeq: number, name: string): Promise<Jumped | undefined> {
    if (toSeq > JUMP_SEQ_MAX || this.#wanted !== undefined) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#wanted = { toSeq, fromSeq: this.#doubtfulFrom(name), done: resolve };
      this.#parts.stock.writeSoon();
    });
  }

  /** The stream's transaction has committed, and nothing is queued: the one moment at which numbers can be left out. */
  committed(): void {
    const wanted = this.#wanted;
    if (wanted === undefined) return;
    this.#wanted = undefined;
    const { toSeq, fromSeq, done } = wanted;
    const { totals } = this.#parts.stock;
    const lastSeq = totals.lastSeq;
    if (lastSeq >= toSeq) return done({ toSeq: lastSeq, moved: 0, left: 0 });
    totals.lastSeq = toSeq;
    if (totals.messages === 0) totals.firstSeq = toSeq + 1;
    // In one go: what comes in meanwhile would overtake it.
    this.#again({ fromSeq, lastSeq, toSeq }, 0, done);
  }

  /** Stores what stands from `fromSeq` to `lastSeq` once more, and then takes it away from where it was. */
  #again(
    span: { readonly fromSeq: number; readonly lastSeq: number; readonly toSeq: number },
    before: number,
    done: (jumped: Jumped) => void,
  ): void {
    const { store, stock } = this.#parts;
    const { seqs, nextSeq } = store.together(() => this.#takeAll(span.fromSeq, span.lastSeq));
    stock.writeSoon();
    const shown = (): void => {
      if (stock.durableSeq < span.toSeq) {
        stock.durableSeq = span.toSeq;
        stock.watchers.told(span.toSeq);
      }
      for (const extent of stock.extentsOf(seqs).values()) stock.take(extent, 'consumed', true);
      stock.watchers.settle(true);
      const moved = before + seqs.length;
      const more = nextSeq <= span.lastSeq;
      if (more && seqs.length > 0) return this.#again({ ...span, fromSeq: nextSeq }, moved, done);
      done({ toSeq: span.toSeq, moved, left: more ? span.lastSeq - nextSeq + 1 : 0 });
    };
    // The store is about to close the transaction that this belongs behind.
    void Promise.resolve().then(() => store.whenDurable(shown));
  }

  /** As much as the store admits at once; `nextSeq` is where to go on. */
  #takeAll(fromSeq: number, lastSeq: number): { seqs: number[]; nextSeq: number } {
    const { stock, intake } = this.#parts;
    const seqs: number[] = [];
    for (let next = fromSeq; next <= lastSeq;) {
      const rows = stock.rows.read(next, lastSeq, SLICE_ROWS, SLICE_BYTES);
      for (const { seq, subjectId, ts, headers, data, crc } of rows) {
        const subject = stock.subjects.byId(subjectId)?.subject;
        if (subject === undefined || !stock.stands(seq)) continue;
        if (recordCrc(seq, subjectId, ts, headers, data) !== crc) continue;
        let refused = false;
        intake.takeOwn({ subject, headers }, data, (error) => (refused = error !== null));
        if (refused) return { seqs, nextSeq: seq };
        seqs.push(seq);
      }
      const last = rows.at(-1);
      if (last === undefined) break;
      next = last.seq + 1;
    }
    return { seqs, nextSeq: lastSeq + 1 };
  }
}

function readKv(db: Database, map: string, key: string): string | undefined {
  return shared<[string, string], { value: Buffer }>(
    db,
    'SELECT value FROM kv WHERE map = ? AND key = ?',
  )
    .get(map, key)
    ?.value.toString();
}

function putKv(db: Database, map: string, key: string, value: string): void {
  shared<[string, string, Buffer]>(
    db,
    'INSERT OR REPLACE INTO kv (map, key, value) VALUES (?, ?, ?)',
  ).run(map, key, Buffer.from(value));
}
