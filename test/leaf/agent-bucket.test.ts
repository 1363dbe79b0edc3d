// What docs/hub.md lists for a bucket of the hub on the gateway, and for each gateway of a fleet, is enough, and is what the files have.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Kvm } from '@nats-io/kv';
import { expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { LeafRig } from './rig.ts';

const TEST_MS = 180_000;
const PAGES = join(import.meta.dirname, '../../docs');
const LOGIN = { user: 'gw7', password: 'right' };
const ADMIN = { user: 'admin', pass: 'right' };

/** The rows of the first table behind `heading`, by kind: `publish` and `subscribe`. */
function listed(heading: string): Record<string, string[]> {
  const page = readFileSync(join(PAGES, 'hub.md'), 'utf8');
  const table =
    page
      .slice(page.indexOf(heading))
      .split(/\n(?!\|)/)
      .find((part) => part.includes('| kind |')) ?? '';
  const found: Record<string, string[]> = { publish: [], subscribe: [] };
  for (const [, subjects = '', kind = ''] of table.matchAll(
    /^\| (`.*?`) \| (publish|subscribe) \|/gm,
  ))
    found[kind]?.push(...subjects.replaceAll('`', '').split(', '));
  return found;
}

/** The entries of gw7 in a file beside the page. */
function ofFile(file: string): Record<string, string[]> {
  const text = readFileSync(join(PAGES, 'hub', file), 'utf8');
  const [, block = ''] = /nkey: \$GW7, permissions: \{(.*?)\n {6}\} \}/s.exec(text) ?? [];
  const entries = (kind: string): string[] => {
    const [, list = ''] = new RegExp(`${kind}: \\[(.*?)\\]`, 's').exec(block) ?? [];
    return [...list.matchAll(/"([^"]+)"/g)].map(([, entry = '']) => entry);
  };
  return { publish: entries('publish'), subscribe: entries('subscribe') };
}

function sorted(lists: Record<string, string[]>): Record<string, string[]> {
  return Object.fromEntries(Object.entries(lists).map(([kind, list]) => [kind, list.toSorted()]));
}

test('the page lists what the file of the fleet has', () => {
  const page = listed('### One account for the fleet');
  expect(page['publish']?.length).toBeGreaterThan(3);
  expect(sorted(page)).toEqual(sorted(ofFile('leaf-fleet.conf')));
});

test(
  'a bucket of the hub needs no more than the page lists, and programs write to it through the gateway',
  async () => {
    const { publish = [], subscribe = [] } = listed('### Buckets of the hub on the gateway');
    expect(publish.length).toBeGreaterThan(3);
    const quoted = (list: readonly string[]): string =>
      list.map((subject) => JSON.stringify(subject.replace('.cloud.', '.hub.'))).join(', ');
    const own = '$JS.cloud.API.$KV.config.>';
    await using rig = await LeafRig.start({
      hub: `authorization { users: [
  { user: gw7, password: right, permissions: {
    publish: [${quoted([...publish, own])}], subscribe: [${quoted(subscribe)}]
  } }
  { user: admin, password: right }
] }`,
      admin: ADMIN,
      gateway: {
        login: LOGIN,
        exports: [own.replace('.cloud.', '.hub.')],
        leaf: '[[kv_mirror]]\nbucket = "config"\n',
      },
    });
    const bucket = await new Kvm(rig.hub.nc).create('config', { history: 3 });
    const filler = 'x'.repeat(50_000);
    for (let i = 0; i < 100; i++) await bucket.put(`key.${i}`, filler); // Enough for flow control.
    await bucket.put('rate', '10');
    const local = await until('the bucket here', async () => {
      const found = await new Kvm(rig.local.nc).open('config').catch(() => undefined);
      return (await found?.get('rate').catch(() => null)) == null ? undefined : found;
    });
    expect((await local.get('key.99'))?.string()).toBe(filler);
    // nats.js looks where a bucket is written only when it may create it.
    await (await new Kvm(rig.local.nc).create('config')).put('rate', '30');
    const rateAt = async (where: typeof local): Promise<string | undefined> =>
      (await where.get('rate'))?.string();
    await until('the new value at the hub', async () => (await rateAt(bucket)) === '30');
    await until('the new value here', async () => (await rateAt(local)) === '30');
    expect(rig.gateway.complaints).toEqual([]);
    expect(rig.hubs[0]?.output).not.toMatch(/Violation/);
  },
  TEST_MS,
);
