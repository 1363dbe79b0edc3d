// An agent that takes the place of the program `mosquitto`: writes down what a configuration of mosquitto means for an
// agent, and becomes an agent with it. What an agent does not have is refused by name, with exit code 78.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { NotApplicableError, parseMosquittoConf, toToml } from './mosquitto-conf.ts';

const EXIT_CONFIG = 78;
const MANGROVE = join(import.meta.dirname, '../../bin/mangrove');

const { values: options } = parseArgs({
  options: {
    config: { type: 'string', short: 'c' },
    port: { type: 'string', short: 'p' },
    verbose: { type: 'boolean', short: 'v' },
  },
});

try {
  start();
} catch (error) {
  if (!(error instanceof NotApplicableError)) throw error;
  console.error(`mosquitto: ${options.config ?? ''}: ${error.message}`);
  process.exitCode = EXIT_CONFIG;
}

function start(): void {
  const conf = parseMosquittoConf(
    options.config === undefined ? '' : readFileSync(options.config, 'utf8'),
  );
  const home = mkdtempSync(join(process.env['MQTT_SUITES_DIR'] ?? tmpdir(), 'agent-'));
  const port = options.port === undefined ? undefined : Number(options.port);
  const { toml, persistence } = toToml(conf, { port, dir: process.cwd(), home });
  const dataDir = persistence === undefined ? join(home, 'data') : lasting(resolve(persistence));
  const file = join(home, 'agent.toml');
  const gateway = `[gateway]\nname = "suite"\ndata_dir = ${JSON.stringify(dataDir)}\n`;
  const level = process.env['MQTT_SUITES_LOG'] ?? 'warn';
  writeFileSync(file, `${gateway}[log]\nlevel = "${level}"\n${toml}`, { mode: 0o600 });
  // The scripts read one output, and never both.
  const env = { ...process.env, MANGROVE_SUITE: undefined };
  process.execve?.(
    '/bin/sh',
    ['sh', '-c', 'exec "$0" --config "$1" >&2', MANGROVE, file],
    definedOf(env),
  );
}

/** Where a file of mosquitto's lasts over restarts, a directory of ours does. Whoever removes the file wants nothing kept. */
function lasting(file: string): string {
  const dir = `${file}.data`;
  if (!existsSync(file)) rmSync(dir, { recursive: true, force: true });
  writeFileSync(file, '');
  return dir;
}

function definedOf(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
  );
}
