// The last message of each subject, as of now or of an earlier sequence: what key-value readers begin with.

import type { Clock } from '../clock.ts';
import { nextTurn } from './slices.ts';
import type { Stock } from './stock.ts';
import type { Store } from './store.ts';
import type { SubjectFilter } from './subject-filter.ts';
import type { Subject } from './subjects.ts';

/** Rows looked at in one slice, and subjects looked up in one. */
const SLICE_ROWS = 4_000;
const SLICE_SUBJECTS = 500;
/** Subjects asked whether they fall under the filter in one. */
const SLICE_LOOKS = 20_000;

/** What `Stream.lastPerSubject` promises. */
export async function lastPerSubject(
  { store, clock, stock }: { store: Store; clock: Clock; stock: Stock },
  filter: SubjectFilter,
  { upToSeq = Infinity, max }: { readonly upToSeq?: number | undefined; readonly max: number },
): Promise<number[]> {
  const upTo = Math.min(upToSeq, stock.durableSeq);
  const found: number[] = [];
  const unknown = new Map<number, Subject>();
  let looked = 0;
  for (const entry of stock.subjects.all()) {
    if (++looked % SLICE_LOOKS === 0) await nextTurn(clock);
    if (entry.count === entry.pending || !filter.coversId(entry.id, entry.subject)) continue;
    if (entry.shownSeq > 0 && entry.shownSeq <= upTo) found.push(entry.shownSeq);
    else unknown.set(entry.id, entry);
    if (found.length > max) throw tooMany(max);
  }
  const search = stock.rows.indexed ? lookUp : lookDown;
  for (let from = upTo; unknown.size > 0 && from > 0;) {
    const slice = from;
    from = store.guard(0, () => search(stock, unknown, { from: slice, upTo, found }));
    if (found.length > max) throw tooMany(max);
    if (unknown.size > 0 && from > 0) await nextTurn(clock);
  }
  return found.filter((seq) => stock.stands(seq)).sort((a, b) => a - b);
}

function tooMany(max: number): RangeError {
  return new RangeError(`more than ${max} subjects`);
}

interface Slice {
  readonly from: number;
  readonly upTo: number;
  readonly found: number[];
}

/** One subject after the other, by the index. */
function lookUp(stock: Stock, unknown: Map<number, Subject>, { upTo, found }: Slice): number {
  let left = SLICE_SUBJECTS;
  for (const [id, entry] of unknown) {
    if (left-- === 0) break;
    const seq = stock.lastShown(entry, upTo);
    if (seq > 0) found.push(seq);
    unknown.delete(id);
  }
  return upTo;
}

/** From the end down, until all are found. */
function lookDown(stock: Stock, unknown: Map<number, Subject>, { from, found }: Slice): number {
  const rows = stock.rows.backward(from, stock.firstSeq, SLICE_ROWS);
  for (const [seq, id] of rows) {
    if (!unknown.has(id) || !stock.stands(seq)) continue;
    found.push(seq);
    unknown.delete(id);
  }
  return rows.length < SLICE_ROWS ? 0 : (rows.at(-1)?.[0] ?? 1) - 1;
}
