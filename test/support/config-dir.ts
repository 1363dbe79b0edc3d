// A directory with a configuration file, and with the secrets and certificates that one may name.

import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError, loadConfig, type Config } from '../../src/config.ts';

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
    this.put('ca.pem', '-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n', 0o644);
    this.put('key.pem', '-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n');
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
