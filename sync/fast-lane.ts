// The accelerators of one forwarder, and when they are used: where much waits, never right after a failure. The base
// then goes first, because it alone tells a message that the hub refuses from a hub that is busy.

import { Backoff, type Random } from './backoff.ts';
import { Chain } from './chain.ts';
import type { Acceleration, Choice, Mode } from './choose-way.ts';
import { FastDrain } from './fast-drain.ts';
import type { ForwardLog } from './forward-log.ts';
import type { ForwardState } from './forward-state.ts';
import { HubError, LOCAL_ERROR } from './hub-error.ts';
import type { Accelerator, Errand, Progress } from './way.ts';
import { Window } from './window.ts';

/** Less than this is brought by a few atomic batches as soon; a fast batch would cost other gateways their flow. */
const BACKLOG_MESSAGES = { auto: 2_000, fast: 2 } as const;
/** After a failure without progress the accelerator rests; the first rest is drawn from this. */
const REST_BASE_MS = 2_000;
const REST_MAX_MS = 60_000;
/** A chain that breaks costs nobody but us, and one at a time beside it is slow. */
const CHAIN_REST_MAX_MS = 4_000;

/** A replica forgets a batch when it has stored nothing of it for 10 s, and 10 s after it became the leader with it. */
const FORGOTTEN_MS = 30_000;

export interface FastLaneOptions {
  readonly state: ForwardState;
  readonly wishes: { readonly mode: Mode };
  readonly silenceMs: number;
}

export class FastLane {
  readonly #errand: Errand;
  readonly #log: ForwardLog;
  readonly #state: ForwardState;
  readonly #backlog: number;
  readonly #ways: Readonly<Record<Acceleration, Accelerator>> & { readonly window: Window };
  readonly #rests: Readonly<Record<'fast' | 'chain', Backoff>>;
  #restUntilMs = Number.NEGATIVE_INFINITY;
  /** The base must bring something before an accelerator runs again. */
  #baseFirst = false;
  #killed: string | undefined;
  #lastKilled = { id: '', sinceMs: 0 };
  readonly counters = { fallBacks: 0 };

