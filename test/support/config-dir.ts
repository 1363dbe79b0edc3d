// A directory with a configuration file, and with the secrets and certificates that one may name.

import { generateKeyPairSync } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError, loadConfig, type Config } from '../../src/config.ts';

/** Of mosquitto_passwd, for the password `secret`. */
export const HASH =
  '$7$101$fnk/zY3hc2dxZydj$lo1Zv8UlR0lc8CpMDOKESAOiOAOQ5id+ufnYGmFDdvmd5AZS1/tkA1NRLlhkKPOzGG+NguTaFw+ZImn2vbna3w==';
/** Of `mosquitto_passwd -H sha512`, for the password `pw2`. */
export const OLD_HASH =
  '$6$4KZm6nkHcB8yDP/f$nFa5Zrx8/LlqLBki48ZfGj6rh8uxVl1AxjIeHgk8SFHvAJizAPfvV0dVwuyeDn08B7203P0CrU1ho55vfNHCuw==';

/** A key with a passphrase. */
const LOCKED_KEY = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' },
}).privateKey;

/** The text of a certificate of the tests, or of a key. */
function pem(name: string): string {
  return readFileSync(
    join(import.meta.dirname, `../fixtures/hub-certificates/${name}.pem`),
    'utf8',
  );
}

export class ConfigDir {
  readonly path = mkdtempSync(join(tmpdir(), 'mangrove-config-'));
  readonly file = join(this.path, 'agent.toml');

  constructor() {
    mkdirSync(join(this.path, 'folder'));
    this.put('open.secret', 'swordfish\n', 0o644);
    this.put('closed.secret', 'swordfish\n');
    this.put('empty.secret', ' \n');
    this.put('hub.creds', '-----BEGIN NATS USER JWT-----\neyJ0\n------END NATS USER JWT------\n');
    this.put('not.creds', 'hello\n');
    this.put('seed.nk', 'SUAIBDPBAUTWCWBKIO6XHQNINK5FWJW4OHLXC3HQ2KFE4PEJUA44CNHTC4\n');
    this.put('ca.pem', pem('server'), 0o644); // It stands for an authority too.
    this.put('key.pem', pem('server-key'));
    this.put('other-key.pem', pem('other-server-key'));
    this.put('open-key.pem', pem('server-key'), 0o644);
    this.put('expired.pem', pem('expired'), 0o644);
    this.put('expired-key.pem', pem('expired-key'));
    this.put('both.pem', pem('server') + pem('server-key'));
    this.put('backwards.pem', pem('ca') + pem('server'));
    this.put('cut.pem', '-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n');
    this.put('cut-key.pem', '-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n');
    const request = 'CERTIFICATE REQUEST-----\n';
    this.put('request.pem', `-----BEGIN ${request}MII\n-----END ${request}`);
    this.put('locked-key.pem', LOCKED_KEY);
    this.put('hashed.users', `alice:${HASH}\n# a comment\n\nbob:${OLD_HASH}\r\n`);
    this.put('plain.users', `alice:${HASH}\n\nbob:sw0rdfish\n`);
    this.put('twice.users', `alice:${HASH}\nalice:${HASH}\n`);
    this.put('no.users', '# nobody\n');
    symlinkSync('/dev/null', join(this.path, 'by-id'));
  }

  /** Writes a file and returns its path. */
  put(name: string, content: string | Buffer, mode = 0o600): string {
    const file = join(this.path, name);
    writeFileSync(file, content);
    chmodSync(file, mode);
    return file;
  }

  /** Loads `toml` as this directory's agent.toml. */
  load(toml: string | Buffer, env: Record<string, string> = {}, mode = 0o600): Config {
    return loadConfig(this.put('agent.toml', toml, mode), env);
  }

  /** The error that loading `toml` throws. */
  refusal(toml: string | Buffer, env: Record<string, string> = {}, mode = 0o600): ConfigError {
    return refusal(() => this.load(toml, env, mode));
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** The ConfigError that `load` throws. */
export function refusal(load: () => Config): ConfigError {
  try {
    load();
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('the configuration was accepted');
}
