// Opens the way to a broker: TCP, or TLS that trusts what the configuration names. Files are read here, at each connect,
// so that a renewed certificate or password is used without a restart.

import { readFileSync } from 'node:fs';
import { connect, isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import type { SourceConfig } from './source-config.ts';
import { SourceError } from './source-error.ts';

/** Opens a connection; what is written before it is there waits. Throws a SourceError; failures come as `error` events. */
export function dial({ host, port, tls }: SourceConfig): Duplex {
  if (tls === undefined) return connect({ host, port, noDelay: true });
  const files = {
    ...(tls.caFile === undefined ? {} : { ca: readSecret(tls.caFile, 'ca') }),
    ...(tls.certFile === undefined ? {} : { cert: readSecret(tls.certFile, 'cert') }),
    ...(tls.keyFile === undefined ? {} : { key: readSecret(tls.keyFile, 'key') }),
  };
  try {
    // Server Name Indication has names only.
    const name = isIP(host) === 0 ? { servername: host } : {};
    return connectTls({ host, port, ...name, ...files }).setNoDelay(true);
  } catch (error) {
    throw new SourceError('the files of [mqtt_source.tls] are not usable', {
      hint: 'check that cert and key are a pair of PEM files, and that ca is one',
      standing: true,
      cause: error,
    });
  }
}

/** The password, without the line end of its file. Throws a SourceError. */
export function readPassword(file: string): Buffer {
  return Buffer.from(
    readSecret(file, 'password_file')
      .toString('utf8')
      .replace(/\r?\n$/, ''),
  );
}

function readSecret(file: string, key: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new SourceError(`${key} cannot be read`, {
      hint: `check that ${file} is there and that the agent's user may read it`,
      standing: true,
      cause: error,
    });
  }
}
