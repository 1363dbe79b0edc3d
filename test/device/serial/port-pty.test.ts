// The serial side on real devices: pseudo-terminals held by socat, opened through the real binding.

import { readdirSync, readlinkSync } from 'node:fs';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { HELD_FRAMES_MAX } from '../../../device/intake.ts';
import { openDevice } from '../../../device/serial/open-device.ts';
import { SerialPort } from '../../../device/serial/port.ts';
import { FRAME_BYTES_MAX, type SerialConfig } from '../../../device/serial/serial-config.ts';
import { Broker } from '../../../src/broker.ts';
import { systemClock } from '../../../src/clock.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { pluggedPty, Pty } from '../../support/pty.ts';
import { recordingOf, recordings } from '../../support/recordings.ts';
import { until } from '../../support/until.ts';
import { readLog, scriptedBroker, ScriptedStream } from './setup.ts';

function config(path: string, more: Partial<SerialConfig> = {}): SerialConfig {
  return {
    name: 'sensor',
    path,
    baudRate: 115_200,
    framing: { type: 'line' },
    frameBytesMax: FRAME_BYTES_MAX,
    decode: 'raw',
    ...more,
  };
}

/** A started port on `pty`, stopped at the end of the test. */
async function setup(pty: Pty, more: Partial<SerialConfig> = {}) {
  const logged = readLog();
  const scripted = scriptedBroker();
  const { broker } = scripted;
  const port = new SerialPort(config(pty.path, more), {
    broker,
    clock: systemClock,
    log: logged.log,
  });
  port.start();
  const ready = (): Promise<unknown> => until('the port to be ready', () => port.stats().ready);
  return { port, ready, ...logged, ...scripted, [Symbol.asyncDispose]: () => port.stop() };
}

