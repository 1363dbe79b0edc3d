// Reads what a stopped (or killed) agent has on its disk, and holds it against what its publishers were told. It works
// on a copy, with SQL of its own: neither does it heal the files, nor does it rely on the reader under test.

import Database from 'better-sqlite3';
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { recordCrc } from '../../src/jetstream/rows.ts';
import { parseMessage, type Publisher } from './publisher.ts';

export interface Stored {
  readonly seq: number;
  readonly subject: string;
  readonly data: Buffer;
  readonly epoch: string;
}

export interface Disk {
  readonly integrity: string;
  readonly messages: readonly Stored[];
  /** Sequences whose CRC is wrong. */
  readonly damaged: readonly number[];
  readonly epochs: readonly { readonly epoch: string; readonly firstSeq: number }[];
}

/** What the files in `dataDir` hold of `stream`. */
export function readDisk(dataDir: string, stream = 'DATA'): Disk {
  const copy = mkdtempSync(join(tmpdir(), 'mangrove-audit-'));
  try {
    for (const name of ['mangrove.db', 'mangrove.db-wal'])
      if (existsSync(join(dataDir, name))) copyFileSync(join(dataDir, name), join(copy, name));
    const db = new Database(join(copy, 'mangrove.db'));
    try {
      return read(db, stream);
    } finally {
      db.close();
    }
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

interface Row {
  seq: number;
  subject_id: number;
  subject: string;
  ts: number;
  headers: Buffer | null;
  data: Buffer;
  crc: number;
}

function read(db: Database.Database, stream: string): Disk {
  const integrity = String(db.pragma('integrity_check', { simple: true }));
  // A cut before anything was synced leaves an empty database.
  const made = db.prepare("SELECT count(*) FROM sqlite_schema WHERE name = 'stream'").pluck().get();
  if (made === 0) return { integrity, messages: [], damaged: [], epochs: [] };
  const id = db.prepare('SELECT id FROM stream WHERE name = ?').pluck().get(stream) as number;
  const epochs = db
    .prepare('SELECT epoch, first_seq AS firstSeq FROM epoch WHERE stream = ? ORDER BY first_seq')
    .all(stream) as { epoch: string; firstSeq: number }[];
  const rows = db
    .prepare(
      `SELECT m.*, s.subject FROM m_${id} m
       LEFT JOIN subject s ON s.stream_id = ${id} AND s.id = m.subject_id ORDER BY seq`,
    )
    .iterate() as IterableIterator<Row>;
  const messages: Stored[] = [];
  const damaged: number[] = [];
  let at = 0;
  for (const { seq, subject_id: subjectId, subject, ts, headers, data, crc } of rows) {
    if (recordCrc(seq, subjectId, ts, headers, data) !== crc) damaged.push(seq);
    while ((epochs[at + 1]?.firstSeq ?? Infinity) <= seq) at++;
    messages.push({ seq, subject, data, epoch: epochs[at]?.epoch ?? '' });
  }
  return { integrity, messages, damaged, epochs };
}

/** Everything that is wrong, as sentences; empty when every promise was kept. A handful of each kind. */
export function violations(disk: Disk, publishers: readonly Publisher[]): string[] {
  const found = publishers.flatMap(({ strange }) => strange);
  if (disk.integrity !== 'ok') found.push(`integrity_check: ${disk.integrity}`);
  if (disk.damaged.length > 0) found.push(`wrong CRC at sequences ${some(disk.damaged)}`);
  const names = new Set(disk.epochs.map(({ epoch }) => epoch));
  if (names.size !== disk.epochs.length) found.push('an epoch was used twice');
  found.push(...numbering(disk.messages));
  found.push(...lives(disk.messages));
  for (const publisher of publishers) found.push(...keptPromises(disk.messages, publisher));
  return found;
}

/** Nothing was removed in these tests, so sequences must run from 1 without a hole. */
function numbering(messages: readonly Stored[]): string[] {
  const at = messages.findIndex(({ seq }, i) => seq !== i + 1);
  return at < 0 ? [] : [`sequence ${at + 1} is missing: ${messages[at]?.seq} stands in its place`];
}

/** The messages of a later start come after those of an earlier one, in an epoch of their own. */
function lives(messages: readonly Stored[]): string[] {
  const found: string[] = [];
  const lifeOf = new Map<string, number>();
  let highest = 0;
  for (const { seq, data, epoch } of messages) {
    const { life } = parseMessage(data);
    if (life < highest) found.push(`sequence ${seq} of start ${life} comes after start ${highest}`);
    highest = Math.max(highest, life);
    const owner = lifeOf.get(epoch) ?? life;
    if (owner !== life) found.push(`epoch ${epoch} has messages of starts ${owner} and ${life}`);
    lifeOf.set(epoch, owner);
  }
  return found.slice(0, 5);
}

function keptPromises(messages: readonly Stored[], { name, acked }: Publisher): string[] {
  const found: string[] = [];
  const stored = new Set<number>();
  let last = 0;
  for (const { data, subject } of messages) {
    const { publisher, n } = parseMessage(data);
    if (publisher !== name) continue;
    if (subject !== `data.${name}`) found.push(`${name}:${n} is stored under ${subject}`);
    if (stored.has(n)) found.push(`${name}:${n} is stored twice`);
    else if (n < last) found.push(`${name}:${n} is stored after ${name}:${last}`);
    stored.add(n);
    last = Math.max(last, n);
  }
  const lost = acked.filter((n) => !stored.has(n));
  if (lost.length > 0)
    found.unshift(
      `${lost.length} of ${acked.length} acknowledged messages of ${name} are lost: ${some(lost)}`,
    );
  return found.slice(0, 5);
}

/** How many acknowledged messages the disk does not have. */
export function lostCount(
  disk: Disk,
  publishers: readonly { readonly name: string; readonly acked: readonly number[] }[],
): number {
  const stored = new Set(
    disk.messages.map(({ data }) => {
      const { publisher, n } = parseMessage(data);
      return `${publisher}:${n}`;
    }),
  );
  return publishers.reduce(
    (sum, { name, acked }) => sum + acked.filter((n) => !stored.has(`${name}:${n}`)).length,
    0,
  );
}

function some(numbers: readonly number[]): string {
  const rest = numbers.length > 5 ? `, … ${numbers.at(-1)}` : '';
  return numbers.slice(0, 5).join(', ') + rest;
}
