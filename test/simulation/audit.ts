// The auditor: compares what the field was told with what the hub got, and knows nothing of how it got there.

import type { HubEntry } from './journal.ts';
import type { Sent } from './ledger.ts';

export interface Evidence {
  readonly sent: readonly Sent[];
  /** In the order in which the hub stored it. */
  readonly entries: readonly HubEntry[];
  /** Epochs in the order in which they began. */
  readonly epochs: ReadonlyMap<string, number>;
  /** Reasons for which this run may have gaps. */
  readonly gapReasons: ReadonlySet<string>;
  readonly graceMs: number;
  readonly maxAgeMs: number | undefined;
  /** Confirmed messages may have made room before their grace was over: a limit was set, or the disk was full. */
  readonly graceYields: boolean;
  /** When a store came back without its newest messages. */
  readonly storeLostAtMs: readonly number[];
  /** Whether every wall clock of this run was right or known to be wrong. */
  readonly timesHold: boolean;
  /** The wall clock is right for messages accepted from here on. */
  readonly timesHoldFromMs: number;
  /** True wall-clock time at simulated time 0. */
  readonly trueStartMs: number;
}

/** How far a synced time may be off: the clock is looked at once a second, and drifts up to a second. */
const TIME_TOLERANCE_MS = 2_500;
const PROBLEMS_MAX = 20;

/** What is wrong, in words; nothing when all is well. */
export function audit(evidence: Evidence): string[] {
  const problems: string[] = [];
  const bySent = new Map(evidence.sent.map((sent) => [sent.nonce, sent]));
  const valid = evidence.entries.filter((entry) => entry.loss === null);
  problems.push(...repetitions(valid, bySent), ...disorder(valid, evidence));
  for (const entry of valid) {
    const problem =
      entry.gap === null ? wrongMessage(entry, bySent, evidence) : wrongGap(entry, evidence);
    if (problem !== undefined) problems.push(problem);
  }
  problems.push(...missing(valid, evidence), ...needlessGaps(valid, evidence));
  return problems.slice(0, PROBLEMS_MAX);
}

const keyOf = ({ stream, epoch, seq }: HubEntry): string => `${stream}:${epoch}:${seq}`;

function repetitions(valid: readonly HubEntry[], bySent: ReadonlyMap<string, Sent>): string[] {
  const problems: string[] = [];
  const ids = new Map<string, HubEntry>();
  const nonces = new Map<string, HubEntry>();
  for (const entry of valid) {
    const key = keyOf(entry);
    const first = ids.get(key);
    if (first !== undefined && !first.forgotten) problems.push(`twice at the hub: ${key}`);
    ids.set(key, entry);
    if (entry.nonce === null) continue;
    const same = nonces.get(entry.nonce);
    nonces.set(entry.nonce, entry);
    if (same === undefined || same.forgotten || keyOf(same) === key) continue;
    if (bySent.get(entry.nonce)?.lostWithStore === true) continue;
    problems.push(`stored twice: ${entry.nonce} as ${keyOf(same)} and as ${key}`);
  }
  return problems;
}

function disorder(valid: readonly HubEntry[], { epochs, storeLostAtMs }: Evidence): string[] {
  const problems: string[] = [];
  const last = new Map<string, { epoch: number; seq: number; forgotten: boolean; atMs: number }>();
  let frame = { number: -1, forgotten: false };
  for (const { stream, epoch, seq, nonce, forgotten, atMs } of valid) {
    const now = { epoch: epochs.get(epoch) ?? -1, seq, forgotten, atMs };
    const before = last.get(stream);
    const earlier =
      before !== undefined &&
      !before.forgotten &&
      !storeLostAtMs.some((lostMs) => lostMs > before.atMs && lostMs <= atMs) &&
      (now.epoch < before.epoch || (now.epoch === before.epoch && seq <= before.seq));
    if (earlier) problems.push(`out of order: ${stream}:${epoch}:${seq} behind ${before.seq}`);
    last.set(stream, now);
    const number = nonce?.startsWith('s-') === true ? Number(nonce.slice(2)) : undefined;
    if (number === undefined) continue;
    if (number <= frame.number && !frame.forgotten && storeLostAtMs.length === 0)
      problems.push(`frame ${number} behind frame ${frame.number}`);
    frame = { number, forgotten };
  }
  return problems;
}

