import { readFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { KEYS } from '../../src/config/keys.ts';
import type { Entries, Key } from '../../src/config/schema.ts';
import { summary, warnings } from '../../src/config/summary.ts';
import { loadConfig } from '../../src/config.ts';
import { ConfigDir } from '../support/config-dir.ts';
import { operationsText } from '../support/operations-pages.ts';

const configs = new ConfigDir();
afterAll(() => configs.remove());

const NAME = '[gateway]\nname = "plant1"\n'; // Two lines: what follows begins at line 3.
const STREAM = '[[stream]]\nname = "PLANT"\nsubjects = ["plant.>"]\n';
const HUB = '[hub]\nservers = ["nats://hub:4222"]\n';
/** Where no certificate of the tests but the expired one is at its end. */
const NOW_MS = Date.UTC(2026, 6, 1);
const SERIAL = '[[serial]]\nname = "meter"\npath = "/dev/ttyUSB0"\n';

test('what is allowed but probably not meant is said', () => {
  const warn = (toml: string) => warnings(configs.load(NAME + toml), NOW_MS);
  expect(warn('')).toEqual([
    'Nothing comes in: there is no [mqtt], [nats], [[serial]] or [[mqtt_source]].',
    'Nothing is kept: there is no [[stream]].',
  ]);
  expect(warn(`[mqtt]\n${STREAM}`)).toEqual([]);
  expect(warn(`${STREAM}${SERIAL}`)).toEqual([
    'No [[stream]] takes "serial.meter": what serial port meter sends is not kept.',
  ]);
  expect(warn(`[mqtt]\nlisten = "0.0.0.0:1883"\nallow_anonymous = true\n${STREAM}`)).toEqual([
    '[mqtt] can be reached from other machines, and lets them publish and receive nothing: add [[mqtt.acl]] with `publish` and `subscribe`.',
    '[mqtt] lets everybody in who reaches it: allow_anonymous = true.',
  ]);
  expect(
    warn(
      `[mqtt]\nlisten = "0.0.0.0:1883"\nusers = [{ user = "a", password = "b" }]\n[[mqtt.acl]]\npublish = ["%u/#"]\n${STREAM}`,
    ),
  ).toEqual(['[mqtt] receives passwords over the network without TLS.']);
  const secure = '[mqtt.tls]\ncert = "ca.pem"\nkey = "key.pem"\n';
  const guarded = 'password_file = "hashed.users"\n[[mqtt.acl]]\npublish = ["%u/#"]\n';
  expect(warn(`[mqtt]\nlisten = "0.0.0.0:8883"\n${guarded}${secure}${STREAM}`)).toEqual([]);
  expect(
    warn(
      `[mqtt]\n${guarded}${secure}listen = "0.0.0.0:8883"\n[mqtt.websocket]\nlisten = "0.0.0.0:8083"\n${STREAM}`,
    ),
  ).toEqual(['[mqtt] receives passwords over the network without TLS.']);
  const list = (users: string): string =>
    `[[mqtt.acl]]\nusers = [${users}]\npublish = ["#"]\n[[mqtt.acl]]\nsubscribe = ["#"]\n`;
  const known =
    '[mqtt]\npassword_file = "hashed.users"\nusers = [{ user = "dan", password = "x" }]\n';
  expect(warn(`${known}${list('"alice", "dan"')}${STREAM}`)).toEqual([]);
  expect(warn(`${known}${list('"alcie", "dan", "eve", "eve"')}${STREAM}`)).toEqual([
    '[[mqtt.acl]] names users that nobody is: alcie, eve.',
  ]);
  const named = `[mqtt.tls]\ncert = "ca.pem"\nkey = "key.pem"\nca = "ca.pem"\nuser_from_certificate = true\n`;
  expect(warn(`[mqtt]\n${list('"alcie"')}${named}${STREAM}`)).toEqual([]);
  expect(warn(`[mqtt]\n[monitor]\nlisten = "0.0.0.0:8222"\n${STREAM}`)).toEqual([
    '[monitor] is readable for everybody who reaches it.',
  ]);
  expect(warn(`[mqtt]\n${STREAM}${HUB}token_file = "closed.secret"\n`)).toEqual([
    'Nothing is forwarded: there is a [hub] but no [[forward]].',
    '[hub] may send its password or token over the network without TLS.',
  ]);
});

test('the summary names every part that would run', () => {
  const config = configs.load(
    `${NAME}[mqtt]\n[monitor]\n${STREAM}${SERIAL}framing = "fixed"\nframe_length = 14\nsubject = "plant.m"\n${HUB}[[forward]]\nstream = "PLANT"\n`,
  );
  expect(summary(config).split('\n')).toEqual([
    '  gateway  plant1, data in /var/lib/mangrove',
    expect.stringMatching(
      /^ {2}serial {3}meter: \/dev\/ttyUSB0( \(not there at the moment\))? at 9600 8N1, frames of 14 bytes to plant.m$/,
    ),
    '  mqtt     127.0.0.1:1883, no TLS, anonymous clients allowed, no access list',
    '  stream   PLANT: plant.>; max_bytes a share of the disk; forwarded to the hub',
    '  hub      hub:4222 (no TLS, no login), stream EDGE, subjects edge.plant1.>',
    '  monitor  http://127.0.0.1:8222',
  ]);
});

test('the summary says what clients of NATS may take', () => {
  const line = (more: string) =>
    summary(configs.load(`${NAME}[nats]\n${more}${STREAM}`)).split('\n')[1];
  expect(line('')).toBe(
    '  nats     127.0.0.1:4222, no TLS, anonymous clients allowed; streams of clients take up to a quarter of the free disk, 64MiB memory',
  );
  expect(line('[jetstream]\nmax_file = "3GiB"\nmax_memory = "1MiB"\n')).toContain(
    'up to 3GiB disk, 1MiB memory',
  );
});

/** Every key with its path: `hub.tls.ca`. */
function allKeys(entries: Entries, at = ''): { path: string; key: Key<unknown> }[] {
  return Object.entries(entries).flatMap(([name, entry]) => {
    const path = at === '' ? name : `${at}.${name}`;
    if (entry.type === 'key') return [{ path, key: entry }];
    return allKeys(entry.entries, path);
  });
}

test('every key is documented under its table, with its default', () => {
  const page = operationsText();
  const keys = allKeys(KEYS);
  expect(keys.length).toBeGreaterThan(40);
  for (const { path, key } of keys) {
    const table = path.slice(0, path.lastIndexOf('.'));
    const name = path.slice(path.lastIndexOf('.') + 1);
    const section = page
      .split(/^### /m)
      .find((part) => new RegExp(`^\`\\[+${table}\\]`).test(part));
    expect(section, `a section for [${table}]`).toBeDefined();
    const row = section?.split('\n').find((line) => line.startsWith(`| \`${name}\` |`));
    expect(row, `a row for ${path}`).toBeDefined();
    const cell = row?.split('|')[2]?.trim();
    if (key.presence === 'required') expect(cell, path).toBe('required');
    else if (key.preset !== undefined) expect(cell, path).toBe(`\`${JSON.stringify(key.preset)}\``);
    else expect(cell, path).not.toBe('required');
  }
});

test('every warning is documented', () => {
  const page = operationsText();
  const text = readFileSync(new URL('../../src/config/summary.ts', import.meta.url), 'utf8');
  const sentences = [...text.matchAll(/push\(\s*'([^']+)'/g)].map(([, sentence = '']) => sentence);
  expect(sentences.length).toBeGreaterThan(5);
  for (const sentence of sentences) expect(page).toContain(sentence);
});

test('the example configuration is valid', () => {
  const example = new URL('../../systemd/agent.toml', import.meta.url).pathname;
  expect(loadConfig(example, {}).gateway.name).toMatch(/./);
});
