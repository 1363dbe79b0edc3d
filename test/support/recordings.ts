// Recordings of real devices, with the framing that fits each and the frames that must come out. They are read from
// ../shared/data beside the repository where that is there (the whole recordings), else from test/fixtures (samples).

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FramingConfig } from '../../device/serial/serial-config.ts';

export interface Recording {
  /** Folder and file. */
  readonly name: string;
  /** What the device sent. */
  readonly bytes: Buffer;
  readonly framing: FramingConfig;
  /** The frames in `bytes`, found by looking at the whole of it. */
  readonly frames: readonly Buffer[];
}

const ROOT = join(import.meta.dirname, '../..');
export const FIXTURES = join(ROOT, 'test/fixtures');
const FOLDERS = [join(ROOT, '../shared/data'), FIXTURES];

const LINE: FramingConfig = { type: 'line' };
const CRLF: FramingConfig = { type: 'delimiter', delimiter: Buffer.from('\r\n') };
/** Every UBX message begins with these two bytes; cut there, each frame is one message. */
const UBX: FramingConfig = { type: 'delimiter', delimiter: Buffer.from([0xb5, 0x62]) };

/** All recordings that this machine has; those of test/fixtures at least. */
export function recordings(): Recording[] {
  return [
    ...texts('nmea0183', LINE),
    ...texts('dsmr-p1', LINE),
    ...texts('vedirect', CRLF),
    ...files('gnss-binary', /\.log$/).map(([name, bytes]) =>
      recording(name, withoutHeader(bytes), UBX),
    ),
    ...files('particulate', /\.hexdump$/).map(([name, bytes]) =>
      hexdump(name, bytes.toString('latin1')),
    ),
  ];
}

/** The recording of that name, `nmea0183/gps.log` for example. */
export function recordingOf(name: string): Recording {
  const found = recordings().find((other) => other.name === name);
  if (found === undefined) throw new Error(`no recording named ${name}`);
  return found;
}

function texts(folder: string, framing: FramingConfig): Recording[] {
  return files(folder, /\.(log|txt|dump)$/).map(([name, bytes]) => recording(name, bytes, framing));
}

function files(folder: string, pattern: RegExp): [string, Buffer][] {
  const home = FOLDERS.map((base) => join(base, folder)).find((path) => existsSync(path));
  if (home === undefined) throw new Error(`no recordings in ${FOLDERS.join(' or ')}`);
  const names = readdirSync(home)
    .filter((name) => pattern.test(name))
    .sort();
  return names.map((name) => [`${folder}/${name}`, readFileSync(join(home, name))]);
}

function recording(name: string, bytes: Buffer, framing: FramingConfig): Recording {
  return { name, bytes, framing, frames: cut(bytes, framing) };
}

/** Lines of `#` before the data describe the device. */
function withoutHeader(bytes: Buffer): Buffer {
  let at = 0;
  while (bytes[at] === 0x23) at = bytes.indexOf('\n', at) + 1;
  return bytes.subarray(at);
}

/** `00000000: 42 4d 00  BM.`: one row for each frame, as the sensor sent them; frames of different lengths as one. */
function hexdump(name: string, text: string): Recording {
  const rows = text
    .split('\n')
    .filter((row) => row !== '')
    .map((row) =>
      Buffer.from((/: ((?:[0-9a-f]{2} )+)/.exec(row)?.[1] ?? '').replaceAll(' ', ''), 'hex'),
    );
  const lengths = new Set(rows.map((row) => row.length));
  const bytes = Buffer.concat(rows);
  const length = lengths.size === 1 ? (rows[0]?.length ?? 0) : bytes.length;
  return recording(name, bytes, { type: 'fixed', length });
}

/** Cuts the whole of a recording at once: what the incremental framings must agree with. */
export function cut(bytes: Buffer, framing: FramingConfig): Buffer[] {
  const frames: Buffer[] = [];
  if (framing.type === 'fixed') {
    for (let at = 0; at + framing.length <= bytes.length; at += framing.length)
      frames.push(bytes.subarray(at, at + framing.length));
    return frames;
  }
  const delimiter = framing.type === 'line' ? Buffer.from('\n') : framing.delimiter;
  for (
    let at = 0, end: number;
    (end = bytes.indexOf(delimiter, at)) >= 0;
    at = end + delimiter.length
  ) {
    const crs = framing.type === 'line' && end > at && bytes[end - 1] === 0x0d ? 1 : 0;
    if (end - crs > at) frames.push(bytes.subarray(at, end - crs));
  }
  return frames;
}
