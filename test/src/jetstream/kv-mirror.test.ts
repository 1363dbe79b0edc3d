// A bucket of the hub that the configuration orders: kept as the hub keeps it, also where the hub is away, and taken up
// and dropped with the configuration.

import { expect, test } from 'vitest';
import { kvMirrorOrder } from '../../../src/jetstream/mirror/kv-mirror.ts';
import { GatewayStore, streamOrder } from '../../support/gateway-store.ts';
import { contents, pass } from '../../support/mirror-lab.ts';
import { MirrorOrigin } from '../../support/mirror-origin.ts';

const STREAM = 'KV_config';
const ORDER = { bucket: 'config', domain: undefined, history: undefined, maxBytes: 1_000_000 };
const LIMITS = { max_msgs_per_subject: 2, max_age: 3_600e9, max_msg_size: 100 };

function bucket(at: GatewayStore): MirrorOrigin {
  const origin = new MirrorOrigin(at.broker, { stream: STREAM });
  origin.config = LIMITS;
  return origin;
}

/** Puts other streams in force. */
async function configured(at: GatewayStore, orders: Parameters<typeof kvMirrorOrder>[0][]) {
  const ready = at.jetstream.prepare([streamOrder(), ...orders.map(kvMirrorOrder)], new Map());
  await pass(at, 100);
  (await ready)();
  await pass(at, 100);
}

test('a bucket that is ordered while the agent runs is mirrored once the hub says its domain', async () => {
  await using at = await new GatewayStore([streamOrder()]).open();
  const origin = bucket(at);
  for (let i = 1; i <= 3; i++) origin.put('$KV.config.a', `${i}`, { timeMs: at.clock.wallMs() });
  await configured(at, [ORDER]);
  await pass(at, 5_000);
  expect(origin.infos).toBe(0);
  at.jetstream.mirrors.hubIsThere('hub');
  await pass(at, 300);
  origin.deliver();
  at.settle();
  expect(contents(at, STREAM)).toEqual(['2 $KV.config.a 2', '3 $KV.config.a 3']);
  expect(at.jetstream.stream(STREAM)?.config).toMatchObject({
    maxMsgsPerSubject: 2,
    maxAgeMs: 3_600_000,
    maxMsgBytes: 100,
    mirror: { external: { api: '$JS.hub.API' } },
  });
  // The same configuration again is no reason to ask.
  const { infos } = origin;
  await configured(at, [ORDER]);
  expect(at.jetstream.stream(STREAM)?.config).toMatchObject({ maxMsgsPerSubject: 2 });
  expect(origin.infos).toBe(infos);
  await configured(at, []);
  await pass(at, 60_000);
  expect(origin.infos).toBe(infos);
  expect(at.jetstream.stream(STREAM)).toBeUndefined();
});

test('what the hub said of a bucket is known after a start without it', async () => {
  await using at = await new GatewayStore([streamOrder(), kvMirrorOrder(ORDER)]).open();
  const origin = bucket(at);
  origin.put('$KV.config.a', '1', { timeMs: at.clock.wallMs() });
  at.jetstream.mirrors.hubIsThere('hub');
  await pass(at, 300);
  origin.deliver();
  at.settle();
  await at.close();
  await at.open();
  expect(contents(at, STREAM)).toEqual(['1 $KV.config.a 1']);
  expect(at.jetstream.stream(STREAM)?.config).toMatchObject({
    maxMsgsPerSubject: 2,
    mirror: { external: { api: '$JS.hub.API' } },
  });
});

test('a history and a domain of its own are those of the configuration', async () => {
  const order = kvMirrorOrder({ ...ORDER, domain: 'far', history: 1 });
  await using at = await new GatewayStore([streamOrder(), order]).open();
  const origin = new MirrorOrigin(at.broker, { stream: STREAM, api: '$JS.far.API' });
  origin.config = LIMITS;
  for (let i = 1; i <= 2; i++) origin.put('$KV.config.a', `${i}`, { timeMs: at.clock.wallMs() });
  at.jetstream.mirrors.hubIsThere('hub');
  await pass(at, 300);
  origin.deliver();
  at.settle();
  expect(contents(at, STREAM)).toEqual(['2 $KV.config.a 2']);
  expect(at.jetstream.stream(STREAM)?.config).toMatchObject({
    maxMsgsPerSubject: 1,
    mirror: { external: { api: '$JS.far.API' } },
  });
});
