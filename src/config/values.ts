// The kinds of value of a gateway: names, subjects, addresses and delimiters.

import { isIPv6 } from 'node:net';
import { parseUserKey } from '../nats/nkey.ts';
import { collide, isFilter, isName, isPublishSubject } from '../subject.ts';
import { Refusal, text, type Kind } from './kinds.ts';
import { parseHash } from './password-file.ts';

/** A delimiter is compared at every byte of a serial stream; real ones have 1 to 4 bytes. */
const DELIMITER_BYTES_MAX = 16;
/** Subjects of the NATS system itself; what a stream captures of them would take part in its own API. */
const RESERVED = ['$JS.>', '$JSC.>', '$NRG.>', '$SYS.>', '$DEAD.>'];

export interface Listen {
  readonly host: string;
  readonly port: number;
}

export const name: Kind<string> = text('a name of letters, digits, "-" and "_"', (found) =>
  isName(found) ? found : undefined,
);

export const userName: Kind<string> = text('a user name of 1 to 128 characters', (found) =>
  /^[^\s:]{1,128}$/.test(found) ? found : undefined,
);

export const password: Kind<string> = text('a password of 1 to 1024 characters', (found) =>
  found.length >= 1 && found.length <= 1024 ? found : undefined,
);

export const passwordHash: Kind<string> = text(
  'a hash of mosquitto_passwd ("$7$…" or "$6$…")',
  (found) => (parseHash(found) === undefined ? undefined : found),
);

/** What a client may publish or subscribe to: anything with a meaning, wildcards allowed. */
export const subjectFilter: Kind<string> = text(
  'a subject such as "plant1.>" or "_INBOX.>"',
  (found) => {
    if (found.includes('/')) return topicRefusal(found);
    return isFilter(found) ? found : undefined;
  },
);

/** What a client may subscribe to; with a second word, in the queue group of that name only. */
export const subscriptionFilter: Kind<string> = text(
  'a subject such as "plant1.>", or one with a queue group: "plant1.> crew"',
  (found) => {
    if (found.includes('/')) return topicRefusal(found);
    const [subject = '', group = 'any', ...more] = found.split(' ');
    return isFilter(subject) && isFilter(group) && more.length === 0 ? found : undefined;
  },
);

/** The public half of an NKey. */
export const userKey: Kind<string> = text(
  'the public NKey of a user ("U…", 56 letters)',
  (found) => {
    if (/^S[A-Z2-7]{50,}$/.test(found))
      return new Refusal(
        'it is a seed, which only its owner may have: `nk -pubout` gives the public key',
      );
    return parseUserKey(found) === undefined ? undefined : found;
  },
);

/** Where a web page comes from. */
export const origin: Kind<string> = text('an origin such as "https://panel.example.com"', (found) =>
  URL.parse(found)?.origin === found ? found : undefined,
);

/** What a message is published to: no wildcard, nothing reserved. */
export const publishSubject: Kind<string> = text(
  'a subject such as "plant1.boiler.temp", without wildcards',
  (found) => {
    if (found.includes('/')) return topicRefusal(found);
    if (!isPublishSubject(found)) return undefined;
    return found.startsWith('$') ? new Refusal('subjects that begin with $ are reserved') : found;
  },
);

/** What a stream takes in: wildcards allowed, nothing reserved. */
export const streamSubject: Kind<string> = text(
  'a subject such as "plant1.>" or "plant1.*.temp"',
  (found) => {
    if (found.includes('/')) return topicRefusal(found);
    if (!isFilter(found)) return undefined;
    if (found.startsWith('$')) return new Refusal('subjects that begin with $ are reserved');
    return RESERVED.some((reserved) => collide(found, reserved))
      ? new Refusal('it would take in reserved subjects ($JS.…): name its first token')
      : found;
  },
);

