// What the JetStream API may be asked for over a leafnode link: everything, but to send messages to subjects of the plant that
// nobody has listed.

import { expect, test } from 'vitest';
import { LeafEnds } from '../support/leaf-ends.ts';

test.each([
  ['CONSUMER.CREATE.S', { config: { deliver_subject: 'plant.valve' } }, false],
  ['CONSUMER.CREATE.S.c.a.>', { config: { deliver_subject: 'plant.nobody.yet' } }, false],
  ['CONSUMER.DURABLE.CREATE.S.c', { config: { deliver_subject: 'plant.valve' } }, false],
  ['CONSUMER.CREATE.S', { config: { deliver_subject: '_INBOX.local.1' } }, false],
  ['CONSUMER.CREATE.S', { config: { deliver_subject: '$JS.API.STREAM.DELETE.S' } }, false],
  ['CONSUMER.CREATE.S', { config: { deliver_subject: '$JS.hub.API.STREAM.DELETE.S' } }, false],
  ['CONSUMER.CREATE.S', { config: { deliver_subject: '$JS.S.abc' } }, true],
  ['CONSUMER.CREATE.S', { config: { deliver_subject: '_INBOX.hub.1' } }, true],
  ['CONSUMER.CREATE.S', { config: { deliver_subject: 'evt.copy' } }, true],
  ['CONSUMER.CREATE.S', { config: { deliver_subject: 'cmd.copy' } }, true],
  ['CONSUMER.CREATE.S', { config: { durable_name: 'c' } }, true],
  ['CONSUMER.INFO.S.c', { config: { deliver_subject: 'plant.valve' } }, true],
  ['STREAM.CREATE.S', { subjects: ['a'], republish: { src: '>', dest: 'plant.>' } }, false],
  ['STREAM.CREATE.S', { republish: { src: '>', dest: 'plant.{{wildcard(1)}}' } }, false],
  ['STREAM.UPDATE.S', { republish: { dest: 'plant.valve' } }, false],
  ['STREAM.RESTORE.S', { config: { republish: { dest: 'plant.valve' } } }, false],
  ['STREAM.CREATE.S', { republish: { dest: '>' } }, false],
  ['STREAM.CREATE.S', { republish: { dest: 'evt.>' } }, true],
  ['STREAM.CREATE.S', { republish: { dest: 'cmd.{{wildcard(1)}}.$2' } }, true],
  ['STREAM.CREATE.S', { subjects: ['a'] }, true],
] as const)('over the link the API is asked for %s with %j: may %s', (operation, data, may) => {
  const ends = new LeafEnds({ exports: ['evt.>'], imports: ['cmd.>'] }).connect();
  const api = ends.listen('$JS.gw.API.>');
  ends.listen('plant.valve');
  ends.listen('_INBOX.local.*');
  ends.wants('_INBOX.h.*');
  ends.heard();
  // Written so that only who reads JSON finds the names.
  const json = JSON.stringify(data).replace('"de', String.raw`"\u0064e`);
  ends.sends(`$JS.gw.API.${operation}`, '_INBOX.h.1', [], json);
  expect(api.got.length).toBe(may ? 1 : 0);
  const said = ends.heard().join();
  expect(said).toContain(may ? '' : '"err_code":10003');
  if (may) expect(said).toBe('');
});

test('what a republish may make of a subject is listed as a whole, or it is refused', () => {
  const ends = new LeafEnds({ imports: ['one.*', 'all.>'] }).connect();
  const api = ends.listen('$JS.gw.API.>');
  for (const dest of ['one.{{split(1,-)}}', 'one.$1', 'one.*', 'all.{{split(1,-)}}.x', 'all.$1'])
    ends.sends(
      `$JS.gw.API.STREAM.CREATE.${dest.replace('*', 'any')}`,
      undefined,
      [],
      JSON.stringify({ republish: { dest } }),
    );
  expect(api.got.map((subject) => subject.slice('$JS.gw.API.STREAM.CREATE.'.length))).toEqual([
    'one.any',
    'all.{{split(1,-)}}.x',
    'all.$1',
  ]);
});

test('a request that is no JSON is left to the API', () => {
  const ends = new LeafEnds().connect();
  const api = ends.listen('$JS.gw.API.>');
  for (const data of ['', '{', 'null', '[]', '{"config":null}', '{"config":{"deliver_subject":7}}'])
    for (const operation of ['CONSUMER.CREATE.S', 'STREAM.CREATE.S'])
      ends.sends(`$JS.gw.API.${operation}`, undefined, [], data);
  expect(api.got.length).toBe(12);
});
