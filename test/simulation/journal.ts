// Everything that the hub ever stored under our name, in order, whatever it lost or removed afterwards.

import { parseId } from '../../sync/hub-message.ts';
import type { FakeClock } from '../support/fake-clock.ts';
import type { ModelMessage } from '../support/hub-model.ts';
import type { ScriptedHub } from '../support/scripted-hub.ts';
import type { Marks } from './disk.ts';
import { nonceOf } from './ledger.ts';

export const GATEWAY = 'gw7';
export const PREFIX = 'edge';

/** The hub lost what it had confirmed. */
export interface Loss {
  readonly atMs: number;
  /** When the forwarder of a local stream first asked what the hub stream is, after that, and what was kept here. */
  readonly seen: Map<string, { readonly atMs: number; readonly firstSeq: number }>;
}

export interface GapRecord {
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly reason: string;
}

export interface HubEntry {
  readonly stream: string;
  readonly epoch: string;
  readonly seq: number;
  readonly subject: string;
  readonly data: Buffer;
  /** Of a message. */
  readonly nonce: string | null;
  /** Of a gap record. */
  readonly gap: GapRecord | null;
  readonly timeMs: number;
  readonly synced: boolean;
  readonly atMs: number;
  readonly hubSeq: number;
  loss: Loss | null;
  /** Taken away where no checkpoint says that it was there: it may come a second time. */
  forgotten: boolean;
}

export class Journal {
  readonly entries: HubEntry[] = [];
  /** When a store came back without its newest messages. */
  readonly storeLostAtMs: number[] = [];
  readonly #clock: FakeClock;
  readonly #hub: ScriptedHub;
  readonly #losses: Loss[] = [];
  #byHand = false;

  constructor(hub: ScriptedHub, clock: FakeClock) {
    this.#hub = hub;
    this.#clock = clock;
    const { model } = hub;
    const store = model.store.bind(model);
    model.store = (writes, nowMs) => {
      const ack = store(writes, nowMs);
      if (!this.#byHand)
        for (let i = 0; i < writes.length; i++)
          this.#stored(ack.seq - writes.length + 1 + i, i, writes);
      return ack;
    };
  }

  #stored(
    hubSeq: number,
    i: number,
    writes: readonly {
      message: Omit<ModelMessage, 'seq' | 'timeMs' | 'id'> & { id?: string | undefined };
    }[],
  ): void {
    const message = writes[i]?.message;
    const tokens = message?.subject.split('.') ?? [];
    const [prefix, gateway, stream] = tokens;
    // A checkpoint's subject has three tokens.
    if (message === undefined || prefix !== PREFIX || gateway !== GATEWAY || tokens.length < 4)
      return;
    const position = parseId({ prefix, gateway, stream: stream ?? '' }, message.id);
    const isGap = message.headerLines.includes('Mangrove-Gap: 1');
    this.entries.push({
      stream: stream ?? '',
      epoch: position?.epoch ?? '',
      seq: position?.seq ?? 0,
      subject: tokens.slice(3).join('.'),
      data: message.data,
      nonce: isGap ? null : nonceOf(message.data),
      gap: isGap ? readGap(message.data) : null,
      timeMs: Date.parse(/Mangrove-Time: (\S+)/.exec(message.headerLines)?.[1] ?? ''),
      synced: message.headerLines.includes('Mangrove-Time-Quality: synced'),
      atMs: this.#clock.monotonicMs(),
      hubSeq,
      loss: null,
      forgotten: false,
    });
  }

  /** Somebody else writes at the hub. */
  byHand(write: () => void): void {
    this.#byHand = true;
    write();
    this.#byHand = false;
  }

  /** The hub lost everything behind `lastSeq`. */
  lost(lastSeq: number): void {
    const loss: Loss = { atMs: this.#clock.monotonicMs(), seen: new Map() };
    this.#losses.push(loss);
    for (const entry of this.entries)
      if (entry.loss === null && entry.hubSeq > lastSeq) entry.loss = loss;
  }

  /**
   * What the hub holds now was taken away, and nothing there says so: only the marks that the gateway has on its disk do.
   * What they do not cover may come again. One that speaks of what the hub has lost since covers nothing.
   */
  forget(marks: Marks): void {
    const held = this.entries.filter(({ loss }) => loss === null);
    const covered = new Map<string, number>();
    for (const { stream, seq, hubSeq } of held) {
      const mark = marks.get(stream);
      if (mark?.seq === seq && mark.hubSeq === hubSeq) covered.set(stream, seq);
    }
    for (const entry of held)
      if (entry.seq > (covered.get(entry.stream) ?? 0)) entry.forgotten = true;
  }

  /**
   * The gateway lost what it knew of its newest epochs: a checkpoint of one of them tells it nothing, so what the hub has
   * removed may come again.
   */
  storeLost(): void {
    this.storeLostAtMs.push(this.#clock.monotonicMs());
    this.#losses.push({ atMs: this.#clock.monotonicMs(), seen: new Map() });
  }

  /** The forwarder of `stream` has read what the hub stream is; the gateway keeps its messages from `firstSeq`. */
  seen(stream: string, firstSeq: number): void {
    for (const loss of this.#losses) {
      if (loss.seen.has(stream)) continue;
      loss.seen.set(stream, { atMs: this.#clock.monotonicMs(), firstSeq });
      // A loss is answered by sending again, and what the hub no longer has it cannot tell from what it never had.
      for (const entry of this.entries)
        if (entry.stream === stream && !this.#hub.model.messages.has(entry.hubSeq))
          entry.forgotten = true;
    }
  }

  get lossCount(): number {
    return this.#losses.length;
  }

  get hub(): ScriptedHub {
    return this.#hub;
  }
}

function readGap(data: Buffer): GapRecord {
  const { first_seq, last_seq, reason } = JSON.parse(data.toString()) as {
    first_seq: number;
    last_seq: number;
    reason: string;
  };
  return { firstSeq: first_seq, lastSeq: last_seq, reason };
}
