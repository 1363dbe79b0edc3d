// What the links say of themselves in the status line of the service, and in /healthz.

import { expect, test } from 'vitest';
import type { LeafzStatus } from '../../src/monitor/leafz.ts';
import { health, statusLine, type Parts } from '../../src/status.ts';

const HUB = { connected: true, detail: '', answers: 0, problem: null };

interface Given {
  readonly hub?: Parts['hub'];
  readonly leaf?: Partial<LeafzStatus>;
  readonly pending?: number;
  readonly sourcing?: string;
}

function partsOf({ hub, leaf, pending, sourcing }: Given): Parts {
  const forwarder = { stream: 'S', status: () => ({ pending, problem: null }) };
  const store = { failed: undefined, full: null, stalledMs: 0 };
  const parts = {
    jetstream: { store, sourcing: { problem: sourcing } },
    hub,
    leaf: leaf === undefined ? undefined : { status: () => ({ problem: null, ...leaf }) },
    forwarders: pending === undefined ? [] : [forwarder],
    mqttSources: [],
  };
  return parts as unknown as Parts;
}

const STANDS = { connected: true, hub: { name: 'cloud1' } } as LeafzStatus;
const AWAY = { connected: false, detail: 'the WAN is away', hub: undefined };

test('the status line tells of each link that there is', () => {
  const line = (given: Given): string => statusLine(partsOf(given));
  expect(line({})).toBe('storing; there is no hub to forward to');
  expect(line({ leaf: STANDS })).toBe('storing; leaf node of cloud1');
  expect(line({ leaf: AWAY })).toBe('storing; no leafnode link (the WAN is away)');
  expect(line({ hub: HUB, pending: 0 })).toBe('connected to the hub, nothing waits');
  expect(line({ hub: HUB, pending: 3, leaf: STANDS })).toBe(
    'connected to the hub, 3 messages wait for it, leaf node of cloud1',
  );
  expect(line({ hub: { ...HUB, connected: false, detail: 'no name' }, pending: 1 })).toBe(
    'no connection to the hub (no name), 1 messages wait for it',
  );
});

test('a problem of the link, and a stream that had lost its end, stand in /healthz and in the status line', () => {
  expect(health(partsOf({ leaf: AWAY }))).toEqual({ ok: true, problems: [] });
  const wrong = partsOf({ leaf: { ...AWAY, problem: 'wrong password' } });
  expect(health(wrong)).toEqual({
    ok: false,
    problems: [{ part: 'leaf', text: 'wrong password' }],
  });
  expect(statusLine(wrong)).toBe('leaf: wrong password');
  expect(health(partsOf({ sourcing: 'stream S had lost its end' })).problems).toEqual([
    { part: 'sourcing', text: 'stream S had lost its end' },
  ]);
});
