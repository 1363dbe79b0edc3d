// Why there is no connection to the hub, in words that an operator can act on. Every reason is retried for ever: an
// outage, an expired certificate and a wrong password all end without a restart of the agent.

import type { Secret } from './credentials.ts';

export type LinkErrorKind = 'network' | 'name' | 'tls' | 'authentication' | 'not a hub' | 'files';

export class LinkError extends Error {
  override name = 'LinkError';
  readonly kind: LinkErrorKind;
  readonly hint: string;

  constructor(kind: LinkErrorKind, message: string, hint: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
    this.hint = hint;
  }
}

const HINTS: Readonly<Record<LinkErrorKind, string>> = {
  network:
    'is the WAN up, and do hub.servers name the right host and port? Data waits on disk meanwhile',
  name: 'does this machine have a working DNS server, and is the name in hub.servers right?',
  tls: 'check the certificates of both sides, [hub] tls, and the clock of this machine',
  authentication:
    'check the credentials in [hub] and what the hub allows them; the files are read again at each attempt',
  'not a hub':
    'something else than a nats-server answers there: a captive portal, a proxy or the wrong port',
  files:
    'check that the file exists and that the agent may read it; it is read again at each attempt',
};

/** A shorter word occurs by chance in any text. */
const SECRET_CHARS = 4;

interface Reason {
  /** Looked for in `code name message` of the error and of its causes. */
  readonly pattern: RegExp;
  readonly kind: LinkErrorKind;
  readonly hint?: string;
  /** Said instead of the library's own words. */
  readonly message?: string;
}

/** The first that fits. */
const REASONS: readonly Reason[] = [
  { kind: 'name', pattern: /^(ENOTFOUND|EAI_AGAIN|EAI_FAIL|EAI_NODATA|EAI_NONAME) / },
  {
    kind: 'tls',
    pattern: /^ERR_TLS_CERT_ALTNAME_INVALID /,
    hint: 'the hub shows the certificate of another name: write the name that is in it into hub.servers, or give the hub a certificate for this one. If both are right, somebody is in between',
  },
  {
    kind: 'tls',
    pattern: /^CERT_HAS_EXPIRED /,
    hint: 'renew the certificate of the hub; if it is valid, the clock of this machine is ahead (see date)',
  },
  {
    kind: 'tls',
    pattern: /^CERT_NOT_YET_VALID /,
    hint: 'the clock of this machine is probably behind (see date): it needs a time service; otherwise renew the certificate of the hub',
  },
  {
    kind: 'tls',
    pattern:
      /^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CERT_UNTRUSTED|INVALID_CA|CERT_SIGNATURE_FAILURE)/,
    hint: 'let ca in [hub.tls] name the file of the authority that signed the certificate of the hub. If it does, somebody is in between',
  },
  {
    kind: 'tls',
    pattern: /alert certificate required|alert number 116/i,
    message: 'the hub asks for a certificate of this gateway',
    hint: 'set cert and key in [hub.tls]',
  },
  {
    kind: 'tls',
    pattern:
      /alert (number )?(bad certificate|unknown ca|certificate (expired|unknown|revoked)|unsupported certificate|handshake failure|4[0-8]\b)/i,
    message: 'the hub refuses the certificate of this gateway',
    hint: 'check cert in [hub.tls]: has it expired, and does the hub know its authority? The files are read again at each attempt',
  },
  {
    kind: 'tls',
    pattern: /does not support 'tls'/,
    message: 'the server offers no TLS, and [hub] asks for it: nothing was sent',
    hint: 'turn TLS on at the hub. If it is on, somebody in between takes it away; there is no way back to plain text',
  },
  {
    kind: 'tls',
    pattern: /WRONG_VERSION_NUMBER|wrong version number|packet length too long/i,
    message: 'what answers there does not begin with TLS',
    hint: 'remove handshake_first from [hub.tls], or set handshake_first: true in the tls block of the hub',
  },
  {
    kind: 'authentication',
    pattern: /authentication expired/i,
    hint: 'the credentials have run out, or those of the account: put new ones into their file; no restart is needed',
  },
  {
    kind: 'authentication',
    pattern: /revoked/i,
    hint: 'the hub has taken these credentials back: put new ones into their file; no restart is needed',
  },
  {
    kind: 'authentication',
    pattern: /connections? exceeded/i,
    hint: 'the hub lets no more connections in: raise the limit of the account, or of the server',
  },
  {
    kind: 'tls',
    pattern:
      /Secure Connection - TLS Required|\btls\b|certificate|^(ERR_TLS|ERR_SSL|ERR_OSSL|EPROTO|CERT_|HOSTNAME_MISMATCH)/i,
  },
  { kind: 'authentication', pattern: /AuthorizationError|authoriz|authentication/i },
  { kind: 'not a hub', pattern: /unexpected response|JSON|Unknown Protocol|parse error/i },
  {
    kind: 'network',
    pattern: /no answer to the login in time/,
    hint: 'is the WAN up? A hub that does not know the account of the credentials looks for it first: hand it the account (nsc push). Data waits on disk meanwhile',
  },
  {
    kind: 'network',
    pattern: /no answer in time/,
    hint: 'is the WAN up, and do hub.servers name the right host and port? A server that begins with TLS needs handshake_first = true in [hub.tls]. Data waits on disk meanwhile',
  },
  {
    kind: 'network',
    pattern: /undefined error|before its first word/,
    message: 'the server closed the connection before its first word',
    hint: 'a server that begins with TLS needs handshake_first = true in [hub.tls]; otherwise it is just starting or stopping',
  },
];

