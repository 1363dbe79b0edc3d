// What the hub holds where messages may have gone out of order: not a prefix of ours, so that its last message says
// nothing of those before it. Every ID behind the last place that was certain is read, and held against our own entries.

import type { Entry, ForwardMark } from '../src/jetstream/stream-types.ts';
import type { ForwardState, OpenWindow } from './forward-state.ts';
import { HubError } from './hub-error.ts';
import { filterOf, hubMessage, positionOf, type Origin } from './hub-message.ts';
import type { Hub, HubStored, HubStream } from './hub.ts';
import type { LocalStream } from './local-stream.ts';
import type { Ahead } from './pipeline.ts';
import { idReader, type IdReader, type Remark, type Verdict } from './reconcile.ts';

/** IDs behind a hole that are remembered. A window has fewer; those beyond it would be sent again. */
export const AHEAD_MAX = 20_000;
/** Own entries read at a time. */
const CHUNK_MESSAGES = 250;
const CHUNK_BYTES = 256 * 1024;

export interface WindowReading {
  /** Everything up to this local sequence is at the hub, or need not be sent. */
  readonly afterSeq: number;
  /** Hub sequence of the last message under the filter that was seen; 0 for none. */
  readonly fenceSeq: number;
  /** To be confirmed, where it differs from the one we have. */
  readonly mark: ForwardMark | null;
  readonly remarks: readonly Remark[];
  readonly ahead?: Ahead;
}

/** Where the walk along our entries begins, and from where on the hub is read. */
interface Start {
  readonly afterSeq: number;
  readonly fromSeq: number;
  readonly mark: ForwardMark | null;
}

type GoOn = Extract<Verdict, { kind: 'go on' }>;
type Loss = Extract<Remark, { kind: 'refill' }>['why'];

/** What is read, and of what. */
export interface WindowFacts {
  readonly hub: Hub;
  readonly origin: Origin;
  readonly local: LocalStream;
  readonly state: ForwardState;
}

/**
 * Reads on behind an ordinary reading's `verdict` on `stream`; where no window is open, that verdict is all. Rejects with a
 * HubError.
 */
export async function readWindow(
  facts: WindowFacts,
  stream: HubStream,
  verdict: GoOn,
): Promise<WindowReading> {
  const { hub, origin, local, state } = facts;
  const { window: open } = state.value;
  if (open === null) return verdict;
  const why = await lossOf(facts, open, stream);
  // What the hub lost, it lost behind our note as well: the note must not outlive it.
  if (why !== undefined) await forgetPlace(state, stream);
  const read = idReader({ origin, epochs: local.epochs(), durableSeq: local.durableSeq });
  const { afterSeq, fromSeq, mark } =
    why === undefined ? startOf(local, read, open) : startAfterLoss(local, stream, why);
  const walk = new Walk(origin, local, afterSeq);
  const pages = hub.scanHeaders(stream.name, filterOf(origin), fromSeq, verdict.fenceSeq);
  let { fenceSeq } = verdict;
  for await (const page of pages) {
    // What has come since the last one was looked for counts in the place and in the fence, or in neither.
    fenceSeq = Math.max(fenceSeq, page.at(-1)?.seq ?? 0);
    for (const stored of page) {
      const meaning = read(stored.id);
      if (meaning.kind === 'ours' && !meaning.beyond && meaning.seq > walk.seq) walk.found(stored);
    }
    walk.advance();
  }
  const { seq, last, ahead } = walk;
  const remarks = verdict.remarks.filter(({ kind }) => kind !== 'refill' && kind !== 'lost ack');
  if (why !== undefined)
    remarks.push({ kind: 'refill', fromSeq: seq + 1, markSeq: local.mark?.seq ?? 0, why });
  if (last === undefined) return { afterSeq: seq, fenceSeq, mark, ahead, remarks };
  const at = { id: last.id ?? '', hubSeq: last.seq, hubCreated: stream.created };
  return { afterSeq: seq, fenceSeq, mark: { seq, ...at }, ahead, remarks };
}

