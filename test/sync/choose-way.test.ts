// The table of ways: what is chosen for each kind of hub stream, mode and order, and what is said of it.

import { describe, expect, test } from 'vitest';
import { chooseWay, isAlone, type Choice, type Mode, type Order } from '../../sync/choose-way.ts';
import type { Origin } from '../../sync/hub-message.ts';
import type { HubStream } from '../../sync/hub.ts';
import { HubModel, MODEL_DEFAULTS } from '../support/hub-model.ts';

const GW7: Origin = { prefix: 'edge', gateway: 'gw7', stream: 'telemetry' };

/** Streams as hubs of all ages have them. */
const STREAMS = {
  'made for us': { batched: true },
  'without fast batches': { batched: false },
  'without any batches': { batched: false, atomic: false },
  'that removes': { batched: true, removes: true },
  old: { batched: false, atomic: false, filterFence: false },
  'old, and ours alone': {
    batched: false,
    atomic: false,
    filterFence: false,
    subjects: ['edge.gw7.telemetry.>'],
  },
  'with fast batches only': { batched: true, atomic: false },
  'ours alone': { batched: true, subjects: ['edge.gw7.telemetry.>'] },
} satisfies Record<string, Partial<HubStream>>;

function stream(name: keyof typeof STREAMS): HubStream {
  return { ...new HubModel(MODEL_DEFAULTS).describe(), ...STREAMS[name] };
}

function choose(name: keyof typeof STREAMS, mode: Mode, order: Order = 'strict'): Choice {
  return chooseWay(stream(name), GW7, { mode, order, onlyForwarder: false });
}

const ROWS: readonly [keyof typeof STREAMS, Mode, Order, string, string | null, Order][] = [
  ['made for us', 'auto', 'strict', 'atomic', 'fast', 'strict'],
  ['made for us', 'fast', 'strict', 'atomic', 'fast', 'strict'],
  ['made for us', 'fast', 'relaxed', 'atomic', 'fast', 'strict'],
  ['made for us', 'atomic', 'strict', 'atomic', null, 'strict'],
  ['made for us', 'window', 'strict', 'atomic', null, 'strict'],
  ['made for us', 'window', 'relaxed', 'atomic', 'window', 'relaxed'],
  ['without fast batches', 'auto', 'strict', 'atomic', null, 'strict'],
  ['without fast batches', 'fast', 'relaxed', 'atomic', null, 'strict'],
  ['that removes', 'auto', 'strict', 'atomic', null, 'strict'],
  ['that removes', 'fast', 'strict', 'atomic', null, 'strict'],
  ['with fast batches only', 'auto', 'strict', 'single', 'fast', 'strict'],
  ['with fast batches only', 'atomic', 'strict', 'single', null, 'strict'],
  ['with fast batches only', 'atomic', 'relaxed', 'single', 'window', 'relaxed'],
  ['without any batches', 'auto', 'strict', 'single', null, 'strict'],
  ['without any batches', 'auto', 'relaxed', 'single', 'window', 'relaxed'],
  ['old', 'auto', 'strict', 'single', null, 'strict'],
  ['old', 'auto', 'relaxed', 'single', 'window', 'relaxed'],
  ['old, and ours alone', 'auto', 'strict', 'single', 'chain', 'strict'],
  ['old, and ours alone', 'auto', 'relaxed', 'single', 'chain', 'strict'],
  ['old, and ours alone', 'atomic', 'strict', 'single', 'chain', 'strict'],
  ['old, and ours alone', 'window', 'strict', 'single', 'chain', 'strict'],
  ['ours alone', 'auto', 'strict', 'atomic', 'fast', 'strict'],
  ['ours alone', 'window', 'strict', 'atomic', 'chain', 'strict'],
];

test.each(ROWS)(
  'a stream %s, mode %s, order %s: %s, accelerated by %s, %s',
  (name, mode, order, base, acceleration, promised) => {
    expect(choose(name, mode, order)).toMatchObject({ base, acceleration, order: promised });
  },
);

describe('why', () => {
  test('nothing is said where all is as it should be', () => {
    expect(choose('made for us', 'auto').why).toBe('');
  });

  test('an operator reads what the hub stream lacks, or what he has asked for', () => {
    expect(choose('without fast batches', 'auto').why).toMatch(/allow_batched.*2\.14/);
    expect(choose('that removes', 'fast').why).toMatch(/removes messages by itself/);
    expect(choose('made for us', 'atomic').why).toBe('mode = "atomic" asks for it');
    expect(choose('made for us', 'window').why).toMatch(/not this gateway's alone/);
    expect(choose('old', 'auto').why).toMatch(
      /older than 2\.12.*order = "relaxed" would be faster/,
    );
    expect(choose('without any batches', 'auto', 'relaxed').why).toMatch(/allow_atomic/);
  });
});

describe('a stream is ours alone', () => {
  const alone = (subjects: string[], only = false, sourced = false): boolean =>
    isAlone({ ...stream('made for us'), subjects, sourced }, GW7, only);

  test('when nobody else can write what it takes', () => {
    expect(alone(['edge.gw7.telemetry.>'])).toBe(true);
    expect(alone(['edge.gw7.telemetry.plant1.>', 'edge.gw7.telemetry.serial.*'])).toBe(true);
    expect(alone(['edge.gw7.>'], true)).toBe(true);
  });

  test('and not when another gateway, stream or source may', () => {
    expect(alone(['edge.>'])).toBe(false);
    expect(alone(['edge.gw7.>'])).toBe(false);
    expect(alone(['edge.*.telemetry.>'], true)).toBe(false);
    expect(alone(['edge.gw7.telemetry.>', 'other.>'])).toBe(false);
    expect(alone([])).toBe(false);
    expect(alone(['edge.gw7.telemetry.>'], false, true)).toBe(false);
  });
});
