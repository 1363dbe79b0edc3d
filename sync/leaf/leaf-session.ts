// One leafnode connection from the login to its end; never used again after. It wires the parser to the interest and to the
// outbound lanes, and knows what belongs to the connection itself: INFO, PING and PONG, -ERR, the mark against loops.
//
// The login, a PING and what a hub must know at once leave in one write: a hub asks for the streams that it sources 100 ms
// after the login, and a request that finds no interest is asked again only half a minute later.

import type { Cancel, Clock } from '../../src/clock.ts';
import type { Message } from '../../src/message.ts';
import { LeafError, loopFound, saidByHub, type Denied } from './leaf-error.ts';
import { errorLine, PING, PONG, subscribeLine } from './leaf-encoder.ts';
import { mergeInfo, readInfo, type LeafInfo } from './leaf-info.ts';
import { LeafLiveness } from './leaf-liveness.ts';
import { LeafParser, LeafProtocolError } from './leaf-parser.ts';
import type { LeafLine } from './leaf-dial.ts';
import { PacedOutbound } from './paced-outbound.ts';
import { S2Error } from './s2/s2-reader.ts';
import type { LeafListener } from './types.ts';

/** Every leaf node marks its connection with a subject of its own under this: it comes back where there is a loop. */
const LOOP_PREFIX = '$LDS.';
/** INFO of a cluster with many permissions, or a message for many queue groups. */
const LINE_BYTES_MAX = 1024 * 1024;
/** A hub may take 64 MiB from its own clients, and headers besides. */
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024 + 64 * 1024;
/** Of what comes compressed so much is read at once. */
const TURN_BYTES = 1024 * 1024;
/** The last words have this long to leave. */
const LINGER_MS = 2_000;

/** Where what the hub says goes, while the connection lasts. */
export interface LeafTraffic {
  subscribe(subject: string, queue: string | undefined, weight: number): void;
  unsubscribe(subject: string, queue: string | undefined): void;
  message(message: Message, queues: readonly string[]): void;
  /** The hub does not take a subject that we sent or asked for. */
  denied(denied: Denied): void;
}

/** What a session needs of the link, in the order in which it happens. */
export interface SessionHost {
  /** The hub has let us in. */
  up(info: LeafInfo, outbound: PacedOutbound): LeafTraffic;
  /** INFO says something else than before. */
  changed(info: LeafInfo): void;
  /** The hub complains, and goes on. */
  complained(error: LeafError): void;
}

export interface SessionOptions {
  readonly server: string;
  /** The line of CONNECT. */
  readonly connect: string;
  /** Of this connection alone: a token that nobody else has. */
  readonly mark: string;
  /** Subjects that the hub must know with the login. */
  readonly advertise: readonly string[];
  /** How long the hub may take for its answer to the login. */
  readonly loginMs: number;
  readonly keepAliveMs: number;
}

export class LeafSession implements LeafListener {
  /** Resolves when it has ended, with why; undefined for close(). */
  readonly ended: Promise<unknown>;
  readonly line: LeafLine;
  readonly outbound: PacedOutbound;
  readonly counters = { inMsgs: 0, inBytes: 0, lines: 0 };
  readonly #options: SessionOptions;
  readonly #host: SessionHost;
  readonly #parser: LeafParser;
  readonly #liveness: LeafLiveness;
  readonly #endWith: (error: unknown) => void;
  readonly #clock: Clock;
  readonly #cancelLogin: Cancel;
  #info: LeafInfo;
  #traffic: LeafTraffic | undefined;
  #receivedBytes = 0;
  #over = false;

