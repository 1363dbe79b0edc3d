// Why there is no leafnode link, in words that an operator can act on, and how long to wait before the next attempt. A hub
// says it by -ERR and hangs up; what it says of one subject it may say on a link that goes on.

import { LinkError, linkError, loginError, type LinkErrorKind } from '../link-error.ts';
import type { Secret } from '../credentials.ts';

export type LeafErrorKind = LinkErrorKind | 'configuration' | 'permission' | 'loop' | 'twin';

/** Waits that the hub's side needs, or an operator; each is drawn anew, up to twice as long. */
const LOOP_MS = 30_000;
const CONFIGURATION_MS = 10_000;
const PERMISSION_MS = 1_000;

export class LeafError extends Error {
  override name = 'LeafError';
  readonly kind: LeafErrorKind;
  readonly hint: string;
  /** At least this long nothing is dialled; the link's own back-off is added. */
  readonly pauseMs: number;
  /** The hub speaks of this subject, which it does not want from us. */
  readonly denied: Denied | undefined;

  constructor(kind: LeafErrorKind, message: string, options: LeafErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.hint = options.hint;
    this.pauseMs = options.pauseMs ?? 0;
    this.denied = options.denied;
  }

  /** Waiting alone does not mend it. */
  get needsOperator(): boolean {
    return this.kind !== 'network' && this.kind !== 'name';
  }
}

export type DeniedUse = 'publish' | 'subscription';

export interface Denied {
  readonly what: DeniedUse;
  readonly subject: string;
}

/** The hub has waited in vain for the login. */
export function isLateLogin({ message }: LeafError): boolean {
  return message.includes(LATE);
}

interface LeafErrorOptions {
  readonly hint: string;
  readonly pauseMs?: number;
  readonly denied?: Denied;
  readonly cause?: unknown;
}

const LATE = 'the login came too late for the hub';

const HINTS: Readonly<Record<LeafErrorKind, string>> = {
  network:
    'is the WAN up, and does url in [leaf] name the right host and port? Data waits on disk meanwhile',
  name: 'does this machine have a working DNS server, and is the name in url of [leaf] right?',
  tls: 'check the certificates of both sides, [leaf.tls], and the clock of this machine',
  authentication:
    'check the credentials in [leaf] and what the hub allows them; the files are read again at each attempt',
  'not a hub':
    'something else than the leafnode port of a nats-server answers there: a captive portal, a proxy or the wrong port',
  files:
    'check that the file exists and that the agent may read it; it is read again at each attempt',
  configuration: 'correct [leaf] here, or leafnodes at the hub',
  permission: 'allow the subject to the user of this gateway at the hub, or take it out of [leaf]',
  loop: 'the hub must have one way to this gateway: look for leafnode remotes between hub servers that lead in a circle',
  twin: 'give each gateway a name of its own',
};

/** An error with the hint of its kind. */
export function leafError(kind: LeafErrorKind, message: string, hint = HINTS[kind]): LeafError {
  return new LeafError(kind, message, { hint, pauseMs: PAUSES[kind] ?? 0 });
}

const PAUSES: Partial<Record<LeafErrorKind, number>> = {
  loop: LOOP_MS,
  configuration: CONFIGURATION_MS,
  permission: PERMISSION_MS,
};

interface Said {
  readonly pattern: RegExp;
  readonly kind: LeafErrorKind;
  readonly message?: string;
  readonly hint?: string;
  /** The hub goes on with us. */
  readonly goesOn?: boolean;
}

/** What hubs say by -ERR; the first that fits. */
const SAID: readonly Said[] = [
  {
    pattern: /^Duplicate Remote LeafNode Connection/i,
    kind: 'twin',
    message: 'the hub has let another connection of the same name take our place',
    hint: 'if it repeats, another gateway has this name: give each gateway a name of its own',
  },
  {
    pattern: /^Loop detected/i,
    kind: 'loop',
    message: 'the hub has found a loop: what we send to it comes back to it on another way',
  },
  {
    pattern: /minimum version required is/i,
    kind: 'configuration',
    hint: 'lower min_version in leafnodes at the hub: this agent keeps to protocol 2.14.0',
  },
  {
    pattern: /same cluster name/i,
    kind: 'configuration',
    message: 'the hub takes the name of this gateway for that of its own cluster',
    hint: 'give the gateway another name than the cluster of the hub has',
  },
  {
    pattern: /cluster name cannot contain spaces/i,
    kind: 'configuration',
    hint: 'take the spaces out of the cluster name of the hub, or out of the name of this gateway',
  },
  {
    pattern: /maximum payload violation/i,
    kind: 'configuration',
    message: 'a message was larger than the hub takes',
    hint: 'raise max_payload at the hub to what the gateway takes in',
  },
  {
    pattern: /maximum (account )?active connections exceeded|maximum connections exceeded/i,
    kind: 'authentication',
    message: 'the hub lets no more connections in',
    hint: 'raise the limit of leafnode connections of the account, or of the server',
  },
  {
    pattern: /maximum subscriptions exceeded/i,
    kind: 'configuration',
    message:
      'the hub takes no more subscriptions of this gateway: part of what it listens to does not come',
    hint: 'raise max_subscriptions (subs of the account) at the hub, or import less in [leaf]',
    goesOn: true,
  },
  {
    pattern: /^Invalid (Subscription|Publish Subject)/i,
    kind: 'permission',
    message: 'the hub does not take one of our subjects',
    goesOn: true,
  },
  {
    pattern: /leaf ?nodes? disabled|attempted to connect to/i,
    kind: 'not a hub',
  },
  {
    pattern: /authentication expired|credentials expired|account authentication/i,
    kind: 'authentication',
    message: 'the credentials of this gateway, or those of the account, have run out',
    hint: 'put new ones into their file; no restart is needed',
  },
  {
    pattern: /revoked/i,
    kind: 'authentication',
    message: 'the hub has taken the credentials of this gateway back',
    hint: 'put new ones into their file; no restart is needed',
  },
  {
    pattern: /authentication timeout/i,
    kind: 'network',
    message: LATE,
    hint: 'the WAN is very slow: raise timeout in authorization of leafnodes at the hub',
  },
  {
    pattern: /authorization|authentication/i,
    kind: 'authentication',
    message: 'the hub refuses the credentials of this gateway',
  },
  {
    pattern: /secure connection|tls required/i,
    kind: 'tls',
    message: 'the hub asks for TLS',
    hint: 'write tls:// into url of [leaf], or set [leaf.tls]',
  },
  {
    pattern: /stale connection|slow consumer|server shutdown|write deadline|connection throttling/i,
    kind: 'network',
  },
];

