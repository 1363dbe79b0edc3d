// The disk of the simulated gateway: real SQLite files, of which only what a finished sync covered survives a power
// cut. What was written since may survive in part: nothing, a prefix cut at any byte, or with sectors missing.

import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Database, Statement } from 'better-sqlite3';
import type { Clock } from '../../src/clock.ts';
import { checkpoint, type Checkpointer } from '../../src/jetstream/checkpointer.ts';
import type { Disk } from '../../src/jetstream/disk.ts';
import { randomInt, type Random } from '../support/random.ts';

const PAGE_BYTES = 4096;
const FRAME_BYTES = PAGE_BYTES + 24;
const WAL_HEADER_BYTES = 32;
const SECTOR_BYTES = 512;
const DATABASE = 'mangrove.db';

/** The database files as they lie on the disk. */
export interface Image {
  readonly db: Buffer;
  readonly wal: Buffer;
}

/** What the script decides about the hardware; it outlives processes. */
export interface DiskScript {
  /** How long the next sync takes. */
  syncMs(): number;
  /** Whether the next sync fails. */
  syncFails(): boolean;
  /** Whether the power goes in the middle of this checkpoint. */
  cutsCheckpoint(): boolean;
  readonly totalBytes: number;
  /** What other programs hold of it. */
  othersBytes: number;
}

export interface DiskEvents {
  /** The power went in the middle of a checkpoint. */
  cut(image: Image): void;
  /** The files take more than there is. */
  overrun(bytes: number): void;
}

export function readImage(dir: string): Image {
  const path = join(dir, DATABASE);
  return { db: readIfThere(path), wal: readIfThere(`${path}-wal`) };
}

export function writeImage(dir: string, { db, wal }: Image): void {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  if (db.length > 0) writeFileSync(join(dir, DATABASE), db);
  if (wal.length > 0) writeFileSync(join(dir, `${DATABASE}-wal`), wal);
}

function readIfThere(path: string): Buffer {
  return statSync(path, { throwIfNoEntry: false }) === undefined
    ? Buffer.alloc(0)
    : readFileSync(path);
}

/** Sequences per stream. */
export type Extents = ReadonlyMap<string, number>;

/** Per stream: what is confirmed, and where the hub has it. */
export type Marks = ReadonlyMap<string, { readonly seq: number; readonly hubSeq: number }>;

interface Committed {
  readonly extents: Extents;
  /** What forwarding has written down of its own sending, per stream. */
  readonly notes: ReadonlyMap<string, string>;
  /** What it has written down as confirmed, per stream. */
  readonly marks: Marks;
}

export class SimDisk implements Disk {
  readonly #path: string;
  readonly #walFd: number;
  readonly #clock: Clock;
  readonly #script: DiskScript;
  readonly #events: DiskEvents;
  #db: Database | undefined;
  #walFrames: Statement<[], { log: number }> | undefined;
  #marks: Statement<[], { name: string; seq: number; hubSeq: number }> | undefined;
  readonly #lasts = new Map<string, Statement<[], { last: number | null }>>();
  #asideBytes = 0;
  #closed = false;
  /** The database file as of the last checkpoint, and how much of the WAL a sync has covered since. */
  #durableDb: Buffer;
  #durableWal = 0;
  /** Counts checkpoints: a sync that began before one says nothing about the WAL after it. */
  #generation = 0;
  readonly #durable = new Map<string, number>();
  #durableNotes: ReadonlyMap<string, string> = new Map();
  #durableMarks: Marks = new Map();

  constructor(path: string, clock: Clock, script: DiskScript, events: DiskEvents) {
    this.#path = path;
    this.#clock = clock;
    this.#script = script;
    this.#events = events;
    this.#walFd = openSync(`${path}-wal`, 'r');
    this.#durableDb = readFileSync(path);
  }

  /** The last sequence of each stream that a finished sync covers. */
  get durable(): Extents {
    return this.#durable;
  }

  /** The forwarding notes that a finished sync covers, as they were written. */
  get durableNotes(): ReadonlyMap<string, string> {
    return this.#durableNotes;
  }

  /** The confirmed marks that a finished sync covers. */
  get durableMarks(): Marks {
    return this.#durableMarks;
  }

  checkpointer(db: Database): Checkpointer {
    this.#db = db;
    return {
      prepare: () => undefined,
      run: (done, first = '') => this.#checkpoint(db, first, done),
      close: () => Promise.resolve(),
    };
  }

  #checkpoint(db: Database, first: string, done: (error: Error | null) => void): void {
    const cut = this.#script.cutsCheckpoint();
    const before = cut ? { db: this.#durableDb, wal: this.#wal() } : undefined;
    // A checkpoint syncs the WAL, then the database.
    const committed = this.#committed();
    let failure: Error | null = null;
    try {
      db.exec(first);
      checkpoint(db);
    } catch (error) {
      // The row after the checkpoint found no room; what was copied is copied.
      failure = error instanceof Error ? error : new Error(String(error));
    }
    this.#generation++;
    this.#durableDb = readFileSync(this.#path);
    this.#durableWal = WAL_HEADER_BYTES;
    this.#advance(committed);
    if (before !== undefined)
      return this.#events.cut({ db: halfWritten(before.db, this.#durableDb), wal: before.wal });
    this.#clock.after(2 * this.#script.syncMs(), () => done(failure));
  }

