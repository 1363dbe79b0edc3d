import { afterAll, expect, test } from 'vitest';
import { warnings } from '../../src/config/summary.ts';
import { mosquittoHint } from '../../src/config/mosquitto-names.ts';
import { KEYS } from '../../src/config/keys.ts';
import { ConfigDir } from '../support/config-dir.ts';

const configs = new ConfigDir();
afterAll(() => configs.remove());

const BASE =
  '[gateway]\nname = "plant1"\n[[stream]]\nname = "PLANT"\nsubjects = ["plant.>"]\n[mqtt]\n';
const DAY_MS = 24 * 60 * 60 * 1000;
/** When the certificate in ca.pem ends. */
const END_MS = Date.UTC(2120, 0, 1);

function warn(tables: string, wallMs: number): readonly string[] {
  return warnings(configs.load(BASE + tables), wallMs);
}

function tls(table: string, name = 'expired'): string {
  const key = name === 'expired' ? 'expired-key' : 'key';
  return `[${table}]\ncert = "${name}.pem"\nkey = "${key}.pem"\n`;
}

test('a certificate that has expired is a warning, for each table that has one', () => {
  const nowMs = Date.UTC(2026, 10, 21);
  expect(warn(`${tls('mqtt.tls')}[nats]\n${tls('nats.tls')}`, nowMs)).toEqual([
    'The certificate of [mqtt.tls] has expired on 2020-02-01: clients refuse it.',
    'The certificate of [nats.tls] has expired on 2020-02-01: clients refuse it.',
  ]);
  const source = '[[mqtt_source]]\nname = "plc"\nurl = "mqtts://h"\ntopics = ["plant/#"]\n';
  const hub = '[hub]\nservers = ["tls://hub"]\n[[forward]]\nstream = "PLANT"\n';
  expect(warn(`${source}${tls('mqtt_source.tls')}${hub}${tls('hub.tls')}`, nowMs)).toEqual([
    'The certificate of [mqtt_source.tls] of plc has expired on 2020-02-01: brokers refuse it.',
    'The certificate of [hub.tls] has expired on 2020-02-01: servers refuse it.',
  ]);
});

test('a certificate that expires within 14 days is a warning, and before that none', () => {
  const own = tls('mqtt.tls', 'ca');
  expect(warn(own, END_MS - 14 * DAY_MS - 1)).toEqual([]);
  const soon = [
    'The certificate of [mqtt.tls] expires on 2120-01-01: clients refuse it from then on.',
  ];
  expect(warn(own, END_MS - 14 * DAY_MS)).toEqual(soon);
  expect(warn(own, END_MS - 1)).toEqual(soon);
  expect(warn(own, END_MS)).toEqual([
    'The certificate of [mqtt.tls] has expired on 2120-01-01: clients refuse it.',
  ]);
});

test('a clock that was never set says nothing about certificates', () => {
  for (const wallMs of [0, Date.UTC(2020, 1, 2), Date.UTC(2026, 0, 1) - 1])
    expect(warn(tls('mqtt.tls'), wallMs)).toEqual([]);
  expect(warn(tls('mqtt.tls'), Date.UTC(2026, 0, 1))).toHaveLength(1);
});

test('one file with certificate and key serves as both, and a bundle of authorities is one', () => {
  const both = '[mqtt.tls]\ncert = "both.pem"\nkey = "both.pem"\nca = "backwards.pem"\n';
  expect(warn(both, Date.UTC(2026, 6, 1))).toEqual([]);
});

test('what stands for a key of mosquitto is a key or a table here', () => {
  const hint = mosquittoHint('mqtt', 'require_certificate') ?? '';
  expect(hint).toContain('`ca` of [mqtt.tls]');
  const { mqtt, gateway } = KEYS;
  const known = new Set(
    [mqtt, mqtt.entries.tls, mqtt.entries.acl, gateway].flatMap(({ entries }) =>
      Object.keys(entries),
    ),
  );
  const names = ['port', 'max_queued_messages', 'max_queued_bytes', 'max_inflight_messages']
    .concat(['max_keepalive', 'persistent_client_expiration', 'message_size_limit', 'certfile'])
    .concat(['keyfile', 'cafile', 'use_identity_as_username', 'persistence', 'acl_file']);
  for (const name of names) {
    const [, ...words] = (mosquittoHint('mqtt', name) ?? '').matchAll(/`(\w+)[ `]/g);
    expect(words.length, name).toBeGreaterThan(0);
    for (const [, word = ''] of words) expect(known, name).toContain(word);
  }
  expect(mosquittoHint('nats', 'port')).toBeUndefined();
  expect(mosquittoHint('mqtt', 'toString')).toBeUndefined();
});
