// What must hold between a gateway's stream and what a hub has of it through the leafnode link: a mirror is the same
// stream, sequence for sequence; a source has each message once and in order. Each function says what does not hold.

import type { Kept, Ledger, Sent } from './ledger.ts';

/** Findings of one kind that are told; there may be thousands. */
const TOLD_MAX = 5;

const SOURCE = 'Nats-Stream-Source';

/** Sequences that a limit of the gateway's stream removed before the hub could have them. */
export interface Allowed {
  readonly gap?: (seq: number) => boolean;
}

/** Compares a mirror at the hub with what the gateway's stream holds, or held. */
export function mirrorFindings(ours: readonly Kept[], hub: readonly Kept[]): string[] {
  const found = new Findings();
  const bySeq = new Map(ours.map((one) => [one.seq, one]));
  for (const one of hub) {
    const own = bySeq.get(one.seq);
    if (own === undefined) found.add('not ours', `mirror has ${one.seq}, and we have not`);
    else {
      const difference = differs(own, one) ?? differsInTime(own, one);
      if (difference !== undefined)
        found.add(difference, `mirror differs at ${one.seq} in its ${difference}`);
    }
    bySeq.delete(one.seq);
  }
  for (const seq of bySeq.keys()) found.add('missing', `the mirror lacks ${seq}`);
  return found.all;
}

/** Compares a stream of the hub that has one source with what the publishers were told. */
export function sourceFindings(
  ledger: Ledger,
  hub: readonly Kept[],
  { gap = () => false }: Allowed = {},
): string[] {
  const found = new Findings();
  let before = 0;
  for (const { seq, ...message } of hub) {
    const sseq = sourceSeq(message);
    if (sseq === undefined) {
      found.add('stray', `${seq} came in another way than by its source: ${message.subject}`);
      continue;
    }
    if (sseq === before) found.add('twice', `source sequence ${sseq} is there twice`);
    else if (sseq < before) found.add('order', `source sequence ${sseq} comes after ${before}`);
    for (let missing = before + 1; missing < sseq; missing++)
      if (!gap(missing)) found.add('missing', `source sequence ${missing} is missing`);
    const own = ledger.acked.get(sseq);
    if (own === undefined) {
      if (!ledger.tried.has(message.data)) found.add('made up', `nobody sent what ${seq} has`);
    } else {
      const difference = differs(own, withoutSource(message));
      if (difference !== undefined)
        found.add(difference, `source sequence ${sseq} differs in its ${difference}`);
    }
    before = Math.max(before, sseq);
  }
  for (const sseq of ledger.acked.keys())
    if (sseq > before && !gap(sseq)) found.add('missing', `source sequence ${sseq} is missing`);
  return [...ledger.findings, ...found.all];
}

/** The sequence at the source; undefined for what came in another way. */
export function sourceSeq({ headers }: Pick<Kept, 'headers'>): number | undefined {
  const [, values] = headers.find(([name]) => name === SOURCE) ?? [];
  const seq = Number(values?.[0]?.split(' ')[1]);
  return Number.isInteger(seq) ? seq : undefined;
}

/** The runs of sequences of the source that a stream of the hub lacks. */
export function jumps(sourced: readonly Kept[]): { first: number; last: number }[] {
  const seqs = sourced.map((one) => sourceSeq(one) ?? 0);
  return seqs.flatMap((seq, i) => {
    const first = (seqs[i - 1] ?? 0) + 1;
    return seq > first ? [{ first, last: seq - 1 }] : [];
  });
}

function withoutSource({ headers, ...rest }: Sent): Sent {
  return { ...rest, headers: headers.filter(([name]) => name !== SOURCE) };
}

function differs(one: Sent, other: Sent): string | undefined {
  if (one.subject !== other.subject) return 'subject';
  if (one.data !== other.data) return 'data';
  return JSON.stringify(one.headers) === JSON.stringify(other.headers) ? undefined : 'headers';
}

function differsInTime(one: Kept, other: Kept): string | undefined {
  return one.timeNs === other.timeNs ? undefined : 'time';
}

class Findings {
  readonly #kinds = new Map<string, string[]>();

  add(kind: string, text: string): void {
    const known = this.#kinds.get(kind);
    if (known === undefined) this.#kinds.set(kind, [text]);
    else known.push(text);
  }

  get all(): string[] {
    return [...this.#kinds].flatMap(([kind, texts]) => [
      ...texts.slice(0, TOLD_MAX),
      ...(texts.length > TOLD_MAX ? [`${kind}: ${texts.length} in all`] : []),
    ]);
  }
}