/** Gives any error of a connection its kind and hint. A LinkError stays what it is. */
export function linkError(error: unknown, server: string): LinkError {
  if (error instanceof LinkError) return error;
  const { kind, hint, message } = reasonOf(error);
  const text = message ?? messageOf(error);
  return new LinkError(kind, `${server}: ${text}`, hint ?? HINTS[kind], error);
}

/**
 * What the hub says of a login, with what we know of the credentials: from which file, and whether they have run out.
 * Nothing of the secret itself goes out with it, even where the hub repeats it.
 */
export function loginError(error: LinkError, secret: Secret, nowMs: number): LinkError {
  const words = secretWords(secret);
  const repeated = words.some((word) => chain(error).some(({ message }) => message.includes(word)));
  const message = words.reduce((text, word) => text.replaceAll(word, '…'), error.message);
  const hint = error.kind === 'authentication' ? loginHint(error.hint, secret, nowMs) : error.hint;
  if (!repeated && hint === error.hint) return error;
  return new LinkError(error.kind, message, hint, repeated ? undefined : error.cause);
}

function loginHint(hint: string, secret: Secret, nowMs: number): string {
  if (secret.kind === 'none')
    return 'set credentials, user, token_file or nkey_file in [hub]: it names none, and the hub asks for one';
  if (secret.kind === 'creds' && secret.expiresMs <= nowMs)
    return `the credentials in ${secret.file} ran out on ${new Date(secret.expiresMs).toISOString()}: put new ones there; no restart is needed`;
  return secret.file === '' ? hint : `${hint} (${secret.file})`;
}

/** What must not be seen anywhere. */
function secretWords(secret: Secret): string[] {
  const words = [
    'password' in secret ? secret.password : '',
    'token' in secret ? secret.token : '',
    'seed' in secret ? secret.seed : '',
    'jwt' in secret ? secret.jwt : '',
  ];
  // A hub that repeats our login does so in JSON.
  const both = words.flatMap((word) => [word, JSON.stringify(word).slice(1, -1)]);
  return both.filter((word) => word.length >= SECRET_CHARS);
}

/** The hub hung up in the middle of a login over TLS. Its word on our certificate may have been lost with the reset. */
export function hungUp(error: LinkError): LinkError {
  if (!/\b(ECONNRESET|EPIPE)\b|closed the connection/.test(error.message)) return error;
  const hint =
    'if it repeats, the hub does not accept the certificate of this gateway: check cert in [hub.tls] (has it expired, and does the hub know its authority?). Otherwise the line was cut';
  return new LinkError(error.kind, error.message, hint, error.cause);
}

/** TLS is asked for, and what came before it cannot be trusted. */
export function plainTextError(server: string): LinkError {
  return new LinkError(
    'tls',
    `${server}: the server said more than its first line before TLS`,
    'no nats-server does that: somebody is in between',
  );
}

/** The connection is not encrypted, and should be. */
export function notEncrypted(server: string): LinkError {
  return new LinkError('tls', `${server}: the connection is not encrypted`, HINTS.tls);
}

/** The hub lets us in, but not hear any answer. */
export function inboxDenied(server: string, subject: string): LinkError {
  const hint = `allow this gateway to subscribe to "${subject}" at the hub`;
  return new LinkError('authentication', `${server}: the hub denies us its answers`, hint);
}

/** A file of ours that could not be read, or holds something else than it should. */
export function fileError(path: string, cause: unknown): LinkError {
  return new LinkError('files', `${path}: ${messageOf(cause)}`, HINTS.files, cause);
}

function reasonOf(error: unknown): Reason | { kind: 'network'; hint?: never; message?: never } {
  for (const link of chain(error)) {
    const code = 'code' in link && typeof link.code === 'string' ? link.code : '';
    const text = `${code} ${link.name} ${link.message}`;
    const reason = REASONS.find(({ pattern }) => pattern.test(text));
    if (reason !== undefined) return reason;
  }
  return { kind: 'network' };
}

/** What Node adds for its own users; the hint says what to do here. */
const NODE_ADVICE = /; if the root CA is installed locally, try running Node\.js with \S+/;

function messageOf(error: unknown): string {
  const [first, second] = chain(error);
  if (first === undefined) return String(error);
  const text = first.message === '' && 'code' in first ? String(first.code) : first.message;
  // The library names a refused connection well, and others only in the cause.
  const said = text !== '' ? text : (second?.message ?? first.name);
  return said.replace(NODE_ADVICE, '');
}

/** An error and its causes, five at most. */
function chain(error: unknown): Error[] {
  const links: Error[] = [];
  for (let at = error; at instanceof Error && links.length < 5; at = at.cause) {
    links.push(at);
    if (at instanceof AggregateError && at.errors[0] instanceof Error) links.push(at.errors[0]);
  }
  return links;
}
