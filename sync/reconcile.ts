// Decides from what we know and what the hub says where forwarding goes on. A pure function: it asks for a further
// fact when it needs one, and gives a verdict when it has enough. The argument why this is exactly once is below.
//
// What is promised: every local entry is stored at the hub once, in order, whatever happens to the link, the hub's
// processes and ours, and however long it lasts.
//
// 1. One writer's log. We write entries in local order only, each write (one message, or an atomic batch) begins behind
//    the last position P known to be at the hub, and carries a fence F: the hub stores it only if the last message under
//    our filter is still the one at hub sequence F. The hub checks and stores in one step. So the messages under our
//    filter are a prefix of our entries, in order, without repetition, as long as every P is right for its F.
// 2. P is right after an acknowledgement: the hub stored ours on top of F, so the last one is ours, at the sequence it
//    names. P is right after a read-back: the last message under the filter is read from the stream's leader, and its
//    ID, which no two messages ever share (epochs), says which of our entries it is. Everything before it is there by 1.
// 3. A reading can be stale (a leader deposed without knowing), and a write of ours can land late (a zombie: bytes of an
//    old connection, of our killed predecessor, of a cloned card). Either way the last message at the moment of the next
//    write is not the one at F: sequences are never given twice, so the write is refused, and we read back again.
//    A zombie that lands is itself a correct continuation, because its own fence held: the next reading finds it.
// 4. So nothing is ever sent on a guess. An attempt whose outcome is unknown (timeout, lost link) is followed by a
//    reading, never by the same bytes. How long the outage was plays no part: nothing here depends on a window of IDs.
// 5. A hub may remove messages (age, limits, consumers). Then the last one is older than what was confirmed, or none is
//    left. Ours is still there by 2, and we go on behind the mark; an attempt whose acknowledgement was lost is known
//    from the checkpoint, which travels in the same atomic batch and is not removed. Its sequence is a second fence: where
//    the filter is empty again and again, F = 0 would hold for a zombie as well, the checkpoint's does not.
// 6. A hub may lose what it confirmed (it syncs every 2 minutes by default; a stream is deleted and made anew). Only then
//    is something sent again: what the hub shows (`created`, its last sequence, the ID at the confirmed sequence)
//    proves the loss first. A sequence may now be given twice, so 3 asks that a zombie does not outlive such a loss.
// 7. A local store may lose what it had sent (a restored image, a damaged card). Its epochs tell: an ID of an epoch that
//    we do not know, or a sequence beyond what we have of one, is not a position of ours. The highest of our own is
//    looked for in the headers. New messages carry a new epoch, so no old ID shadows them. What such an ID says at the
//    first reading of a run is history; one that the hub stores later is of a machine that lives, with our name or with
//    a copy of our store, and we stop. It need not wait for us to write: a busy twin would let no write of ours pass.

import { messageId, parseId, type Origin, type Position } from './hub-message.ts';
import type { HubStored } from './hub.ts';
import type { Epoch, ForwardMark } from '../src/jetstream/stream-types.ts';

export interface LocalFacts {
  readonly origin: Origin;
  /** Oldest first. */
  readonly epochs: readonly Epoch[];
  readonly mark: ForwardMark | null;
  /** First sequence that exists; one past the last when the stream is empty. */
  readonly firstSeq: number;
  readonly durableSeq: number;
  /** What the hub had confirmed one grace ago. */
  readonly graceSeq: number;
  /** Foreign epochs that the first reading of this run has seen; null while that reading is being judged. */
  readonly tolerated: ReadonlySet<string> | null;
  /** Where the hub stream was at that reading. */
  readonly firstLook?: FirstLook | undefined;
}

export interface FirstLook {
  /** The hub stream's. */
  readonly created: string;
  readonly lastSeq: number;
}

export interface HubFacts {
  readonly created: string;
  readonly lastSeq: number;
  /** The last message under our filter. */
  readonly last: HubStored | null;
  readonly checkpoint: HubStored | null;
  /** The message at the mark's hub sequence; undefined: not asked. */
  readonly atMark?: HubStored | null;
  /** Undefined: not asked. */
  readonly scan?: Scan;
}

/** What a scan of the headers found under our filter. */
export interface Scan {
  /** The message that brings us furthest. */
  readonly furthest: HubStored | null;
  readonly foreign: ReadonlySet<string>;
}

export type Remark =
  | { readonly kind: 'lost ack'; readonly fromSeq: number; readonly toSeq: number }
  | { readonly kind: 'removed'; readonly markSeq: number }
  | {
      readonly kind: 'refill';
      readonly fromSeq: number;
      readonly markSeq: number;
      readonly why: 'recreated' | 'rolled back' | 'overwritten';
    }
  | { readonly kind: 'unknown epoch'; readonly epochs: readonly string[] }
  | { readonly kind: 'beyond'; readonly id: string; readonly ours: number }
  | { readonly kind: 'no id'; readonly seq: number };

