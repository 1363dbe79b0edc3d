// What a client says of itself in CONNECT. Keys that are missing have the values that nats-server gives them: whoever
// types by hand hears `+OK`.

import { ProtocolError } from './parser.ts';

export interface ConnectOptions {
  readonly verbose: boolean;
  readonly pedantic: boolean;
  readonly echo: boolean;
  readonly headers: boolean;
  readonly noResponders: boolean;
  readonly protocol: number;
  readonly name: string;
  readonly lang: string;
  readonly version: string;
  readonly login: Login;
}

/** How a client proves who it is; empty where it does not. */
export interface Login {
  readonly user: string;
  readonly pass: string;
  readonly token: string;
  readonly nkey: string;
  readonly sig: string;
}

/** Names for the log and /connz are cut to this. */
const NAME_LENGTH = 256;
const NO_LOGIN: Login = { user: '', pass: '', token: '', nkey: '', sig: '' };

/** Before CONNECT, where none is needed. */
export const NO_CONNECT: ConnectOptions = {
  verbose: true,
  pedantic: true,
  echo: true,
  headers: false,
  noResponders: false,
  protocol: 0,
  name: '',
  lang: '',
  version: '',
  login: NO_LOGIN,
};

/** Reads the JSON of CONNECT; what it does not say stays as it was `before`. Throws a ProtocolError. */
export function readConnect(json: string, before: ConnectOptions): ConnectOptions {
  const fields = parse(json);
  const flag = (key: string, preset: boolean): boolean => {
    const value = fields[key] ?? preset;
    if (typeof value !== 'boolean') throw new ProtocolError(`CONNECT with a wrong "${key}"`);
    return value;
  };
  const text = (key: string, preset = ''): string => {
    const value = fields[key] ?? preset;
    if (typeof value !== 'string') throw new ProtocolError(`CONNECT with a wrong "${key}"`);
    return value;
  };
  const protocol = fields['protocol'] ?? before.protocol;
  if (!Number.isSafeInteger(protocol)) throw new ProtocolError('CONNECT with a wrong "protocol"');
  // Once they chose an account; nobody may any more.
  if (text('account') !== '' || flag('new_account', false))
    throw new ProtocolError('CONNECT with an account', 'Authorization Violation');
  return {
    verbose: flag('verbose', before.verbose),
    pedantic: flag('pedantic', before.pedantic),
    echo: flag('echo', before.echo),
    headers: flag('headers', before.headers),
    noResponders: flag('no_responders', before.noResponders),
    protocol: Number(protocol),
    name: text('name', before.name).slice(0, NAME_LENGTH),
    lang: text('lang', before.lang).slice(0, NAME_LENGTH),
    version: text('version', before.version).slice(0, NAME_LENGTH),
    login: {
      user: text('user', before.login.user),
      pass: text('pass', before.login.pass),
      token: text('auth_token', before.login.token),
      nkey: text('nkey', before.login.nkey),
      sig: text('sig', before.login.sig),
    },
  };
}

/** What of it a server does not do, told before the connection is closed; undefined where all is well. */
export function refusal({ protocol, headers, noResponders }: ConnectOptions): string | undefined {
  if (protocol !== 0 && protocol !== 1) return 'invalid client protocol';
  return noResponders && !headers ? 'no responders requires headers support' : undefined;
}

function parse(json: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch {
    // Not JSON: said below.
  }
  throw new ProtocolError('CONNECT without a JSON object');
}
