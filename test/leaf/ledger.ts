// What local publishers were told of each stream of a gateway, and what reading a stream found, in one shape: so that
// audit.ts can hold them against each other.

import { createHash } from 'node:crypto';

/** One message as a stream has it. */
export interface Kept {
  readonly seq: number;
  readonly subject: string;
  /** Name and values, in their order. */
  readonly headers: readonly (readonly [string, readonly string[]])[];
  /** A digest of the data. */
  readonly data: string;
  /** When the stream took it, in nanoseconds; undefined where that was not asked. */
  readonly timeNs?: bigint | undefined;
}

export type Sent = Omit<Kept, 'seq' | 'timeNs'>;

/** The publishers of one stream. */
export class Ledger {
  /** By the sequence that the gateway acknowledged. */
  readonly acked = new Map<number, Sent>();
  /** Digests of all that was tried: without an answer it may have been stored or not. */
  readonly tried = new Set<string>();
  /** Publishes that were refused, or not answered. */
  failed = 0;
  /** What no gateway may do while it acknowledges. */
  readonly findings: string[] = [];

  sent({ data }: Sent): void {
    this.tried.add(data);
  }

  ack(seq: number, sent: Sent): void {
    const before = this.acked.get(seq);
    if (before !== undefined && before.data !== sent.data)
      this.findings.push(`sequence ${seq} was acknowledged for two messages`);
    this.acked.set(seq, sent);
  }

  get lastSeq(): number {
    let last = 0;
    for (const seq of this.acked.keys()) if (seq > last) last = seq;
    return last;
  }
}

export function digest(data: Uint8Array): string {
  return createHash('sha1').update(data).digest('base64').slice(0, 16);
}
