// Certificates of our own that have expired, or soon will: the other side then refuses the connection, and says so only in
// its own log.

import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { WALL_FLOOR_MS } from '../clock.ts';
import type { Config } from './types.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
/** Who renews by a program does so a month ahead; this is left to somebody who has to go there. */
const SOON_MS = 14 * DAY_MS;

interface Own {
  /** The table as the file has it: `[mqtt.tls]`. */
  readonly table: string;
  readonly certFile: string | undefined;
  /** Who looks at it. */
  readonly by: string;
}

/** `wallMs`: the time of day. A clock that was never set tells nothing, and no warning comes of it. */
export function expiryWarnings(config: Config, wallMs: number): string[] {
  if (wallMs < WALL_FLOOR_MS) return [];
  return ownCertificates(config).flatMap(({ table, certFile, by }) => {
    const endMs = endOf(certFile);
    if (endMs === undefined || endMs - wallMs > SOON_MS) return [];
    const date = new Date(endMs).toISOString().slice(0, 10);
    return endMs <= wallMs
      ? [`The certificate of ${table} has expired on ${date}: ${by} refuse it.`]
      : [`The certificate of ${table} expires on ${date}: ${by} refuse it from then on.`];
  });
}

function ownCertificates({ mqtt, nats, mqttSources, hub, leaf }: Config): Own[] {
  return [
    { table: '[mqtt.tls]', certFile: mqtt?.tls?.certFile, by: 'clients' },
    { table: '[nats.tls]', certFile: nats?.tls?.certFile, by: 'clients' },
    ...mqttSources.map(({ name, tls }) => ({
      table: `[mqtt_source.tls] of ${name}`,
      certFile: tls?.certFile,
      by: 'brokers',
    })),
    { table: '[hub.tls]', certFile: hub?.tls?.certFile, by: 'servers' },
    { table: '[leaf.tls]', certFile: leaf?.tls?.certFile, by: 'servers' },
  ];
}

/** Undefined: there is none, or it cannot be read, which is said where it is used. */
function endOf(certFile: string | undefined): number | undefined {
  if (certFile === undefined) return undefined;
  try {
    return new X509Certificate(readFileSync(certFile)).validToDate.getTime();
  } catch {
    return undefined;
  }
}