function wrongMessage(
  entry: HubEntry,
  bySent: ReadonlyMap<string, Sent>,
  { epochs, timesHold, timesHoldFromMs, trueStartMs }: Evidence,
): string | undefined {
  const sent = bySent.get(entry.nonce ?? '');
  const where = keyOf(entry);
  if (sent === undefined) return `nobody sent ${entry.nonce ?? ''} (${where})`;
  if (!epochs.has(entry.epoch)) return `an epoch that never was: ${where}`;
  if (!sent.data.equals(entry.data)) return `other bytes than were sent: ${sent.nonce}`;
  if (sent.subject !== entry.subject) return `another subject than it was sent on: ${sent.nonce}`;
  const known = sent.positions.find((position) => position.epoch === entry.epoch);
  if (
    known !== undefined &&
    !sent.positions.some((position) => position.epoch === entry.epoch && position.seq === entry.seq)
  )
    return `${sent.nonce} was acknowledged as ${known.seq} and is ${where}`;
  if (entry.synced && (timesHold || sent.acceptedMs >= timesHoldFromMs) && sent.sends === 1) {
    const offMs = Math.abs(entry.timeMs - trueStartMs - sent.acceptedMs);
    if (offMs > TIME_TOLERANCE_MS) return `${sent.nonce} is dated ${offMs} ms off`;
  }
  return undefined;
}

function wrongGap({ gap, ...entry }: HubEntry, { gapReasons }: Evidence): string | undefined {
  const where = `${entry.stream}:${entry.epoch}:${gap?.firstSeq}-${gap?.lastSeq}`;
  if (gap === null || gap.lastSeq !== entry.seq || gap.firstSeq > gap.lastSeq)
    return `a gap record that contradicts its ID: ${where} is ${entry.seq}`;
  if (!gapReasons.has(gap.reason)) return `a gap without a cause: ${where} ${gap.reason}`;
  return undefined;
}

/** Acknowledged messages that the hub neither has nor was told of. */
function missing(valid: readonly HubEntry[], evidence: Evidence): string[] {
  const there = new Set(valid.map(({ nonce }) => nonce));
  const lostAt = new Map<string, HubEntry>();
  for (const entry of evidence.entries)
    if (entry.loss !== null && entry.nonce !== null) lostAt.set(entry.nonce, entry);
  const lostGaps = evidence.entries.filter(({ loss, gap }) => loss !== null && gap !== null);
  const gaps = valid.filter(({ gap }) => gap !== null);
  const problems: string[] = [];
  for (const sent of evidence.sent) {
    if (!sent.acked || sent.lostWithStore || there.has(sent.nonce)) continue;
    const covering = gaps.filter((entry) => coversSent(entry, sent, evidence));
    if (covering.length > 0) {
      const aged = covering.find(({ gap }) => gap?.reason === 'max_age');
      if (
        aged !== undefined &&
        aged.atMs - sent.acceptedMs < (evidence.maxAgeMs ?? Infinity) - 1_000
      )
        problems.push(
          `dropped by age when it was ${aged.atMs - sent.acceptedMs} ms old: ${sent.nonce}`,
        );
      continue;
    }
    const lost =
      lostGaps.findLast((entry) => coversSent(entry, sent, evidence)) ?? lostAt.get(sent.nonce);
    // The grace is exact to a twentieth.
    const seen = lost?.loss?.seen.get(sent.stream);
    const seenMs = seen?.atMs ?? lost?.loss?.atMs ?? 0;
    if (lost !== undefined && lost.atMs < seenMs - 0.95 * evidence.graceMs) continue;
    // Confirmed, and past its age when the hub lost it: it may have gone by then.
    if (evidence.maxAgeMs !== undefined && seenMs - sent.acceptedMs > evidence.maxAgeMs) continue;
    const { stream, positions, ackedMs } = sent;
    const firstSeq = seen?.firstSeq ?? 0;
    if (evidence.graceYields && positions.some(({ seq }) => seq < firstSeq)) continue;
    const at = positions.map(({ epoch, seq }) => `${epoch}:${seq}`).join(', ');
    problems.push(
      `lost: ${sent.nonce}, acknowledged as ${stream}:${at} at ${ackedMs} ms` +
        (lost === undefined ? '' : `, once at the hub (${lost.hubSeq} at ${lost.atMs} ms)`),
    );
  }
  return problems;
}

function coversSent({ stream, epoch, gap }: HubEntry, sent: Sent, { epochs }: Evidence): boolean {
  if (gap === null || stream !== sent.stream) return false;
  return sent.positions.some(
    (position) =>
      position.seq >= gap.firstSeq &&
      position.seq <= gap.lastSeq &&
      (epochs.get(epoch) ?? -1) >= (epochs.get(position.epoch) ?? Infinity),
  );
}

/** Gap records that speak of a message which the hub has. */
function needlessGaps(valid: readonly HubEntry[], { epochs }: Evidence): string[] {
  const problems: string[] = [];
  for (const [i, { stream, epoch, gap }] of valid.entries()) {
    if (gap === null) continue;
    const had = valid
      .slice(0, i)
      .find(
        (other) =>
          other.stream === stream &&
          other.gap === null &&
          !other.forgotten &&
          epochs.get(other.epoch) === epochs.get(epoch) &&
          other.seq >= gap.firstSeq &&
          other.seq <= gap.lastSeq,
      );
    if (had !== undefined)
      problems.push(
        `a gap ${gap.firstSeq}-${gap.lastSeq} (${gap.reason}) where the hub has ${keyOf(had)}`,
      );
  }
  return problems;
}
