// What a packet that breaks the protocol ends in: the reason in the words of MQTT 5.0, and whether a CONNACK may say it.

import { ReasonCode } from './reason-codes.ts';
import type { Version } from './types.ts';

export interface ProtocolErrorOptions {
  readonly cause?: unknown;
  readonly connackVersion?: Version | undefined;
}

/** The peer broke the protocol: its connection is closed, in 5.0 with `reasonCode` as the last word. */
export class ProtocolError extends Error {
  override name = 'ProtocolError';
  readonly reasonCode: number;
  /** Of a CONNECT that may be answered: the version of the CONNACK. Undefined: nothing is said. */
  readonly connackVersion: Version | undefined;

  constructor(
    message: string,
    reasonCode: number = ReasonCode.malformedPacket,
    { cause, connackVersion }: ProtocolErrorOptions = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.reasonCode = reasonCode;
    this.connackVersion = connackVersion;
  }
}

/** An error of the kind that the standard calls a Protocol Error: well-formed, and not allowed [4.13]. */
export function notAllowed(message: string): ProtocolError {
  return new ProtocolError(message, ReasonCode.protocolError);
}
