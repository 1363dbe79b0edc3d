// How many bytes may be on their way to the hub at once. On a line of 50 kbit/s that is some KiB, so that what is urgent
// waits a second and not minutes; on a fast one, or a fast and long one, it is as much as the line takes.

/** The window of a new connection, and the least of one that is used little: a good second at 50 kbit/s. */
const START_BYTES = 8 * 1024;
/** The smallest: three packets. A line that takes long for these is long, not narrow. */
const FLOOR_BYTES = 4 * 1024;
/** The largest: 640 Mbit/s at 100 ms there and back. It may be in memory twice, here and in the kernel. */
const WINDOW_BYTES_MAX = 8 * 1024 * 1024;
/** There and back, with the queues on the way: the window aims at this, or at twice what the line needs of itself. */
const GOAL_MS = 500;
/** The window becomes at most so many times what has just crossed: a line may let the first of a burst pass at once. */
const STEP = 2;
/** And so many times where nothing had to queue, or not for long. */
const LEAP = 4;
const QUIET_MS = 50;
/** And so many times beyond what was once seen to be too much: what a line has saved up while idle is soon used up. */
const CAREFUL = 1.25;

/** Room is unused when nothing had to wait for the window for so long: who delivers in bursts needs it again soon. */
const UNUSED_MS = 1000;

interface Mark {
  readonly position: number;
  /** Position of the mark before. */
  readonly before: number;
  readonly sentMs: number;
  /** Bytes that were on their way when it was sent, itself included. */
  readonly underWayBytes: number;
  /** The window then. */
  readonly windowBytes: number;
  /** Bytes that had come in when it was sent. */
  readonly receivedBytes: number;
}

/**
 * Positions are counted in bytes since the begin of the connection. PINGs are marks; the PONG shows that all before it has
 * crossed, and its time there and back shows what the window did. If all bytes under way wait in one queue, that time is
 * bytes / rate, and `bytes * goal / time` would have taken the goal: that is the new window, within bounds. It grows by any
 * mark that shows so much. It shrinks once a round, by a mark that was set after it last shrank, and only by one that had at
 * least half a window before it, of then or of now: the queues of others are not ours to shorten. Of then, since else a window
 * that has just grown too large would not hear of it before all that it let through has crossed. What was too much once is
 * approached with care from then on: a line that was idle may let a burst pass at once, each time anew.
 * A PONG that stood behind data of the hub's says nothing of our way if it is late. At the floor our own bytes are too few
 * to matter, so what a mark takes then is what the line needs of itself; without this a long line would stay at the floor.
 */
export class SendWindow {
  /** Bytes that may be under way. */
  bytes = START_BYTES;
  /** Everything before this position has crossed. */
  crossed = 0;
  /** Of the last mark that crossed, there and back; undefined before the first. */
  rttMs: number | undefined;
  /** What a window takes to cross, there and back: of the last mark while the window limits, else what the line needs. */
  paceMs: number | undefined;
  #lineMs = Infinity;
  /** More than this was too much when it was last tried. */
  #fitting = Infinity;
  #marks: Mark[] = [];
  /** How much had been sent when the window last changed, and when it last became smaller. */
  #changedAt = 0;
  #judgedTo = 0;
  #lastMark = 0;
  #limitedAt = -1;
  #limitedMs = -Infinity;

  /** Bytes sent since the last mark. */
  unmarked(position: number): number {
    return position - this.#lastMark;
  }

  /** Something has to wait for the window; everything before `position` was sent. */
  limits(position: number, nowMs: number): void {
    this.#limitedAt = position;
    this.#limitedMs = nowMs;
  }

