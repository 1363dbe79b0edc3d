// What a configuration of mosquitto means for an agent. Each key is understood, without a meaning here, or refused: none is
// left out silently.

import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** An agent cannot do what the file asks for. */
export class NotApplicableError extends Error {}

/** A line of the file: its first word, and the rest. */
export type ConfLine = readonly [key: string, value: string];

export interface Launch {
  /** The tables behind [gateway] and [log]. */
  readonly toml: string;
  /** The file in which mosquitto would keep its sessions; undefined: they do not outlast the process. */
  readonly persistence: string | undefined;
}

/** Says nothing that an agent does not do anyway, or nothing about MQTT. */
const WITHOUT_MEANING = new Set(
  `per_listener_settings log_type log_dest user persistence sys_interval check_retain_source
   connection_messages persistent_client_expiration`.split(/\s+/),
);
const BRIDGE = new Set(
  `connection address bridge_protocol_version notifications restart_timeout bridge_attempt_unsubscribe
   topic try_private remote_clientid cleansession local_cleansession keepalive_interval`.split(
    /\s+/,
  ),
);

export function parseMosquittoConf(text: string): ConfLine[] {
  return text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [key = '', ...rest] = line.split(/\s+/);
      return [key, rest.join(' ')];
    });
}

/** `port`: of the command line; relative paths start at `dir`; further files go to `home`. Throws a NotApplicableError. */
export function toToml(
  conf: readonly ConfLine[],
  { port, dir, home }: { port: number | undefined; dir: string; home: string },
): Launch {
  const mqtt = new Mqtt(port, dir, home);
  for (const [key, value] of conf) mqtt.take(key, value);
  return { toml: mqtt.toml, persistence: mqtt.persistence };
}

interface Listener {
  readonly listen: string;
  /** Keys of [mqtt.tls]; empty without TLS. */
  readonly tls: Map<string, string>;
  /** Files. */
  cert?: string;
  ca?: string;
}

/** One entry of an agent's access list. */
interface AclEntry {
  readonly user: string | undefined;
  readonly publish: string[];
  readonly subscribe: string[];
  readonly denied: string[];
}

class Mqtt {
  readonly #dir: string;
  readonly #home: string;
  readonly #listeners: Listener[] = [];
  readonly #keys = new Map<string, string>();
  #acl: readonly AclEntry[] = [];
  #password: string | undefined;
  #fromFile = false;
  persistence: string | undefined;

  constructor(port: number | undefined, dir: string, home: string) {
    this.#dir = dir;
    this.#home = home;
    if (port !== undefined) this.#listeners.push({ listen: `127.0.0.1:${port}`, tls: new Map() });
  }