/** An MQTT topic where a subject belongs: valid for NATS, but no MQTT message would ever have it. */
export function topicRefusal(topic: string): Refusal {
  const subject = topic.replace(/^\/|\/$/g, '').replaceAll('/', '.');
  const filter = subject.replace(/\+(?=\.|$)/g, '*').replace(/(?<=\.|^)#$/, '>');
  return new Refusal(`subjects are written with dots, also for MQTT: "${filter}"`);
}

export const listen: Kind<Listen> = text('"host:port", such as "127.0.0.1:1883"', (found) => {
  const [, bracketed, bare, digits = ''] = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d+)$/.exec(found) ?? [];
  const port = Number(digits);
  if (digits === '') {
    if (isIPv6(found.replace(/:\d+$/, '')))
      return new Refusal('an IPv6 address is written in brackets: "[::1]:1883"');
    return /^\d+$/.test(found)
      ? new Refusal(`for this machine alone "127.0.0.1:${found}"`)
      : undefined;
  }
  if (port > 65_535) return new Refusal('a port is at most 65535');
  if (bracketed !== undefined)
    return isIPv6(bracketed)
      ? { host: bracketed, port }
      : new Refusal('no IPv6 address in brackets');
  if (bare === undefined || bare === '' || bare === '*')
    return new Refusal(
      `for every network "0.0.0.0:${port}", for this machine alone "127.0.0.1:${port}"`,
    );
  return isHost(bare) ? { host: bare, port } : undefined;
});

/** Whether only programs of this machine can reach `host`. */
export function isLoopback(host: string): boolean {
  return host === '::1' || host === 'localhost' || /^127(\.\d{1,3}){3}$/.test(host);
}

export function formatListen({ host, port }: Listen): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether `host` can be an IPv4 address or a name. */
export function isHost(host: string): boolean {
  if (/^[\d.]+$/.test(host))
    return (
      /^(\d{1,3})(\.\d{1,3}){3}$/.test(host) && host.split('.').every((part) => Number(part) < 256)
    );
  return host.length <= 253 && /^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$/.test(host);
}

export interface HubServer {
  /** `host:port`, IPv6 in brackets. */
  readonly address: string;
  readonly tls: boolean;
}

/** A hub server; the port defaults to 4222. */
export const hubServer: Kind<HubServer> = server(
  'a server such as "nats://hub.example.com:4222" or "tls://10.0.0.1:4222"',
  { schemes: ['nats', 'tls'], port: '4222' },
);

/** The port for leaf nodes of a hub server; it defaults to 7422. */
export const leafServer: Kind<HubServer> = server(
  'a server such as "nats-leaf://hub.example.com:7422" or "tls://10.0.0.1:7422"',
  { schemes: ['nats-leaf', 'leaf', 'nats', 'tls'], port: '7422' },
);

/** Everything but the host may be left out. */
function server(
  expected: string,
  { schemes, port: usual }: { schemes: readonly string[]; port: string },
): Kind<HubServer> {
  return text(expected, (found) => {
    if (found.includes('@'))
      return new Refusal(
        'credentials have keys of their own: credentials, user, token_file, nkey_file',
      );
    const [, scheme = 'nats', rest = ''] = /^(?:([a-z-]+):\/\/)?([^/]*)\/?$/.exec(found) ?? [];
    if (/^(ws|wss)$/.test(scheme))
      return new Refusal('WebSocket is not available in this version of Mangrove');
    const [, host = '', port = usual] = /^(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(rest) ?? [];
    const valid = host.startsWith('[') ? isIPv6(host.slice(1, -1)) : isHost(host);
    if (!schemes.includes(scheme) || !valid || Number(port) < 1 || Number(port) > 65_535)
      return undefined;
    return { address: `${host}:${port}`, tls: scheme === 'tls' };
  });
}

/** Bytes: the text itself, with TOML's escapes, or `hex:0D0A`. */
export const delimiter: Kind<Buffer> = text(
  `1 to ${DELIMITER_BYTES_MAX} bytes such as "\\r\\n" or "hex:0D0A"`,
  (found) => {
    if (found.startsWith('hex:')) {
      const digits = found.slice(4).replaceAll(' ', '');
      if (!/^([0-9a-f]{2})+$/i.test(digits))
        return new Refusal('after hex: two digits for each byte');
      return bounded(Buffer.from(digits, 'hex'));
    }
    return bounded(Buffer.from(found, 'utf8'));
  },
);

function bounded(bytes: Buffer): Buffer | undefined {
  return bytes.length > 0 && bytes.length <= DELIMITER_BYTES_MAX ? bytes : undefined;
}
