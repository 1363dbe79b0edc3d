// Each way to a pseudo-terminal must bring the same bytes to the program that opens the device.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { openDevice } from '../../device/serial/open-device.ts';
import { until } from '../support/until.ts';
import { SensorPty } from './pty.ts';

const LINES =
  '$GPGGA,085411.000,5222.3215,N*61\r\n$GPVTG,251.34,T,,M,0.58,N,1.07,K,A*37\r\n'.repeat(40);

test.each(['socat', 'python3', 'perl', 'script'])('%s makes a serial port', async (program) => {
  const directory = await mkdtemp(join(tmpdir(), 'mangrove-demo-pty-'));
  const pty = await SensorPty.make(join(directory, 'tty'), program);
  if (pty === undefined) throw new Error(`${program} made no pseudo-terminal`);
  try {
    const device = await openDevice(pty.path, { baudRate: 9600 }, systemClock);
    let read = '';
    device.on('data', (bytes: Buffer) => (read += bytes.toString('latin1')));
    await pty.write(LINES);
    await until('the lines', () => read.length >= LINES.length);
    expect(read).toBe(LINES);
    device.destroy();
  } finally {
    pty.close();
    await rm(directory, { recursive: true, force: true });
  }
});

test('a machine with nothing that makes one is told apart', async () => {
  expect(await SensorPty.make('/nonexistent/tty', 'no-such-program')).toBeUndefined();
});