/** What a hub said of one subject. */
const DENIED = /^Permissions Violation for (Publish|Subscription) to "(.*)"/is;
/** More of what the hub says is not repeated. */
const SAID_CHARS_MAX = 300;

/** What -ERR means, and whether the hub goes on with this connection all the same. */
export function saidByHub(text: string, server: string): { error: LeafError; goesOn: boolean } {
  const said = text.slice(0, SAID_CHARS_MAX);
  const [, verb, subject] = DENIED.exec(said) ?? [];
  if (subject !== undefined) return { error: deniedBy(server, verb ?? '', subject), goesOn: false };
  const found = SAID.find(({ pattern }) => pattern.test(said));
  const kind = found?.kind ?? 'network';
  const message =
    found?.message === undefined ? `the hub says: ${said}` : `${found.message} (${said})`;
  const error = leafError(kind, `${server}: ${message}`, found?.hint);
  return { error, goesOn: found?.goesOn ?? false };
}

function deniedBy(server: string, verb: string, subject: string): LeafError {
  const what = verb.toLowerCase() === 'publish' ? 'publish' : 'subscription';
  const [does, allow] = what === 'publish' ? ['take', 'publish to'] : ['give', 'subscribe to'];
  return new LeafError(
    'permission',
    `${server}: the hub does not ${does} this gateway "${subject}"`,
    {
      hint: `let the user of this gateway ${allow} "${subject}" at the hub, or take it out of [leaf]; it is not tried again until the permissions there change, or the agent starts anew`,
      pauseMs: PERMISSION_MS,
      denied: { what, subject },
    },
  );
}

/** The answer came from another port of a nats-server, or from something like it. */
export function wrongPort(server: string): LeafError {
  return leafError(
    'not a hub',
    `${server}: this is not the leafnode port of the hub`,
    'url in [leaf] must name the port of leafnodes { … } at the hub, mostly 7422; 4222 is for clients',
  );
}

/** What JetStream says of a message stands in its headers. */
export function withoutHeaders(server: string): LeafError {
  const hint = 'remove no_header_support from the configuration of the hub';
  return leafError('configuration', `${server}: the hub takes no headers`, hint);
}

/** What the hub says to itself in that account is not for us, nor the other way round. */
export function systemAccount(server: string): LeafError {
  const hint = 'give the user of this gateway another account at the hub';
  return leafError(
    'configuration',
    `${server}: the hub takes this gateway into its system account`,
    hint,
  );
}

/** Our own mark has come back. */
export function loopFound(server: string): LeafError {
  return leafError(
    'loop',
    `${server}: a loop: what this gateway tells the hub comes back from the hub`,
  );
}

/** Any error of a connection, with the words of [leaf]. Nothing of a secret goes out with it. */
export function asLeafError(
  error: unknown,
  server: string,
  secret: Secret,
  nowMs: number,
): LeafError {
  if (error instanceof LeafError) return withoutSecret(error, secret, nowMs);
  const { kind, message, hint, cause } = loginError(linkError(error, server), secret, nowMs);
  return new LeafError(kind, ofLeaf(message), { hint: ofLeaf(hint), pauseMs: 0, cause });
}

/** A hub that repeats our login says it in its own words. */
function withoutSecret(error: LeafError, secret: Secret, nowMs: number): LeafError {
  const { kind, message, hint, pauseMs, denied } = error;
  const as = kind === 'authentication' ? kind : 'network';
  const clean = loginError(new LinkError(as, message, hint), secret, nowMs);
  if (clean.message === message && clean.hint === hint) return error;
  const options = { hint: ofLeaf(clean.hint), pauseMs };
  return new LeafError(
    kind,
    clean.message,
    denied === undefined ? options : { ...options, denied },
  );
}

/** The keys of [hub] are called the same in [leaf], but for its addresses. */
function ofLeaf(text: string): string {
  return text
    .replaceAll('[hub]', '[leaf]')
    .replaceAll('do hub.servers name', 'does leaf.url name')
    .replaceAll('hub.servers', 'leaf.url')
    .replaceAll(/\bhub\.(credentials|user|token_file|nkey_file|tls)/g, 'leaf.$1');
}
