// Tests that say nothing of an agent, by suite, with what they need. They are not run, and counted apart.

/** Why a test says nothing of an agent. */
export const REASONS = {
  bridge: 'the broker under test connects to others as a bridge',
  plugin: 'loads a plugin that is written in C',
  dynamicSecurity: 'loads the plugin for dynamic security',
  psk: 'TLS by a pre-shared key',
  certificates: 'revocation lists, or users by a certificate that need not be there',
  limit: 'sets a limit for which an agent has no key',
  listeners: 'several listeners with settings of their own',
  own: 'about a file format or a program of mosquitto',
  broken: 'does not run with Python 3',
} as const;

export type Reason = keyof typeof REASONS;

const MOSQUITTO = {
  bridge: [
    '08-ssl-bridge.py',
    ...names('06-bridge', [
      'b2br-disconnect-qos1',
      'b2br-disconnect-qos2',
      'b2br-late-connection-retain',
      'b2br-late-connection',
      'b2br-remapping',
      'br2b-disconnect-qos1',
      'br2b-disconnect-qos2',
      'br2b-remapping',
      'clean-session-csF-lcsF',
      'clean-session-csF-lcsN',
      'clean-session-csF-lcsT',
      'clean-session-csT-lcsF',
      'clean-session-csT-lcsN',
      'clean-session-csT-lcsT',
      'fail-persist-resend-qos1',
      'fail-persist-resend-qos2',
      'no-local',
      'outgoing-retain',
      'per-listener-settings',
      'reconnect-local-out',
      'remap-receive-wildcard',
    ]),
  ],
  plugin: [
    ...names('09-extended-auth', [
      'change-username',
      'multistep-reauth',
      'multistep',
      'reauth',
      'single',
      'single2',
    ]),
    ...names('09-plugin', [
      'acl-change',
      'auth-acl-pub',
      'auth-acl-sub-denied',
      'auth-acl-sub',
      'auth-context-params',
      'auth-defer-unpwd-fail',
      'auth-defer-unpwd-success',
      'auth-msg-params',
      'auth-unpwd-fail',
      'auth-unpwd-success',
      'auth-v2-unpwd-fail',
      'auth-v2-unpwd-success',
      'publish',
      'tick',
    ]),
  ],
  dynamicSecurity: names('14-dynsec', [
    'acl',
    'anon-group',
    'auth',
    'client-invalid',
    'client',
    'default-access',
    'disable-client',
    'group-invalid',
    'group',
    'modify-client',
    'modify-group',
    'modify-role',
    'plugin-invalid',
    'role-invalid',
    'role',
  ]),
  psk: ['08-tls-psk-bridge.py', '08-tls-psk-pub.py'],
  certificates: [
    '08-ssl-connect-cert-auth-crl.py',
    '08-ssl-connect-cert-auth-revoked.py',
    '08-ssl-connect-no-identity.py',
    '08-ssl-hup-disconnect.py',
  ],
  limit: [
    '02-subpub-qos0-oversize-payload.py',
    '02-subpub-qos0-queued-bytes.py',
    '02-subpub-qos1-oversize-payload.py',
    '02-subpub-qos2-max-inflight-bytes.py',
    '03-publish-qos1-max-inflight-expire.py',
    '03-publish-qos1-max-inflight.py',
    '03-publish-qos1-retain-disabled.py',
    '03-publish-qos2-max-inflight.py',
    '04-retain-upgrade-outgoing-qos.py',
    '07-will-oversize-payload.py',
    '12-prop-maximum-packet-size-broker.py',
    '13-malformed-publish-v5.py',
  ],
  listeners: [
    '01-connect-zero-length-id.py',
    '04-retain-check-source-persist-diff-port.py',
    '10-listener-mount-point.py',
  ],
  own: ['01-connect-uname-password-success-no-tls.py', '09-pwfile-parse-invalid.py'],
  broken: ['03-publish-qos1-queued-bytes.py'],
} as const satisfies Partial<Record<Reason, readonly string[]>>;

/** The reason of each test that is left out, by suite and name. */
export const NOT_APPLICABLE: Readonly<Record<string, Readonly<Record<string, Reason>>>> = {
  mosquitto: byName(MOSQUITTO),
};

function names<const T extends string>(group: T, rest: readonly string[]): string[] {
  return rest.map((each) => `${group}-${each}.py`);
}

function byName(lists: Partial<Record<Reason, readonly string[]>>): Record<string, Reason> {
  return Object.fromEntries(
    Object.entries(lists).flatMap(([reason, list]) => list.map((name) => [name, reason as Reason])),
  );
}
