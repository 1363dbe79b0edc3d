// Every case of the verdict where forwarding goes on: what we know, what the hub says, what follows.

import { describe, expect, test } from 'vitest';
import type { HubStored } from '../../sync/hub.ts';
import { reconcile, type HubFacts, type LocalFacts, type Verdict } from '../../sync/reconcile.ts';
import type { Epoch, ForwardMark } from '../../src/jetstream/stream-types.ts';

const OTHERS = 'gw8:telemetry:x:5';

/** IDs are written `epoch:seq` here, whole ones stay as they are. */
function id(short: string | undefined): string | undefined {
  return short === undefined || short.split(':').length !== 2 ? short : `gw7:telemetry:${short}`;
}

function at(seq: number, short?: string): HubStored {
  return { seq, subject: 'edge.gw7.telemetry.a', id: id(short) };
}

function checkpointAt(seq: number, short: string): HubStored {
  return { seq, subject: 'edge.gw7.telemetry', id: `${id(short) ?? ''}:checkpoint` };
}

function mark(seq: number, short: string, hubSeq: number, hubCreated = 'c1'): ForwardMark {
  return { seq, id: id(short) ?? '', hubSeq, hubCreated };
}

/** Epochs `[name, first, last]`; the last one is this process's. */
function epochs(...list: [string, number, number][]): Epoch[] {
  return list.map(([epoch, firstSeq, lastSeq], i) => ({
    epoch,
    firstSeq,
    lastSeq,
    current: i === list.length - 1,
    retired: false,
  }));
}

/** We hold a: 1..100, b: 101..150 (this process), all there; the hub had confirmed 120 at its 1120. */
function local(facts: Partial<LocalFacts> = {}): LocalFacts {
  return {
    origin: { prefix: 'edge', gateway: 'gw7', stream: 'telemetry' },
    epochs: epochs(['a', 1, 100], ['b', 101, 150]),
    mark: mark(120, 'b:120', 1120),
    firstSeq: 1,
    durableSeq: 150,
    graceSeq: 0,
    tolerated: new Set(),
    ...facts,
  };
}

function hub(facts: Partial<HubFacts> = {}): HubFacts {
  return { created: 'c1', lastSeq: 2000, last: null, checkpoint: null, ...facts };
}

function goOn(verdict: Verdict): Extract<Verdict, { kind: 'go on' }> {
  if (verdict.kind !== 'go on') throw new Error(`not a way to go on: ${JSON.stringify(verdict)}`);
  return verdict;
}

function remarks(verdict: Verdict): string[] {
  return goOn(verdict).remarks.map(({ kind }) => kind);
}

describe('the hub holds a message of ours', () => {
  test('the one that it confirmed last: in step', () => {
    const verdict = reconcile(local(), hub({ last: at(1120, 'b:120') }));
    expect(verdict).toMatchObject({ afterSeq: 120, fenceSeq: 1120, mark: null, remarks: [] });
  });

  test('a later one: an acknowledgement was lost, and it counts', () => {
    const verdict = reconcile(local(), hub({ last: at(1130, 'b:130') }));
    expect(verdict).toMatchObject({
      afterSeq: 130,
      fenceSeq: 1130,
      mark: { seq: 130, hubSeq: 1130, hubCreated: 'c1' },
    });
    expect(remarks(verdict)).toEqual(['lost ack']);
  });

  test('without a mark it says where we are', () => {
    const verdict = reconcile(local({ mark: null }), hub({ last: at(900, 'a:90') }));
    expect(verdict).toMatchObject({ afterSeq: 90, fenceSeq: 900, mark: { seq: 90, hubSeq: 900 } });
  });

  test('the confirmed one, elsewhere in another incarnation of the stream: the mark follows', () => {
    const verdict = reconcile(local(), hub({ created: 'c2', lastSeq: 80, last: at(80, 'b:120') }));
    expect(verdict).toMatchObject({ afterSeq: 120, mark: { hubSeq: 80, hubCreated: 'c2' } });
  });
});

