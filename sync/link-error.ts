// Why there is no connection to the hub, in words that an operator can act on. Every reason is retried for ever: an
// outage, an expired certificate and a wrong password all end without a restart of the agent.

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

const NAME_CODES = new Set(['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL', 'EAI_NODATA', 'EAI_NONAME']);
const TLS_PATTERN =
  /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|ERR_OSSL|EPROTO|HOSTNAME_MISMATCH)/;
const AUTHENTICATION_NAMES = new Set(['AuthorizationError', 'UserAuthenticationExpiredError']);

/** Gives any error of a connection its kind and hint. A LinkError stays what it is. */
export function linkError(error: unknown, server: string): LinkError {
  if (error instanceof LinkError) return error;
  const kind = kindOf(error);
  return new LinkError(kind, `${server}: ${messageOf(error)}`, HINTS[kind], error);
}

/** The hub lets us in, but not hear any answer. */
export function inboxDenied(server: string): LinkError {
  const hint = 'allow this gateway to subscribe to "_INBOX.>" at the hub';
  return new LinkError('authentication', `${server}: the hub denies us its answers`, hint);
}

/** A file of ours that could not be read, or holds something else than it should. */
export function fileError(path: string, cause: unknown): LinkError {
  return new LinkError('files', `${path}: ${messageOf(cause)}`, HINTS.files, cause);
}

function kindOf(error: unknown): LinkErrorKind {
  for (const link of chain(error)) {
    const code = 'code' in link && typeof link.code === 'string' ? link.code : '';
    if (NAME_CODES.has(code)) return 'name';
    if (AUTHENTICATION_NAMES.has(link.name)) return 'authentication';
    if (TLS_PATTERN.test(code) || /\btls\b|certificate/i.test(link.message)) return 'tls';
    if (/unexpected response|JSON|Unknown Protocol/i.test(link.message)) return 'not a hub';
  }
  return 'network';
}

function messageOf(error: unknown): string {
  const [first, second] = chain(error);
  if (first === undefined) return String(error);
  const text = first.message === '' && 'code' in first ? String(first.code) : first.message;
  // The library names a refused connection well, and others only in the cause.
  return text !== '' ? text : (second?.message ?? first.name);
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
