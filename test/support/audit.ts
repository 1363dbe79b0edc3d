// The auditor of everything that crosses the WAN: what publishers were promised, against all that the hub holds. It looks
// twice, by what the messages carry and by their IDs, so that a fault in one way of counting does not hide in the other.

import { parseId } from '../../sync/hub-message.ts';

/** A message as it was read at the hub. */
export interface HubRecord {
  readonly seq: number;
  readonly subject: string;
  readonly id: string;
  readonly data: Buffer;
  readonly headers: ReadonlyMap<string, string>;
}

export type FindingKind = 'lost' | 'duplicate' | 'swapped' | 'flipped' | 'phantom';

export interface Finding {
  readonly kind: FindingKind;
  readonly what: string;
}

interface Sent {
  readonly source: string;
  readonly n: number;
  readonly data: Buffer;
  acked: boolean;
}

/** Data of a message: who sent it, its number there, and bytes that follow from both. */
const FORM = /^([\w-]+)#(\d+) /;

/** What publishers sent, and which of it was acknowledged to them. */
export class Ledger {
  readonly #sent = new Map<string, Sent>();
  readonly #next = new Map<string, number>();
  #acked = 0;

  /** The next message of `source`, `bytes` long or a little longer. */
  next(source: string, bytes = 64): { key: string; data: Buffer } {
    const n = (this.#next.get(source) ?? 0) + 1;
    this.#next.set(source, n);
    const key = `${source}#${n}`;
    const filler = `${(n * 2_654_435_761) >>> 0}.`;
    const data = Buffer.from(`${key} `.padEnd(Math.max(bytes, key.length + 1), filler));
    this.#sent.set(key, { source, n, data, acked: false });
    return { key, data };
  }

  /** The agent has promised to keep it. */
  ack(key: string): void {
    const sent = this.#sent.get(key);
    if (sent === undefined) throw new Error(`an acknowledgement of ${key}, which was never sent`);
    if (!sent.acked) this.#acked++;
    sent.acked = true;
  }

  /** Messages that were acknowledged. */
  get acked(): number {
    return this.#acked;
  }

  get sent(): number {
    return this.#sent.size;
  }

  get(key: string): Sent | undefined {
    return this.#sent.get(key);
  }

  all(): IterableIterator<[string, Sent]> {
    return this.#sent.entries();
  }
}

export interface AuditOptions {
  readonly gateway?: string;
  readonly prefix?: string;
  /** An older store was put back: sequences of different epochs may overlap. */
  readonly restored?: boolean;
  /** These keys need not be there: what a removed store or hub took with it. */
  readonly excused?: (key: string) => boolean;
}

/** Everything that is wrong with what the hub holds, worst kinds first; empty for nothing. */
export function audit(
  ledger: Ledger,
  found: readonly HubRecord[],
  options: AuditOptions = {},
): Finding[] {
  const findings = [...auditData(ledger, found, options), ...auditIds(found, options)];
  return findings.sort((a, b) => RANK.indexOf(a.kind) - RANK.indexOf(b.kind));
}

const RANK: readonly FindingKind[] = ['lost', 'duplicate', 'swapped', 'flipped', 'phantom'];

/** The same in a few words, for an assertion: counts by kind with the first five of each. */
export function verdict(findings: readonly Finding[]): string[] {
  return RANK.flatMap((kind) => {
    const those = findings.filter((finding) => finding.kind === kind);
    if (those.length === 0) return [];
    const some = those.slice(0, 5).map(({ what }) => what);
    return [`${those.length} ${kind}: ${some.join('; ')}`];
  });
}

/** By what they carry: each acknowledged message is there once and unchanged, and each source's are in order. */
function auditData(
  ledger: Ledger,
  found: readonly HubRecord[],
  { excused = () => false }: AuditOptions,
): Finding[] {
  const findings: Finding[] = [];
  const seen = new Set<string>();
  const last = new Map<string, number>();
  for (const { seq, id, data, headers } of found) {
    if (headers.has('Mangrove-Gap') || id.endsWith(':checkpoint')) continue;
    const match = FORM.exec(data.toString('latin1', 0, 80));
    const key = match === null ? undefined : `${match[1]}#${match[2]}`;
    const sent = key === undefined ? undefined : ledger.get(key);
    if (key === undefined || sent === undefined) {
      findings.push({ kind: 'phantom', what: `${id} at ${seq} was never sent` });
      continue;
    }
    if (!sent.data.equals(data)) findings.push({ kind: 'flipped', what: `${key} at ${seq}` });
    if (seen.has(key)) findings.push({ kind: 'duplicate', what: `${key} at ${seq}` });
    else if (sent.n < (last.get(sent.source) ?? 0))
      findings.push({ kind: 'swapped', what: `${key} at ${seq}` });
    seen.add(key);
    last.set(sent.source, Math.max(last.get(sent.source) ?? 0, sent.n));
  }
  for (const [key, { acked }] of ledger.all())
    if (acked && !seen.has(key) && !excused(key)) findings.push({ kind: 'lost', what: key });
  return findings;
}

/** By their IDs: no ID twice, and each stream's sequences rise by one, or by what a gap record accounts for. */
function auditIds(
  found: readonly HubRecord[],
  { gateway = 'gw7', prefix = 'edge', restored = false }: AuditOptions,
): Finding[] {
  const findings: Finding[] = [];
  const seen = new Set<string>();
  const places = new Map<string, { seq: number; epoch: string }>();
  for (const { seq: hubSeq, subject, id, data, headers } of found) {
    if (id.endsWith(':checkpoint')) continue;
    const stream = subject.split('.')[2] ?? '';
    const position = parseId({ prefix, gateway, stream }, id);
    if (position === null || !subject.startsWith(`${prefix}.${gateway}.${stream}.`)) {
      findings.push({ kind: 'phantom', what: `"${id}" on ${subject} at ${hubSeq}` });
      continue;
    }
    if (seen.has(id)) findings.push({ kind: 'duplicate', what: `${id} at ${hubSeq}` });
    seen.add(id);
    const before = places.get(stream);
    const first = headers.has('Mangrove-Gap') ? gapStart(data) : position.seq;
    const anew = before === undefined || (restored && before.epoch !== position.epoch);
    if (!anew && position.seq <= before.seq)
      findings.push({ kind: 'swapped', what: `${id} at ${hubSeq} after ${before.seq}` });
    else if (!anew && first !== before.seq + 1)
      findings.push({
        kind: 'lost',
        what: `${stream} ${before.seq + 1} to ${first - 1} before ${id} at ${hubSeq}`,
      });
    places.set(stream, position);
  }
  return findings;
}

function gapStart(data: Buffer): number {
  const gap = JSON.parse(data.toString()) as { first_seq?: number };
  return gap.first_seq ?? 0;
}
