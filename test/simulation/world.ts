// The world of one seed: one clock, one hub, one gateway that lives and dies, and the field around it.

import { mkdtempSync, rmSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { StreamOrder } from '../../src/jetstream/jetstream.ts';
import type { Message, Receipt } from '../../src/message.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { streamOrder } from '../support/gateway-store.ts';
import { randomInt, seededRandom, type Random } from '../support/random.ts';
import { ScriptedHub } from '../support/scripted-hub.ts';
import { settle } from './clock.ts';
import { readImage, writeImage, type DiskScript, type Image, type Marks } from './disk.ts';
import { Meter, Publisher, type FieldParts } from './field.ts';
import { Gateway, type Surroundings } from './gateway.ts';
import { Journal } from './journal.ts';
import { Ledger, nonceOf } from './ledger.ts';
import type { Options } from './options.ts';
import { countLine, lossSeen } from './verdicts.ts';

export const TRUE_START_MS = Date.UTC(2026, 5, 1);
const LINES_KEPT = 400;
const PROBLEMS_MAX = 20;
/** 10 s, the tick that sees to it, and a slow disk. */
const LATE_MARK_MS = 30_000;
/** Bytes that one turn may add to the WAL over its limit. */
const WAL_SLACK_BYTES = 6 * 1024 * 1024;

export class World {
  readonly options: Options;
  readonly clock: FakeClock;
  readonly random: Random;
  readonly hub: ScriptedHub;
  readonly journal: Journal;
  readonly ledger: Ledger;
  readonly publishers: Publisher[];
  readonly meter: Meter | null;
  readonly counts = new Map<string, number>();
  readonly problems: string[] = [];
  readonly lines: string[] = [];
  readonly disk: DiskScript & {
    nextSyncFails: boolean;
    nextCheckpointCut: boolean;
    stalled: boolean;
  };
  gateway: Gateway | undefined;
  /** A copy of the data directory, taken at a time. */
  snapshot: { readonly image: Image; readonly atMs: number } | undefined;
  /** What happens when a late mark is confirmed. */
  onLate: () => void = () => undefined;
  /** The confirmed marks that the disk has at least, as of the last death. */
  #marksLeft: Marks = new Map();
  /** When the disk did last not answer for long. */
  #stalledMs = Number.NEGATIVE_INFINITY;
  /** The last confirmed mark of each stream, on the disk or not. */
  readonly #confirmed = new Map<string, number>();
  /** Wall-clock time comes back after a power cut only when somebody sets it. */
  clockLost = false;
  #life = 0;
  readonly #base: string;
  #dir: string;
  readonly #orders: StreamOrder[];
  readonly #surroundings: Surroundings;
  /** What happens between two turns. */
  readonly #between: (() => void | Promise<void>)[] = [];

  constructor(options: Options) {
    const { seed, hub: config, latencyMs, commitMs } = options;
    this.options = options;
    this.random = seededRandom(seed * 31 + 1);
    this.clock = new FakeClock(options.clock === 'starts in 1970' ? 20_000 : TRUE_START_MS);
    this.clockLost = options.clock === 'starts in 1970';
    const problem = (text: string): void => this.problem(text);
    this.ledger = new Ledger(problem);
    this.hub = new ScriptedHub({
      clock: this.clock,
      random: seededRandom(seed * 31 + 2),
      config,
      latencyMs,
      commitMs,
    });
    this.journal = new Journal(this.hub, this.clock);
    this.disk = this.#diskScript(seededRandom(seed * 31 + 3));
    this.#base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'mangrove-sim-'));
    this.#dir = join(this.#base, '0');
    this.#orders = streams(options);
    const field: FieldParts = {
      clock: this.clock,
      random: seededRandom(seed * 31 + 4),
      ledger: this.ledger,
      gateway: () => this.gateway,
      count: (what) => this.count(what),
    };
    this.publishers = options.publishers.map(
      (order, i) => new Publisher({ ...order, name: `p${i}`, oversize: options.oversize }, field),
    );
    this.meter = options.serialEveryMs === null ? null : new Meter(options.serialEveryMs, field);
    this.#surroundings = this.#around(seededRandom(seed * 31 + 5));
  }

  #around(random: Random): Surroundings {
    const { clock, hub, disk, ledger, meter } = this;
    return {
      clock,
      hub,
      disk,
      random,
      log: pino({ level: 'debug', base: null }, { write: (line: string) => this.#line(line) }),
      newEpoch: () => ledger.newEpoch(),
      sentAs: new Map(),
      batchIds: new Set(),
      tap: (message, receipt) => this.#tap(message, receipt),
      openSerial: meter === null ? null : () => meter.open(),
      problem: (text) => this.problem(text),
      count: (what) => this.count(what),
      described: (local, stream) => {
        const forwarded = this.gateway?.forwarded.find(({ name }) => name === local);
        lossSeen(this, stream);
        this.journal.seen(local, forwarded?.firstSeq ?? 0);
      },
      confirmed: (local, seq, late) => {
        this.#confirmed.set(local, seq);
        if (!late) return;
        this.count('confirmed late');
        this.#seeWritten(local);
        this.onLate();
      },
      fatal: (error) => {
        this.count(`fatal: ${error.message.slice(0, 12)}`);
        const gateway = this.gateway;
        this.soon(() => {
          if (gateway !== this.gateway) return undefined;
          return this.die(
            random() < 0.5 ? 'killed' : 'power cut',
            1_000 + randomInt(random, 5_000),
          );
        });
      },
      cut: (image) => {
        this.count('power cut in a checkpoint');
        this.soon(() => this.die(image, randomInt(random, 60_000)));
      },
    };
  }

  /** A late mark, or one behind it, must be on the disk some seconds later, unless the disk is full or does not answer. */
  #seeWritten(local: string): void {
    const { gateway, clock } = this;
    if (this.options.faults['full disk'] !== undefined) return;
    const mark = gateway?.jetstream.stream(local)?.mark;
    clock.after(LATE_MARK_MS, () => {
      if (gateway?.up !== true || this.#stalledMs > clock.monotonicMs() - LATE_MARK_MS) return;
      if (gateway.jetstream.store.failed) return;
      const now = gateway.jetstream.stream(local)?.mark;
      // A hub that lost what it had makes it go back, and one that was made anew counts from 1.
      if (now?.hubCreated !== mark?.hubCreated) return;
      const due = Math.min(mark?.hubSeq ?? 0, now?.hubSeq ?? 0);
      const written = gateway.disk.durableMarks.get(local)?.hubSeq ?? 0;
      if (gateway.jetstream.store.full === null && written < due)
        this.problem(`${local}: the mark ${due} is not written, but ${written}`);
    });
  }

  #diskScript(random: Random): World['disk'] {
    const [least, most] = this.options.syncMs;
    const stalled = (): void => void (this.#stalledMs = this.clock.monotonicMs());
    return {
      totalBytes: this.options.diskBytes,
      othersBytes: 0,
      nextSyncFails: false,
      nextCheckpointCut: false,
      stalled: false,
      syncMs() {
        if (this.stalled) {
          stalled();
          return 500 + random() * 5_000;
        }
        return least * (most / least) ** random();
      },
      syncFails() {
        const fails = this.nextSyncFails;
        this.nextSyncFails = false;
        return fails;
      },
      cutsCheckpoint() {
        const cuts = this.nextCheckpointCut;
        this.nextCheckpointCut = false;
        return cuts;
      },
    };
  }

  problem(text: string): void {
    if (this.problems.length >= PROBLEMS_MAX) return;
    this.problems.push(`at ${Math.round(this.clock.monotonicMs())} ms: ${text}`);
  }

  count(what: string, times = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + times);
  }

  /** True wall-clock time. */
  trueMs(): number {
    return TRUE_START_MS + this.clock.monotonicMs();
  }

  #line(line: string): void {
    this.lines.push(`${Math.round(this.clock.monotonicMs())} ${line}`);
    if (this.lines.length > 2 * LINES_KEPT) this.lines.splice(0, LINES_KEPT);
    countLine(this, line);
  }

  // --- publishing ---

  #tap(message: Message, receipt: Receipt | undefined): Receipt | undefined {
    if (message.subject.startsWith('$DEAD.')) return receipt;
    const nonce = nonceOf(message.data);
    const sent = this.ledger.sent.get(nonce);
    if (sent === undefined || !sent.data.equals(message.data)) {
      this.problem(`a message that nobody sent came in: ${message.data.toString('latin1', 0, 60)}`);
      return receipt;
    }
    if (sent.sends++ === 0) sent.acceptedMs = this.clock.monotonicMs();
    const gateway = this.gateway;
    let answered = false;
    return (error, ack) => {
      if (answered) this.problem(`a second receipt for ${nonce}`);
      answered = true;
      if (gateway?.alive !== true) this.problem(`a receipt from a dead process for ${nonce}`);
      else if (error?.errCode === 10047) this.#stalledMs = this.clock.monotonicMs();
      else if (ack !== null) {
        if (ack.seq > (gateway.disk.durable.get(ack.stream) ?? 0))
          this.problem(`${nonce} acknowledged as ${ack.seq} before the sync`);
        const epochs = gateway.jetstream.stream(ack.stream)?.epochs() ?? [];
        const of = epochs.findLast(({ retired, firstSeq }) => !retired && firstSeq <= ack.seq);
        const epoch = epochs.find(({ current, firstSeq }) => current && firstSeq <= ack.seq) ?? of;
        this.ledger.receipt(
          sent,
          { error, ack },
          { epoch: epoch?.epoch ?? '', nowMs: this.clock.monotonicMs() },
        );
      }
      receipt?.(error, ack);
    };
  }

  // --- lives and deaths ---

  /** Does something between two turns, when nothing is half done. */
  soon(fn: () => void | Promise<void>): void {
    this.#between.push(fn);
  }

  boot(afterwards: () => void = () => undefined): void {
    const life = ++this.#life;
    this.gateway = undefined;
    let gateway: Gateway;
    try {
      gateway = new Gateway(
        this.#dir,
        {
          streams: this.#orders,
          graceMs: this.options.graceMs,
          commitIntervalMs: this.options.commitIntervalMs,
          mode: this.options.mode,
        },
        this.#surroundings,
      );
    } catch (error) {
      // systemd starts it again.
      const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
      this.count(`start failed: ${code}`);
      if (code !== 'SQLITE_FULL') this.problem(`the gateway does not start: ${String(error)}`);
      this.clock.after(5_000, () => {
        if (life === this.#life) this.soon(() => this.boot(afterwards));
      });
      return;
    }
    this.gateway = gateway;
    this.count('start');
    for (const { name, mark } of gateway.forwarded)
      if ((mark?.seq ?? 0) < (this.#confirmed.get(name) ?? 0))
        this.count('started with an old mark');
    afterwards();
    gateway.start().then(
      () => {
        if (gateway.up) for (const publisher of this.publishers) publisher.resume();
      },
      (error: unknown) => this.problem(`the start failed: ${String(error)}`),
    );
  }

  /** The process dies; another one starts on what is left after `downMs`. */
  async die(
    how: 'killed' | 'power cut' | Image,
    downMs: number,
    change?: (image: Image) => Image | null,
    afterwards?: () => void,
  ): Promise<void> {
    const gateway = this.gateway;
    if (gateway?.alive !== true) return;
    this.#marksLeft = gateway.disk.durableMarks;
    let image: Image;
    if (typeof how === 'string') image = await gateway.die(how);
    else {
      image = how;
      await gateway.abandon();
    }
    image = change?.(image) ?? image;
    this.hub.reconnect('the process is gone');
    const old = this.#dir;
    this.#dir = join(this.#base, String(++this.#life));
    writeImage(this.#dir, image);
    rmSync(old, { recursive: true, force: true });
    if (how !== 'killed' && this.options.clock === 'starts in 1970') this.loseClock();
    this.#bootLater(downMs, afterwards);
  }

  #bootLater(downMs: number, afterwards?: () => void): void {
    const life = this.#life;
    this.clock.after(downMs, () => {
      if (life === this.#life) this.soon(() => this.boot(afterwards));
    });
  }

  /** SIGTERM, and a start. */
  stop(downMs: number): void {
    const gateway = this.gateway;
    if (gateway?.up !== true) return;
    gateway.stop().then(
      () => {
        if (this.gateway !== gateway) return;
        this.#marksLeft = gateway.disk.durableMarks;
        this.hub.reconnect('the process has ended');
        this.count('stop');
        this.#life++;
        this.#bootLater(downMs);
      },
      (error: unknown) => this.problem(`stop failed: ${String(error)}`),
    );
    // The agent gives itself 5 s and then ends anyway.
    this.clock.after(5_000, () => {
      if (this.gateway === gateway && gateway.alive) this.soon(() => this.die('killed', downMs));
    });
  }

  /** The confirmed marks that the disk has at least, whatever happens now. */
  get durableMarks(): Marks {
    return this.gateway?.alive === true ? this.gateway.disk.durableMarks : this.#marksLeft;
  }

  image(): Image {
    return this.gateway?.alive === true ? this.gateway.disk.killed() : readImage(this.#dir);
  }

  /** No wall clock: it starts in 1970 and is set minutes later. */
  loseClock(): void {
    this.count('clock step');
    this.clockLost = true;
    this.clock.stepWall(randomInt(this.random, 60_000));
    this.clock.after(5_000 + randomInt(this.random, 600_000), () => this.setClock());
  }

  setClock(): void {
    this.clock.stepWall(this.trueMs());
    this.clockLost = false;
  }

  /** After a store came back without some of its messages: those are excused, and what is under way may repeat. */
  excuse(sinceMs: number): void {
    const gateway = this.gateway;
    if (gateway === undefined) return;
    this.journal.storeLost();
    const { db } = gateway.jetstream.store;
    const kept = new Set<string>();
    const last = new Map<string, number>();
    for (const stream of gateway.forwarded) {
      const rows = db.prepare<[], { data: Buffer }>(`SELECT data FROM m_${stream.id}`).all();
      for (const { data } of rows) kept.add(nonceOf(data));
      last.set(stream.name, stream.state().lastSeq);
    }
    for (const sent of this.ledger.sent.values()) {
      if (sent.sends === 0 || kept.has(sent.nonce)) continue;
      const beyond = sent.positions.some(({ seq }) => seq > (last.get(sent.stream) ?? 0));
      if (!sent.acked || sent.ackedMs >= sinceMs || beyond) sent.lostWithStore = true;
    }
  }

  // --- time ---

  /** Lets `ms` pass, or less when `until` says so. */
  async run(ms: number, until: () => boolean = () => false): Promise<void> {
    const { clock } = this;
    const endMs = clock.monotonicMs() + ms;
    for (;;) {
      clock.turn();
      await settle();
      clock.turn();
      const next = this.#between.shift();
      if (next !== undefined) {
        await next();
        continue;
      }
      if (until()) return;
      const dueMs = clock.nextDueMs();
      if (dueMs === undefined || dueMs > endMs) break;
      clock.advance(Math.max(0, dueMs - clock.monotonicMs()));
    }
    clock.advance(Math.max(0, endMs - clock.monotonicMs()));
  }

  /** Everything sent is acknowledged and at the hub. */
  get converged(): boolean {
    const { gateway } = this;
    if (gateway?.up !== true) return false;
    const { store } = gateway.jetstream;
    return (
      this.publishers.every(({ unacked }) => unacked === 0) &&
      store.undurableMessages === 0 &&
      gateway.statuses.every(({ state, pending }) => state === 'caught up' && pending === 0)
    );
  }

  /** Limits that hold at every moment. */
  checkLimits(): void {
    const { gateway, options } = this;
    if (gateway?.up !== true || gateway.jetstream.store.failed !== undefined) return;
    const { store } = gateway.jetstream;
    if (store.undurableMessages > 100_000) this.problem(`${store.undurableMessages} undurable`);
    const walMax = Math.min(4 * 1024 * 1024, options.diskBytes / 16) + WAL_SLACK_BYTES;
    if (gateway.disk.walBytes > walMax) this.problem(`a WAL of ${gateway.disk.walBytes} bytes`);
    for (const stream of gateway.forwarded) {
      const { messages, duplicateIds } = stream.state();
      const max = stream.config.maxMsgs;
      // With discard new a crash brings back what had made room; it goes again as far as the hub is known to have it.
      const unconfirmed =
        stream.config.discard === 'new' ? stream.durableSeq - (stream.mark?.seq ?? 0) : 0;
      if (max !== undefined && messages > Math.max(max, unconfirmed))
        this.problem(`${stream.name} holds ${messages}`);
      if (duplicateIds > stream.config.duplicateIdsMax) this.problem(`${duplicateIds} IDs`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.gateway?.alive === true) await this.gateway.abandon();
    rmSync(this.#base, { recursive: true, force: true });
  }
}

function streams({ maxMsgs, maxAgeMs, discard, serialEveryMs }: Options): StreamOrder[] {
  const plant = streamOrder({ name: 'plant', subjects: ['data.>'], maxMsgs, maxAgeMs, discard });
  const serial = streamOrder({ name: 'serial', subjects: ['serial.>'] });
  return serialEveryMs === null ? [plant] : [plant, serial];
}