/** Descriptors of this process that lead to a pseudo-terminal, deleted ones too. */
function ptyDescriptors(): number {
  let count = 0;
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`).startsWith('/dev/pts/')) count++;
    } catch {
      // It was the one that listed the directory.
    }
  }
  return count;
}

test('recordings of every kind, replayed at once, arrive byte for byte', async () => {
  const broker = new Broker();
  const real = recordings();
  const stack = new AsyncDisposableStack();
  await using _ = stack;
  const replays = [];
  for (const [i, recording] of real.entries()) {
    const stream = new ScriptedStream();
    broker.subscribe(`serial.r${i}`, stream);
    const pty = stack.use(await pluggedPty());
    const port = new SerialPort(config(pty.path, { name: `r${i}`, framing: recording.framing }), {
      broker,
      clock: systemClock,
      log: pino({ level: 'silent' }),
    });
    stack.defer(() => port.stop());
    port.start();
    await until(`${pty.path} to be ready`, () => port.stats().ready);
    replays.push({ recording, pty, port, stream });
  }
  await Promise.all(replays.map(({ pty, recording }) => pty.write(recording.bytes)));
  for (const { recording, port, stream } of replays) {
    const { name, bytes, frames } = recording;
    await until(`${name} to be read and stored`, () => {
      const stats = port.stats();
      return stats.bytes === bytes.length && stats.stored === stats.frames;
    });
    expect(stream.stored, name).toEqual(frames.map((frame) => frame.toString('latin1')));
    expect(port.stats(), name).toMatchObject({
      droppedOversize: 0,
      droppedBytes: 0,
      droppedFull: 0,
    });
  }
});

test('a device unplugged in mid-frame is read again when it is back, and no frame is invented', async () => {
  await using pty = await pluggedPty();
  await using agent = await setup(pty);
  const { port, ready, stream } = agent;
  const wanted: string[] = [];
  for (let round = 1; round <= 5; round++) {
    await ready();
    const { bytes } = port.stats();
    const sent = `round ${round} a\r\nround ${round} b\r\nhalf of round ${round}`;
    await pty.write(sent);
    await until('all to be read', () => port.stats().bytes === bytes + sent.length);
    wanted.push(`round ${round} a`, `round ${round} b`);
    await pty.unplug();
    await until('the unplug to be noticed', () => !port.stats().open);
    await until('the descriptor to be closed', () => ptyDescriptors() === 0);
    await pty.plug();
  }
  await ready();
  await pty.write('back\n');
  await until('the last frame', () => stream.stored.at(-1) === 'back');
  expect(stream.stored).toEqual([...wanted, 'back']);
  expect(port.stats()).toMatchObject({ opens: 6, droppedBytes: 5 * 'half of round 1'.length });
  expect(agent.warnings()).toContain('Serial port lost; it is opened again as soon as it is back.');
});

test('a device unplugged while nobody reads is let go at once', async () => {
  await using pty = await pluggedPty();
  await using agent = await setup(pty);
  const { port, ready, stream } = agent;
  await ready();
  stream.mode = 'wait';
  const sent = Array.from({ length: HELD_FRAMES_MAX }, (_, i) => `frame ${i}`);
  await pty.write(`${sent.join('\n')}\n`);
  await until('the port to pause', () => port.stats().paused);
  await pty.write('never read\n');
  await pty.unplug();
  await until('the unplug to be noticed', () => !port.stats().open);
  await until('the descriptor to be closed', () => ptyDescriptors() === 0);
  stream.mode = 'store';
  stream.commit();
  await pty.plug();
  await ready();
  await pty.write('back\n');
  await until('the last frame', () => stream.stored.at(-1) === 'back');
  expect(stream.stored.slice(0, sent.length)).toEqual(sent);
  expect(['never read', 'back']).toEqual(expect.arrayContaining(stream.stored.slice(sent.length)));
});

test('a device that is not there at the start is read as soon as it is plugged in', async () => {
  await using pty = await pluggedPty();
  await pty.unplug();
  await using agent = await setup(pty);
  const { port, ready, stream, said } = agent;
  await until('the port to be tried', () => port.stats().errors > 0);
  expect(said.find(({ level }) => level >= 40)).toMatchObject({ code: 'ENOENT' });
  expect(port.stats().lastError).toContain('No such file or directory');
  await pty.plug();
  await ready();
  await pty.write('hello\n');
  await until('the frame', () => stream.stored.length === 1);
  expect(stream.stored).toEqual(['hello']);
});

test('a hang-up destroys a port that nobody reads, with its descriptor', async () => {
  await using pty = await pluggedPty();
  const stream = await openDevice(pty.path, { baudRate: 9600 }, new FakeClock()); // Never looks at the path.
  stream.on('error', () => {});
  await pty.write('unread');
  await pty.unplug();
  await until('it to close', () => stream.closed);
  expect(stream.errored).toMatchObject({ code: 'LOST' });
  expect(ptyDescriptors()).toBe(0);
});

test('a link that is pointed at another device is followed', async () => {
  await using pty = await pluggedPty();
  await using agent = await setup(pty);
  await agent.ready();
  const other = new Pty(pty.path); // Takes the link over; the first device stays alive behind it.
  await using _ = { [Symbol.asyncDispose]: () => other.unplug() };
  await other.plug(true);
  await until('the other device to be open', () => agent.port.stats().opens === 2);
  await agent.ready();
  await other.write('from the other\n');
  await until('the frame', () => agent.stream.stored.length === 1);
  expect(agent.stream.stored).toEqual(['from the other']);
});

test('nothing is lost while the disk is full, as long as the device can be made to wait', async () => {
  await using pty = await pluggedPty();
  await using agent = await setup(pty);
  const { port, ready, stream } = agent;
  await ready();
  stream.mode = 'refuse';
  const { bytes, frames } = recordingOf('nmea0183/gps.log');
  const written = pty.write(bytes);
  await until('the port to pause', () => port.stats().paused);
  await until('a second try', () => port.stats().refused >= 2);
  expect(port.stats().stored).toBe(0);
  stream.mode = 'store';
  await written;
  await until('everything to be stored', () => stream.stored.length === frames.length);
  expect(stream.stored).toEqual(frames.map((frame) => frame.toString('latin1')));
  expect(port.stats()).toMatchObject({
    droppedFull: 0,
    droppedRejected: 0,
    heldFrames: 0,
    heldBytes: 0,
  });
});

test('a port is held exclusively, and free again after the stop', async () => {
  await using pty = await pluggedPty();
  await using agent = await setup(pty);
  await agent.ready();
  const again = openDevice(pty.path, { baudRate: 9600 }, systemClock);
  await expect(again).rejects.toMatchObject({
    code: 'EBUSY',
    hint: expect.stringContaining('fuser'),
  });
  await agent.port.stop();
  expect(ptyDescriptors()).toBe(0);
  const stream = await openDevice(pty.path, { baudRate: 9600 }, systemClock);
  stream.destroy();
  await until('it to close', () => stream.closed);
  expect(ptyDescriptors()).toBe(0);
});

test('what is no serial port is refused with a hint', async () => {
  await expect(openDevice('/dev/null', { baudRate: 9600 }, systemClock)).rejects.toMatchObject({
    code: 'ENOTTY',
    hint: 'The path is not a serial port.',
  });
});
