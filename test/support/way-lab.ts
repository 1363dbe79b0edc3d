// One way of sending by itself: a local stream in memory, a scripted hub, and no forwarder around them.

import { BatchSize } from '../../sync/batch-size.ts';
import { markOf } from '../../sync/reconcile.ts';
import type { Errand, Progress } from '../../sync/way.ts';
import { FakeClock } from './fake-clock.ts';
import { MemoryStream } from './memory-stream.ts';
import { seededRandom } from './random.ts';
import { ScriptedHub } from './scripted-hub.ts';

const ORIGIN = { prefix: 'edge', gateway: 'gw7', stream: 'telemetry' };
const CONFIG = { subjects: ['edge.gw7.>'], atomic: false, filterFence: false };

export interface WayLab {
  readonly clock: FakeClock;
  readonly hub: ScriptedHub;
  readonly stream: MemoryStream;
  readonly errand: Errand;
  readonly progress: (afterSeq: number, fenceSeq: number) => Progress;
}

export function wayLab(): WayLab {
  const clock = new FakeClock();
  const hub = new ScriptedHub({ clock, random: seededRandom(1), config: CONFIG });
  const stream = new MemoryStream('telemetry');
  const errand: Errand = {
    origin: ORIGIN,
    hubStream: 'EDGE',
    stream,
    hub,
    clock,
    size: new BatchSize(),
    stopped: new AbortController().signal,
    linkLost: () => false,
    confirm: (last, hubSeq, created) => {
      stream.confirm(markOf(ORIGIN, last, hubSeq, created));
      return true;
    },
    sent: () => undefined,
    setAside: ({ kind, ...entry }, reason) =>
      stream.deadLetter('message' in entry ? entry.message.seq : 0, `${kind}: ${reason}`),
  };
  const progress = (afterSeq: number, fenceSeq: number): Progress => ({
    afterSeq,
    fenceSeq,
    stream: hub.model.describe(),
  });
  return { clock, hub, stream, errand, progress };
}
