// What the files of a listener's TLS must be to each other: a certificate, and the key that it was made for. Said when the
// configuration is read, with the line, and not by a listener that does not open or by clients that do not come in.

import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Problems } from './problems.ts';

/** The table while there may be problems: files that could not be read are undefined, and reported already. */
interface TlsDraft {
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly ca?: string | undefined;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** Checks the files of the table at the path `at`. */
export function checkTlsFiles(tls: TlsDraft, at: string, problems: Problems): void {
  const certificate = readCertificate(tls.cert, `${at}.cert`, problems);
  const key = readKey(tls.key, `${at}.key`, problems);
  readCertificate(tls.ca, `${at}.ca`, problems);
  if (certificate === undefined || key === undefined || certificate.checkPrivateKey(key)) return;
  const { cert: certFile = '', key: keyFile = '' } = tls;
  const hint = isOfLaterOne(certFile, key)
    ? `the certificate of the listener has to be the first in ${certFile}`
    : `both of these must print the same: openssl x509 -noout -pubkey -in ${certFile}, openssl pkey -pubout -in ${keyFile}`;
  problems.add(
    `${at}.key`,
    `${keyFile} and ${certFile} of cert (${problems.where(`${at}.cert`)}) cannot be used together, ` +
      `expected the key that the certificate was made for; ${hint}`,
  );
}

function readCertificate(
  file: string | undefined,
  path: string,
  problems: Problems,
): X509Certificate | undefined {
  const bytes = read(file);
  if (bytes === undefined) return undefined;
  try {
    return new X509Certificate(bytes);
  } catch (error) {
    problems.add(
      path,
      `${file} holds no certificate that can be read (${reasonOf(error)}), expected a PEM file; it may be cut off`,
    );
    return undefined;
  }
}

function readKey(
  file: string | undefined,
  path: string,
  problems: Problems,
): KeyObject | undefined {
  const bytes = read(file);
  if (bytes === undefined) return undefined;
  try {
    return createPrivateKey(bytes);
  } catch (error) {
    problems.add(
      path,
      /ENCRYPTED/.test(bytes.toString('latin1'))
        ? `${file} has a passphrase, expected a key without one; openssl pkey -in ${file} -out <new file> takes it off`
        : `${file} holds no private key that can be read (${reasonOf(error)}), expected a PEM file; it may be cut off`,
    );
    return undefined;
  }
}

/** Whether the key is the one of a certificate behind the first: of an authority's file that was put in front, mostly. */
function isOfLaterOne(certFile: string, key: KeyObject): boolean {
  const [, ...later] = read(certFile)?.toString('latin1').match(CERTIFICATE) ?? [];
  return later.some((pem) => {
    try {
      return new X509Certificate(pem).checkPrivateKey(key);
    } catch {
      return false; // Not the one that is looked for.
    }
  });
}

/** Undefined: there is none, or it went away after it was looked at, which the start says. */
function read(file: string | undefined): Buffer | undefined {
  try {
    return file === undefined ? undefined : readFileSync(file);
  } catch {
    return undefined;
  }
}

/** OpenSSL's reason without its numbers and files. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return 'reason' in error && typeof error.reason === 'string' ? error.reason : error.message;
}
