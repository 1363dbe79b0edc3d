import { readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { HELD_FRAMES_MAX } from '../../../device/intake.ts';
import { lostError, PortError } from '../../../device/serial/port-error.ts';
import { joinMs, SerialPort } from '../../../device/serial/port.ts';
import { FRAME_BYTES_MAX, type SerialConfig } from '../../../device/serial/serial-config.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { until } from '../../support/until.ts';
import { cable, readLog, scriptedBroker } from './setup.ts';

const CONFIG: SerialConfig = {
  name: 'meter',
  path: '/dev/serial/by-id/meter',
  baudRate: 9600,
  framing: { type: 'line' },
  frameBytesMax: FRAME_BYTES_MAX,
  decode: 'raw',
};

const UNPLUGGED = new PortError('ENOENT', 'No such file or directory', 'It is not plugged in.');

/** A port whose device is plugged in and out by `plugIn` and by destroying its end of the cable. */
function setup(config: Partial<SerialConfig> = {}) {
  const clock = new FakeClock();
  const logged = readLog();
  const scripted = scriptedBroker();
  const hardware = {
    plugged: undefined as Duplex | undefined,
    /** The open end, which the port reads. */
    end: undefined as Duplex | undefined,
    opens: 0,
    error: UNPLUGGED as Error,
  };
  const { broker } = scripted;
  const port = new SerialPort(
    { ...CONFIG, ...config },
    { broker, clock, log: logged.log },
    async () => {
      hardware.opens++;
      const stream = (hardware.end = hardware.plugged);
      hardware.plugged = undefined;
      if (stream === undefined) throw hardware.error;
      return stream;
    },
  );
  const plugIn = (): Duplex => {
    const { device, port: end } = cable();
    hardware.plugged = end;
    return device;
  };
  const opened = async (): Promise<void> => {
    await until('the port to open', () => port.stats().open);
    clock.advance(joinMs(CONFIG.baudRate));
  };
  /** The device sends; resolves when the port has read it. */
  const send = async (device: Duplex, bytes: string): Promise<void> => {
    const before = port.stats().bytes;
    device.write(bytes, 'latin1');
    await until('the bytes to be read', () => port.stats().bytes === before + bytes.length);
  };
  return { clock, port, hardware, plugIn, opened, send, ...logged, ...scripted };
}

test('frames of an open port are stored on the subject of its name', async () => {
  const { broker, port, plugIn, opened, send, stream } = setup();
  const subjects: string[] = [];
  broker.subscribe('>', { deliver: ({ subject }) => subjects.push(subject) });
  const device = plugIn();
  port.start();
  port.start();
  await opened();
  await send(device, 'one\r\ntwo\r\nthr');
  await send(device, 'ee\r\n');
  await until('three frames', () => stream.stored.length === 3);
  expect(stream.stored).toEqual(['one', 'two', 'three']);
  expect(subjects).toEqual(['serial.meter', 'serial.meter', 'serial.meter']);
  expect(port.stats()).toMatchObject({
    name: 'meter',
    open: true,
    ready: true,
    opens: 1,
    errors: 0,
    bytes: 17,
    frames: 3,
    stored: 3,
    droppedBytes: 0,
    lastError: null,
  });
  await port.stop();
});

test('a device that is not there is tried for ever, at most a second apart, and said once with a hint', async () => {
  const { clock, port, hardware, plugIn, opened, said, warnings } = setup();
  port.start();
  await clock.advanceAsync(0);
  const triedAtMs: number[] = [0];
  for (let seen = hardware.opens; clock.monotonicMs() < 10_000;) {
    await clock.advanceAsync(50);
    if (hardware.opens > seen) triedAtMs.push(clock.monotonicMs());
    seen = hardware.opens;
  }
  expect(triedAtMs.slice(0, 5)).toEqual([0, 250, 750, 1750, 2750]);
  expect(warnings()).toEqual(['Cannot open the serial port; it is tried again every second.']);
  expect(said[0]).toMatchObject({ port: 'meter', code: 'ENOENT', hint: 'It is not plugged in.' });
  expect(port.stats()).toMatchObject({ open: false, opens: 0, lastError: UNPLUGGED.message });

  hardware.error = new Error('Error: Permission denied, cannot open /dev/ttyUSB0');
  await clock.advanceAsync(1000);
  expect(said.at(-1)).toMatchObject({ code: 'EACCES' }); // Another cause is said at once.
  expect(said.at(-1)?.['hint']).toContain('dialout');

  plugIn();
  await clock.advanceAsync(1000);
  await opened();
  await port.stop();
});

test.each(['end of file', 'error', 'close'])(
  'after an unplug seen as %s the port is open again within a second',
  async (how) => {
    const { clock, port, plugIn, opened, send, stream, warnings } = setup();
    const devices = [plugIn()];
    port.start();
    await opened();
    await send(devices[0]!, 'whole\nhal');
    const lost = devices[0]!;
    if (how === 'end of file') lost.end();
    else if (how === 'close') lost.destroy();
    else lost.destroy(new Error('EIO'));
    await until('the loss to be noticed', () => !port.stats().open);
    expect(port.stats()).toMatchObject({ errors: 1, droppedBytes: 3 });
    const device = plugIn();
    await clock.advanceAsync(250);
    await opened();
    await send(device, 'f\nnext\n');
    await until('the frames', () => stream.stored.length === 3);
    expect(stream.stored).toEqual(['whole', 'f', 'next']); // Never `half`.
    expect(port.stats().opens).toBe(2);
    expect(warnings()).toEqual(['Serial port lost; it is opened again as soon as it is back.']);
    await port.stop();
  },
);

test('a frame that began before the port was opened is dropped, not stored in part', async () => {
  const { port, plugIn, send, stream } = setup();
  const device = plugIn();
  port.start();
  await until('the port to open', () => port.stats().open);
  expect(port.stats().ready).toBe(false);
  await send(device, '0,N,*47\r\n$GPGGA,1\r\n');
  await until('a frame', () => stream.stored.length === 1);
  expect(stream.stored).toEqual(['$GPGGA,1']);
  expect(port.stats()).toMatchObject({ droppedBytes: 8, droppedOversize: 0, ready: true });
  await port.stop();
});

test('a frame over the limit is dropped, counted and said once', async () => {
  const { port, plugIn, opened, send, stream, warnings } = setup({ frameBytesMax: 8 });
  const device = plugIn();
  port.start();
  await opened();
  for (let i = 0; i < 20; i++) await send(device, 'far too long\nfine\n');
  await until('the frames', () => stream.stored.length === 20);
  expect(port.stats()).toMatchObject({ frames: 20, droppedOversize: 20, droppedBytes: 240 });
  expect(warnings()).toEqual(['A frame over the limit was dropped.']);
  await port.stop();
});

test('silence between fixed-length frames puts them right, but not silence of our own making', async () => {
  const { clock, port, plugIn, opened, send, stream } = setup({
    framing: { type: 'fixed', length: 4, idleMs: 50 },
  });
  const device = plugIn();
  port.start();
  await opened();
  await send(device, 'ab');
  clock.advance(50);
  await send(device, '1234');
  stream.mode = 'wait';
  await send(device, 'x'.repeat(4 * HELD_FRAMES_MAX) + '56'); // Read, with a half frame, then paused.
  clock.advance(1000);
  stream.mode = 'store';
  stream.commit();
  await send(device, '78');
  await until('the frames', () => stream.stored.length === HELD_FRAMES_MAX + 2);
  expect(stream.stored.at(0)).toBe('1234');
  expect(stream.stored.at(-1)).toBe('5678');
  expect(port.stats().droppedBytes).toBe(2);
  await port.stop();
});

test('reading pauses while too much is unacknowledged, and goes on without loss', async () => {
  const { port, plugIn, opened, stream } = setup();
  const device = plugIn();
  port.start();
  await opened();
  stream.mode = 'wait';
  const sent = Array.from({ length: 10_000 }, (_, i) => `frame ${i}`);
  let taken = false;
  device.write(`${sent.join('\n')}\n`, () => (taken = true));
  // One write of 110 kB is one chunk: the port has it all, and asks for no more.
  await until('the port to pause', () => port.stats().paused);
  for (let i = 0; i < 100; i++) device.write(`more ${i}\n`);
  const { bytes } = port.stats();
  await new Promise((resolve) => setImmediate(resolve));
  expect(taken).toBe(true);
  expect(port.stats()).toMatchObject({ bytes, paused: true, pauses: 1, heldFrames: 10_000 });
  stream.mode = 'store';
  stream.commit();
  await until('the rest', () => stream.stored.length === 10_100);
  expect(stream.stored.slice(0, 10_000)).toEqual(sent);
  expect(stream.stored.at(-1)).toBe('more 99');
  expect(port.stats()).toMatchObject({
    paused: false,
    heldFrames: 0,
    heldBytes: 0,
    droppedFull: 0,
  });
  await port.stop();
});

test('an unplug while reading is paused loses nothing that was read', async () => {
  const { clock, hardware, port, plugIn, opened, stream } = setup();
  const device = plugIn();
  port.start();
  await opened();
  stream.mode = 'wait';
  for (let i = 0; i < HELD_FRAMES_MAX + 50; i++) device.write(`frame ${i}\n`);
  device.write('half');
  await until('the port to pause', () => port.stats().paused);
  await until(
    'the rest to lie between the driver and the port',
    () => hardware.end!.readableLength > 0,
  );
  const taken = port.stats().bytes + hardware.end!.readableLength;
  hardware.end!.destroy(lostError('The device hung up.')); // As openDevice promises, also unread.
  await until('the loss to be noticed', () => !port.stats().open);
  expect(port.stats().bytes).toBe(taken);
  const again = plugIn();
  await clock.advanceAsync(250);
  await until('the port to open', () => port.stats().open);
  again.write('rest of something\nwhole\n');
  clock.advance(1000);
  expect(port.stats()).toMatchObject({ paused: true, ready: false });
  stream.mode = 'store';
  stream.commit();
  await until('the last frame', () => stream.stored.at(-1) === 'whole');
  const read = port.stats().frames - 1;
  expect(stream.stored.slice(0, read)).toEqual(
    Array.from({ length: read }, (_, i) => `frame ${i}`),
  );
  expect(stream.stored.slice(read)).toEqual(['whole']);
  await port.stop();
});

test('stop closes the port, hands over what was read and drops the half frame', async () => {
  const { port, plugIn, opened, send, stream, clock, hardware } = setup();
  const device = plugIn();
  port.start();
  await opened();
  await send(device, 'whole\nhal');
  await port.stop();
  await port.stop();
  expect(hardware.end!.closed).toBe(true);
  expect(stream.stored).toEqual(['whole']);
  expect(port.stats()).toMatchObject({ open: false, droppedBytes: 3, errors: 0 });
  await clock.advanceAsync(60_000);
  expect(hardware.opens).toBe(1);
});

test('a port that is stopped while it opens is closed again, and can be started anew', async () => {
  const { hardware, port, plugIn, opened, send, stream } = setup();
  plugIn();
  port.start();
  await port.stop();
  expect(port.stats()).toMatchObject({ open: false, opens: 0 });
  expect(hardware.end!.closed).toBe(true);
  const second = plugIn();
  port.start();
  await opened();
  await send(second, 'hello\n');
  await until('the frame', () => stream.stored.length === 1);
  await port.stop();
});

test('the native code is not loaded before a real port is opened', async () => {
  const { port, plugIn, opened } = setup();
  plugIn();
  port.start();
  await opened();
  await port.stop();
  expect(readFileSync('/proc/self/maps', 'latin1')).not.toContain('bindings-cpp');
});