  take(key: string, value: string): void {
    if (WITHOUT_MEANING.has(key)) return;
    if (BRIDGE.has(key))
      throw new NotApplicableError('an agent does not connect to brokers as a bridge');
    const set = SIMPLE[key];
    if (set !== undefined) return void this.#keys.set(key, set(value));
    switch (key) {
      case 'port':
      case 'listener':
        return this.#listener(value);
      case 'password_file':
        return void (this.#password = this.#privately(value, 'passwords'));
      case 'acl_file':
        return void (this.#acl = parseAcl(readFileSync(resolve(this.#dir, value), 'utf8')));
      case 'persistence_file':
        return void (this.persistence = resolve(this.#dir, value));
      case 'certfile':
        return void (this.#last.cert = resolve(this.#dir, value));
      case 'keyfile':
        return void this.#last.tls.set('key', JSON.stringify(this.#privately(value, 'key.pem')));
      case 'cafile':
        return void (this.#last.ca = resolve(this.#dir, value));
      case 'require_certificate':
        if (value === 'true') this.#last.tls.set('ca', JSON.stringify(this.#last.ca ?? ''));
        return;
      case 'use_identity_as_username':
        return void this.#last.tls.set('user_from_certificate', value);
      default:
        throw new NotApplicableError(`an agent has no "${key}"`);
    }
  }

  /** Keys behind a listener are its own. */
  get #last(): Listener {
    const last = this.#listeners.at(-1);
    if (last === undefined) throw new NotApplicableError('TLS without a listener');
    return last;
  }

  #listener(value: string): void {
    const [port, host = '127.0.0.1'] = value.split(' ');
    const listen = `${host}:${port}`;
    this.#fromFile = true;
    if (this.#listeners.every((each) => each.listen !== listen))
      this.#listeners.push({ listen, tls: new Map() });
  }

  /** Others may not read a secret, as they may read the files of a checkout. */
  #privately(file: string, name: string): string {
    const copy = join(this.#home, name);
    writeFileSync(copy, readFileSync(resolve(this.#dir, file)), { mode: 0o600 });
    return copy;
  }

  /** mosquitto sends what `cafile` has between the certificate and the root. */
  #chain({ cert = '', ca }: Listener): string {
    const file = join(this.#home, 'cert.pem');
    const parts = ca === undefined ? [cert] : [cert, ca];
    writeFileSync(file, parts.map((each) => readFileSync(each, 'utf8')).join('\n'));
    return file;
  }

  get toml(): string {
    const plain = this.#listeners.filter(({ cert }) => cert === undefined);
    const secure = this.#listeners.filter(({ cert }) => cert !== undefined);
    if (plain.length > 1 || secure.length > 1)
      throw new NotApplicableError('an agent has one listener of a kind');
    const [main, tls] = [plain[0] ?? secure[0], secure[0]];
    const lines = [
      '[mqtt]',
      `listen = "${main?.listen ?? '127.0.0.1:1883'}"`,
      ...this.#keys.values(),
    ];
    // With a listener in its file, mosquitto lets nobody in without a name unless told to.
    if (this.#fromFile && !this.#keys.has('allow_anonymous')) lines.push('allow_anonymous = false');
    if (this.#password !== undefined)
      lines.push(`password_file = ${JSON.stringify(this.#password)}`);
    // An agent into which nobody can come does not start.
    else if (lines.includes('allow_anonymous = false'))
      lines.push(`users = [{ user = "nobody", password = "${randomUUID()}" }]`);
    if (tls !== undefined) {
      lines.push('[mqtt.tls]', `cert = ${JSON.stringify(this.#chain(tls))}`);
      if (tls !== main) lines.push(`listen = "${tls.listen}"`);
      for (const [key, value] of tls.tls) lines.push(`${key} = ${value}`);
    }
    for (const { user, publish, subscribe, denied } of this.#acl) {
      lines.push('[[mqtt.acl]]');
      if (user !== undefined) lines.push(`users = ${JSON.stringify([user])}`);
      const lists = { publish, subscribe, deny_publish: denied, deny_subscribe: denied };
      for (const [key, filters] of Object.entries(lists))
        if (filters.length > 0) lines.push(`${key} = ${JSON.stringify(filters)}`);
    }
    return `${lines.join('\n')}\n`;
  }
}

/** Keys with the same meaning in an agent. */
const SIMPLE: Readonly<Record<string, (value: string) => string>> = {
  allow_anonymous: (value) => `allow_anonymous = ${value}`,
  max_keepalive: (value) => `keep_alive_max = "${value}s"`,
  max_connections: (value) => `max_connections = ${value}`,
  max_queued_messages: (value) => `queue_messages_max = ${value}`,
  max_queued_bytes: (value) => `queue_bytes_max = "${value}B"`,
  max_packet_size: (value) => `max_packet_size = "${value}B"`,
};

/** What stands in front of the first `user` is for everybody here; there for clients without a name. */
function parseAcl(text: string): AclEntry[] {
  const made = (user?: string): AclEntry => ({ user, publish: [], subscribe: [], denied: [] });
  const all = made();
  const entries = [all];
  let entry = all;
  for (const [key, value] of parseMosquittoConf(text)) {
    if (key === 'user') entries.push((entry = made(value)));
    else if (key !== 'topic' && key !== 'pattern')
      throw new NotApplicableError(`an ACL with "${key}"`);
    else {
      const [, kind = 'readwrite', topic = ''] =
        /^(?:(readwrite|read|write|deny)\s+)?(.*)$/.exec(value) ?? [];
      const into = key === 'pattern' ? all : entry;
      if (kind === 'deny') into.denied.push(topic);
      if (kind.includes('write')) into.publish.push(topic);
      if (kind.startsWith('read')) into.subscribe.push(topic);
    }
  }
  const said = entries.filter(
    ({ publish, subscribe, denied }) => publish.length + subscribe.length + denied.length > 0,
  );
  // A list that allows nothing: without an entry an agent on loopback has no list.
  return said.length > 0 ? said : [{ ...all, publish: ['nothing/is/allowed'] }];
}
