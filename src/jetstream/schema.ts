// The tables of the database and how an older one becomes the present one. Each migration is one step of
// `user_version`, all of them run in one transaction; a database from a newer Mangrove is refused, never touched.
//
//   stream    one row a stream: its configuration and where that comes from (`file`, `api`), its totals as of
//             `counted_seq`, and the forwarder's mark
//   m_<id>    the messages of stream <id>, in sequence order
//   subject   the subjects of a stream, how many of its messages, up to `counted_seq`, each has, and the last of them (0:
//             to be looked up)
//   expiry    messages with a time to live of their own, by the store time at which they go
//   garbage   message tables of deleted streams, emptied bit by bit
//   consumer  one row a consumer: its configuration and how far it is
//   consumer_seq  of a consumer, by sequence: what is acknowledged above its ack floor, and what was delivered more than
//             once and is not (consumers/seq-rows.ts says how)
//   epoch     who numbered what: a new row each time a stream may run its sequence a second time
//   gap       messages that were removed before the hub had them, until the hub has been told
//   grace     where the forwarder's mark stood, by store time: what a hub that lost its tail is filled again from
//   boot      one row a start: how store time maps to the wall clock (timeline.ts)
//   quarantine  records that failed their CRC, for an operator to look at
//   kv        small durable maps for others: MQTT sessions, their queues, retained messages
//   beat      the one row that a checkpoint writes, so that the restarted WAL replaces the old frames

import type { Database } from 'better-sqlite3';

/** A database that a newer Mangrove has written. */
export class SchemaTooNewError extends Error {
  override name = 'SchemaTooNewError';
  readonly hint =
    'install the newer version again, or move the data directory aside to start empty';
}

const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE stream (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    config TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    first_seq INTEGER NOT NULL DEFAULT 1,
    counted_seq INTEGER NOT NULL DEFAULT 0,
    messages INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    last_seq INTEGER NOT NULL DEFAULT 0,
    mark_seq INTEGER,
    mark_id TEXT,
    mark_hub_seq INTEGER,
    mark_hub_created TEXT
  ) STRICT;
  CREATE TABLE subject (
    stream_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    subject TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (stream_id, id)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE epoch (
    stream TEXT NOT NULL,
    stream_id INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    PRIMARY KEY (stream, stream_id, first_seq)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE gap (
    stream_id INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    reason TEXT NOT NULL,
    first_ts INTEGER,
    last_ts INTEGER,
    PRIMARY KEY (stream_id, first_seq)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE grace (
    stream_id INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (stream_id, ts)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE boot (
    base_ts INTEGER PRIMARY KEY,
    last_ts INTEGER NOT NULL,
    wall_offset_ms INTEGER NOT NULL,
    synced INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    subject TEXT,
    ts INTEGER,
    headers BLOB,
    data BLOB,
    crc INTEGER
  ) STRICT;
  CREATE TABLE kv (
    map TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (map, key)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE beat (id INTEGER PRIMARY KEY CHECK (id = 1), n INTEGER NOT NULL) STRICT;
  INSERT INTO beat VALUES (1, 0);
  `,
  `
  ALTER TABLE stream ADD COLUMN origin TEXT NOT NULL DEFAULT 'file';
  ALTER TABLE subject ADD COLUMN last_seq INTEGER NOT NULL DEFAULT 0;
  CREATE TABLE expiry (
    stream_id INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (stream_id, ts, seq)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE garbage (stream_id INTEGER PRIMARY KEY) STRICT;
  CREATE TABLE consumer (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    config TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    delivered_consumer_seq INTEGER NOT NULL DEFAULT 0,
    delivered_stream_seq INTEGER NOT NULL DEFAULT 0,
    floor_consumer_seq INTEGER NOT NULL DEFAULT 0,
    floor_stream_seq INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX consumer_stream ON consumer (stream_id);
  CREATE TABLE consumer_seq (
    consumer_id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    PRIMARY KEY (consumer_id, seq)
  ) STRICT, WITHOUT ROWID;
  `,
];

/** The version that this program reads and writes. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/** Brings the database to SCHEMA_VERSION. Throws SchemaTooNewError, having written nothing. */
export function migrate(db: Database): void {
  const version = Number(db.pragma('user_version', { simple: true }));
  if (version > SCHEMA_VERSION) {
    throw new SchemaTooNewError(
      `the database has schema version ${version}, this program knows up to ${SCHEMA_VERSION}`,
    );
  }
  if (version === SCHEMA_VERSION) return;
  db.transaction(() => {
    for (const step of MIGRATIONS.slice(version)) db.exec(step);
    db.pragma(`user_version = ${SCHEMA_VERSION}`);
  }).immediate();
}

/** The table that holds the messages of stream `id`. */
export function messageTable(id: number): string {
  return `m_${id}`;
}

/** Creates the message table of stream `id`; part of the transaction that inserts the stream's row. */
export function createMessageTable(db: Database, id: number): void {
  db.exec(`CREATE TABLE ${messageTable(id)} (
    seq INTEGER PRIMARY KEY,
    subject_id INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    headers BLOB,
    data BLOB NOT NULL,
    crc INTEGER NOT NULL
  ) STRICT`);
}
