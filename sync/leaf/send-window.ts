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

interface Mark {
  readonly position: number;
  readonly sentMs: number;
  /** Bytes that were on their way when it was sent, itself included. */
  readonly underWayBytes: number;
  /** Bytes that had come in when it was sent. */
  readonly receivedBytes: number;
}

/**
 * Positions are counted in bytes since the begin of the connection. PINGs are marks; the PONG shows that all before it has
 * crossed, and its time there and back shows what the window did. If all bytes under way wait in one queue, that time is
 * bytes / rate, and `bytes * goal / time` would have taken the goal: that is the new window, and at most twice the old one.
 * It is judged once a round, by a mark that was set after the last change, and only by one that had at least half a window
 * before it: the queues of others are not ours to shorten. A PONG that stood behind data of the hub's says nothing of our
 * way if it is late. At the floor our own bytes are too few to matter, so what a mark takes then is what the line needs of
 * itself; without this a long line would stay at the floor.
 */
export class SendWindow {
  /** Bytes that may be under way. */
  bytes = START_BYTES;
  /** Everything before this position has crossed. */
  crossed = 0;
  /** Of the last mark that crossed, there and back; undefined before the first. */
  rttMs: number | undefined;
  /** Something had to wait for the window since it was judged last. */
  limits = false;
  #lineMs = Infinity;
  #marks: Mark[] = [];
  #judgedTo = 0;
  #lastMark = 0;

  /** Bytes sent since the last mark. */
  unmarked(position: number): number {
    return position - this.#lastMark;
  }

  /** A PING was sent, and ends at `position`. */
  mark(position: number, nowMs: number, receivedBytes: number): void {
    this.#lastMark = position;
    const underWayBytes = position - this.crossed;
    this.#marks.push({ position, sentMs: nowMs, underWayBytes, receivedBytes });
  }

  /** The PONG to the mark at `position` has come. `sent` bytes have been sent, and `receivedBytes` came in. */
  cross(position: number, sent: number, nowMs: number, receivedBytes: number): void {
    const mark = this.assume(position);
    if (mark === undefined) return;
    const rttMs = Math.max(0.01, nowMs - mark.sentMs);
    this.rttMs = rttMs;
    this.#lineMs = Math.min(this.#lineMs, rttMs);
    const behind = receivedBytes - mark.receivedBytes > mark.underWayBytes;
    if (mark.position <= this.#judgedTo || !this.#judge(mark, rttMs, behind)) return;
    this.#judgedTo = sent;
    this.limits = false;
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

  /** False where the mark says nothing of the window. */
  #judge({ underWayBytes }: Mark, rttMs: number, behind: boolean): boolean {
    const goalMs = Math.max(GOAL_MS, 2 * this.#lineMs);
    if (!this.limits && rttMs <= goalMs) {
      // Unused room is given back, bit by bit: the line may be a narrower one when it is needed.
      this.bytes = Math.max(START_BYTES, Math.floor(0.875 * this.bytes));
    } else if (underWayBytes < this.bytes / 2) {
      return false;
    } else if (rttMs <= goalMs) {
      const grown = Math.floor(this.bytes * Math.min(2, goalMs / rttMs));
      this.bytes = Math.min(WINDOW_BYTES_MAX, grown);
    } else if (behind) {
      return false;
    } else {
      if (this.bytes === FLOOR_BYTES) this.#lineMs = 0.75 * rttMs;
      const fitting = Math.floor((underWayBytes * goalMs) / rttMs);
      this.bytes = Math.max(FLOOR_BYTES, Math.min(this.bytes, fitting));
    }
    return true;
  }
}
