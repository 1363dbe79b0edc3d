// A full disk under a source: the broker keeps what we cannot, and nothing that it accepted is lost.

import { connectAsync } from 'mqtt';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { canLoop, LoopFs } from '../support/loop-fs.ts';
import { Mosquitto } from '../support/mosquitto.ts';
import { until } from '../support/until.ts';
import { readDisk } from './audit.ts';

const MIB = 1024 * 1024;
const possible = canLoop();

interface Stats {
  readonly acked: number;
  readonly unacked: number;
  readonly refused: number;
  readonly stored: number;
  readonly connected: boolean;
}

test.runIf(possible)(
  'while the disk is full the broker keeps the messages; with room again all of them come, in order and once',
  async () => {
    await using fs = await LoopFs.create(64 * MIB);
    await using broker = await Mosquitto.start();
    await using agent = await AgentProcess.create({
      dataDir: join(fs.path, 'data'),
      config: `[[stream]]
name = "DATA"
subjects = ["plant1.>"]
max_bytes = "1GiB"
[[mqtt_source]]
name = "plant"
url = "${broker.url}"
topics = ["plant1/#"]
`,
    });
    const stats = async (): Promise<Stats> => {
      const { body } = await agent.monitor('/varz');
      return (body['mqtt_sources'] as Stats[])[0]!;
    };
    await agent.start();
    await until('the subscription', () => broker.log.includes('Sending SUBACK'));
    const device = await connectAsync(broker.url);
    const accepted: string[] = [];
    const publish = async (count: number): Promise<void> => {
      const first = accepted.length + 1;
      await Promise.all(
        Array.from({ length: count }, (_, i) =>
          device
            .publishAsync('plant1/a', `${first + i} ${'x'.repeat(500)}`, { qos: 1 })
            .then(() => accepted.push(String(first + i))),
        ),
      );
    };
    await publish(500);
    await until('PUBACKs', async () => (await stats()).acked === 500);
    const hog = join(fs.path, 'hog');
    fill(hog);
    await until('the disk to be full', async () => {
      await publish(200);
      return (await stats()).refused > 0;
    });
    const full = await stats();
    await publish(2000);
    await until('retries', async () => (await stats()).refused > full.refused);
    const later = await stats();
    expect(later.acked).toBe(later.stored);
    expect(later).toMatchObject({ connected: true });
    expect(later.acked).toBeLessThan(accepted.length - 1000);
    rmSync(hog);
    await until('all PUBACKs', async () => (await stats()).acked === accepted.length);
    await device.endAsync(true);
    await agent.stop();
    const stored = readDisk(agent.dataDir).messages.map(
      ({ data }) => data.toString().split(' ')[0],
    );
    expect(stored).toEqual(accepted.map((_, i) => String(i + 1)));
  },
  90_000,
);

/** Takes all the room that there is. */
function fill(path: string): void {
  const file = openSync(path, 'w');
  try {
    for (let size = MIB; size >= 4096; size /= 4)
      for (let i = 0; i < 1000; i++) writeSync(file, Buffer.alloc(size));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
  } finally {
    closeSync(file);
  }
}
