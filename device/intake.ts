// Where the field meets the broker: gives a frame its subject and headers, publishes it, and holds it until the stream
// has answered. It has no headers of its own to add, and passes on those that came with it: every byte of a stored message is flash wear, and the frame is the
// message's data, byte for byte. A source that cannot be told "no" (a serial port) is told `full` instead.

import { assert } from '../src/assert.ts';
import type { Broker } from '../src/broker.ts';
import type { Cancel, Clock } from '../src/clock.ts';
import { RepeatGuard, type Logger } from '../src/log.ts';
import type { PublishError } from '../src/message.ts';
import { isPublishSubject } from '../src/subject.ts';

/** Held frames at which the source shall stop reading: 85 s of a 9,600 baud line with 80-byte sentences. */
export const HELD_FRAMES_MAX = 1024;
/** Held bytes at which the source shall stop reading: 4.5 minutes of a 9,600 baud line, 22 s at 115,200. */
export const HELD_BYTES_MAX = 256 * 1024;
/**
 * Frames beyond which a source that did not stop loses the newest. One read of 16 KiB makes at most 8,192 frames with a
 * delimiter, and a second one may lie between the driver and us when the port is unplugged.
 */
export const OVERRUN_FRAMES_MAX = 16 * HELD_FRAMES_MAX;
/** The same in bytes; a single frame is always taken. */
export const OVERRUN_BYTES_MAX = 2 * HELD_BYTES_MAX;
/** How long refused frames wait before one of them is tried again: disk space comes back at a human's pace. */
export const RETRY_MS = 1000;

/** What a source may have under way. Beyond the held ones it shall stop reading; what it brings nevertheless overruns. */
export interface IntakeLimits {
  readonly heldFrames: number;
  readonly heldBytes: number;
  readonly overrunFrames: number;
  readonly overrunBytes: number;
}

const SERIAL_LIMITS: IntakeLimits = {
  heldFrames: HELD_FRAMES_MAX,
  heldBytes: HELD_BYTES_MAX,
  overrunFrames: OVERRUN_FRAMES_MAX,
  overrunBytes: OVERRUN_BYTES_MAX,
};

/**
 * How a frame ended: a stream has it on its disk; no stream takes it; the stream will never take it; it was dropped
 * (an overrun, a stop), and a source that still has it may bring it again.
 */
export type Outcome = 'stored' | 'unrouted' | 'rejected' | 'dropped';

export interface Destination {
  /** Default: the subject of the source. Must be publishable. */
  readonly subject?: string;
  /** A header block that goes with it. */
  readonly headers?: Buffer | undefined;
  /** Told once, possibly before `accept` returns. */
  readonly settled?: (outcome: Outcome) => void;
}

export interface IntakeCounters {
  /** Frames that a stream has on its disk. */
  stored: number;
  /** Frames that no stream takes: nobody listens to the subject, or only subscribers that keep nothing. */
  unrouted: number;
  /** Refusals that are tried again (disk full, stream full). One frame may count several times. */
  refused: number;
  /** Frames dropped because the stream will never take them (too long for it, …). */
  droppedRejected: number;
  /** Frames dropped because the source went on while the limits above were reached. */
  droppedFull: number;
  /** Frames dropped because the agent stopped before a stream took them. */
  droppedAtStop: number;
}

interface Held {
  /** Place in the order of arrival. */
  readonly order: number;
  readonly data: Buffer;
  readonly headers: Buffer | undefined;
  /** Of data and headers. */
  readonly bytes: number;
  readonly subject: string;
  readonly settled: Destination['settled'];
}

/**
 * One source's way into the broker.
 *
 * Frames reach the stream in the order they came: whatever arrives while something waits, waits behind it; a stream
 * refuses in the turn of the publish, so nothing of a later turn has been published when a refusal is learned; the
 * refused go back to their place; and after a refusal one frame goes alone until one is stored.
 * Nothing is held twice or forgotten: a frame is in `#waiting` or awaits its receipt, and is counted once when it ends.
 */
export class Intake {
  readonly counters: IntakeCounters = {
    stored: 0,
    unrouted: 0,
    refused: 0,
    droppedRejected: 0,
    droppedFull: 0,
    droppedAtStop: 0,
  };
  readonly #subject: string | undefined;
  readonly #limits: IntakeLimits;
  readonly #broker: Broker;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #guard: RepeatGuard;
  readonly #onRoom: () => void;
  readonly #waiting: Held[] = [];
  #arrivals = 0;
  #inFlight = 0;
  #heldBytes = 0;
  #full = false;
  #refused = false;
  #warnedUnrouted = false;
  #draining = false;
  #stopped = false;
  /** What is refused from now on is not lost: the source has it. */
  #left = false;
  #cancelRetry: Cancel | undefined;

  /**
   * `onRoom` runs each time `full` becomes false again. The subject must be publishable (the configuration's check has
   * seen to it); a source without one names the subject of each frame.
   */
  constructor(
    subject: string | undefined,
    { broker, clock, log }: { broker: Broker; clock: Clock; log: Logger },
    onRoom: () => void,
    limits: IntakeLimits = SERIAL_LIMITS,
  ) {
    assert(
      subject === undefined || isPublishSubject(subject),
      `not a subject to publish to: ${subject}`,
    );
    this.#subject = subject;
    this.#limits = limits;
    this.#broker = broker;
    this.#clock = clock;
    this.#log = log;
    this.#guard = new RepeatGuard(clock);
    this.#onRoom = onRoom;
  }

