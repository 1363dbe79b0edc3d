// Appends through Broker.publish in this process, the receipt after fdatasync: the store without any wire. Prints
// {"rate": messages a second} of the second half; the first half warms the code up.

import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { Broker } from '../../src/broker.ts';
import { systemClock } from '../../src/clock.ts';
import { JetStream } from '../../src/jetstream/jetstream.ts';

export interface AppendOptions {
  readonly dir: string;
  readonly count: number;
  /** Messages without a receipt yet. */
  readonly window: number;
  readonly dataBytes: number;
}

const { dir, count, window, dataBytes } = JSON.parse(process.argv[2] ?? '') as AppendOptions;
const broker = new Broker();
const jetstream = new JetStream(
  {
    dataDir: dir,
    commitIntervalMs: 0,
    streams: [
      {
        name: 'bench',
        subjects: ['bench.>'],
        retention: 'limits',
        storage: 'file',
        maxAgeMs: undefined,
        maxBytes: undefined,
        maxMsgs: undefined,
        discard: 'old',
        duplicateWindowMs: 120_000,
        duplicateIdsMax: 100_000,
      },
    ],
    forwards: new Map(),
    newEpoch: () => randomBytes(6).toString('base64url'),
    onFatal: (error) => {
      throw error;
    },
  },
  { broker, clock: systemClock, log: pino({ level: 'warn' }) },
);
await jetstream.start();
const data = randomBytes(dataBytes);
await append(headersOf('warm'));
console.log(JSON.stringify({ rate: await append(headersOf('b')) }));
await jetstream.stop();

/** `count` header blocks, each with an ID of its own: built before, as the frames of the other load programs are. */
function headersOf(name: string): Buffer[] {
  return Array.from({ length: count }, (_, i) =>
    Buffer.from(`NATS/1.0\r\nNats-Msg-Id: ${name}.${i}\r\n\r\n`, 'latin1'),
  );
}

/** Appends a message for each of `blocks`, `window` in flight; resolves with messages a second. */
function append(blocks: readonly Buffer[]): Promise<number> {
  const total = blocks.length;
  const startedMs = performance.now();
  let sent = 0;
  let acked = 0;
  return new Promise((resolve) => {
    let filling = false;
    const fill = (): void => {
      filling = false;
      while (sent < total && sent - acked < window) {
        const headers = blocks[sent++] ?? data;
        broker.publish({ subject: 'bench.a', headers, data }, (error) => {
          if (error !== null) throw error;
          acked++;
          if (acked === total) return resolve((total / (performance.now() - startedMs)) * 1000);
          if (filling) return;
          // As a socket would: what comes next is read in a turn of its own.
          filling = true;
          setImmediate(fill);
        });
      }
    };
    fill();
  });
}
