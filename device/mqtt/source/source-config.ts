// What an operator says about one broker that is read, and the limits of reading it.

import type { IntakeLimits } from '../../intake.ts';
import type { QoS } from '../wire/client-packets.ts';

export interface SourceTls {
  /** Undefined: the public authorities that Node brings. */
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
}

export interface SourceConfig {
  /** The source's name in logs and counters. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Undefined: no TLS. */
  readonly tls: SourceTls | undefined;
  /** Topic Filters. */
  readonly topics: readonly string[];
  readonly qos: QoS;
  /** Stands before the subject of every message. */
  readonly prefix: string | undefined;
  /** Whose session the broker keeps. */
  readonly clientId: string;
  /** Whether messages that the broker retained before we subscribed are wanted. */
  readonly retained: boolean;
  /** `auto`: 5, or 3.1.1 where the broker does not have it. */
  readonly protocol: 'auto' | '5' | '3.1.1';
  readonly user: string | undefined;
  /** Read at each connect. */
  readonly passwordFile: string | undefined;
  /** A broker that says nothing for this long, although it was asked, is gone. */
  readonly keepAliveMs: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * Messages of one broker without a PUBACK: what MQTT 5 calls Receive Maximum. At a disk sync of 20 ms this is some
 * 25,000 messages a second; 64 sources together stay below what the store takes before it refuses.
 */
export const IN_FLIGHT_MAX = 1024;
/** Their data: beyond it the socket is not read. */
export const IN_FLIGHT_BYTES_MAX = 2 * MIB;
/** Remaining Length of a PUBLISH: what a stream takes, and its topic. A larger one is passed over and counted. */
export const PUBLISH_BYTES_MAX = MIB + 64 * KIB;
/** Remaining Length of any other packet: a CONNACK with all its properties, or SUBACKs with a reason in words. */
export const CONTROL_BYTES_MAX = 64 * KIB;

/** Reading stops at these; the last message before it may be as large as messages are. */
export const SOURCE_LIMITS: IntakeLimits = {
  heldFrames: IN_FLIGHT_MAX,
  heldBytes: IN_FLIGHT_BYTES_MAX,
  overrunFrames: 2 * IN_FLIGHT_MAX,
  overrunBytes: 2 * IN_FLIGHT_BYTES_MAX,
};

/** `host:port`, IPv6 in brackets. */
export function addressOf({ host, port }: { host: string; port: number }): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** How the source's broker is named to people: nothing in it is secret. */
export function urlOf(config: SourceConfig): string {
  return `${config.tls === undefined ? 'mqtt' : 'mqtts'}://${addressOf(config)}`;
}
