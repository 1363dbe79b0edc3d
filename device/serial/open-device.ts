// Opens a real serial port as a Duplex; the only place that knows the serialport packages, loaded when the first port is
// opened (an agent without serial ports does not pay for them). It promises what the port's owner relies on: an unplug
// destroys the stream at once, also while nobody reads, and a destroyed stream has closed its file descriptor.

import { fstatSync, readSync, statSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import type { LinuxPortBinding } from '@serialport/bindings-cpp';
import type { SerialPortStream } from '@serialport/stream';
import { every, type Cancel, type Clock } from '../../src/clock.ts';
import type { LineSettings } from './serial-config.ts';
import { lostError, openError } from './port-error.ts';

/** Most bytes read at once, and held between the driver and us: 1.4 s of a 115,200 baud line. */
const READ_BYTES_MAX = 16 * 1024;

/** How often an open port's path is compared with the device behind it. */
const PATH_CHECK_MS = 1000;

/**
 * Opens `path` exclusively (flock; other programs that ask for the lock get EBUSY) in raw mode.
 * Rejects with a PortError. The kernel's input of before the open is discarded.
 */
export async function openDevice(
  path: string,
  settings: LineSettings,
  clock: Clock,
): Promise<Duplex> {
  const [{ SerialPortStream }, { BindingsError, LinuxBinding }] = await Promise.all([
    import('@serialport/stream'),
    import('@serialport/bindings-cpp'),
  ]);
  const { baudRate, dataBits = 8, stopBits = 1, parity = 'none', rtscts = false } = settings;
  let port: LinuxPortBinding | undefined;
  const binding = {
    list: () => LinuxBinding.list(),
    async open(options: Parameters<typeof LinuxBinding.open>[0]): Promise<LinuxPortBinding> {
      port = await LinuxBinding.open(options);
      port.read = (buffer, offset, length) => read(buffer, offset, length);
      return port;
    },
  };
  const stream = new SerialPortStream({
    binding,
    path,
    baudRate,
    dataBits,
    stopBits,
    parity,
    rtscts,
    lock: true,
    autoOpen: false,
    highWaterMark: READ_BYTES_MAX,
  });

  // The binding's own read takes an end of file for "nothing yet" and tries again for ever, at full CPU and with growing
  // memory (serialport/bindings-cpp issue 162), whenever the device went away between two reads. This one waits until
  // there is something and takes 0 bytes for what it is. It is synchronous because the descriptor does not block, and
  // because a read left behind in the thread pool could take bytes from whatever gets the descriptor's number next.
  async function read(
    buffer: Buffer,
    offset: number,
    length: number,
  ): Promise<{ buffer: Buffer; bytesRead: number }> {
    for (;;) {
      await readable();
      const bytesRead = tryRead(port?.fd ?? null, buffer, offset, length);
      if (bytesRead > 0) return { buffer, bytesRead };
      if (bytesRead === 0) {
        stream.destroy(lostError('The device is gone (end of file).'));
        throw new BindingsError('The device is gone.', { canceled: true });
      }
    }
  }

  function readable(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (port === undefined || port.fd === null)
        return reject(new BindingsError('The port is closed.', { canceled: true }));
      port.poller.once('readable', (error: Error | null) => {
        if (error === null) return resolve();
        // A hung-up device polls as an error; a closed port cancels the poll, and is destroyed already.
        stream.destroy(lostError('The device hung up.', error));
        reject(new BindingsError('The device hung up.', { canceled: true }));
      });
    });
  }

  await opened(stream);
  if (port !== undefined) destroyWhenGone(stream, port, path, clock);
  return stream;
}

/** Bytes read, 0 at the end of file, -1 when there is nothing yet. Other errors are those of an unplug. */
function tryRead(fd: number | null, buffer: Buffer, offset: number, length: number): number {
  if (fd === null) return -1;
  try {
    return readSync(fd, buffer, offset, length, null);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'EAGAIN' || code === 'EINTR' ? -1 : 0;
  }
}

function opened(stream: SerialPortStream): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.open((error) => (error === null ? resolve() : reject(openError(error))));
  });
}

/**
 * Ties the stream to the device, both ways. A hang-up is polled for even while nobody reads; and because a USB driver
 * does not wake that poll unless a read waits too, and a link in /dev/serial may be pointed at another device, the path
 * is looked at every second. Holding on to the old descriptor would bring the device back under another name.
 */
function destroyWhenGone(
  stream: SerialPortStream,
  port: LinuxPortBinding,
  path: string,
  clock: Clock,
): void {
  const device = port.fd === null ? null : fstatSync(port.fd).rdev;
  const stopChecking: Cancel = every(clock, PATH_CHECK_MS, () => {
    if (device !== null && !leadsTo(path, device))
      stream.destroy(lostError('The path no longer leads to the open device.'));
  });
  port.poller.once('disconnect', (error: (Error & { canceled?: boolean }) | null) => {
    if (error?.canceled !== true) stream.destroy(lostError('The device hung up.', error));
  });
  // SerialPortStream closes its descriptor in close() only; a destroyed one would leak it, with the lock.
  stream._destroy = (error, callback) => {
    stopChecking();
    if (stream.isOpen) stream.close(() => callback(error));
    else callback(error);
  };
}

/** Whether the path, symbolic links followed, is that device; true when it cannot be told. */
function leadsTo(path: string, device: number): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.rdev === device;
  } catch {
    return true;
  }
}
