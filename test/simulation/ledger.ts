// What the devices and programs in the field know: what they sent, and what they were told. The auditor compares it with
// what the hub got.

import type { PublishError, PubAck } from '../../src/message.ts';

/** One message that somebody in the field wants at the hub. Its data begins with its nonce and a space. */
export interface Sent {
  readonly nonce: string;
  readonly stream: string;
  readonly subject: string;
  /** It has a Nats-Msg-Id, and is sent again until it is acknowledged. */
  readonly withId: boolean;
  readonly data: Buffer;
  /** Simulated time at which it was first given to the broker. */
  acceptedMs: number;
  sends: number;
  acked: boolean;
  ackedMs: number;
  /** The places that acknowledgements named. */
  readonly positions: Position[];
  /** The store that had it was put back or damaged: it may be missing, or be there a second time. */
  lostWithStore: boolean;
  /** Larger than the hub takes. */
  readonly oversize: boolean;
  /** A bit of its record was flipped on the disk. */
  corrupted: boolean;
}

export interface Position {
  readonly epoch: string;
  readonly seq: number;
}

export function nonceOf(data: Buffer): string {
  const end = data.indexOf(0x20);
  return data.toString('latin1', 0, end < 0 ? data.length : end);
}

export class Ledger {
  readonly sent = new Map<string, Sent>();
  /** Epochs in the order in which processes began them. */
  readonly epochs = new Map<string, number>();
  readonly #owners = new Map<string, string>();
  readonly #problem: (text: string) => void;

  constructor(problem: (text: string) => void) {
    this.#problem = problem;
  }

  newEpoch(): string {
    const epoch = `e${this.epochs.size + 1}`;
    this.epochs.set(epoch, this.epochs.size);
    return epoch;
  }

  add(entry: Pick<Sent, 'nonce' | 'stream' | 'subject' | 'withId' | 'data' | 'oversize'>): Sent {
    const sent: Sent = {
      ...entry,
      acceptedMs: 0,
      sends: 0,
      acked: false,
      ackedMs: 0,
      positions: [],
      lostWithStore: false,
      corrupted: false,
    };
    this.sent.set(sent.nonce, sent);
    return sent;
  }

  /** A receipt came. */
  receipt(
    sent: Sent,
    outcome: { error: PublishError | null; ack: PubAck | null },
    { epoch, nowMs }: { epoch: string; nowMs: number },
  ): void {
    const { error, ack } = outcome;
    if (error !== null || ack === null) return;
    if (!sent.acked) sent.ackedMs = nowMs;
    sent.acked = true;
    if (sent.positions.some((known) => known.epoch === epoch && known.seq === ack.seq)) return;
    sent.positions.push({ epoch, seq: ack.seq });
    const key = `${sent.stream}:${epoch}:${ack.seq}`;
    const owner = this.#owners.get(key);
    if (owner !== undefined && owner !== sent.nonce)
      this.#problem(`${key} was given to ${owner} and again to ${sent.nonce}`);
    this.#owners.set(key, sent.nonce);
  }

  /** The message that a receipt has named for this position, if any. */
  owner(stream: string, { epoch, seq }: Position): string | undefined {
    return this.#owners.get(`${stream}:${epoch}:${seq}`);
  }
}