  /** A PING was sent, and ends at `position`. */
  mark(position: number, nowMs: number, receivedBytes: number): void {
    const before = this.#lastMark;
    this.#lastMark = position;
    const underWayBytes = position - this.crossed;
    const windowBytes = this.bytes;
    this.#marks.push({
      position,
      before,
      sentMs: nowMs,
      underWayBytes,
      windowBytes,
      receivedBytes,
    });
  }

  /** The PONG to the mark at `position` has come. `sent` bytes have been sent, and `receivedBytes` came in. */
  cross(position: number, sent: number, nowMs: number, receivedBytes: number): void {
    const mark = this.assume(position);
    if (mark === undefined) return;
    const rttMs = Math.max(0.01, nowMs - mark.sentMs);
    this.rttMs = rttMs;
    this.#lineMs = Math.min(this.#lineMs, rttMs);
    const before = this.bytes;
    const counts = this.#counts(mark, receivedBytes);
    if (!this.#limited(mark)) this.paceMs = this.#lineMs;
    else if (counts) this.paceMs = rttMs;
    if (!this.#judge(mark, nowMs, counts)) return;
    this.#changedAt = sent;
    if (this.bytes <= before) this.#judgedTo = sent;
  }

  /** Everything before `position` has crossed, by other evidence; it says nothing of the window. Returns the last mark there. */
  assume(position: number): Mark | undefined {
    if (position <= this.crossed) return undefined;
    this.crossed = position;
    return this.#reached(position);
  }

  /** Forgets the marks before `position`; returns the last of them. */
  #reached(position: number): Mark | undefined {
    const marks = this.#marks;
    let count = 0;
    while (count < marks.length && (marks[count] as Mark).position <= position) count++;
    return count === 0 ? undefined : marks.splice(0, count)[count - 1];
  }

  get #goalMs(): number {
    return Math.max(GOAL_MS, 2 * this.#lineMs);
  }

  /** The window with which the mark would have taken the goal, if its bytes waited in one queue. */
  #fits({ underWayBytes }: Mark, rttMs: number): number {
    return Math.floor((underWayBytes * this.#goalMs) / rttMs);
  }

  /** Whether something had to wait for the window since the mark before. */
  #limited(mark: Mark): boolean {
    return this.#limitedAt >= mark.before;
  }

  /** Whether it is by our bytes that the mark is late, if it is. */
  #counts(mark: Mark, receivedBytes: number): boolean {
    const isBehind = receivedBytes - mark.receivedBytes > mark.underWayBytes;
    return !isBehind && mark.underWayBytes >= Math.min(mark.windowBytes, this.bytes) / 2;
  }

  /** Whether the mark has changed the window. */
  #judge(mark: Mark, nowMs: number, counts: boolean): boolean {
    const rttMs = Math.max(0.01, nowMs - mark.sentMs);
    const isLate = rttMs > this.#goalMs;
    if (this.#limited(mark) && !isLate) return this.#grow(mark, rttMs);
    if (mark.position <= this.#judgedTo) return false;
    if (!isLate) {
      if (nowMs - this.#limitedMs < UNUSED_MS) return false;
      // Unused room is given back, bit by bit: the line may be a narrower one when it is needed.
      this.bytes = Math.max(START_BYTES, Math.floor(0.875 * this.bytes));
      return true;
    }
    if (!counts) return false;
    const fits = this.#fits(mark, rttMs);
    if (this.bytes === FLOOR_BYTES) this.#lineMs = 0.75 * rttMs;
    this.bytes = Math.max(FLOOR_BYTES, Math.min(this.bytes, fits));
    this.#fitting = this.bytes;
    return true;
  }

  #grow(mark: Mark, rttMs: number): boolean {
    const { position, underWayBytes } = mark;
    const isQuiet = rttMs - this.#lineMs < QUIET_MS;
    const fits = isQuiet
      ? LEAP * underWayBytes
      : Math.min(STEP * underWayBytes, this.#fits(mark, rttMs));
    this.#fitting = Math.max(this.#fitting, underWayBytes);
    // Beyond what has fitted, a step a round: by a mark that knows of the step before.
    const careful = position > this.#changedAt ? CAREFUL * this.bytes : this.bytes;
    const shown = Math.floor(Math.min(WINDOW_BYTES_MAX, fits, Math.max(this.#fitting, careful)));
    if (shown <= this.bytes) return false;
    this.bytes = shown;
    return true;
  }
}
