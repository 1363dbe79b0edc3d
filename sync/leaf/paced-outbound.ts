// What leaves on one leafnode connection: lines of control first, live messages next, what consumers deliver last, and never
// more on its way than a window of bytes. What one turn brings is written at its end.

import type { Duplex } from 'node:stream';
import type { Cancel, Clock } from '../../src/clock.ts';
import { Crossing } from './crossing.ts';
import { KernelQueue, type Ends } from './kernel-queue.ts';
import { Lane, PIECE_BYTES, type Piece } from './lane.ts';
import { messageLine, messageText, PING, PONG } from './leaf-encoder.ts';
import type { Lane as LaneName, LeafFrame, Outbound } from './types.ts';
import { WireMap } from './wire-map.ts';

/** Larger messages are not copied into text, but handed over as they are, by and by. */
const INLINE_BYTES = 2048;
/** What is gathered is written once it is this much, also within a turn. */
const WRITE_BYTES = 64 * 1024;
/**
 * Live messages that wait: as much as leaves within LIVE_MS as far as is known, within these bounds; what would be older is
 * worth little. Beyond it a further one is dropped, unless it is alone: an answer of the largest size must pass.
 */
const LIVE_MS = 10_000;
const LIVE_BYTES_LEAST = 2 * 1024 * 1024;
const LIVE_BYTES_MAX = 16 * 1024 * 1024;
/** Beyond this, or beyond one window, no more is taken from consumers: what waits here grows old. */
const BULK_BYTES_MAX = 1024 * 1024;
/** 100,000 subscriptions and more; a hub that reads so little of it is given up, for a new connection says it all again. */
const CONTROL_BYTES_MAX = 16 * 1024 * 1024;
/** PONGs behind a large message; a hub that asks more often needs no answer to each. */
const URGENT_BYTES_MAX = 1024;
/** Of one large message at once, on the fastest line. */
const PIECE_BYTES_MAX = 8 * 1024 * 1024;
/** Where live messages never end, bulk sends one byte for so many of theirs. */
const BULK_SHARE = 8;
/** Compressed in one turn, and of a large message at once. */
const TURN_BYTES = 512 * 1024;
const ENCODED_BYTES = 128 * 1024;
/** How long to wait before the kernel is asked what has crossed: about the time there and back, within these bounds. */
const LOOK_LEAST_MS = 50;
const LOOK_LONGEST_MS = 500;

const CRLF = Buffer.from('\r\n');

export interface OutboundParts {
  readonly clock: Clock;
  /** Called once, when the hub reads so little that it must be given up. */
  readonly dead: (error: Error) => void;
  /** Called when `isFull` is no more. */
  readonly room?: () => void;
  /** Bytes that came in so far. */
  readonly received?: () => number;
  /** What the network has not acknowledged; default: as the kernel says. */
  readonly kernel?: Pick<KernelQueue, 'bytes'>;
  /** Compresses what is written; default: it goes as it is. */
  readonly encode?: ((data: Buffer) => Buffer) | undefined;
}

export class PacedOutbound implements Outbound {
  readonly counters = { outMsgs: 0, outBytes: 0, droppedMsgs: 0 };
  readonly #stream: Duplex;
  readonly #parts: OutboundParts;
  readonly #kernel: Pick<KernelQueue, 'bytes'>;
  readonly #crossing: Crossing;
  readonly #wire = new WireMap();
  /** PING and PONG: ahead of everything, and not held back by the window. */
  #urgent = '';
  readonly #lines = new Lane();
  readonly #live = new Lane();
  readonly #bulk = new Lane();
  /** What is left of a begun large message. */
  #begun: Buffer[] = [];
  #begunBytes = 0;
  /** Gathered for the next write. */
  #text = '';
  /** Of the begun message that may be on its way at once: a window, and more while all of it passes. */
  #pieceBytes = 0;
  /** Bytes that bulk may send before live; less than 0 where it had more than its share. */
  #bulkDue = 0;
  #wasFull = false;
  #waits = false;
  #looks = false;
  #cancelLook: Cancel | undefined;
  #drained: (() => void)[] = [];
  #closed = false;

  constructor(stream: Duplex & Ends, parts: OutboundParts) {
    this.#stream = stream;
    this.#parts = parts;
    this.#kernel = parts.kernel ?? new KernelQueue(stream);
    this.#crossing = new Crossing(parts.clock, parts.received ?? (() => 0));
  }

  /** Whoever is told so is called back: see `room`. */
  get isFull(): boolean {
    if (this.#closed) return true;
    const full = this.#bulk.bytes >= Math.min(this.#crossing.window.bytes, BULK_BYTES_MAX);
    if (full) this.#wasFull = true;
    return full;
  }

  get waitingBytes(): number {
    const lanes = this.#lines.bytes + this.#live.bytes + this.#bulk.bytes;
    return this.#urgent.length + lanes + this.#begunBytes;
  }

  get #liveBytes(): number {
    const { bytes, paceMs = LOOK_LONGEST_MS } = this.#crossing.window;
    const leaving = (bytes * LIVE_MS) / paceMs;
    return Math.min(LIVE_BYTES_MAX, Math.max(LIVE_BYTES_LEAST, leaving));
  }