  constructor(
    errand: Errand,
    log: ForwardLog,
    { state, wishes, silenceMs }: FastLaneOptions,
    random: Random,
  ) {
    this.#errand = errand;
    this.#log = log;
    this.#state = state;
    this.#backlog = wishes.mode === 'fast' ? BACKLOG_MESSAGES.fast : BACKLOG_MESSAGES.auto;
    this.#rests = {
      fast: new Backoff({ baseMs: REST_BASE_MS, capMs: REST_MAX_MS }, random),
      chain: new Backoff({ baseMs: REST_BASE_MS, capMs: CHAIN_REST_MAX_MS }, random),
    };
    this.#ways = {
      fast: new FastDrain(errand, state, { random, silenceMs }),
      chain: new Chain(errand, state),
      window: new Window(errand, state),
    };
  }

  /**
   * ID of the fast batch that was ended before the hub was read. Its leader knows that and no other replica: the next
   * publish is the base's, and seals it.
   */
  get killed(): string | undefined {
    return this.#killed;
  }

  /** Before the hub is read: makes sure that nothing of an earlier fast batch can still be stored. */
  async settle(): Promise<void> {
    this.#killed = undefined;
    const { batchId } = this.#state.value;
    if (batchId === null) return;
    const { hub, hubStream, origin, clock } = this.#errand;
    // Where there is no such stream any more there is no batch either; a missing one is created, or reported.
    const { batched, removes } = await hub.stream(hubStream);
    const { prefix, gateway, stream } = origin;
    if (batched) await hub.killBatch(hubStream, `${prefix}.${gateway}.${stream}._batch`, batchId);
    if (this.#lastKilled.id !== batchId)
      this.#lastKilled = { id: batchId, sinceMs: clock.monotonicMs() };
    const forgotten = clock.monotonicMs() - this.#lastKilled.sinceMs >= FORGOTTEN_MS;
    // Without allow_batched no replica has it any more. Where messages vanish none may go without its checkpoint, and
    // beside an open window none of the base's at all.
    const open = batched && !forgotten;
    if (open && !removes && this.#state.value.window === null) this.#killed = batchId;
    else await this.#forget();
  }

  /** What was killed is sealed. */
  async sealed(): Promise<void> {
    this.#killed = undefined;
    await this.#forget();
  }

  async #forget(): Promise<void> {
    // On a full disk it stays there: killing it once more does no harm.
    await this.#state.save({ ...this.#state.value, batchId: null }).catch(() => undefined);
  }

  /** The base has brought something. */
  released(): void {
    this.#baseFirst = false;
  }

  /** A new link, perhaps another line. */
  restart(): void {
    for (const way of Object.values(this.#ways)) way.restart();
  }

  /** Sends what waits, where an accelerator is due; undefined: it is the base's turn. Throws a HubError. */
  async step(
    { acceleration }: Choice,
    progress: Progress,
  ): Promise<'nothing' | 'sent' | 'read back' | undefined> {
    if (this.#killed !== undefined) return undefined;
    const from = progress.afterSeq;
    try {
      // What a window has left open is for the window to close.
      if (this.#mustClose(acceleration, progress)) {
        const end = await this.#ways.window.close(progress);
        if (end === 'read back') return end;
      }
      if (acceleration === null || !this.#due(acceleration, progress))
        return this.#withoutBase(acceleration) ? 'nothing' : undefined;
      const end = await this.#ways[acceleration].run(progress);
      // What waits cannot go this way: the base judges it.
      if (progress.afterSeq === from) this.#baseFirst = true;
      else if (acceleration !== 'window') this.#rests[acceleration].reset();
      if (end === 'read back') return 'read back';
      if (progress.afterSeq > from) return 'sent';
      return this.#withoutBase(acceleration) ? 'nothing' : undefined;
    } catch (error) {
      if (!(error instanceof HubError) || this.#errand.stopped.aborted) throw error;
      if (acceleration === null || acceleration === 'window') throw error;
      return this.#failed(acceleration, error, progress.afterSeq > from);
    }
  }

  /** Holes are filled before anything strict goes on. A chain leaves none, as a rule, and notes them only in case. */
  #mustClose(acceleration: Acceleration | null, { ahead }: Progress): boolean {
    if (acceleration === 'window' || this.#state.value.window === null) return false;
    return acceleration !== 'chain' || (ahead?.size ?? 0) > 0;
  }

  /** While a window is open the base must not go on: it takes the hub's last message for all before it. */
  #withoutBase(acceleration: Acceleration | null): boolean {
    return acceleration === 'window' && this.#state.value.window !== null;
  }

  #due(acceleration: Acceleration, { afterSeq }: Progress): boolean {
    const waiting = this.#errand.stream.durableSeq - afterSeq;
    // There is nothing beside it.
    if (acceleration === 'window') return waiting > 0;
    if (this.#baseFirst || this.#errand.clock.monotonicMs() < this.#restUntilMs) return false;
    return waiting >= (acceleration === 'fast' ? this.#backlog : 1);
  }

  #failed(acceleration: 'fast' | 'chain', error: HubError, progressed: boolean): 'read back' {
    if (error.errCode === LOCAL_ERROR.linkDown) throw error;
    this.counters.fallBacks++;
    this.#baseFirst = true;
    const restMs = progressed ? 0 : this.#rests[acceleration].nextMs();
    this.#restUntilMs = this.#errand.clock.monotonicMs() + restMs;
    this.#log.fellBack(acceleration, error, restMs);
    // The base meets the same again, alone, and knows what to do about it.
    if (error.kind === 'poison' || AT_ONCE.has(error.errCode)) return 'read back';
    throw error;
  }
}

/** The fence moved, the batch has a hole, it is unknown, or there are too many: the base may well go on. */
const AT_ONCE: ReadonlySet<number> = new Set([10071, 10164, 10208, 10211, LOCAL_ERROR.gap]);
