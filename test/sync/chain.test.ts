// Where a chain may begin, how it ends, and what the forwarder does with messages that old hubs do not take.

import { expect, test } from 'vitest';
import { Chain } from '../../sync/chain.ts';
import { jetStreamError } from '../../sync/hub-error.ts';
import type { Progress } from '../../sync/way.ts';
import { wayLab as setup } from '../support/way-lab.ts';
import { Window } from '../../sync/window.ts';
import { memoryState } from '../support/forwarder-options.ts';

test('a chain does not begin behind a sequence whose message nobody has looked at', async () => {
  const { clock, hub, stream, errand, progress } = setup();
  stream.publishMany(3);
  // The last message under the filter was looked for; then a late one was stored; then the stream was described.
  hub.storeForeign('edge.gw7.telemetry.plant1.temp', `gw7:telemetry:${stream.currentEpoch}:1`);
  const at = progress(0, 0);
  expect(at.stream.lastSeq).toBe(1);
  const run = new Chain(errand, memoryState('telemetry')).run(at);
  await clock.advanceAsync(1_000);
  expect(await run).toBe('caught up');
  expect([at.afterSeq, hub.counters.publishes]).toEqual([0, 0]);
});

test('a chain confirms in order, and nothing behind a place where somebody else has written', async () => {
  const { clock, hub, stream, errand, progress } = setup();
  stream.publishMany(5);
  const at = progress(0, 0);
  const run = new Chain(errand, memoryState('telemetry')).run(at);
  await clock.advanceAsync(1_000);
  expect(await run).toBe('caught up');
  expect([at.afterSeq, at.fenceSeq, stream.mark?.hubSeq]).toEqual([5, 5, 5]);
  hub.storeForeign('edge.gw7.else');
  stream.publishMany(5);
  const broken = new Chain(errand, memoryState('telemetry'))
    .run(at)
    .catch((error: unknown) => error);
  await clock.advanceAsync(20_000);
  expect(await broken).toMatchObject({ errCode: 10071 });
  // All but the first find what they expect.
  expect([stream.mark?.seq, hub.model.lastSeq]).toEqual([5, 10]);
});

test('a chain confirms nothing behind an acknowledgement that is missing', async () => {
  const { clock, hub, stream, errand, progress } = setup();
  stream.publishMany(5);
  hub.refuse = ([message]) =>
    message?.id.endsWith(':3') === true ? jetStreamError(503, 10077, 'no room') : undefined;
  const run = new Chain(errand, memoryState('telemetry'))
    .run(progress(0, 0))
    .catch((error: unknown) => error);
  await clock.advanceAsync(20_000);
  expect(await run).toMatchObject({ errCode: 10077 });
  expect([stream.mark?.seq, hub.model.lastSeq]).toEqual([2, 2]);
});

test('a window sets one message aside and goes on with the others', async () => {
  const { clock, hub, stream, errand, progress } = setup();
  stream.publishMany(40);
  hub.refuse = ([message]) =>
    message?.id.endsWith(':7') === true && !message.subject.endsWith('_gap')
      ? jetStreamError(400, 10111, 'rollup')
      : undefined;
  const state = memoryState('telemetry');
  const at = progress(0, 0);
  const run = new Window(errand, state).run(at);
  await clock.advanceAsync(20_000);
  expect(await run).toBe('caught up');
  expect(stream.deadLetters).toEqual([{ seq: 7, reason: 'message: rollup (10111)' }]);
  expect(stream.mark?.seq).toBe(40);
  const ids = new Set(hub.model.under('edge.gw7.telemetry.>').map(({ id }) => id));
  expect([ids.size, hub.model.lastSeq]).toEqual([40, 40]);
  expect(state.value.window).not.toBeNull();
});

test('a window confirms nothing behind a hole, and closing it fills the hole', async () => {
  const { clock, hub, stream, errand, progress } = setup();
  stream.publishMany(30);
  hub.refuse = ([message]) =>
    message?.id.endsWith(':7') === true ? jetStreamError(503, 10077, 'no room') : undefined;
  const state = memoryState('telemetry');
  const window = new Window(errand, state);
  const at = progress(0, 0);
  const run = window.run(at).catch((error: unknown) => error);
  await clock.advanceAsync(20_000);
  expect(await run).toMatchObject({ errCode: 10077 });
  expect([stream.mark?.seq, hub.model.lastSeq]).toEqual([6, 29]);
  hub.refuse = () => undefined;
  stream.publishMany(10);
  const epoch = stream.currentEpoch;
  const close = async (again: Progress): Promise<string> => {
    const closing = window.close(again);
    await clock.advanceAsync(20_000);
    return await closing;
  };
  // Whether the reading told of all that had been sent is learnt first.
  expect(await close(progress(6, 29))).toBe('read back');
  expect(hub.model.history('edge.gw7.telemetry.>').slice(29)).toEqual([`gw7:telemetry:${epoch}:7`]);
  expect(state.value.window).not.toBeNull();
  const there = hub.model.under('edge.gw7.telemetry.>').slice(6);
  const ahead = new Map(there.map(({ id = '', seq, subject }) => [id, { id, seq, subject }]));
  const again: Progress = { ...progress(6, 30), ahead };
  expect(await close(again)).toBe('closed');
  expect(hub.model.lastSeq).toBe(30);
  expect([again.afterSeq, again.fenceSeq, state.value.window]).toEqual([30, 30, null]);
});
