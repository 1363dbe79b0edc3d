// The files of a TLS listener: read and tried before they are used, so that a broken one never takes the place of one that
// works.

import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';

/** TLS 1.0 and 1.1 are broken. */
const MIN_VERSION = 'TLSv1.2';

export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
  /** Whoever has no certificate of this authority is refused; undefined: nobody needs one. */
  readonly caFile: string | undefined;
}

/** What was in the files. */
export interface Certificates {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca?: Buffer;
  readonly minVersion: typeof MIN_VERSION;
}

/** A file of TLS cannot be used. */
export class CertificateError extends Error {
  override name = 'CertificateError';
  readonly hint: string;

  constructor(message: string, hint: string, cause: unknown) {
    super(message, { cause });
    this.hint = hint;
  }
}

/** Reads and tries the files. Throws a CertificateError that names the one that cannot be used. */
export function readCertificates({ certFile, keyFile, caFile }: CertificateFiles): Certificates {
  const [cert, key] = [read(certFile), read(keyFile)];
  const ca = caFile === undefined ? undefined : read(caFile);
  for (const [file, bytes] of [
    [certFile, cert],
    [caFile, ca],
  ] as const)
    if (file !== undefined && bytes !== undefined)
      attempt(
        () => new X509Certificate(bytes),
        `${file} holds no certificate`,
        'write a PEM file with a certificate there',
      );
  const certificates: Certificates = {
    cert,
    key,
    ...(ca === undefined ? {} : { ca }),
    minVersion: MIN_VERSION,
  };
  attempt(
    () => createSecureContext(certificates),
    `${certFile} and ${keyFile} cannot be used together`,
    'the key must be the one that the certificate was made for, without a passphrase',
  );
  return certificates;
}

export function isSame(a: Certificates, b: Certificates): boolean {
  const sameCa = a.ca === undefined || b.ca === undefined ? a.ca === b.ca : a.ca.equals(b.ca);
  return sameCa && a.cert.equals(b.cert) && a.key.equals(b.key);
}

function read(file: string): Buffer {
  return attempt(
    () => readFileSync(file),
    `${file} cannot be read`,
    'the file must be there, and readable for the user of the agent',
  );
}

function attempt<T>(step: () => T, message: string, hint: string): T {
  try {
    return step();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CertificateError(`${message}: ${why}`, hint, error);
  }
}
