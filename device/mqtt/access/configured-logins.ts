// The logins in the words of the configuration: who may connect, with the secrets read from their files.

import { readFileSync } from 'node:fs';
import type { LoginOptions, MqttUser } from './logins.ts';
import { parsePasswordFile } from '../../../src/config/password-file.ts';
import type { MqttConfig } from '../../../src/config/types.ts';

/** A file of secrets cannot be used. */
export class PasswordFileError extends Error {
  override name = 'PasswordFileError';
  readonly hint = 'mosquitto_passwd writes such a file; systemctl reload agent reads it again';
}

/**
 * The users with their secrets, and what they may do. Throws the system's error or a PasswordFileError when a file cannot
 * be used.
 */
export function mqttLogins(
  mqtt: MqttConfig,
): LoginOptions & { readonly users: readonly MqttUser[] } {
  const { allowAnonymous, acl, tls } = mqtt;
  return {
    users: mqttUsers(mqtt),
    allowAnonymous,
    userFromCertificate: tls?.userFromCertificate ?? false,
    acl,
  };
}

function mqttUsers({ users, passwordFile }: MqttConfig): MqttUser[] {
  const found = users.map((user): MqttUser =>
    'passwordFile' in user
      ? { user: user.user, password: readFileSync(user.passwordFile, 'utf8').trim() }
      : user,
  );
  if (passwordFile === undefined) return found;
  const more = parsePasswordFile(readFileSync(passwordFile, 'utf8'));
  if (typeof more === 'string') throw new PasswordFileError(`${passwordFile}: ${more}`);
  const names = new Set(found.map(({ user }) => user));
  const twice = more.find(({ user }) => names.has(user));
  if (twice !== undefined)
    throw new PasswordFileError(`${passwordFile}: user "${twice.user}" is in [[mqtt.users]] too`);
  return [...found, ...more];
}