  /** Whether the source should stop reading until `onRoom`. */
  get full(): boolean {
    return this.#full;
  }

  /** Frames accepted and neither stored nor given up yet. */
  get heldFrames(): number {
    return this.#waiting.length + this.#inFlight;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Takes a frame in; its bytes must not change afterwards. Never throws: what is lost is counted. */
  accept(data: Buffer, { subject = this.#subject, headers, settled }: Destination = {}): void {
    assert(subject !== undefined, 'a frame without a subject');
    const bytes = data.length + (headers?.length ?? 0);
    const { heldFrames, heldBytes, overrunFrames, overrunBytes } = this.#limits;
    if (this.#stopped) {
      this.counters.droppedAtStop++;
      settled?.('dropped');
    } else if (
      this.heldFrames >= overrunFrames ||
      (this.heldFrames > 0 && this.#heldBytes + bytes > overrunBytes)
    ) {
      this.counters.droppedFull++;
      settled?.('dropped');
      this.#guard.run('full', (times) =>
        this.#log.warn({ times }, 'Frames dropped: the stream takes none and the memory is full.'),
      );
    } else {
      this.#heldBytes += bytes;
      this.#waiting.push({ order: this.#arrivals++, data, headers, bytes, subject, settled });
      this.#drain();
      this.#full ||= this.heldFrames >= heldFrames || this.#heldBytes >= heldBytes;
    }
  }

  /** Takes frames again after `stop`. */
  start(): void {
    this.#stopped = false;
    this.#left = false;
  }

  /**
   * Tries what waits one last time and takes nothing more; what is refused now is dropped and counted. Receipts of
   * frames in flight still arrive as the store drains.
   */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    for (const frame of this.#waiting.splice(0)) this.#publish(frame);
    this.#refused = false;
  }

  /** Takes nothing more and forgets what waits: the source still has it, and is told `dropped`. */
  leave(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#left = true;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    for (const frame of this.#waiting.splice(0)) this.#release(frame, 'dropped');
    this.#refused = false;
  }

  #drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    while (!this.#cancelRetry && !(this.#refused && this.#inFlight > 0)) {
      const frame = this.#waiting.shift();
      if (frame === undefined) break;
      this.#publish(frame);
    }
    this.#draining = false;
  }

  #publish(frame: Held): void {
    this.#inFlight++;
    let settled = false;
    const { subject, data, headers } = frame;
    const message = headers === undefined ? { subject, data } : { subject, headers, data };
    const routed = this.#broker.publish(message, (error) => {
      assert(!settled, 'a receipt came twice');
      settled = true;
      this.#inFlight--;
      this.#settle(frame, error);
    });
    if (routed === 'stored') return;
    assert(!settled, 'a receipt came for a message that no stream took');
    this.#inFlight--;
    this.counters.unrouted++;
    if (!this.#warnedUnrouted) {
      this.#warnedUnrouted = true;
      this.#log.warn(
        { subject, hint: 'Add the subject to a [[stream]].' },
        'No stream takes the frames; they are not kept.',
      );
    }
    this.#release(frame, 'unrouted');
  }

  #settle(frame: Held, error: PublishError | null): void {
    let outcome: Outcome = 'dropped';
    if (error === null) {
      outcome = 'stored';
      this.counters.stored++;
      if (this.#subject !== undefined) this.#warnedUnrouted = false;
      if (this.#refused) this.#recovered();
    } else if (isFinal(error)) {
      outcome = 'rejected';
      this.counters.droppedRejected++;
      this.#guard.run('rejected', (times) =>
        this.#log.warn({ err: error, times }, 'Frame dropped: the stream will never take it.'),
      );
    } else if (this.#left) {
      this.counters.refused++;
    } else if (this.#stopped) {
      this.counters.droppedAtStop++;
      this.#guard.run('stopped', () =>
        this.#log.warn(
          { err: error },
          'Frames dropped: the agent stops and the stream refuses them.',
        ),
      );
    } else {
      this.#putBack(frame, error);
      return;
    }
    this.#release(frame, outcome);
  }

  #putBack(frame: Held, error: PublishError): void {
    this.counters.refused++;
    this.#refused = true;
    const behind = this.#waiting.findIndex((other) => other.order > frame.order);
    this.#waiting.splice(behind < 0 ? this.#waiting.length : behind, 0, frame);
    this.#guard.run('refused', (times) =>
      this.#log.warn(
        { err: error, times, heldFrames: this.heldFrames },
        'The stream refuses frames; they are held, and tried again every second.',
      ),
    );
    this.#cancelRetry ??= this.#clock.after(RETRY_MS, () => {
      this.#cancelRetry = undefined;
      this.#drain();
    });
  }

  #recovered(): void {
    // Frames published before the refusal may still be answered with success; only a try after it counts.
    if (this.#cancelRetry) return;
    this.#refused = false;
    this.#guard.clear('refused');
    this.#log.info({ heldFrames: this.heldFrames }, 'The stream takes frames again.');
  }

  #release(frame: Held, outcome: Outcome): void {
    this.#heldBytes -= frame.bytes;
    frame.settled?.(outcome);
    this.#drain();
    if (!this.#full) return;
    const { heldFrames, heldBytes } = this.#limits;
    if (this.heldFrames > heldFrames / 2 || this.#heldBytes > heldBytes / 2) return;
    this.#full = false;
    this.#onRoom();
  }
}

/** Whether the refusal is about this message (HTTP-like 400s but 429), so that trying again would never help. */
function isFinal(error: PublishError): boolean {
  return error.code >= 400 && error.code < 500 && error.code !== 429;
}
