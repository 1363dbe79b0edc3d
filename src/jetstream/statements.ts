// Prepared statements, as few as will do: each takes some kilobytes and tens of microseconds, and there are hundreds of
// streams and thousands of consumers.

import type { Database, Statement } from 'better-sqlite3';

const prepared = new WeakMap<Database, Map<string, Statement<unknown[]>>>();

/** One for all who say the same to a database, with other parameters; its mode of giving rows is the plain one. */
export function shared<Parameters extends unknown[], Row = unknown>(
  db: Database,
  sql: string,
): Statement<Parameters, Row> {
  let ofDb = prepared.get(db);
  if (ofDb === undefined) prepared.set(db, (ofDb = new Map()));
  let statement = ofDb.get(sql);
  if (statement === undefined) ofDb.set(sql, (statement = db.prepare(sql)));
  return statement as unknown as Statement<Parameters, Row>;
}

/** Makes it when it is first asked for. */
export function lazily<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
