// One configured serial port: keeps it open, hands what it reads to the framing, and the frames through the decoder to
// the intake. It promises that an unplugged device is let go at once and read again within two seconds of its return,
// that the halves of two frames are never joined, and that nothing is read which could not be held.

import type { Duplex } from 'node:stream';
import type { Broker } from '../../src/broker.ts';
import type { Cancel, Clock } from '../../src/clock.ts';
import { RepeatGuard, type Logger } from '../../src/log.ts';
import { Intake, type IntakeCounters } from '../intake.ts';
import { decoderFor, type Decode } from './decode.ts';
import { framingFor, type Framing } from './framing.ts';
import { openDevice } from './open-device.ts';
import { lostError, openError, PortError } from './port-error.ts';
import type { LineSettings, SerialConfig } from './serial-config.ts';

/** First wait before the port is opened again. */
const REOPEN_MIN_MS = 250;
/** Longest wait: a device that comes back is open within a second, and data flows well within two. */
const REOPEN_MAX_MS = 1000;
/**
 * Bytes that come sooner after an open are the rest of a frame that began before it, since within a frame the next byte
 * follows in a character time or a few (1 ms each at 9,600 baud), which a USB adapter stretches by 16 ms.
 */
export function joinMs(baudRate: number): number {
  return 16 + (4 * 10 * 1000) / baudRate;
}

/** Opens the device: resolves with a stream whose `destroy` closes it; rejects, best with a PortError. */
export type OpenPort = (path: string, settings: LineSettings) => Promise<Duplex>;

export interface SerialStats extends Readonly<IntakeCounters> {
  readonly name: string;
  readonly path: string;
  readonly subject: string;
  readonly open: boolean;
  /** Open for long enough that the next byte begins a frame. */
  readonly ready: boolean;
  /** Not reading, because too much is held. */
  readonly paused: boolean;
  /** Times the reading was paused. */
  readonly pauses: number;
  readonly bytes: number;
  readonly frames: number;
  readonly droppedOversize: number;
  readonly droppedBytes: number;
  readonly opens: number;
  /** Failed opens and losses of an open port. */
  readonly errors: number;
  readonly lastError: string | null;
  readonly heldFrames: number;
  readonly heldBytes: number;
}

/**
 * A port is closed, being opened, or open with one stream; `#stream` is the open one. Everything a stream has to say is
 * ignored as soon as it is not `#stream` any more, so a late event of an old one cannot touch its successor.
 */
export class SerialPort {
  readonly #config: SerialConfig;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #guard: RepeatGuard;
  readonly #open: OpenPort;
  readonly #framing: Framing;
  readonly #decode: Decode;
  readonly #intake: Intake;
  readonly #subject: string;
  #running = false;
  #opening: Promise<void> | undefined;
  #stream: Duplex | undefined;
  #cancelReopen: Cancel | undefined;
  #reopenMs = REOPEN_MIN_MS;
  /** Bytes that come before this time may begin within a frame. */
  #joinedAtMs = 0;
  /** When the last chunk came; null when that says nothing about the line (just opened, or reading was paused). */
  #readAtMs: number | null = null;
  #joining = false;
  #bytes = 0;
  #opens = 0;
  #pauses = 0;
  #errors = 0;
  #lastError: string | null = null;
  #openErrorCode: string | null = null;
  /** Whether the log's last word is that the port is not open. */
  #saidClosed = true;