export type Verdict =
  | { readonly kind: 'ask'; readonly what: 'atMark' }
  | { readonly kind: 'ask'; readonly what: 'scan'; readonly fromSeq: number }
  | { readonly kind: 'conflict'; readonly epoch: string; readonly id: string }
  | {
      readonly kind: 'go on';
      /** Everything up to this local sequence is at the hub, or need not be sent. */
      readonly afterSeq: number;
      /** Hub sequence of the last message under the filter; 0 for none. */
      readonly fenceSeq: number;
      readonly checkpointSeq: number;
      /** To be confirmed, where it differs from the one we have. */
      readonly mark: ForwardMark | null;
      /** Foreign epochs seen; tolerated from now on if this was the first reading. */
      readonly foreign: ReadonlySet<string>;
      readonly remarks: readonly Remark[];
    };

/** What an ID means here. */
export type Meaning =
  | { readonly kind: 'ours'; readonly seq: number; readonly beyond: boolean }
  | { readonly kind: 'retired' }
  | { readonly kind: 'foreign'; readonly epoch: string }
  | { readonly kind: 'none' };

/** Whether the hub's stream as it is now can still hold what the mark speaks of. */
type Loss = 'recreated' | 'rolled back' | 'overwritten' | 'none' | 'unknown';

/** The verdict, or the next fact to ask the hub for. Ask at most twice: at the mark, then the scan. */
export function reconcile(local: LocalFacts, hub: HubFacts): Verdict {
  const read = idReader(local);
  const foreign = new Set(hub.scan?.foreign);
  for (const stored of [hub.last, hub.checkpoint]) {
    const meaning = read(stored?.id);
    if (meaning.kind === 'foreign') foreign.add(meaning.epoch);
  }
  const { tolerated } = local;
  const stranger =
    tolerated === null ? undefined : [...foreign].find((epoch) => !tolerated.has(epoch));
  if (stranger !== undefined) return { kind: 'conflict', epoch: stranger, id: hub.last?.id ?? '' };

  const last = read(hub.last?.id);
  if (isLive(hub, local.firstLook) && isStrange(last)) {
    const epoch = parseId(local.origin, hub.last?.id)?.epoch ?? '';
    return { kind: 'conflict', epoch, id: hub.last?.id ?? '' };
  }
  const plain =
    hub.last === null || last.kind === 'retired' || (last.kind === 'ours' && !last.beyond);
  const loss = lossOf(local.mark, hub);
  if (!plain && hub.scan === undefined && !nothingCanBeThere(local)) {
    if (loss === 'unknown') return { kind: 'ask', what: 'atMark' };
    const fromSeq = loss === 'none' ? Math.max(1, local.mark?.hubSeq ?? 1) : 1;
    return { kind: 'ask', what: 'scan', fromSeq };
  }
  const found = furthest(read, [plain ? hub.last : (hub.scan?.furthest ?? null), hub.checkpoint]);
  const remarks = remarksOn(local, hub, last, foreign);
  const verdict = (afterSeq: number, mark: ForwardMark | null, remark?: Remark): Verdict => ({
    kind: 'go on',
    afterSeq,
    fenceSeq: hub.last?.seq ?? 0,
    checkpointSeq: hub.checkpoint?.seq ?? 0,
    mark,
    foreign,
    remarks: remark === undefined ? remarks : [...remarks, remark],
  });
  const { mark } = local;
  const marked = markSeq(local, read);
  if (mark === null) return verdict(found.seq, markAt(found, hub));
  if (found.seq > marked)
    return verdict(found.seq, markAt(found, hub), {
      kind: 'lost ack',
      fromSeq: marked + 1,
      toSeq: found.seq,
    });
  if (found.seq === marked && found.stored !== null)
    return verdict(marked, changed(mark, markAt(found, hub)));
  if (loss === 'unknown') return { kind: 'ask', what: 'atMark' };
  if (loss === 'none') {
    const capped = marked === mark.seq ? null : { ...mark, seq: marked };
    return verdict(marked, capped, { kind: 'removed', markSeq: marked });
  }
  return refill(local, hub, { found, marked, why: loss }, verdict);
}

/** Whether the last message was stored after our first look: its sender lives, and is not what this store once was. */
function isLive({ created, last }: HubFacts, first: FirstLook | undefined): boolean {
  return first?.created === created && (last?.seq ?? 0) > first.lastSeq;
}

/** Not from this store: another epoch, or one that we have a copy of and that has gone on elsewhere. */
function isStrange(meaning: Meaning): boolean {
  return meaning.kind === 'foreign' || (meaning.kind === 'ours' && meaning.beyond);
}

/**
 * The hub lost what it had confirmed. What we find of ours there says from where; where it holds nothing of ours any
 * more, the grace does, because sending all that is kept for local replay would be a flood. A place that is neither
 * at the hub nor here any more becomes a gap record by itself: the stream reads as a gap there.
 */
