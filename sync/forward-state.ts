// What forwarding must still know of its own sending after a crash: a row of JSON per stream, on the disk before what it
// speaks of begins. How far the hub has come is not its business: that is the mark's, and the hub's to tell.

/** Says that messages may have gone to the hub out of order. */
export interface OpenWindow {
  /** ID of an entry up to which everything is at the hub; empty for none. */
  readonly afterId: string;
  /** What the hub holds of ours behind that is at this hub sequence or later. */
  readonly fromSeq: number;
  /** When the hub stream was created, as the hub writes it; empty: not known. */
  readonly created: string;
}

/** The row's values. */
export interface ForwardNotes {
  /** Null: the hub holds a prefix of our entries, in order. */
  readonly window: OpenWindow | null;
  /** The fast batch that was opened last: it may still take messages. */
  readonly batchId: string | null;
}

/** A durable map. Writes join this turn's commit; reads see committed rows only. */
export interface ForwardTable {
  get(key: string): Buffer | undefined;
  put(key: string, value: Buffer): void;
}

/** Calls `done` once everything written up to now is on the disk (null), or was refused. */
export type WhenDurable = (done: (error: Error | null) => void) => void;

const NOTHING: ForwardNotes = { window: null, batchId: null };
/** For a row that cannot be read: the hub is read from the beginning. */
const UNREADABLE: ForwardNotes = {
  window: { afterId: '', fromSeq: 1, created: '' },
  batchId: null,
};

export class ForwardState {
  readonly #stream: string;
  readonly #table: ForwardTable;
  readonly #whenDurable: WhenDurable;
  #value: ForwardNotes;

  /** `stream` is the local stream's name. */
  constructor(stream: string, table: ForwardTable, whenDurable: WhenDurable) {
    this.#stream = stream;
    this.#table = table;
    this.#whenDurable = whenDurable;
    this.#value = parse(table.get(stream));
  }

  /** What was saved last, by this process or the one before. */
  get value(): ForwardNotes {
    return this.#value;
  }

  /**
   * Resolves when `notes` are on the disk, at once when they are there already. Rejects when the disk takes nothing: then
   * the old ones hold. One call at a time.
   */
  async save(notes: ForwardNotes): Promise<void> {
    const row = format(notes);
    if (row === format(this.#value)) return;
    this.#table.put(this.#stream, Buffer.from(row));
    await new Promise<void>((resolve, reject) =>
      this.#whenDurable((error) => (error === null ? resolve() : reject(error))),
    );
    this.#value = { window: notes.window, batchId: notes.batchId };
  }
}

function format({ window, batchId }: ForwardNotes): string {
  const { afterId, fromSeq, created } = window ?? {};
  const open =
    window === null ? null : { after_id: afterId, from_seq: fromSeq, hub_created: created };
  return JSON.stringify({ window: open, batch_id: batchId });
}

function parse(row: Buffer | undefined): ForwardNotes {
  if (row === undefined) return NOTHING;
  try {
    const { window, batch_id: batchId } = JSON.parse(row.toString()) as {
      window?: { after_id?: unknown; from_seq?: unknown; hub_created?: unknown } | null;
      batch_id?: unknown;
    };
    if (batchId !== null && typeof batchId !== 'string') return UNREADABLE;
    if (window === null) return { window, batchId };
    const { after_id: afterId, from_seq: fromSeq, hub_created: created } = window ?? {};
    if (typeof afterId !== 'string' || typeof fromSeq !== 'number' || typeof created !== 'string')
      return UNREADABLE;
    return { window: { afterId, fromSeq, created }, batchId };
  } catch {
    return UNREADABLE;
  }
}
