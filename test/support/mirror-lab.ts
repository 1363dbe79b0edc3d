// A gateway's store with an origin beside it that the test plays, and a mirror between the two.

import { expect } from 'vitest';
import type { Stream } from '../../src/jetstream/stream.ts';
import type { MirrorConfig, StreamConfig } from '../../src/jetstream/stream-types.ts';
import { GatewayStore, streamOrder } from './gateway-store.ts';
import { MirrorOrigin } from './mirror-origin.ts';

export const NAME = 'COPY';
export const EXTERNAL: MirrorConfig = { name: 'ORIGIN', external: { api: '$JS.hub.API' } };

export function mirrorConfig(more: Partial<StreamConfig> = {}): StreamConfig {
  const order = streamOrder({ name: NAME, subjects: [], duplicateWindowMs: 0 });
  return { ...order, maxBytes: Infinity, wallTime: true, mirror: EXTERNAL, ...more };
}

/** A gateway with an origin beside it. */
export async function opened(
  clockMs?: number,
): Promise<{ at: GatewayStore; origin: MirrorOrigin }> {
  const at = await new GatewayStore([streamOrder()]).open();
  if (clockMs !== undefined) at.clock.stepWall(clockMs);
  return { at, origin: new MirrorOrigin(at.broker) };
}

/** Lets timers run for a while, and the disk answer. */
export async function pass(at: GatewayStore, ms = 600): Promise<void> {
  for (let i = 0; i < ms / 50; i++) {
    at.settle();
    await new Promise((resolve) => setImmediate(resolve));
    at.clock.advance(50);
    at.settle();
  }
}

/** Until the origin is asked for a consumer, and that one is listened to. */
export async function askedAgain(at: GatewayStore, origin: MirrorOrigin): Promise<void> {
  const { length } = origin.asked;
  for (let i = 0; i < 1_000 && origin.asked.length === length; i++) await pass(at, 50);
  expect(origin.asked.length).toBeGreaterThan(length);
  await pass(at, 50);
}

export async function mirrored(
  at: GatewayStore,
  more: Partial<StreamConfig> = {},
): Promise<Stream> {
  const made = at.jetstream.createStream(mirrorConfig(more));
  await pass(at);
  return made;
}

/** What is read of a stream: `seq subject data`. */
export function contents(at: GatewayStore, name = NAME): string[] {
  const stream = at.jetstream.stream(name);
  const found: string[] = [];
  for (let seq = 1; seq <= (stream?.durableSeq ?? 0); seq++) {
    const message = stream?.get(seq);
    if (message !== undefined) found.push(`${seq} ${message.subject} ${message.data.toString()}`);
  }
  return found;
}

export const info = (at: GatewayStore) =>
  at.jetstream.stream(NAME)?.mirrorInfo?.() as
    | { lag: number; active: number; error?: { err_code: number; description: string } }
    | undefined;