  /** Bytes that may be on their way at once. */
  get windowBytes(): number {
    return this.#crossing.window.bytes;
  }

  /** Of the last PING, there and back; undefined before the first PONG. */
  get rttMs(): number | undefined {
    return this.#crossing.window.rttMs;
  }

  /** What has crossed, for whoever watches whether the hub can be reached. */
  get crossing(): Crossing {
    return this.#crossing;
  }

  /** Writes lines at once that hold one PING: the login, before all else. */
  login(text: string): void {
    this.#append(text);
    this.#crossing.pinged(this.#crossing.sent);
    this.#write();
  }

  /** Writes the last words, past all that waits. */
  say(text: string): void {
    if (this.#closed || this.#begunBytes > 0) return;
    this.#append(text);
    this.#write();
  }

  control(line: string): void {
    if (this.#closed) return;
    if (line !== PONG) this.#lines.push(line);
    else if (this.#urgent.length < URGENT_BYTES_MAX) this.#urgent += line;
    if (this.#lines.bytes > CONTROL_BYTES_MAX) {
      this.close();
      this.#parts.dead(new Error('the hub does not take our lines of control'));
      return;
    }
    this.#wait();
  }

  /** Asks for a sign of life, ahead of everything that waits. */
  ping(): void {
    if (this.#closed || !this.#crossing.mayPing || this.#urgent.includes(PING)) return;
    this.#urgent += PING;
    this.#wait();
  }

  message(frame: LeafFrame, lane: LaneName): boolean {
    if (this.#closed) return false;
    const { headers, data } = frame;
    const bytes = data.length + (headers === undefined ? 0 : headers.length);
    const into = lane === 'bulk' ? this.#bulk : this.#live;
    if (into === this.#live && into.bytes > 0 && into.bytes + bytes > this.#liveBytes) {
      this.counters.droppedMsgs++;
      return false;
    }
    this.counters.outMsgs++;
    this.counters.outBytes += bytes;
    if (bytes <= INLINE_BYTES) into.push(messageText(frame));
    else into.pushBuffers(largeMessage(frame));
    if (!this.#waits) this.#wait();
    else if (into.bytes >= WRITE_BYTES && this.#crossing.isOpen) this.flush();
    return true;
  }

  /** The hub has answered a PING. */
  pong(): void {
    if (this.#crossing.pong() && this.waitingBytes > 0) this.#wait();
  }

  /** Writes what the window allows, now. */
  flush(): void {
    this.#waits = false;
    if (this.#closed) return;
    this.#stream.cork();
    const { sent } = this.#crossing;
    const most = this.#parts.encode === undefined ? Infinity : TURN_BYTES;
    let more = true;
    while (more && this.#crossing.sent - sent < most) more = this.#next();
    this.#write();
    this.#stream.uncork();
    if (more) this.#wait();
    if (this.waitingBytes > 0) this.#lookLater();
    else this.#settle();
    if (!this.#wasFull || this.isFull) return;
    this.#wasFull = false;
    this.#parts.room?.();
  }

  /** Asks the kernel what has crossed, unless it is being asked. Never rejects. */
  async look(): Promise<void> {
    if (this.#looks || this.#closed) return;
    this.#looks = true;
    // What is written meanwhile is in the kernel's figure, and makes what has crossed look less: never more.
    const taken = this.#wire.sent - this.#stream.writableLength;
    const queued = await this.#kernel.bytes();
    this.#looks = false;
    if (this.#closed) return;
    // Where nothing is known, what the kernel has taken must do.
    this.#crossing.looked(this.#wire.position(taken - (queued ?? 0)));
    if (this.#crossing.unackedBytes === 0)
      this.#pieceBytes = Math.min(2 * this.#pieceBytes, PIECE_BYTES_MAX);
    if (this.waitingBytes > 0) this.flush();
  }

  /** Resolves when all that waits has been handed to the network, or after `ms`. */
  async drain(ms: number): Promise<void> {
    this.flush();
    if (this.#closed || this.waitingBytes === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#drained.push(resolve);
    const cancel = this.#parts.clock.after(ms, resolve);
    await promise;
    cancel();
  }

  /** Sends nothing any more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelLook?.();
    for (const lane of [this.#lines, this.#live, this.#bulk]) lane.clear();
    this.#urgent = this.#text = '';
    this.#begun = [];
    this.#begunBytes = 0;
    this.#settle();
  }

  #settle(): void {
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  #wait(): void {
    if (this.#waits) return;
    this.#waits = true;
    this.#parts.clock.soon(() => {
      if (this.#waits) this.flush();
    });
  }

  // --- what is written ---

  /** Gathers the next of what waits; false where that is nothing, or the window is full. */
  #next(): boolean {
    if (this.#begunBytes > 0) return this.#goOn();
    if (this.#urgent !== '' && this.#stream.writableLength < CONTROL_BYTES_MAX) this.#sendUrgent();
    const lane = this.#lane();
    if (lane === undefined) return false;
    if (!this.#crossing.isOpen) {
      this.#limited();
      // The window may have shrunk since the last one: without a PING nothing would open it.
      this.#pingSometimes();
      return false;
    }
    const before = lane.bytes;
    this.#send(lane.shift());
    this.#share(lane, before - lane.bytes);
    return true;
  }

  #limited(): void {
    const { window, sent } = this.#crossing;
    window.limits(sent, this.#parts.clock.monotonicMs());
  }

  #lane(): Lane | undefined {
    if (!this.#lines.isEmpty) return this.#lines;
    if (this.#bulk.isEmpty) return this.#live.isEmpty ? undefined : this.#live;
    return this.#live.isEmpty || this.#bulkDue >= PIECE_BYTES ? this.#bulk : this.#live;
  }

  /** Counts what bulk is due while both wait. */
  #share(lane: Lane, bytes: number): void {
    if (lane === this.#live) {
      this.#bulkDue = this.#bulk.isEmpty ? 0 : this.#bulkDue + bytes / BULK_SHARE;
    } else if (lane === this.#bulk) {
      this.#bulkDue = this.#live.isEmpty ? 0 : this.#bulkDue - bytes;
    }
  }

  #sendUrgent(): void {
    const text = this.#urgent;
    this.#urgent = '';
    const ping = text.indexOf(PING);
    this.#append(text);
    if (ping >= 0) this.#crossing.pinged(this.#crossing.sent - text.length + ping + PING.length);
  }

  #send(piece: Piece): void {
    if (typeof piece === 'string') {
      this.#append(piece);
      this.#pingSometimes();
      return;
    }
    this.#begun = piece.slice();
    for (const { length } of piece) this.#begunBytes += length;
    this.#crossing.large(this.#begunBytes);
    this.#pieceBytes = this.#crossing.window.bytes;
  }

  /** Sends as much of the begun message as the window takes. */
  #goOn(): boolean {
    const room = this.#pieceBytes - this.#crossing.unackedBytes;
    if (room <= 0) {
      this.#limited();
      return false;
    }
    this.#write();
    const buffer = this.#begun[0] as Buffer;
    const { encode } = this.#parts;
    const part = buffer.subarray(0, encode === undefined ? room : Math.min(room, ENCODED_BYTES));
    if (part.length < buffer.length) this.#begun[0] = buffer.subarray(part.length);
    else this.#begun.shift();
    this.#begunBytes -= part.length;
    this.#crossing.sent += part.length;
    this.#hand(encode?.(part) ?? part);
    if (this.#begunBytes === 0) this.#pingSometimes();
    return true;
  }

  #pingSometimes(): void {
    if (!this.#crossing.wantsPing) return;
    this.#append(PING);
    this.#crossing.pinged(this.#crossing.sent);
    // The hub can read a compressed chunk only when it has all of it: the answer shall not wait for what comes later.
    if (this.#parts.encode !== undefined) this.#write();
  }

  #append(text: string): void {
    this.#text += text;
    this.#crossing.sent += text.length;
    if (this.#text.length >= WRITE_BYTES) this.#write();
  }

  #write(): void {
    const text = this.#text;
    if (text === '') return;
    this.#text = '';
    const { encode } = this.#parts;
    if (encode !== undefined) return this.#hand(encode(Buffer.from(text, 'latin1')));
    this.#wire.wrote(this.#crossing.sent, text.length);
    this.#stream.write(text, 'latin1');
  }

  /** To the socket: all of ours so far ends with these bytes. */
  #hand(bytes: Buffer): void {
    this.#wire.wrote(this.#crossing.sent, bytes.length);
    this.#stream.write(bytes);
  }

  /** Something waits: asks the kernel by and by, where no PONG can come in time. */
  #lookLater(): void {
    if (this.#cancelLook !== undefined || this.#closed) return;
    const { rttMs = LOOK_LONGEST_MS } = this;
    const ms = Math.min(LOOK_LONGEST_MS, Math.max(LOOK_LEAST_MS, rttMs));
    this.#cancelLook = this.#parts.clock.after(ms, () => {
      this.#cancelLook = undefined;
      if (this.#begunBytes > 0 || this.#crossing.isBehind)
        void this.look().then(() => this.#again());
      else this.#again();
    });
  }

  #again(): void {
    if (this.waitingBytes > 0) this.#lookLater();
  }
}

function largeMessage(frame: LeafFrame): Buffer[] {
  const line = Buffer.from(messageLine(frame), 'latin1');
  const { headers, data } = frame;
  return headers === undefined ? [line, data, CRLF] : [line, headers, data, CRLF];
}
