// What the keys of [mqtt] must be to each other: whoever can reach a door has to say who he is, unless it is said that he
// need not, and every door can be passed by somebody.

import { checkExposure, distinct } from './checks.ts';
import { namesInPasswordFile } from './password-file.ts';
import type { Problems } from './problems.ts';
import type { ConfigDraft } from './rules.ts';
import { checkTlsFiles } from './tls-rules.ts';
import { formatListen, isLoopback } from './values.ts';

type MqttDraft = NonNullable<ConfigDraft['mqtt']>;

const LOGINS = ['password', 'password_file', 'hash'];
const ACL_LISTS = ['publish', 'subscribe', 'deny_publish', 'deny_subscribe'];

/** Checks the whole table. `fileMode`: the permissions of the configuration file itself. */
export function checkMqtt(mqtt: MqttDraft, fileMode: number, problems: Problems): void {
  distinct(mqtt.users, 'mqtt.users', 'user', problems);
  for (const [i, { user = '?' }] of mqtt.users.entries())
    checkUser(user, `mqtt.users[${i + 1}]`, fileMode, problems);
  const named = namesInPasswordFile(mqtt.password_file);
  for (const [i, { user }] of mqtt.users.entries())
    if (user !== undefined && named.has(user))
      problems.add(
        `mqtt.users[${i + 1}].user`,
        `found "${user}", who is in password_file too, expected each user once`,
      );
  for (const i of mqtt.acl.keys()) {
    const at = `mqtt.acl[${i + 1}]`;
    if (!ACL_LISTS.some((key) => problems.isWritten(`${at}.${key}`)))
      problems.add(
        at,
        `allows and denies nothing, expected at least one of ${ACL_LISTS.join(', ')}`,
      );
  }
  checkTls(mqtt, problems);
  checkGuard(mqtt, problems);
}

function checkUser(user: string, at: string, fileMode: number, problems: Problems): void {
  const ways = LOGINS.filter((key) => problems.isWritten(`${at}.${key}`));
  if (ways.length !== 1)
    problems.add(
      at,
      `user "${user}" has ${ways.length === 0 ? 'no password' : ways.join(' and ')}, expected one of ${LOGINS.join(', ')}`,
    );
  for (const key of ['password', 'hash'])
    if (problems.placeOf(`${at}.${key}`).line !== undefined && ways.includes(key))
      checkExposure(`${at}.${key}`, fileMode, problems);
}

function checkTls({ tls, websocket }: MqttDraft, problems: Problems): void {
  if (tls !== undefined) checkTlsFiles(tls, 'mqtt.tls', problems);
  if (tls?.user_from_certificate === true && !problems.isWritten('mqtt.tls.ca'))
    problems.add(
      'mqtt.tls.user_from_certificate',
      'found true without ca, expected the authority that makes the certificates of clients',
    );
  if (websocket?.tls === true && tls === undefined)
    problems.add(
      'mqtt.websocket.tls',
      'found true without [mqtt.tls], expected [mqtt.tls] with cert and key',
    );
}

function checkGuard(mqtt: MqttDraft, problems: Problems): void {
  const { tls, websocket, allow_anonymous: anonymous } = mqtt;
  if (mqtt.users.length > 0 || problems.isWritten('mqtt.password_file') || anonymous === true)
    return;
  const certificates = tls?.user_from_certificate === true;
  if (anonymous === false && !certificates)
    return problems.add(
      'mqtt.allow_anonymous',
      'found false without users: nobody could connect; add [[mqtt.users]] or password_file',
    );
  const owned = tls !== undefined && tls.listen === undefined;
  const doors = [
    { path: 'mqtt.listen', listen: mqtt.listen, tls: owned },
    { path: 'mqtt.tls.listen', listen: tls?.listen, tls: true },
    { path: 'mqtt.websocket.listen', listen: websocket?.listen, tls: websocket?.tls ?? owned },
  ];
  for (const { path, listen, tls: isTls } of doors) {
    if (listen === undefined || (certificates && isTls)) continue;
    if (certificates)
      problems.add(
        path,
        `found "${formatListen(listen)}", where nobody could connect: only certificates name users; ` +
          'expected [[mqtt.users]], password_file or allow_anonymous = true beside user_from_certificate',
      );
    else if (!isLoopback(listen.host))
      problems.add(
        path,
        `found "${formatListen(listen)}", which other machines can reach, without users; ` +
          'expected [[mqtt.users]], or allow_anonymous = true if everybody there may publish',
      );
  }
}
