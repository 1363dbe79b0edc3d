// What leaves on a leafnode connection, over a line in simulated time.

import { PacedOutbound } from '../../sync/leaf/paced-outbound.ts';
import { S2Reader } from '../../sync/leaf/s2/s2-reader.ts';
import { S2Writer } from '../../sync/leaf/s2/s2-writer.ts';
import type { LeafFrame } from '../../sync/leaf/types.ts';
import { FakeClock } from './fake-clock.ts';
import { ThinLine, type LineOptions } from './thin-line.ts';

/** 50 kbit/s. */
export const THIN = { bytesPerSecond: 50_000 / 8, delayMs: 25 };

export interface Lab {
  readonly clock: FakeClock;
  readonly line: ThinLine;
  readonly outbound: PacedOutbound;
  readonly dead: string[];
}

interface LabOptions {
  /** The kernel tells nothing. */
  readonly blind?: boolean;
  readonly compressed?: boolean;
  /** Told how many bytes are compressed. */
  readonly encoded?: (bytes: number) => void;
  /** See OutboundParts. */
  readonly room?: () => void;
}

/** An outbound on a simulated line. */
export function lab(
  options: LineOptions,
  { blind = false, compressed = false, encoded, room = (): void => undefined }: LabOptions = {},
): Lab {
  const clock = new FakeClock();
  const [writer, reader] = [new S2Writer(), new S2Reader()];
  const decode = compressed ? (bytes: Buffer): Iterable<Buffer> => reader.decode(bytes) : undefined;
  const line = new ThinLine(clock, options, decode);
  const dead: string[] = [];
  const parts = {
    clock,
    kernel: blind ? { bytes: () => Promise.resolve(undefined) } : line,
    room,
    received: (): number => line.receivedBytes,
    dead: (error: Error) => void dead.push(error.message),
    encode: compressed
      ? (data: Buffer): Buffer => {
          encoded?.(data.length);
          return writer.encode(data);
        }
      : undefined,
  };
  const outbound = new PacedOutbound(line, parts);
  line.ponged = () => outbound.pong();
  return { clock, line, outbound, dead };
}

export function frame(subject: string, bytes: number | Buffer = 200): LeafFrame {
  const data = typeof bytes === 'number' ? Buffer.alloc(bytes, 'x') : bytes;
  return { subject, reply: undefined, headers: undefined, data, plain: true, queues: [] };
}

/** A consumer that has more than the line takes: fills the bulk lane whenever there is room. */
export function flood(
  { clock, outbound }: Pick<Lab, 'clock' | 'outbound'>,
  data: number | (() => Buffer) = 200,
): void {
  while (!outbound.isFull)
    outbound.message(frame('bulk', typeof data === 'number' ? data : data()), 'bulk');
  clock.after(10, () => flood({ clock, outbound }, data));
}

/** How long something takes to the hub, in simulated ms. */
export async function travelMs(
  { clock, line }: Lab,
  what: string,
  patienceMs = 10_000,
): Promise<number> {
  const startMs = clock.monotonicMs();
  const before = line.arrivals.length;
  while (clock.monotonicMs() - startMs < patienceMs) {
    await clock.advanceAsync(20);
    const found = line.arrivals.slice(before).find((each) => each.what === what);
    if (found !== undefined) return found.atMs - startMs;
  }
  return Infinity;
}

export function arrived({ line }: Lab, what: string): number {
  return line.arrivals.filter((each) => each.what === what).length;
}
