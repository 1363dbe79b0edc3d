// How many durable appends a second: 128-byte messages with IDs through Broker.publish, the receipt after fdatasync.

import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Broker } from '../src/broker.ts';
import { systemClock } from '../src/clock.ts';
import { JetStream } from '../src/jetstream/jetstream.ts';

/** Appends `count` messages, `window` in flight; returns messages a second. */
export async function benchAppend(dir: string, count: number, window: number): Promise<number> {
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
  const data = randomBytes(128);
  const startedMs = performance.now();
  await new Promise<void>((resolve) => {
    let sent = 0;
    let acked = 0;
    let filling = false;
    const fill = (): void => {
      if (filling) return;
      filling = true;
      while (sent < count && sent - acked < window) {
        sent++;
        const headers = Buffer.from(`NATS/1.0\r\nNats-Msg-Id: b.${sent}\r\n\r\n`, 'latin1');
        broker.publish({ subject: 'bench.a', headers, data }, (error) => {
          if (error !== null) throw error;
          acked++;
          if (acked === count) resolve();
          else if (sent - acked <= window / 2) setImmediate(fill);
        });
      }
      filling = false;
    };
    fill();
  });
  const rate = count / ((performance.now() - startedMs) / 1000);
  if (process.env['BENCH_VERBOSE'])
    console.log(jetstream.store.counters, process.memoryUsage.rss() / 1e6);
  await jetstream.stop();
  return rate;
}

if (import.meta.main) {
  for (const window of [1, 250, 1000, 5000]) {
    const dir = mkdtempSync(join(tmpdir(), 'mangrove-bench-'));
    const count = window === 1 ? 2000 : 500_000;
    console.log(`window ${window}: ${Math.round(await benchAppend(dir, count, window))} msg/s`);
    rmSync(dir, { recursive: true });
  }
}
