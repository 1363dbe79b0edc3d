// What an operator says about one serial port. Types and their limits only: reading this file loads no native code.

/**
 * How a byte stream is cut into frames. `line` ends at LF and loses one CR before it; `delimiter` ends at the given
 * bytes, which are not part of the frame; `fixed` counts bytes, and starts anew after `idleMs` of silence.
 */
export type FramingConfig =
  | { readonly type: 'line' }
  | { readonly type: 'delimiter'; readonly delimiter: Buffer }
  | {
      readonly type: 'fixed';
      readonly length: number;
      /** Silence that ends a frame wherever it stands (default none: a lost byte then shifts every later frame). */
      readonly idleMs?: number | undefined;
    };

/** The electrical side of a port, as the driver is told at every open. */
export interface LineSettings {
  /** Bits per second (9600 is the contract's default). Standard rates up to 4,000,000; others where the driver can. */
  readonly baudRate: number;
  /** Default 8. */
  readonly dataBits?: 5 | 6 | 7 | 8 | undefined;
  /** Default 1. */
  readonly stopBits?: 1 | 2 | undefined;
  /** Default `none`. */
  readonly parity?: 'none' | 'even' | 'odd' | undefined;
  /** RTS/CTS flow control (default false): the device then waits while the agent does not read. */
  readonly rtscts?: boolean | undefined;
}

export interface SerialConfig extends LineSettings {
  /** The port's name in logs, counters and in the default subject. */
  readonly name: string;
  /** The device, or a symbolic link to it such as `/dev/serial/by-id/…`, followed anew at every open. */
  readonly path: string;
  readonly framing: FramingConfig;
  /** Longest frame without its delimiter; a longer one is dropped whole and counted. */
  readonly frameBytesMax: number;
  readonly decode: 'raw';
  /** Default `serial.<name>`. */
  readonly subject?: string | undefined;
}

/**
 * Default of `frameBytesMax`: the longest usual lines and binary frames (a P1 text message of 2,048 characters, a GNSS
 * raw measurement of 2.6 kB) with room; at a wrong baud rate a port holds no more than this.
 */
export const FRAME_BYTES_MAX = 4096;
