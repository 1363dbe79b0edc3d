import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { MqttListener } from '../../../device/mqtt/listener.ts';
import { Broker } from '../../../src/broker.ts';
import { systemClock } from '../../../src/clock.ts';
import { TestClient } from '../../support/mqtt-client.ts';
import { MemoryStore } from '../../support/mqtt-store.ts';
import { until } from '../../support/until.ts';

const COUNT = 10_000;
const MIB = 1024 * 1024;
/** 256 sockets, half of them with a begun packet, hold 2 MiB; all 10,000 would hold 39. */
const HELD_MIB_MAX = 12;

/** What is reachable, garbage collected first: resident memory also counts the garbage of 10,000 closed sockets. */
function heldBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect !== 'function') throw new Error('no gc');
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

test('10,000 half-open connections cost bounded memory, and a client beside them notices nothing', async () => {
  const mqtt = new MqttListener(
    { listen: { host: '127.0.0.1', port: 0 }, allowAnonymous: true },
    {
      broker: new Broker(),
      clock: systemClock,
      log: pino({ level: 'silent' }),
      store: new MemoryStore(systemClock),
    },
  );
  await mqtt.start();
  const port = mqtt.address?.port ?? 0;
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const witness = new TestClient(connect(port, '127.0.0.1'), turn);
  await witness.connect({ clientId: 'witness' });
  const heldBefore = heldBytes();

  const program = new URL('../../support/mqtt-half-open.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [program, String(port), String(COUNT)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    let done = false;
    child.stdout.once('data', () => (done = true));
    let packetId = 0;
    let halfOpenMax = 0;
    await until('10,000 sockets', async () => {
      witness.publish('a', 'x', (packetId++ % 65_535) + 1);
      await witness.expect('puback');
      halfOpenMax = Math.max(halfOpenMax, mqtt.stats().halfOpen);
      return done;
    });
    const stats = mqtt.stats();
    // All came; at most 256 were there at a time, the others were closed to make room (or for their silence).
    await until('all to be counted', () => {
      const { halfOpen, halfOpenEvicted, connectTimeouts } = mqtt.stats();
      return halfOpen + halfOpenEvicted + connectTimeouts >= COUNT;
    });
    expect(halfOpenMax).toBeLessThanOrEqual(256);
    expect(halfOpenMax).toBeGreaterThan(100);
    expect(stats.connections).toBe(1);
    expect(witness.closed).toBe(false);
    expect((heldBytes() - heldBefore) / MIB).toBeLessThan(HELD_MIB_MAX);
    // An honest client still finds its place.
    const honest = new TestClient(connect(port, '127.0.0.1'), turn);
    expect((await honest.connect({ clientId: 'honest' })).returnCode).toBe(0);
    honest.stream.destroy();
  } finally {
    const gone = once(child, 'exit');
    child.kill();
    await gone;
    witness.stream.destroy();
    await mqtt.stop(1000);
  }
});