function refill(
  local: LocalFacts,
  hub: HubFacts,
  { found, marked, why }: { found: Found; marked: number; why: Exclude<Loss, 'none' | 'unknown'> },
  verdict: (afterSeq: number, mark: ForwardMark | null, remark: Remark) => Verdict,
): Verdict {
  const nothing = found.stored === null;
  const held = Math.max(local.firstSeq - 1, local.graceSeq);
  const fromSeq = nothing ? Math.min(marked, held) : found.seq;
  const mark = markAt({ ...found, seq: fromSeq }, hub) ?? {
    seq: fromSeq,
    id: '',
    hubSeq: 0,
    hubCreated: hub.created,
  };
  return verdict(fromSeq, mark, { kind: 'refill', fromSeq: fromSeq + 1, markSeq: marked, why });
}

export interface Found {
  /** The local sequence that the hub holds; 0 for nothing. */
  readonly seq: number;
  readonly stored: HubStored | null;
}

/** Reads IDs of the hub's messages as positions of ours. */
export type IdReader = (id: string | undefined) => Meaning;

/** Of these messages the one that brings us furthest. */
export function furthest(read: IdReader, candidates: readonly (HubStored | null)[]): Found {
  let found: Found = { seq: 0, stored: null };
  for (const stored of candidates) {
    const meaning = read(stored?.id);
    if (meaning.kind === 'ours' && (found.stored === null || meaning.seq > found.seq))
      found = { seq: meaning.seq, stored };
  }
  return found;
}

export function idReader({
  origin,
  epochs,
  durableSeq,
}: Pick<LocalFacts, 'origin' | 'epochs' | 'durableSeq'>): IdReader {
  const ends = new Map<string, number | null>();
  // What a later epoch numbered anew is not an earlier one's any more.
  let end = (epochs.find(({ current }) => current)?.firstSeq ?? durableSeq + 1) - 1;
  for (const { epoch, firstSeq, lastSeq, current, retired } of epochs.toReversed()) {
    if (ends.has(epoch)) continue;
    if (retired) ends.set(epoch, null);
    else if (current) ends.set(epoch, durableSeq);
    else {
      ends.set(epoch, Math.min(end, lastSeq));
      end = Math.min(end, firstSeq - 1);
    }
  }
  return (id) => {
    const position = parseId(origin, id);
    if (position === null) return { kind: 'none' };
    const lastSeq = ends.get(position.epoch);
    if (lastSeq === undefined) return { kind: 'foreign', epoch: position.epoch };
    if (lastSeq === null) return { kind: 'retired' };
    return {
      kind: 'ours',
      seq: Math.min(position.seq, lastSeq),
      beyond: position.seq > lastSeq,
    };
  };
}

/** The mark's sequence, no further than what we have of its epoch. */
function markSeq(local: LocalFacts, read: IdReader): number {
  if (local.mark === null) return 0;
  const meaning = read(local.mark.id);
  const seq = Math.min(local.mark.seq, local.durableSeq);
  return meaning.kind === 'ours' ? Math.min(seq, meaning.seq) : seq;
}

function lossOf(mark: ForwardMark | null, hub: HubFacts): Loss {
  if (mark === null) return 'none';
  if (mark.hubCreated !== hub.created) return 'recreated';
  if (hub.lastSeq < mark.hubSeq) return 'rolled back';
  // A mark set by a refill names no message.
  if (mark.id === '' || mark.hubSeq === 0) return 'none';
  if (hub.last?.seq === mark.hubSeq) return hub.last.id === mark.id ? 'none' : 'overwritten';
  if (hub.atMark === undefined) return 'unknown';
  return hub.atMark === null || hub.atMark.id === mark.id ? 'none' : 'overwritten';
}

/** No epoch from before this process, and no mark: we have never sent anything. */
function nothingCanBeThere({ epochs, mark, tolerated }: LocalFacts): boolean {
  return (
    mark === null && tolerated === null && epochs.every((epoch) => epoch.current || epoch.retired)
  );
}

function markAt({ seq, stored }: Found, hub: HubFacts): ForwardMark | null {
  if (stored === null) return null;
  return { seq, id: stored.id ?? '', hubSeq: stored.seq, hubCreated: hub.created };
}

function changed(before: ForwardMark, after: ForwardMark | null): ForwardMark | null {
  if (after === null) return null;
  const same =
    before.seq === after.seq &&
    before.id === after.id &&
    before.hubSeq === after.hubSeq &&
    before.hubCreated === after.hubCreated;
  return same ? null : after;
}

function remarksOn(
  local: LocalFacts,
  hub: HubFacts,
  last: Meaning,
  foreign: ReadonlySet<string>,
): Remark[] {
  const remarks: Remark[] = [];
  if (foreign.size > 0 && local.tolerated === null)
    remarks.push({ kind: 'unknown epoch', epochs: [...foreign] });
  if (last.kind === 'ours' && last.beyond)
    remarks.push({ kind: 'beyond', id: hub.last?.id ?? '', ours: last.seq });
  if (last.kind === 'none' && hub.last !== null) remarks.push({ kind: 'no id', seq: hub.last.seq });
  return remarks;
}

/** The ID of a position, for marks of entries that were just acknowledged. */
export function markOf(
  origin: Origin,
  position: Position,
  hubSeq: number,
  hubCreated: string,
): ForwardMark {
  return { seq: position.seq, id: messageId(origin, position), hubSeq, hubCreated };
}
