// Asks the hub what it holds of a stream, until reconcile() has its verdict. The order of the questions matters: the last
// message first, then what the hub stream is now, so that a stream created anew in between is noticed by the fence.

import { checkpointSubject, filterOf, type Origin } from './hub-message.ts';
import { HubError, LOCAL_ERROR } from './hub-error.ts';
import { covers } from './hub-stream.ts';
import type { Hub, HubStored, HubStream } from './hub.ts';
import {
  furthest,
  idReader,
  reconcile,
  type HubFacts,
  type LocalFacts,
  type Scan,
  type Verdict,
} from './reconcile.ts';

/** Foreign epochs noted in one scan; a card that was put back more often than this is beyond telling apart. */
const FOREIGN_MAX = 1_000;

export interface ReadBack {
  readonly stream: HubStream;
  readonly verdict: Exclude<Verdict, { kind: 'ask' }>;
}

/** Reads back. `local` is asked after each answer. Rejects with a HubError. */
export async function readBack(
  hub: Hub,
  streamName: string,
  origin: Origin,
  local: () => LocalFacts,
): Promise<ReadBack> {
  const filter = filterOf(origin);
  const last = await lastMessage(hub, streamName, filter);
  const stream = await hub.stream(streamName);
  checkStream(stream, filter);
  let checkpoint: HubStored | null = null;
  if (stream.removes || last === null)
    checkpoint = await hub.lastBySubject(streamName, checkpointSubject(origin));
  let facts: HubFacts = { created: stream.created, lastSeq: stream.lastSeq, last, checkpoint };
  // reconcile() asks for each fact once.
  for (let asked = 0; asked < 3; asked++) {
    const verdict = reconcile(local(), facts);
    if (verdict.kind !== 'ask') return { stream, verdict };
    if (verdict.what === 'atMark') {
      const seq = local().mark?.hubSeq ?? 0;
      facts = { ...facts, atMark: await hub.messageAt(streamName, seq) };
    } else {
      const toSeq = last?.seq ?? 0;
      const pages = hub.scanHeaders(streamName, filter, verdict.fromSeq, toSeq);
      const found = await scan(pages, local());
      facts = { ...facts, scan: found };
    }
  }
  throw new HubError('retry', 'the hub changed while it was read', {
    errCode: LOCAL_ERROR.badAnswer,
  });
}

/** The last message; a missing stream is created by `stream`, or named there as what an operator must do. */
async function lastMessage(hub: Hub, stream: string, filter: string): Promise<HubStored | null> {
  try {
    return await hub.lastBySubject(stream, filter);
  } catch (error) {
    if (!(error instanceof HubError) || error.errCode !== 10059) throw error;
    await hub.stream(stream);
    return hub.lastBySubject(stream, filter);
  }
}

/** Throws a HubError of kind configuration for a stream that cannot be forwarded to. */
function checkStream(stream: HubStream, filter: string): void {
  const { name, unfit } = stream;
  const fail = (message: string, hint: string): never => {
    throw new HubError('configuration', message, { errCode: LOCAL_ERROR.unfitStream, hint });
  };
  if (unfit !== undefined)
    fail(`the hub stream ${name} cannot be used: ${unfit.reason}`, unfit.hint);
  if (!stream.subjects.some((pattern) => covers(pattern, filter)))
    fail(
      `the hub stream ${name} does not take "${filter}" (its subjects: ${stream.subjects.join(', ')})`,
      `add "${filter}" or a wider subject to it, or change hub.prefix or hub.stream`,
    );
}

async function scan(pages: AsyncIterable<readonly HubStored[]>, local: LocalFacts): Promise<Scan> {
  const read = idReader(local);
  const foreign = new Set<string>();
  let best: HubStored | null = null;
  for await (const page of pages) {
    for (const { id } of page) {
      const meaning = read(id);
      if (meaning.kind === 'foreign' && foreign.size < FOREIGN_MAX) foreign.add(meaning.epoch);
    }
    best = furthest(read, [best, ...page]).stored;
  }
  return { furthest: best, foreign };
}