describe('an earlier one than it confirmed', () => {
  const last = at(1100, 'b:110');

  test('first it is asked what stands at the confirmed place', () => {
    expect(reconcile(local(), hub({ last }))).toEqual({ kind: 'ask', what: 'atMark' });
  });

  test('nothing stands there: the hub removed it, and we go on behind the mark', () => {
    const verdict = reconcile(local(), hub({ last, atMark: null }));
    expect(verdict).toMatchObject({ afterSeq: 120, fenceSeq: 1100, mark: null });
    expect(remarks(verdict)).toEqual(['removed']);
  });

  test('ours still stands there: nothing is lost', () => {
    const verdict = reconcile(local(), hub({ last, atMark: at(1120, 'b:120') }));
    expect(verdict).toMatchObject({ afterSeq: 120 });
  });

  test("another's stands there: the hub lost its tail, and we fill it from what it has", () => {
    const verdict = reconcile(local(), hub({ last, atMark: at(1120, OTHERS) }));
    expect(verdict).toMatchObject({ afterSeq: 110, mark: { seq: 110, hubSeq: 1100 } });
    expect(remarks(verdict)).toEqual(['refill']);
  });

  test('the hub has not come so far again: it lost its tail', () => {
    const verdict = reconcile(local(), hub({ last, lastSeq: 1119 }));
    expect(verdict).toMatchObject({ afterSeq: 110 });
    expect(remarks(verdict)).toEqual(['refill']);
  });

  test('the stream was created anew: it is filled from what it has', () => {
    const verdict = reconcile(local(), hub({ last, created: 'c2' }));
    expect(verdict).toMatchObject({ afterSeq: 110, mark: { seq: 110, hubCreated: 'c2' } });
  });
});

describe('the hub holds nothing of ours', () => {
  test('and never confirmed anything: all is sent', () => {
    const verdict = reconcile(local({ mark: null }), hub());
    expect(verdict).toMatchObject({ afterSeq: 0, fenceSeq: 0, mark: null, remarks: [] });
  });

  test('any more: purged or expired, we go on behind the mark', () => {
    expect(reconcile(local(), hub())).toEqual({ kind: 'ask', what: 'atMark' });
    const verdict = reconcile(local(), hub({ atMark: null }));
    expect(verdict).toMatchObject({ afterSeq: 120, fenceSeq: 0, mark: null });
  });

  test('because its stream was created anew: the grace is sent again, not all that is kept', () => {
    const facts = hub({ created: 'c2', lastSeq: 0 });
    expect(reconcile(local({ graceSeq: 70 }), facts)).toMatchObject({
      afterSeq: 70,
      mark: { seq: 70, id: '', hubSeq: 0, hubCreated: 'c2' },
    });
    expect(reconcile(local({ firstSeq: 41 }), facts)).toMatchObject({ afterSeq: 40 });
  });

  test('and what was never confirmed keeps its gap record, although nothing older is left', () => {
    const facts = hub({ created: 'c2', lastSeq: 0 });
    expect(reconcile(local({ firstSeq: 140 }), facts)).toMatchObject({ afterSeq: 120 });
  });

  test('because it was rolled back', () => {
    expect(remarks(reconcile(local(), hub({ lastSeq: 1119 })))).toEqual(['refill']);
  });

  test('after a refill began, whose mark names no message: we go on where it began', () => {
    const begun = { seq: 70, id: '', hubSeq: 0, hubCreated: 'c2' };
    const verdict = reconcile(local({ mark: begun }), hub({ created: 'c2', lastSeq: 0 }));
    expect(verdict).toMatchObject({ afterSeq: 70, fenceSeq: 0, mark: null });
  });
});

describe('a checkpoint', () => {
  test('says where we were when nothing of ours is left', () => {
    const verdict = reconcile(local(), hub({ checkpoint: checkpointAt(1131, 'b:130') }));
    expect(verdict).toMatchObject({
      afterSeq: 130,
      fenceSeq: 0,
      checkpointSeq: 1131,
      mark: { seq: 130, id: 'gw7:telemetry:b:130:checkpoint', hubSeq: 1131 },
    });
  });

  test('is ahead of the last message when consumers took the newest first', () => {
    const facts = hub({ last: at(1110, 'b:110'), checkpoint: checkpointAt(1131, 'b:130') });
    expect(reconcile(local(), facts)).toMatchObject({ afterSeq: 130, fenceSeq: 1110 });
    const inStep = hub({ last: at(1120, 'b:120'), checkpoint: checkpointAt(1131, 'b:130') });
    expect(reconcile(local(), inStep)).toMatchObject({ afterSeq: 130, fenceSeq: 1120 });
  });

  test('becomes the mark, and its removal later is no loss', () => {
    const facts = { mark: mark(130, 'gw7:telemetry:b:130:checkpoint', 1131) };
    const verdict = reconcile(local(facts), hub({ last: at(1110, 'b:110'), atMark: null }));
    expect(verdict).toMatchObject({ afterSeq: 130 });
  });

  test('of an unknown epoch later in a run is a conflict', () => {
    const facts = hub({ checkpoint: checkpointAt(1131, 'z:130') });
    expect(reconcile(local(), facts)).toMatchObject({ kind: 'conflict', epoch: 'z' });
  });
});