  /** `open` is the hardware: the real one by default, any Duplex in tests. */
  constructor(
    config: SerialConfig,
    { broker, clock, log }: { broker: Broker; clock: Clock; log: Logger },
    open: OpenPort = (path, settings) => openDevice(path, settings, clock),
  ) {
    this.#config = config;
    this.#clock = clock;
    this.#log = log.child({ port: config.name });
    this.#guard = new RepeatGuard(clock);
    this.#open = open;
    this.#framing = framingFor(config.framing, config.frameBytesMax);
    this.#decode = decoderFor(config.decode);
    this.#subject = config.subject ?? `serial.${config.name}`;
    this.#intake = new Intake(this.#subject, { broker, clock, log: this.#log }, () =>
      this.#resume(),
    );
  }

  /** Opens the port and keeps it open. Returns at once; an absent device is waited for. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#intake.start();
    this.#reopenMs = REOPEN_MIN_MS;
    this.#openNow();
  }

  /** Closes the port; resolves when its descriptor is closed. Frames in flight still get their receipts. */
  async stop(): Promise<void> {
    this.#running = false;
    this.#cancelReopen?.();
    this.#cancelReopen = undefined;
    const stream = this.#stream;
    if (stream !== undefined) this.#release(stream);
    this.#intake.stop();
    await this.#opening;
    if (stream !== undefined) await closed(stream);
  }

  stats(): SerialStats {
    const open = this.#stream !== undefined;
    return {
      name: this.#config.name,
      path: this.#config.path,
      subject: this.#subject,
      open,
      ready: open && (!this.#joining || this.#clock.monotonicMs() >= this.#joinedAtMs),
      paused: open && this.#intake.full,
      pauses: this.#pauses,
      bytes: this.#bytes,
      ...this.#framing.counters,
      opens: this.#opens,
      errors: this.#errors,
      lastError: this.#lastError,
      heldFrames: this.#intake.heldFrames,
      heldBytes: this.#intake.heldBytes,
      ...this.#intake.counters,
    };
  }

  #openNow(): void {
    this.#cancelReopen = undefined;
    this.#opening ??= this.#open(this.#config.path, this.#config)
      .then(
        (stream) => this.#opened(stream),
        (error: unknown) => this.#openFailed(error),
      )
      .then(() => {
        this.#opening = undefined;
        // Stopped and started again while it was being opened.
        if (this.#running && !this.#stream && !this.#cancelReopen) this.#openNow();
      });
  }

  async #opened(stream: Duplex): Promise<void> {
    // Stays for good: an error of a stream that is on its way out must not end the process.
    stream.on('error', (error) => this.#lost(stream, error));
    if (!this.#running) {
      stream.destroy();
      return closed(stream);
    }
    stream.on('data', (chunk: Buffer) => this.#read(stream, chunk));
    stream.on('end', () => this.#lost(stream, lostError('The device is gone (end of file).')));
    stream.on('close', () => this.#lost(stream, lostError('The device is gone.')));
    this.#stream = stream;
    this.#opens++;
    // What the kernel gathers while reading is paused began no one knows where.
    const waitMs = this.#intake.full ? Infinity : joinMs(this.#config.baudRate);
    this.#joinedAtMs = this.#clock.monotonicMs() + waitMs;
    this.#joining = true;
    this.#readAtMs = null;
    this.#openErrorCode = null;
    if (this.#saidClosed)
      this.#log.info({ path: this.#config.path, opens: this.#opens }, 'Serial port open.');
    this.#saidClosed = false;
    if (this.#intake.full) stream.pause();
  }

  #openFailed(cause: unknown): void {
    const error = cause instanceof PortError ? cause : openError(cause);
    if (error.code !== this.#openErrorCode) this.#guard.clear('open');
    this.#openErrorCode = error.code;
    this.#failed(error);
    this.#guard.run('open', (times) => {
      this.#saidClosed = true;
      this.#log.warn(
        { path: this.#config.path, code: error.code, err: error, hint: error.hint, times },
        'Cannot open the serial port; it is tried again every second.',
      );
    });
    this.#reopenLater();
  }

  #lost(stream: Duplex, cause: unknown): void {
    if (stream !== this.#stream) return;
    const error = cause instanceof PortError ? cause : lostError(String(cause), cause);
    this.#failed(error);
    const halfFrameBytes = this.#release(stream);
    this.#guard.run('lost', (times) => {
      this.#saidClosed = true;
      this.#log.warn(
        { path: this.#config.path, err: error, hint: error.hint, halfFrameBytes, times },
        'Serial port lost; it is opened again as soon as it is back.',
      );
    });
    this.#reopenLater();
  }

  #failed(error: PortError): void {
    this.#errors++;
    this.#lastError = error.message;
  }

  #reopenLater(): void {
    if (!this.#running) return;
    this.#cancelReopen = this.#clock.after(this.#reopenMs, () => this.#openNow());
    this.#reopenMs = Math.min(this.#reopenMs * 2, REOPEN_MAX_MS);
  }

  /** Lets a stream go: what it has already read is still framed, the rest is a half frame, whose length is returned. */
  #release(stream: Duplex): number {
    this.#stream = undefined;
    stream.removeAllListeners('data');
    for (let left = stream.readableLength; left > 0;) {
      const chunk = stream.read() as Buffer | null;
      if (chunk === null) break;
      left -= chunk.length;
      this.#frame(chunk);
    }
    stream.destroy();
    return this.#framing.reset();
  }

  #read(stream: Duplex, chunk: Buffer): void {
    this.#reopenMs = REOPEN_MIN_MS;
    this.#frame(chunk);
    if (!this.#intake.full || stream.isPaused()) return;
    this.#pauses++;
    stream.pause();
    this.#guard.run('pause', (times) =>
      this.#log.info(
        { heldFrames: this.#intake.heldFrames, heldBytes: this.#intake.heldBytes, times },
        'Reading paused until the disk has caught up.',
      ),
    );
  }

  #frame(chunk: Buffer): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#joining && nowMs < this.#joinedAtMs) this.#framing.resync();
    this.#joining = false;
    const silentMs = this.#readAtMs === null ? 0 : nowMs - this.#readAtMs;
    this.#readAtMs = nowMs;
    this.#bytes += chunk.length;
    const oversize = this.#framing.counters.droppedOversize;
    this.#framing.push(chunk, (frame) => this.#intake.accept(this.#decode(frame)), silentMs);
    if (this.#framing.counters.droppedOversize > oversize) this.#warnOversize();
  }

  #warnOversize(): void {
    this.#guard.run('oversize', (times) =>
      this.#log.warn(
        {
          frameBytesMax: this.#config.frameBytesMax,
          times,
          hint: 'Check baud_rate and framing; raise frame_bytes_max if the device does send such frames.',
        },
        'A frame over the limit was dropped.',
      ),
    );
  }

  #resume(): void {
    this.#readAtMs = null; // The silence was ours, not the device's.
    this.#stream?.resume();
  }
}

/** Resolves when the stream has let go of its device. */
function closed(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (stream.closed) return resolve();
    stream.once('close', () => resolve());
  });
}
