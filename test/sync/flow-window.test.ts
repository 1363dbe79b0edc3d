// The window of a fast batch on lines that are only computed: it fills them, keeps their queue short, and follows when
// they change.

import { expect, test } from 'vitest';
import { FlowWindow, FLOW_MESSAGES_MAX } from '../../sync/flow-window.ts';

interface Line {
  /** Messages a second that it, or the hub, works through. */
  readonly rate: number;
  readonly roundTripMs: number;
}

/** A sender with an endless backlog, a line with one queue, and a hub that acknowledges every `flow` messages. */
class Sending {
  readonly window: FlowWindow;
  line: Line;
  #nowMs = 0;
  #freeMs = 0;
  #sent = 0;
  #acked = 0;
  /** Due acknowledgements, in order. */
  #acks: { atMs: number; upTo: number; sentMs: number }[] = [];
  delivered = 0;
  queueMs = 0;

  constructor(line: Line, window = new FlowWindow()) {
    this.line = line;
    this.window = window;
    window.opened(line.roundTripMs);
  }

  /** Sends for `ms`; returns the share of the line's rate that was used. */
  run(ms: number): number {
    const fromMs = this.#nowMs;
    const before = this.#acked;
    while (this.#nowMs < fromMs + ms) {
      this.#fill();
      const ack = this.#acks.shift();
      if (ack === undefined) throw new Error('nothing is under way');
      this.#nowMs = Math.max(this.#nowMs, ack.atMs);
      const count = ack.upTo - this.#acked;
      this.#acked = ack.upTo;
      this.window.acknowledged(count, this.#nowMs - ack.sentMs, true);
    }
    return (this.#acked - before) / ((this.line.rate * (this.#nowMs - fromMs)) / 1000);
  }

  #fill(): void {
    const flow = Math.max(1, Math.min(500, Math.floor(this.window.messages / 4)));
    while (this.#sent - this.#acked + flow <= Math.max(this.window.messages, flow)) {
      this.#freeMs = Math.max(this.#freeMs, this.#nowMs) + (flow * 1000) / this.line.rate;
      this.#sent += flow;
      this.queueMs = this.#freeMs - this.#nowMs;
      const atMs = this.#freeMs + this.line.roundTripMs;
      this.#acks.push({ atMs, upTo: this.#sent, sentMs: this.#nowMs });
    }
  }
}

/** 1 Mbit/s of 380-byte messages. */
const SLOW: Line = { rate: 330, roundTripMs: 40 };
const LONG: Line = { rate: 20_000, roundTripMs: 300 };
const LOOPBACK: Line = { rate: 150_000, roundTripMs: 0.3 };

test.each([
  ['1 Mbit/s', SLOW, 0.9],
  ['300 ms', LONG, 0.9],
  ['loopback', LOOPBACK, 0.9],
  // An acknowledgement speaks of a tenth of a second here.
  ['satellite: slow and long', { rate: 100, roundTripMs: 600 }, 0.75],
])('%s is filled within seconds, and its queue stays short', (_, line, share) => {
  const sending = new Sending(line);
  sending.run(10_000);
  expect(sending.run(20_000)).toBeGreaterThan(share);
  expect(sending.queueMs).toBeLessThan(700);
  expect(sending.window.messages).toBeLessThanOrEqual(FLOW_MESSAGES_MAX);
});

test('a line that becomes slower empties the window, one that becomes faster fills it', () => {
  const sending = new Sending(LONG);
  sending.run(10_000);
  const wide = sending.window.messages;
  sending.line = { ...LONG, rate: 500 };
  sending.run(60_000);
  expect(sending.window.messages).toBeLessThan(wide / 8);
  expect(sending.queueMs).toBeLessThan(700);
  sending.line = LONG;
  sending.run(20_000);
  expect(sending.run(20_000)).toBeGreaterThan(0.9);
});

test('what does not fill the window does not widen it', () => {
  const window = new FlowWindow();
  window.opened(10);
  const before = window.messages;
  for (let i = 0; i < 100; i++) window.acknowledged(10, 10, false);
  expect(window.messages).toBe(before);
});

test('a failure halves it, a new link begins anew, and there is a least and a most', () => {
  const window = new FlowWindow();
  window.opened(100);
  for (let i = 0; i < 1_000; i++) window.acknowledged(1_000, 100, true);
  expect(window.messages).toBe(FLOW_MESSAGES_MAX);
  window.failed();
  expect(window.messages).toBe(FLOW_MESSAGES_MAX / 2);
  window.restart();
  const start = new FlowWindow().messages;
  expect(window.messages).toBe(start);
  for (let i = 0; i < 40; i++) window.failed();
  expect(window.messages).toBeGreaterThanOrEqual(2);
  expect(window.messages).toBeLessThan(start / 8);
});