/**
 * Whether the hub lost what it had confirmed. Without a fence messages may have come into a stream that was rolled back or
 * made anew, so its last one proves nothing.
 */
async function lossOf(
  { hub, local: { mark } }: WindowFacts,
  open: OpenWindow,
  stream: HubStream,
): Promise<Loss | undefined> {
  const { created, lastSeq } = stream;
  if (open.created !== '' && open.created !== created) return 'recreated';
  if (open.fromSeq > lastSeq + 1) return 'rolled back';
  if (mark === null) return undefined;
  if (mark.hubCreated !== created) return 'recreated';
  if (lastSeq < mark.hubSeq) return 'rolled back';
  if (mark.id === '' || mark.hubSeq === 0) return undefined;
  const there = await hub.messageAt(stream.name, mark.hubSeq);
  return there === null || there.id === mark.id ? undefined : 'overwritten';
}

async function forgetPlace(state: ForwardState, { created }: HubStream): Promise<void> {
  try {
    await state.save({ ...state.value, window: { afterId: '', fromSeq: 1, created } });
  } catch (cause) {
    const hint = 'give the disk room';
    throw new HubError('retry', 'the disk takes no note of the open window', { cause, hint });
  }
}

function startOf({ mark, durableSeq }: LocalStream, read: IdReader, open: OpenWindow): Start {
  // A store that lost what it had sent has its mark cut to what is left.
  const meaning = read(mark?.id);
  const marked = Math.min(
    mark?.seq ?? 0,
    meaning.kind === 'ours' ? meaning.seq : durableSeq,
    durableSeq,
  );
  const noted = read(open.afterId);
  // The note may be of a stream that was deleted and made anew under its name.
  const known = open.afterId === '' || noted.kind === 'ours';
  return {
    // The mark may have been written late.
    afterSeq: Math.max(marked, noted.kind === 'ours' ? noted.seq : 0),
    fromSeq: known ? open.fromSeq : 1,
    mark: mark === null || marked === mark.seq ? null : { ...mark, seq: marked },
  };
}

/**
 * Of all that is kept here only what is missing is sent; but where nothing is left, or a hub that removes messages does not
 * show what it lost, only what the grace holds.
 */
function startAfterLoss(
  { mark, firstSeq, graceSeq }: LocalStream,
  { created, removes }: HubStream,
  why: Loss,
): Start {
  const kept = why === 'recreated' || removes ? Math.max(firstSeq - 1, graceSeq) : firstSeq - 1;
  const seq = Math.max(0, Math.min(mark?.seq ?? 0, kept));
  return { afterSeq: seq, fromSeq: 1, mark: { seq, id: '', hubSeq: 0, hubCreated: created } };
}

/** Goes along our entries as far as the hub has each. */
class Walk {
  readonly #origin: Origin;
  readonly #local: LocalStream;
  readonly #found = new Map<string, HubStored>();
  #entries: Entry[] = [];
  seq: number;
  /** What the hub holds of the entry at `seq`. */
  last: HubStored | undefined;

  constructor(origin: Origin, local: LocalStream, afterSeq: number) {
    this.#origin = origin;
    this.#local = local;
    this.seq = afterSeq;
  }

  get ahead(): Ahead {
    return this.#found;
  }

  found(stored: HubStored): void {
    if (stored.id !== undefined && this.#found.size < AHEAD_MAX) this.#found.set(stored.id, stored);
  }

  advance(): void {
    while (this.#found.size > 0) {
      if (this.#entries.length === 0)
        this.#entries = this.#local.read(this.seq, CHUNK_MESSAGES, CHUNK_BYTES);
      const [entry] = this.#entries;
      if (entry === undefined) return;
      const { id, subject } = hubMessage(this.#origin, entry);
      const stored = this.#found.get(id);
      // The ID of a gap is also that of its last message: only its own record speaks for all of it.
      if (stored === undefined || stored.subject !== subject) return;
      this.#entries.shift();
      this.#found.delete(id);
      this.seq = positionOf(entry).seq;
      this.last = stored;
    }
  }
}