  syncWal(done: (error: Error | null) => void): void {
    const generation = this.#generation;
    const end = this.#walEnd();
    const committed = this.#committed();
    if (this.usedBytes > this.#script.totalBytes) this.#events.overrun(this.usedBytes);
    this.#clock.after(this.#script.syncMs(), () => {
      if (this.#script.syncFails()) return done(new Error('EIO: i/o error, fdatasync'));
      if (generation === this.#generation) this.#durableWal = end;
      this.#advance(committed);
      done(null);
    });
  }

  #advance({ extents, notes, marks }: Committed): void {
    for (const [name, seq] of extents)
      this.#durable.set(name, Math.max(seq, this.#durable.get(name) ?? 0));
    this.#durableNotes = notes;
    this.#durableMarks = marks;
  }

  /** The last committed sequence of each stream, asked of SQLite itself. */
  #committed(): Committed {
    const db = this.#db;
    if (db === undefined) return { extents: new Map(), notes: new Map(), marks: new Map() };
    if (this.#lasts.size === 0) {
      this.#marks = db.prepare(
        'SELECT name, mark_seq AS seq, mark_hub_seq AS hubSeq FROM stream WHERE mark_seq IS NOT NULL',
      );
      const streams = db
        .prepare<[], { id: number; name: string }>('SELECT id, name FROM stream')
        .all();
      for (const { id, name } of streams)
        this.#lasts.set(
          name,
          // The newest record may have been taken out again; the stream's row remembers its number.
          db.prepare(
            `SELECT max(last_seq, coalesce((SELECT max(seq) FROM m_${id}), 0)) AS last FROM stream WHERE id = ${id}`,
          ),
        );
    }
    const rows = db
      .prepare<[], { key: string; value: Buffer }>(
        "SELECT key, value FROM kv WHERE map = 'forward.state'",
      )
      .all();
    return {
      extents: new Map([...this.#lasts].map(([name, last]) => [name, last.get()?.last ?? 0])),
      notes: new Map(rows.map(({ key, value }) => [key, value.toString()])),
      marks: new Map(this.#marks?.all().map((mark) => [mark.name, mark])),
    };
  }

  #walEnd(): number {
    this.#walFrames ??= this.#db?.prepare('PRAGMA wal_checkpoint = NOOP');
    const row = this.#walFrames?.get() ?? { log: 0 };
    return row.log <= 0 ? 0 : WAL_HEADER_BYTES + row.log * FRAME_BYTES;
  }

  #wal(): Buffer {
    const wal = Buffer.alloc(this.#walEnd());
    const length = readSync(this.#walFd, wal, 0, wal.length, 0);
    return wal.subarray(0, length);
  }

  /** What a power cut leaves. */
  cut(random: Random): Image {
    const wal = this.#wal();
    const kept = wal.subarray(0, this.#durableWal);
    const tail = wal.subarray(this.#durableWal);
    return { db: this.#durableDb, wal: Buffer.concat([kept, survivors(tail, random)]) };
  }

  /** What kill -9 leaves: everything written. */
  killed(): Image {
    return { db: readFileSync(this.#path), wal: this.#wal() };
  }

  get walBytes(): number {
    return fstatSync(this.#walFd).size;
  }

  get usedBytes(): number {
    return statSync(this.#path).size + this.walBytes + this.#asideBytes;
  }

  room(): { availableBytes: number; totalBytes: number } {
    const { totalBytes, othersBytes } = this.#script;
    const availableBytes = Math.max(0, totalBytes - othersBytes - this.usedBytes);
    return { availableBytes, totalBytes };
  }

  setAside(bytes: number): boolean {
    if (bytes - this.#asideBytes > this.room().availableBytes) {
      this.#asideBytes = 0;
      return false;
    }
    this.#asideBytes = bytes;
    return true;
  }

  close(): void {
    if (!this.#closed) closeSync(this.#walFd);
    this.#closed = true;
  }
}

/** What is left of bytes that no sync covers. */
function survivors(tail: Buffer, random: Random): Buffer {
  const luck = random();
  if (luck < 0.3 || tail.length === 0) return Buffer.alloc(0);
  if (luck < 0.6) return tail.subarray(0, randomInt(random, tail.length + 1));
  if (luck < 0.7) return tail;
  const torn = Buffer.from(tail);
  for (let at = 0; at < torn.length; at += SECTOR_BYTES)
    if (random() < 0.3) torn.fill(0, at, Math.min(torn.length, at + SECTOR_BYTES));
  return torn;
}

/** A database that the power left while a checkpoint wrote it: every other page or so is old. */
function halfWritten(before: Buffer, after: Buffer): Buffer {
  const mixed = Buffer.from(after);
  for (let page = 1; page * PAGE_BYTES < before.length; page += 2)
    before.copy(mixed, page * PAGE_BYTES, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
  return mixed;
}

/** Flips one bit in the frames of the WAL: SQLite then drops that frame and all behind it. Null where there is none. */
export function flipWalBit({ db, wal }: Image, random: Random): Image | null {
  if (wal.length <= WAL_HEADER_BYTES) return null;
  const flipped = Buffer.from(wal);
  const at = WAL_HEADER_BYTES + randomInt(random, wal.length - WAL_HEADER_BYTES);
  flipped[at] = (flipped[at] ?? 0) ^ (1 << randomInt(random, 8));
  return { db, wal: flipped };
}