describe('an unknown epoch', () => {
  const last = at(1400, 'z:300');

  test('at the first reading: our own highest is looked for from the mark on', () => {
    const facts = local({ tolerated: null });
    expect(reconcile(facts, hub({ last }))).toEqual({ kind: 'ask', what: 'atMark' });
    expect(reconcile(facts, hub({ last, atMark: at(1120, 'b:120') }))).toEqual({
      kind: 'ask',
      what: 'scan',
      fromSeq: 1120,
    });
    const scan = { furthest: at(1150, 'b:150'), foreign: new Set(['z']) };
    const verdict = reconcile(facts, hub({ last, atMark: null, scan }));
    expect(verdict).toMatchObject({
      afterSeq: 150,
      fenceSeq: 1400,
      mark: { seq: 150, hubSeq: 1150 },
    });
    expect(goOn(verdict).foreign).toEqual(new Set(['z']));
    expect(remarks(verdict)).toEqual(['unknown epoch', 'lost ack']);
  });

  test('after a loss of the hub the scan begins at the start', () => {
    const verdict = reconcile(local({ tolerated: null }), hub({ last, created: 'c2' }));
    expect(verdict).toEqual({ kind: 'ask', what: 'scan', fromSeq: 1 });
  });

  test('with a new store that never sent anything: no scan, all is sent', () => {
    const facts = local({
      tolerated: null,
      mark: null,
      epochs: epochs(['n', 1, 20]),
      durableSeq: 20,
    });
    const verdict = reconcile(facts, hub({ last }));
    expect(verdict).toMatchObject({ afterSeq: 0, fenceSeq: 1400 });
    expect(remarks(verdict)).toEqual(['unknown epoch']);
  });

  test('later in the run: somebody has our name', () => {
    expect(reconcile(local(), hub({ last }))).toMatchObject({
      kind: 'conflict',
      epoch: 'z',
      id: 'gw7:telemetry:z:300',
    });
  });

  test('that was there at the first reading is no conflict later', () => {
    const verdict = reconcile(local({ tolerated: new Set(['z']) }), hub({ last }));
    expect(verdict).toMatchObject({ kind: 'ask' });
  });

  test('that was there at the first reading and goes on is of a machine that lives', () => {
    const facts = local({ tolerated: new Set(['z']), firstLook: { created: 'c1', lastSeq: 1399 } });
    const conflict = { kind: 'conflict', epoch: 'z', id: 'gw7:telemetry:z:300' };
    expect(reconcile(facts, hub({ last }))).toEqual(conflict);
    expect(reconcile(facts, hub({ last: at(1399, 'z:299') }))).toMatchObject({ kind: 'ask' });
    // In a stream made anew, sequences say nothing of when.
    expect(reconcile(facts, hub({ last, created: 'c2' }))).toMatchObject({ kind: 'ask' });
  });

  test('found by a scan later in the run is a conflict too', () => {
    const scan = { furthest: null, foreign: new Set(['y']) };
    const verdict = reconcile(local(), hub({ last: at(1300), atMark: null, scan }));
    expect(verdict).toMatchObject({ kind: 'conflict', epoch: 'y' });
  });

  test('of another gateway or stream is nobody’s business here', () => {
    const scan = { furthest: at(1120, 'b:120'), foreign: new Set<string>() };
    for (const strange of [OTHERS, 'gw7:other:z:1', 'gw7:telemetry:z', 'gw7:telemetry:z:1:x']) {
      const verdict = reconcile(local(), hub({ last: at(1300, strange), atMark: null, scan }));
      expect(remarks(verdict)).toContain('no id');
    }
  });
});

