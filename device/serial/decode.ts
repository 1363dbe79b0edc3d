// Turns a frame into the data of a message. `raw` leaves it byte for byte; a decoder for a known device may turn it
// into JSON.

import type { SerialConfig } from './serial-config.ts';

/** Frame in, data out. Synchronous and total: a frame it cannot read is returned as it came. */
export type Decode = (frame: Buffer) => Buffer;

const decoders: Record<SerialConfig['decode'], Decode> = {
  raw: (frame) => frame,
};

/** The decoder of that name. */
export function decoderFor(name: SerialConfig['decode']): Decode {
  return decoders[name];
}
