// Runs once before the tests: every peer that they talk to must be here. A missing one is fetched where this
// machine allows it, else the run ends with what to install. Nothing is ever skipped.

import { execFileSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { natsServerBinary } from './nats-server.ts';
import { oldNatsServer } from './old-nats-server.ts';

/** Programs of the tests and the Debian package that brings each. */
const PROGRAMS = {
  mosquitto: 'mosquitto',
  mosquitto_pub: 'mosquitto-clients',
  mosquitto_sub: 'mosquitto-clients',
  socat: 'socat',
  strace: 'strace',
  python3: 'python3',
  'systemd-notify': 'systemd',
  'systemd-analyze': 'systemd',
} as const;

export function setup(): void {
  const missing = Object.entries(PROGRAMS).filter(([program]) => !onPath(program));
  if (missing.length > 0) install(missing);
  // The workers find it without asking again.
  process.env['MANGROVE_NATS_SERVER'] = natsServerBinary();
  process.env['MANGROVE_NATS_SERVER_2_9'] = oldNatsServer('2.9');
  process.env['MANGROVE_NATS_SERVER_2_10'] = oldNatsServer('2.10');
}

function install(missing: [string, string][]): void {
  const packages = [...new Set(missing.map(([, name]) => name))];
  const wanted = `the tests need ${missing.map(([program]) => program).join(', ')}`;
  if (process.getuid?.() !== 0 || !onPath('apt-get'))
    throw new Error(`${wanted}: run \`sudo apt-get install ${packages.join(' ')}\``);
  const apt = (...args: string[]): void => {
    execFileSync('apt-get', ['-q', '-y', ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  };
  apt('update');
  apt('install', '--no-install-recommends', ...packages);
  const still = missing.filter(([program]) => !onPath(program));
  if (still.length > 0)
    throw new Error(`${wanted}; apt-get install ${packages.join(' ')} did not bring them`);
}

function onPath(program: string): boolean {
  // Debian puts servers where only root looks.
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