describe('a store that lost what it had sent', () => {
  // An image of epoch a, 1..90 confirmed, 100 held; this process numbers from 101 as n.
  const facts = local({
    tolerated: null,
    epochs: epochs(['a', 1, 100], ['n', 101, 105]),
    durableSeq: 105,
    mark: mark(90, 'a:90', 900),
  });

  test('goes on behind what it holds of the epoch, and sends its own new messages', () => {
    const last = at(1500, 'a:150');
    const scan = { furthest: at(1500, 'a:150'), foreign: new Set<string>() };
    const verdict = reconcile(facts, hub({ last, atMark: at(900, 'a:90'), scan }));
    expect(verdict).toMatchObject({
      afterSeq: 100,
      fenceSeq: 1500,
      mark: { seq: 100, id: 'gw7:telemetry:a:150', hubSeq: 1500 },
    });
    expect(remarks(verdict)).toEqual(['beyond', 'lost ack']);
  });

  test('sees the machine that it was copied from go on, though no write of its own passes', () => {
    const twin = {
      ...facts,
      tolerated: new Set<string>(),
      firstLook: { created: 'c1', lastSeq: 1500 },
    };
    const atMark = at(900, 'a:90');
    expect(reconcile(twin, hub({ last: at(1501, 'a:151'), atMark }))).toEqual({
      kind: 'conflict',
      epoch: 'a',
      id: 'gw7:telemetry:a:151',
    });
    // Its own, from this process or the one before, are none of a twin's.
    expect(reconcile(twin, hub({ last: at(1501, 'a:95'), atMark })).kind).toBe('go on');
    expect(reconcile(twin, hub({ last: at(1501, 'n:101'), atMark })).kind).toBe('go on');
  });

  test('never takes a number that it gave out anew for one that it gave out before', () => {
    // Epoch b gave out 101..150 and lost all but 101..110; this process numbers from 111 as n.
    const damaged = local({
      epochs: epochs(['a', 1, 100], ['b', 101, 110], ['n', 111, 140]),
      durableSeq: 140,
      mark: mark(130, 'b:130', 1130),
    });
    const scan = { furthest: at(1150, 'b:150'), foreign: new Set<string>() };
    const verdict = reconcile(damaged, hub({ last: at(1150, 'b:150'), atMark: null, scan }));
    expect(verdict).toMatchObject({ afterSeq: 110 });
  });

  test('whose list of epochs is not in order of time still trusts only the current one', () => {
    // b began at 101 and lost everything from 95 on; n began at 95.
    const list: Epoch[] = [
      { epoch: 'a', firstSeq: 1, lastSeq: 94, current: false, retired: false },
      { epoch: 'n', firstSeq: 95, lastSeq: 100, current: true, retired: false },
      { epoch: 'b', firstSeq: 101, lastSeq: 140, current: false, retired: false },
    ];
    const odd = local({ epochs: list, durableSeq: 140, mark: null });
    expect(reconcile(odd, hub({ last: at(1139, 'n:139') }))).toMatchObject({ afterSeq: 139 });
    const scan = { furthest: at(1120, 'b:120'), foreign: new Set<string>() };
    expect(reconcile(odd, hub({ last: at(1120, 'b:120'), scan }))).toMatchObject({ afterSeq: 94 });
  });

  test('caps a mark that survived the messages it speaks of', () => {
    const survived = local({ ...facts, mark: mark(130, 'a:130', 1130), tolerated: new Set() });
    const verdict = reconcile(survived, hub({ last: at(1110, 'a:95'), atMark: at(1130, 'a:130') }));
    expect(verdict).toMatchObject({ afterSeq: 100, mark: { seq: 100 } });
  });
});

describe('a stream that was deleted and created anew', () => {
  const list: Epoch[] = [
    { epoch: 'old', firstSeq: 1, lastSeq: 0, current: false, retired: true },
    { epoch: 'n', firstSeq: 1, lastSeq: 30, current: true, retired: false },
  ];

  test('sends from its start behind the messages of its predecessor, without alarm', () => {
    const facts = local({ epochs: list, durableSeq: 30, mark: null });
    const verdict = reconcile(facts, hub({ last: at(1120, 'old:120') }));
    expect(verdict).toMatchObject({ afterSeq: 0, fenceSeq: 1120, mark: null, remarks: [] });
  });

  test('goes on behind its own mark where the hub has removed its own messages only', () => {
    const facts = local({ epochs: list, durableSeq: 30, mark: mark(10, 'n:10', 1130) });
    const verdict = reconcile(facts, hub({ last: at(1120, 'old:120'), atMark: null }));
    expect(verdict).toMatchObject({ afterSeq: 10, fenceSeq: 1120 });
  });
});

test('a message without an ID of ours among ours is stepped over', () => {
  const scan = { furthest: at(1120, 'b:120'), foreign: new Set<string>() };
  const verdict = reconcile(local(), hub({ last: at(1300), atMark: at(1120, 'b:120'), scan }));
  expect(verdict).toMatchObject({ afterSeq: 120, fenceSeq: 1300, mark: null });
  expect(remarks(verdict)).toEqual(['no id']);
});
