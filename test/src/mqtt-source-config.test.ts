// What an [[mqtt_source]] becomes, what of it is probably not meant, and that every reason it may give is explained.
// Mistakes are in test/fixtures/config-mistakes.txt.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { summary, warnings } from '../../src/config/summary.ts';
import { ConfigDir } from '../support/config-dir.ts';

const configs = new ConfigDir();
afterAll(() => configs.remove());

const NAME = '[gateway]\nname = "plant1"\n';
/** Where no certificate of the tests is at its end. */
const NOW_MS = Date.UTC(2026, 6, 1);
const SOURCE =
  '[[mqtt_source]]\nname = "zigbee"\nurl = "mqtt://127.0.0.1"\ntopics = ["zigbee2mqtt/#"]\n';

test('a source has the documented defaults', () => {
  expect(configs.load(NAME + SOURCE).mqttSources).toEqual([
    {
      name: 'zigbee',
      host: '127.0.0.1',
      port: 1883,
      tls: undefined,
      topics: ['zigbee2mqtt/#'],
      qos: 1,
      prefix: undefined,
      clientId: 'mangrove-plant1-zigbee',
      retained: false,
      protocol: 'auto',
      user: undefined,
      passwordFile: undefined,
      keepAliveMs: 15_000,
      reconnectMaxMs: 15_000,
    },
  ]);
});

test('every key of a source can be set', () => {
  const [source] = configs.load(`${NAME}[[mqtt_source]]
name = "plc"
url = "mqtts://[2001:db8::1]"
topics = ["$share/gw/plant1/+/temp", "$SYS/#"]
qos = 0
prefix = "hall2"
retained = true
client_id = "gw 7"
user = "plant1@tenant"
password_file = "closed.secret"
protocol = "3.1.1"
keep_alive = "1m"
reconnect_max = "5s"
[mqtt_source.tls]
ca = "ca.pem"
cert = "ca.pem"
key = "key.pem"
`).mqttSources;
  const pem = (name: string): string => join(configs.path, name);
  expect(source).toEqual({
    name: 'plc',
    host: '2001:db8::1',
    port: 8883,
    tls: { caFile: pem('ca.pem'), certFile: pem('ca.pem'), keyFile: pem('key.pem') },
    topics: ['$share/gw/plant1/+/temp', '$SYS/#'],
    qos: 0,
    prefix: 'hall2',
    clientId: 'gw 7',
    retained: true,
    protocol: '3.1.1',
    user: 'plant1@tenant',
    passwordFile: pem('closed.secret'),
    keepAliveMs: 60_000,
    reconnectMaxMs: 5000,
  });
});

test('a value of a source comes from the environment too', () => {
  const env = { MANGROVE_MQTT_SOURCE_ZIGBEE_URL: 'mqtts://broker:8884' };
  expect(configs.load(NAME + SOURCE, env).mqttSources[0]).toMatchObject({
    host: 'broker',
    port: 8884,
    tls: {},
  });
});

test('filters that match no common topic may stand side by side', () => {
  const topics = ['a/#', 'b/+/c', 'b/x/d', '+/e', '$share/g/f/#'];
  const toml = `${NAME}[[mqtt_source]]\nname = "a"\nurl = "mqtt://b"\ntopics = ${JSON.stringify(topics)}\n`;
  expect(() => configs.load(toml)).toThrow(/"\+\/e", which overlaps with "a\/#"/);
  expect(configs.load(toml.replace('"+/e",', '"g/e",')).mqttSources[0]?.topics).toHaveLength(5);
  // Leading wildcards keep away from $SYS.
  const all = toml.replace(JSON.stringify(topics), '["#", "$SYS/#"]\nprefix = "b"');
  expect(configs.load(all).mqttSources[0]?.topics).toEqual(['#', '$SYS/#']);
});

test('another port, or another machine, is not our own listener', () => {
  const mqtt = '[mqtt]\nlisten = "127.0.0.1:1884"\n';
  expect(configs.load(NAME + mqtt + SOURCE).mqttSources).toHaveLength(1);
  const other = SOURCE.replace('127.0.0.1', '192.0.2.7');
  expect(configs.load(`${NAME}[mqtt]\n${other}`).mqttSources).toHaveLength(1);
  for (const host of ['localhost', '127.0.0.1', '[::1]'])
    expect(() =>
      configs.load(
        `${NAME}[mqtt]\nlisten = "[::]:1883"\nallow_anonymous = true\n${SOURCE.replace('127.0.0.1', host)}`,
      ),
    ).toThrow(/own MQTT listener/);
});

test('what is allowed but probably not meant is said, and the summary names the source', () => {
  const stream = '[[stream]]\nname = "S"\nsubjects = ["zigbee2mqtt.>"]\n';
  expect(warnings(configs.load(NAME + SOURCE + stream), NOW_MS)).toEqual([]);
  const unkept = warnings(configs.load(`${NAME}${SOURCE}prefix = "hall2"\n${stream}`), NOW_MS);
  expect(unkept).toEqual([
    'No [[stream]] takes "zigbee2mqtt/#" of [[mqtt_source]] zigbee: it is not kept.',
  ]);
  const open = SOURCE.replace('127.0.0.1', 'broker');
  const config = configs.load(
    `${NAME}${open}user = "gw7"\npassword_file = "closed.secret"\n${stream}`,
  );
  expect(warnings(config, NOW_MS)).toEqual([
    '[[mqtt_source]] zigbee sends its password over the network without TLS.',
  ]);
  expect(summary(config)).toContain(
    '  source   zigbee: broker:1883 (no TLS, login as gw7), zigbee2mqtt/#',
  );
});

test('everything that a source reports is explained', () => {
  const root = join(import.meta.dirname, '../..');
  const read = (path: string): string => readFileSync(join(root, path), 'utf8');
  const page = read('docs/operations/mqtt-source.md');
  const texts = ['error', 'dial', 'connection'].flatMap((name) => {
    const text = read(`device/mqtt/source/source-${name}.ts`);
    const calls = text.matchAll(/new SourceError\(\s*(?:early\s*\? )?(['`])(.*?)\1/g);
    const answers = text.matchAll(/\[(['`])(the broker .*?|another .*?)\1, /g);
    const named = text.matchAll(/(['`])(the broker .*?)\1/g);
    return [...calls, ...answers, ...named].map(([, , found = '']) =>
      found.replaceAll(/\$\{[^}]*\}/g, '…').replaceAll(/ ?\(code …\)/g, ' (code …)'),
    );
  });
  expect(new Set(texts).size).toBeGreaterThan(18);
  const cells = [...page.matchAll(/^\| (.*?) \|/gm)].flatMap(([, cell = '']) => cell.split(', '));
  expect([...new Set(texts)].filter((text) => !cells.includes(text))).toEqual([]);
});