  constructor(line: LeafLine, options: SessionOptions, host: SessionHost, clock: Clock) {
    const { promise, resolve } = Promise.withResolvers<unknown>();
    this.ended = promise;
    this.#endWith = resolve;
    this.line = line;
    this.#options = options;
    this.#host = host;
    this.#clock = clock;
    this.#info = line.info;
    this.#parser = new LeafParser(this, {
      messageBytesMax: MESSAGE_BYTES_MAX,
      controlLineBytesMax: LINE_BYTES_MAX,
    });
    const dead = (error: Error): void => this.#end(error);
    // Under TLS a record shows only when it is whole; the TCP socket knows of its first byte.
    const received = (): number => this.#receivedBytes + line.tcp.bytesRead;
    const encode = line.compression?.encode;
    this.outbound = new PacedOutbound(line.socket, { clock, dead, received, encode });
    const { outbound } = this;
    this.#liveness = new LeafLiveness(clock, { outbound, received }, options.keepAliveMs, dead);
    this.#cancelLogin = clock.after(options.loginMs, () =>
      this.#end(new Error('no answer to the login in time')),
    );
    this.#listen(line);
    this.#login(line);
  }

  get hub(): LeafInfo {
    return this.#info;
  }

  get up(): boolean {
    return this.#traffic !== undefined && !this.#over;
  }

  /** Lets what waits leave, for `ms` at most, and ends the connection. */
  async close(ms: number): Promise<void> {
    if (this.#over) return;
    if (this.up && ms > 0) {
      // What this turn brought is gathered until its end.
      await new Promise<void>((resolve) => this.#clock.soon(resolve));
      await Promise.race([this.outbound.drain(ms), this.ended]);
    }
    this.#end(undefined);
  }

  // --- what the hub says ---

  info(json: string): void {
    const before = this.#info;
    this.#info = mergeInfo(before, readInfo(json, this.#options.server));
    if (this.#traffic !== undefined) return this.#host.changed(this.#info);
    if (!this.#info.connectInfo) return;
    this.#cancelLogin();
    this.#traffic = this.#host.up(this.#info, this.outbound);
  }

  subscribe(subject: string, queue: string | undefined, weight: number): void {
    this.counters.lines++;
    if (!subject.startsWith(LOOP_PREFIX)) this.#traffic?.subscribe(subject, queue, weight);
    else if (subject === LOOP_PREFIX + this.#options.mark) this.#loop();
  }

  unsubscribe(subject: string, queue: string | undefined): void {
    this.counters.lines++;
    if (!subject.startsWith(LOOP_PREFIX)) this.#traffic?.unsubscribe(subject, queue);
  }

  message(message: Message, queues: readonly string[]): void {
    const { counters } = this;
    counters.inMsgs++;
    counters.inBytes += message.data.length + (message.headers?.length ?? 0);
    this.#traffic?.message(message, queues);
  }

  ping(): void {
    this.counters.lines++;
    this.outbound.control(PONG);
  }

  pong(): void {
    this.counters.lines++;
    this.outbound.pong();
  }

  error(text: string): void {
    const { error, goesOn } = saidByHub(text, this.#options.server);
    if (error.denied !== undefined) this.#traffic?.denied(error.denied);
    if (goesOn) this.#host.complained(error);
    else this.#end(error);
  }

  /** The hub's own log shall say it too. */
  #loop(): void {
    this.outbound.say(errorLine('Loop detected: the mark of this leafnode came back to it'));
    this.#end(loopFound(this.#options.server));
  }

  // --- the connection ---

  #login({ rest, socket }: LeafLine): void {
    const { connect, mark, advertise } = this.#options;
    const subjects = [LOOP_PREFIX + mark, ...advertise];
    const lines = subjects.map((subject) => subscribeLine(subject)).join('');
    this.outbound.login(`${connect}${PING}${lines}`);
    // Whoever makes the session must have it before the hub is heard.
    queueMicrotask(() => {
      if (rest.length > 0) this.#take(rest);
      socket.resume();
    });
  }

  #listen({ socket, tcp }: LeafLine): void {
    const closed = (): void => this.#end(new Error('the hub closed the connection'));
    socket.on('data', (bytes: Buffer) => this.#read(bytes));
    for (const each of new Set([socket, tcp])) {
      each.on('error', (error) => this.#end(error));
      each.on('end', closed);
      each.on('close', closed);
    }
  }

  #read(bytes: Buffer): void {
    if (this.#over) return;
    const { compression } = this.line;
    if (compression === undefined) return this.#take(bytes);
    this.#decode(compression.decode(bytes)[Symbol.iterator]());
  }

  /** A few bytes can stand for gigabytes: after some of them it is the turn of others. */
  #decode(parts: Iterator<Buffer>): void {
    const { socket } = this.line;
    try {
      for (let bytes = 0; bytes < TURN_BYTES && !this.#over;) {
        const { value, done } = parts.next();
        if (done === true) return void socket.resume();
        bytes += value.length;
        this.#take(value);
      }
    } catch (error) {
      if (error instanceof S2Error) return this.#end(damaged(error));
      throw error;
    }
    if (this.#over) return;
    socket.pause();
    this.#clock.soon(() => this.#decode(parts));
  }

  #take(bytes: Buffer): void {
    if (this.#over) return;
    this.#receivedBytes += bytes.length;
    try {
      this.#parser.parse(bytes);
    } catch (error) {
      if (error instanceof LeafProtocolError) this.#end(notLeaf(error));
      else if (error instanceof LeafError) this.#end(error);
      else throw error;
    }
  }

  /** A socket that is reset forgets what the network has not taken: nothing old arrives behind a new connection. */
  #end(error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#parser.close();
    this.#cancelLogin();
    this.#liveness.stop();
    this.outbound.close();
    const { socket, tcp } = this.line;
    // What was just written in words still leaves, where it can.
    if (error === undefined || error instanceof LeafError) {
      const cancel = this.#clock.after(LINGER_MS, () => tcp.destroy());
      tcp.once('close', cancel);
      socket.destroySoon();
    } else {
      tcp.resetAndDestroy();
      socket.destroy();
    }
    this.#endWith(error);
  }
}

function notLeaf(error: LeafProtocolError): Error {
  return new Error(`parse error: ${error.message}`, { cause: error });
}

/** It has been a hub so far, and its blocks carry checksums. */
function damaged(error: S2Error): Error {
  return new Error(`what the hub sends compressed comes damaged: ${error.message}`);
}
