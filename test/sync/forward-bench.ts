// A forwarder between a stream in memory and a scripted hub, with its log lines at hand: no sockets, no disk, a clock
// that moves when told to.

import { pino } from 'pino';
import { Forwarder, type ForwarderOptions } from '../../sync/forwarder.ts';
import type { HubMessage } from '../../sync/hub.ts';
import { forwarderOptions } from '../support/forwarder-options.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { ModelConfig } from '../support/hub-model.ts';
import type { MemoryStream } from '../support/memory-stream.ts';
import { seededRandom } from '../support/random.ts';
import { ScriptedHub } from '../support/scripted-hub.ts';

export const FILTER = 'edge.gw7.telemetry.>';
export const CHECKPOINT = 'edge.gw7.telemetry';

export interface Line {
  readonly level: number;
  readonly msg: string;
  readonly hint?: string;
}

export class Bench {
  readonly clock = new FakeClock();
  readonly random = seededRandom(7);
  readonly lines: Line[] = [];
  readonly hub: ScriptedHub;
  readonly forwarders: Forwarder[] = [];

  constructor(config: Partial<ModelConfig> = {}, missing?: 'create' | 'fail') {
    const { clock, random } = this;
    this.hub = new ScriptedHub({
      clock,
      random,
      config,
      ...(missing === undefined ? {} : { missing }),
    });
  }

  start(stream: MemoryStream, change: Partial<ForwarderOptions> = {}): Forwarder {
    const { clock, random, hub } = this;
    const log = pino(
      { level: 'debug', base: null },
      { write: (line) => void this.lines.push(JSON.parse(line) as Line) },
    );
    const forwarder = new Forwarder(forwarderOptions(stream, change), { hub, clock, log, random });
    forwarder.start();
    this.forwarders.push(forwarder);
    return forwarder;
  }

  run(ms: number): Promise<void> {
    return this.clock.advanceAsync(ms);
  }

  /** A killed process: nothing of it happens any more, but for what is on its way. */
  async kill(forwarder: Forwarder): Promise<void> {
    await Promise.all([forwarder.stop(), this.run(2_500)]);
  }

  get ids(): (string | undefined)[] {
    return this.hub.model.under(FILTER).map(({ id }) => id);
  }

  logged(text: string): Line[] {
    return this.lines.filter(({ msg }) => msg.includes(text));
  }
}

const open: Bench[] = [];

/** A bench that tearDown() ends. */
export function setup(config?: Partial<ModelConfig>, missing?: 'create' | 'fail'): Bench {
  const bench = new Bench(config, missing);
  open.push(bench);
  return bench;
}

/** For afterEach: stops every forwarder of the test. */
export async function tearDown(): Promise<void> {
  for (const { forwarders, clock } of open.splice(0))
    await Promise.all([...forwarders.map((one) => one.stop()), clock.advanceAsync(5_000)]);
}

/** The IDs of sequences from..to of an epoch. */
export function ids(epoch: string, from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, i) => `gw7:telemetry:${epoch}:${from + i}`);
}

/** Counts the requests of each kind, and how many publishes were under way at once. */
export function watch({ hub }: Bench): { calls: string[]; publishing: number; most: number } {
  const seen = { calls: [] as string[], publishing: 0, most: 0 };
  const publish = hub.publish.bind(hub);
  const last = hub.lastBySubject.bind(hub);
  hub.lastBySubject = (stream, filter) => {
    if (filter === FILTER) seen.calls.push('read back');
    return last(stream, filter);
  };
  hub.publish = async (messages, options) => {
    seen.calls.push(`publish ${messages.length}`);
    seen.most = Math.max(seen.most, ++seen.publishing);
    try {
      return await publish(messages, options);
    } finally {
      seen.publishing--;
    }
  };
  return seen;
}

export function texts(messages: readonly HubMessage[]): string[] {
  return messages.map(({ data }) => data.toString());
}
