// The boundary of a leafnode link as somebody on either side would try it: who sends what, in which direction, and whether it
// crosses. Nothing does that is not listed, whatever the hub says that it wants and whatever replies it makes up.

import { expect, test } from 'vitest';
import { OPERATOR } from '../../src/operator.ts';
import { LeafEnds, made } from '../support/leaf-ends.ts';

const WIDE = ['>', '*.>', '*.*', '*'];
/** What a hub would have to say to get everything. */
const GREEDY = [
  ...WIDE,
  '$JS.>',
  '$JS.API.>',
  '$JS.ACK.>',
  '$JS.EVENT.>',
  '$JS.hub.API.>',
  '$JS.gw.API.>',
  '$JS.*.API.>',
  '$KV.>',
  '$O.>',
  '$OBJ.>',
  '$SYS.>',
  '$MQTT.>',
  '$JSC.>',
  '$share.>',
  '_INBOX.>',
  '_INBOX.*',
  '_INBOX.hub.*',
  '_R_.>',
  '_GR_.>',
  'plant.>',
];

test.each([
  // Without a list nothing leaves.
  { exports: [], subject: 'plant.temp', leaves: false },
  { exports: ['evt.>'], subject: 'evt.a.b', leaves: true },
  { exports: ['evt.>'], subject: 'evt', leaves: false },
  { exports: ['evt.>'], subject: 'plant.temp', leaves: false },
  { exports: ['evt.*'], subject: 'evt.a.b', leaves: false },
  { exports: ['>'], subject: 'plant.temp', leaves: true },
  { exports: ['*.temp'], subject: 'plant.temp', leaves: true },
  { exports: ['prüf.ström.>'], subject: 'prüf.ström.ü', leaves: true },
  // What belongs to a server stays, however wide a list is.
  ...['>', '*.>', '*.*.*.*', '*.*.*', '*.*'].flatMap((wide) =>
    [
      '$JS.API.INFO',
      '$JS.API.STREAM.DELETE.S',
      '$JS.gw.API.INFO',
      '$JS.hub.API.INFO',
      '$JS.hub.API.STREAM.DELETE.X',
      '$JS.ACK.S.c.1.1.1.1.0',
      '$JS.FC.S.c.x',
      '$JS.EVENT.ADVISORY.API',
      '$JS.S.abc',
      '$JS.M.abc',
      '$KV.b.key',
      '$O.b.C.x',
      '$OBJ.b.C.x',
      '$SYS.REQ.USER.INFO',
      '$SYS.broker.uptime',
      '$MQTT.sess.x',
      '$JSC.R.abc',
      '$NRG.V.x',
      '$LDS.abc',
      '$share.g.a',
      '_INBOX.abc.1',
      '_INBOX.hub.1',
      '_INBOX_ann.x.1',
      '_R_.abc.1',
      '_GR_.abc.1',
    ].map((subject) => ({ exports: [wide], subject, leaves: false })),
  ),
  // Nor does naming it help, but for the API of another domain and for objects.
  { exports: ['$JS.API.>', '$JS.>', '$JS.*.>'], subject: '$JS.API.INFO', leaves: false },
  { exports: ['$JS.gw.API.>'], subject: '$JS.gw.API.INFO', leaves: false },
  { exports: ['$JS.EVENT.>'], subject: '$JS.EVENT.ADVISORY.API', leaves: false },
  { exports: ['$JS.ACK.>'], subject: '$JS.ACK.S.c.1.1.1.1.0', leaves: false },
  { exports: ['$SYS.>'], subject: '$SYS.REQ.USER.INFO', leaves: false },
  { exports: ['$KV.>'], subject: '$KV.b.key', leaves: false },
  { exports: ['_INBOX.>'], subject: '_INBOX.hub.1', leaves: false },
  { exports: ['$JS.hub.API.>'], subject: '$JS.hub.API.STREAM.INFO.X', leaves: true },
  { exports: ['$JS.*.API.STREAM.INFO.X'], subject: '$JS.hub.API.STREAM.INFO.X', leaves: true },
  { exports: ['$JS.*.API.STREAM.INFO.X'], subject: '$JS.hub.API.STREAM.INFO.Y', leaves: false },
  { exports: ['$JS.*.API.>'], subject: '$JS.gw.API.INFO', leaves: false },
  { exports: ['$O.fw.>'], subject: '$O.fw.C.x', leaves: true },
  { exports: ['$O.fw.>'], subject: '$O.other.C.x', leaves: false },
])(
  'published here to $subject, exports $exports: leaves $leaves',
  ({ exports, subject, leaves }) => {
    const ends = new LeafEnds({ exports }).connect();
    ends.wants(...GREEDY, subject, 'evt.>', 'prüf.>');
    ends.heard();
    expect(ends.publish(subject)).toBe(leaves ? 'delivered' : 'nobody');
    expect(ends.heard()).toEqual(leaves ? [`live ${subject} for plain: x`] : []);
  },
);

test.each([
  ['an answer to an inbox of the hub', '_INBOX.hub.1', true],
  ['an answer to a cluster of the hub', '_GR_.abc.def.$JS.API.INFO', false],
  ['data for a stream of the hub', '$JS.S.abc', true],
  ['data for a mirror of the hub', '$JS.M.abc', true],
  ['an answer to a stream of the hub', '$JSC.R.abc', true],
  ['an answer to a subject that is listed', 'evt.a', true],
  ['a delivery to a subject of the plant', 'plant.copy', false],
  ['an answer to the API of the hub', '$JS.hub.API.STREAM.DELETE.X', false],
  ['an answer to the API of the hub without a domain', '$JS.API.STREAM.DELETE.X', false],
  ['an answer to a key of the hub', '$KV.b.key', false],
  ['an answer to an object of the hub', '$O.b.C.x', false],
  ['an answer to the system of the hub', '$SYS.REQ.SERVER.PING', false],
  ['an answer to a consumer of the hub', '$JS.ACK.H.c.1.1.1.1.0', false],
] as const)('the gateway itself sends %s, %s: leaves %s', (_, target, leaves) => {
  const ends = new LeafEnds({ exports: ['evt.>'] }).connect();
  ends.wants(...GREEDY, target);
  ends.heard();
  const routed = leaves ? 'delivered' : 'nobody';
  expect(ends.broker.answer(made(target, undefined))).toBe(routed);
  expect(ends.broker.answerText(target, 'x')).toBe(routed);
  expect(ends.broker.deliverTo(target, made('s', '$JS.ACK.S.c.1.1.1.1.0'))).toBe(routed);
  expect(ends.heard().filter((line) => !line.startsWith('LS')).length).toBe(leaves ? 3 : 0);
});

test('news of the gateway itself reaches nobody behind the link', () => {
  const ends = new LeafEnds({ exports: ['>', '$SYS.>', '$JS.EVENT.>'] }).connect();
  ends.wants(...GREEDY);
  ends.heard();
  expect(ends.broker.listensUnder('$SYS')).toBe(false);
  ends.broker.notify(made('$SYS.broker.uptime', undefined));
  ends.broker.publish(made('$JS.EVENT.ADVISORY.API', undefined));
  expect(ends.heard()).toEqual([]);
});

test.each([
  { subject: 'cmd.valve', enters: true },
  { subject: 'cmd', enters: false },
  { subject: 'plant.valve', enters: false },
  { subject: '$JS.gw.API.INFO', enters: true },
  { subject: '$JS.gw.API.CONSUMER.CREATE.S.c.>', enters: true },
  { subject: '$JS.gw.API.$KV.b.key', enters: true, as: '$KV.b.key' },
  { subject: '$JS.gw.API.$OBJ.b.C.x', enters: true, as: '$OBJ.b.C.x' },
  { subject: '$JS.gw.API.$O.b.C.x', enters: true, as: '$O.b.C.x' },
  { subject: '$JS.gw.API.$SYS.REQ.USER.INFO', enters: true },
  { subject: '$JS.gw.API', enters: false },
  { subject: '$JS.API.INFO', enters: false },
  { subject: '$JS.API.STREAM.DELETE.S', enters: false },
  { subject: '$JS.other.API.INFO', enters: false },
  { subject: '$JS.ACK.S.c.1.1.1.1.0', enters: false },
  { subject: '$JS.FC.S.c.x', enters: false },
  { subject: '$JS.EVENT.ADVISORY.API', enters: false },
  { subject: '$JS.S.abc', enters: false },
  { subject: '$JS.M.abc', enters: false },
  { subject: '$JSC.R.abc', enters: false },
  { subject: '$KV.b.key', enters: false },
  { subject: '$O.b.C.x', enters: false },
  { subject: '$OBJ.b.C.x', enters: false },
  { subject: '$SYS.REQ.USER.INFO', enters: false },
  { subject: '$MQTT.sess.x', enters: false },
  { subject: '$LDS.abc', enters: false },
  { subject: '_INBOX.local.1', enters: false },
  { subject: '_R_.abc.1', enters: false },
  { subject: 'cmd.*', enters: false },
  { subject: 'cmd.>', enters: false },
  { subject: 'cmd..a', enters: false },
  { subject: '$JS.gw.API.STREAM..INFO', enters: false },
  { subject: `cmd.${'x'.repeat(1024)}`, enters: false },
])('the hub sends to $subject: enters $enters', ({ subject, enters, as }) => {
  const wide = ['cmd.>', '$JS.>', '$KV.>', '$SYS.>', '_INBOX.>', '*.*.*.*.*.*.*.*'];
  for (const imports of [['cmd.>'], wide]) {
    const ends = new LeafEnds({ imports }).connect();
    // Somebody listens to everything, and somebody to just this.
    const { got } = ends.listen('>');
    ends.listen('_INBOX.local.*');
    ends.sends(subject);
    expect(got).toEqual(enters ? [as ?? subject] : []);
    expect(ends.interest.counters.deniedInMsgs).toBe(enters ? 0 : 1);
  }
});

test('imports of everything are those of the plant, and nothing that belongs to a server', () => {
  const ends = new LeafEnds({ imports: WIDE }).connect();
  const { got } = ends.listen('>');
  for (const filter of [
    '$SYS.>',
    '$JS.API.>',
    '$JS.>',
    '$KV.b.>',
    '_INBOX.local.*',
    '$O.b.>',
    'a.b',
  ])
    ends.listen(filter);
  expect(ends.heard().toSorted()).toEqual(['LS+ $JS.gw.API.>', 'LS+ >', 'LS+ a.b']);
  for (const subject of ['a.b', '$SYS.x', '$KV.b.k', '_INBOX.local.1', '$JS.API.INFO', '$O.b.C.x'])
    ends.sends(subject);
  expect(got).toEqual(['a.b']);
});

test.each([
  ['an inbox of its own', '_INBOX.hub.1', true],
  ['an inbox that nobody has', '_INBOX.unknown.1', true],
  ['an answer to a stream of the hub', '$JSC.R.abc', true],
  ['a subject of the plant through a gateway of the hub', '_GR_.abc.def.plant.valve', false],
  ['a consumer here through a gateway', '_GR_.abc.def.$JS.ACK.S.c.1.1.1.1.0', false],
  ['a subject that may come in anyway', 'cmd.other', true],
  ['a custom inbox', 'acme.7', true],
  ['the API of the gateway', '$JS.API.STREAM.DELETE.S', false],
  ['the API of the gateway with its domain', '$JS.gw.API.STREAM.DELETE.S', false],
  ['the API of the hub', '$JS.hub.API.STREAM.DELETE.S', false],
  ['a subject of the plant', 'plant.valve', false],
  ['a key of the gateway', '$KV.b.key', false],
  ['an object of the gateway', '$O.b.C.x', false],
  ['the system', '$SYS.REQ.USER.INFO', false],
  ['an inbox of a program here', '_INBOX.local.1', false],
  ['an acknowledgement of a consumer here', '$JS.ACK.S.c.1.1.1.1.0', false],
  ['the flow control of a consumer here', '$JS.FC.S.c.id', false],
  ['an advisory', '$JS.EVENT.ADVISORY.API', false],
  ['a session of MQTT', '$MQTT.sess.x', false],
  ['a wildcard', '_INBOX.*', false],
  ['nonsense', 'a..b', false],
] as const)('the hub asks and wants the answer on %s, %s: is heard %s', (_, reply, isHeard) => {
  const ends = new LeafEnds({ imports: ['cmd.>'] }).connect();
  ends.consumers.add('S c');
  const api = ends.listen('$JS.gw.API.>');
  const service = ends.listen('cmd.>');
  const heard = ends.listen('>');
  for (const filter of ['plant.valve', '_INBOX.local.*', '$KV.b.>', '$O.b.>', '$JS.API.>'])
    ends.listen(filter);
  ends.wants(...GREEDY, reply);
  ends.sends('$JS.gw.API.INFO', reply);
  ends.sends('cmd.ask', reply);
  expect(api.got).toEqual(isHeard ? [`$JS.gw.API.INFO ${reply}`] : []);
  expect(service.got).toEqual(isHeard ? [`cmd.ask ${reply}`] : []);
  expect(heard.got.length).toBe(isHeard ? 2 : 0);
  expect(ends.interest.counters.deniedInMsgs).toBe(isHeard ? 0 : 2);
});

test('a delivery that the hub makes up acknowledges nothing here, and shows no false subject to the API', () => {
  const ends = new LeafEnds({ imports: ['cmd.>'], exports: ['evt.>'] }).connect();
  ends.consumers.add('S c').add('S secret');
  ends.wants('$JS.S.abc', 'evt.>');
  // The hub may acknowledge to S c, as it has had data of it.
  ends.broker.deliverTo('$JS.S.abc', made('a', '$JS.ACK.S.c.1.7.1.99.0'));
  const acks = ends.listen('$JS.ACK.>');
  const api = ends.listen('$JS.gw.API.>');
  const cmd = ends.listen('cmd.a');
  const behind = '$JS.ACK.H.h.1.1.1.1.0';
  ends.sends('$JS.ACK.S.c.>');
  ends.sends('$JS.ACK.S.c.*.7.1.99.0');
  ends.sends('$JS.ACK.S.c.1.7.1.99.0', `${behind}@$JS.ACK.S.secret.1.9.1.99.0`);
  ends.sends('$JS.gw.API.INFO', `${behind}@$JS.API.STREAM.DELETE.S`);
  ends.sends('cmd.a', `${behind}@`);
  ends.sends('cmd.a', `${behind}@a.*`);
  ends.sends('cmd.a', '$JS.ACK.S.secret.1.9.1.99.0@plant');
  expect([acks.got, api.got, cmd.got]).toEqual([[], [], []]);
  expect(ends.interest.counters.deniedInMsgs).toBe(7);
  ends.sends('cmd.a', `${behind}@plant.x`);
  expect(cmd.got).toEqual([`plant.x ${behind}`]);
});

test.each([
  ['the API of the hub', '$JS.hub.API.STREAM.DELETE.X', 'denied'],
  ['the API of the gateway', '$JS.API.STREAM.DELETE.X', 'denied'],
  ['a key', '$KV.b.key', 'denied'],
  ['the system', '$SYS.REQ.SERVER.PING', 'denied'],
  ['a consumer', '$JS.ACK.S.c.1.1.1.1.0', 'denied'],
  ['its own inbox', '_INBOX.local.1', 'with'],
  ['a subject here', 'plant.answer', 'with'],
  ['a subject that is listed', 'evt.answer', 'with'],
  ['a subject of the hub', 'other.command', 'without'],
] as const)('a program here asks the hub to answer on %s, %s: %s', (_, reply, outcome) => {
  const ends = new LeafEnds({ exports: ['evt.>'] }).connect();
  ends.listen('_INBOX.local.*');
  ends.listen('plant.answer');
  ends.listen('$JS.API.>');
  ends.wants('evt.ask', ...GREEDY);
  ends.heard();
  const routed = ends.publish('evt.ask', reply);
  const said = ends.heard().filter((line) => !line.startsWith('LS'));
  if (outcome === 'denied') expect([routed, said]).toEqual(['nobody', []]);
  else if (outcome === 'with') expect(said).toEqual([`live evt.ask reply ${reply} for plain: x`]);
  else expect(said).toEqual(['live evt.ask for plain: x']);
});

test('what the hub is told of never ends the link: no subject that it refuses to hear of', () => {
  const ends = new LeafEnds({
    imports: ['>', '$KV.>', '$JS.>', '$SYS.>'],
    exports: ['evt.>'],
  }).connect();
  ends.wants('evt.a');
  for (const filter of [
    '$KV.b.key',
    '$JS.API.INFO',
    '$OBJ.b.x',
    '$SYS.REQ.x',
    '$JS.hub.API.INFO',
    '$LDS.abc',
    '_INBOX.abc',
  ])
    ends.listen(filter);
  ends.publish('evt.a', '_INBOX.abc');
  ends.heard();
  expect(ends.interest.advertised).toEqual(['$JS.gw.API.>', '_INBOX.abc']);
});

test('what the hub does not permit is neither sent nor asked for', () => {
  const ends = new LeafEnds({ imports: ['cmd.>', 'news.>', 'group.>'], exports: ['evt.>'] });
  ends.listen('group.*');
  ends.listen('cmd.a');
  ends.listen('cmd.>');
  ends.listen('cmd.secret.x');
  ends.listen('news.a');
  ends.listen('_INBOX.abc.*');
  ends.connect({
    mayImport: {
      allow: ['cmd.*', 'cmd.secret.>', '$JS.gw.API.STREAM.>', 'group.only q'],
      deny: ['cmd.secret.>'],
    },
    mayExport: { allow: ['evt.*', '_INBOX.>'], deny: ['evt.no', '_INBOX.no.>'] },
  });
  expect(ends.heard().toSorted()).toEqual(['LS+ $JS.gw.API.STREAM.>', 'LS+ cmd.*', 'LS+ cmd.a']);
  ends.wants('>', 'evt.a', '_INBOX.h.*', '_INBOX.no.*', '$JS.S.abc');
  for (const [subject, routed] of [
    ['evt.a', 'delivered'],
    ['evt.no', 'nobody'],
    ['evt.a.b', 'nobody'],
  ] as const)
    expect([subject, ends.publish(subject)]).toEqual([subject, routed]);
  expect(ends.interest.counters.deniedOutMsgs).toBe(2);
  expect(ends.broker.answer(made('_INBOX.h.1', undefined))).toBe('delivered');
  expect(ends.broker.answer(made('_INBOX.no.1', undefined))).toBe('nobody');
  expect(ends.broker.deliverTo('$JS.S.abc', made('a', '$JS.ACK.S.c.1.1.1.1.0'))).toBe('nobody');
  ends.publish('evt.a', '_INBOX.abc.1');
  expect(
    ends.heard().filter((line) => line.startsWith('LS')),
    'no answer may come in',
  ).toEqual([]);
  ends.interest.changed({
    mayImport: { deny: ['cmd.>'] },
    mayExport: { deny: ['evt.a'] },
    payloadBytesMax: 0,
  });
  expect(ends.heard().toSorted()).toEqual([
    'LS+ $JS.gw.API.>',
    'LS+ _INBOX.abc.*',
    'LS+ group.*',
    'LS+ news.a',
    'LS- $JS.gw.API.STREAM.>',
    'LS- cmd.*',
    'LS- cmd.a',
  ]);
  expect(ends.publish('evt.a')).toBe('nobody');
  expect(ends.publish('evt.no')).toBe('delivered');
});

test('what the hub has complained of is not tried again, on the next connection neither', () => {
  const ends = new LeafEnds({ imports: ['cmd.>'], exports: ['evt.>'] }).connect();
  ends.wants('evt.>');
  ends.listen('cmd.a');
  ends.interest.denied('publish', 'evt.a');
  ends.interest.denied('subscription', 'cmd.a');
  expect(ends.publish('evt.a')).toBe('nobody');
  expect(ends.publish('evt.b')).toBe('delivered');
  ends.interest.close();
  ends.connect();
  ends.wants('evt.>');
  expect(ends.publish('evt.a')).toBe('nobody');
  expect(ends.heard()).toEqual(['LS+ $JS.gw.API.>']);
  for (let i = 0; i < 1024; i++) ends.interest.denied('publish', `evt.x${i}`);
  expect(ends.publish('evt.a'), 'only so many are remembered').toBe('delivered');
});

test('where the hub has the domain of the gateway nothing of JetStream comes in', () => {
  const ends = new LeafEnds({ imports: ['cmd.>'] }).connect({}, false);
  ends.stream('$O.fw.C.>');
  const { got } = ends.listen('>');
  ends.sends('$JS.gw.API.INFO');
  ends.sends('$JS.gw.API.$KV.b.k');
  ends.sends('cmd.a');
  expect(got).toEqual(['cmd.a']);
  expect(ends.heard()).toEqual(['LS+ cmd.>']);
});

test('without a domain nothing of JetStream crosses', () => {
  const ends = new LeafEnds({ domain: undefined, imports: ['cmd.>'] }).connect();
  const { got } = ends.listen('>');
  ends.sends('$JS.gw.API.INFO');
  ends.sends('$JS.undefined.API.INFO');
  ends.sends('$JS.API.INFO');
  expect(got).toEqual([]);
  expect(ends.heard()).toEqual(['LS+ cmd.>']);
});

test('a mirror of the configuration asks the hub whatever is listed, and hears it; a program may do neither', () => {
  const ends = new LeafEnds().connect();
  ends.wants('$JS.hub.API.STREAM.>', '$JS.hub.API.CONSUMER.>', '$JS.ACK.API.>');
  ends.heard();
  const forged = made('$JS.ACK.API.c.1.1.1.1.0', undefined);
  expect(ends.broker.publish(forged, undefined, OPERATOR), 'no domain of that name').toBe('nobody');
  const got: string[] = [];
  const mirror = {
    isMirror: true,
    deliver: ({ subject, reply }: { subject: string; reply?: string }, target: string): void =>
      void got.push(`${target} ${subject} ${reply}`),
  };
  ends.broker.subscribe('$JSC.R.mine', mirror);
  const ask = made('$JS.hub.API.CONSUMER.CREATE.S', '$JSC.R.mine');
  expect(ends.publish('$JS.hub.API.CONSUMER.CREATE.S', '$JSC.R.mine')).toBe('nobody');
  expect(ends.broker.publish(ask, undefined, OPERATOR)).toBe('delivered');
  expect(ends.broker.publish(made('plant.a', undefined), undefined, OPERATOR)).toBe('nobody');
  expect(ends.heard()).toEqual([
    'LS+ $JSC.R.mine',
    'live $JS.hub.API.CONSUMER.CREATE.S reply $JSC.R.mine for plain: x',
  ]);
  ends.broker.subscribe('$JS.M.mine', mirror);
  ends.listen('$JS.M.others');
  expect(ends.heard()).toEqual(['LS+ $JS.M.mine']);
  ends.sends('$JSC.R.mine');
  ends.sends('$JS.M.mine', '$JS.ACK.H.c.1.7.1.99.0@$KV.b.key');
  ends.sends('$JS.M.others', '$JS.ACK.H.c.1.7.1.99.0@$KV.b.key');
  ends.sends('$JS.M.mine', '$JS.FC.H.c.id');
  expect(got).toEqual([
    '$JSC.R.mine $JSC.R.mine undefined',
    '$JS.M.mine $KV.b.key $JS.ACK.H.c.1.7.1.99.0',
    '$JS.M.mine $JS.M.mine $JS.FC.H.c.id',
  ]);
  expect(ends.broker.publish(made('$JS.FC.H.c.id', undefined), undefined, OPERATOR)).toBe(
    'delivered',
  );
  expect(ends.broker.publish(made('$JS.FC.H.c.later', undefined), undefined, OPERATOR)).toBe(
    'delivered',
  );
  ends.interest.close();
  expect(ends.broker.publish(ask, undefined, OPERATOR), 'while there is no link').toBe('nobody');
});

test('what came over the link does not go back over it', () => {
  const ends = new LeafEnds({ imports: ['both.>'], exports: ['both.>'] }).connect();
  ends.wants('both.>', 'both.> crew 1', '_INBOX.h.*');
  const { got } = ends.listen('both.a');
  ends.listen('both.a', 'crew').end();
  ends.heard();
  ends.sends('both.a', '_INBOX.h.1', ['crew']);
  ends.sends('both.a', '$JS.ACK.H.c.1.7.1.99.0@s', ['crew']);
  expect(got.length).toBe(2);
  expect(ends.heard()).toEqual([]);
});

test('of a message for queue groups only the named ones get it here', () => {
  const ends = new LeafEnds({ imports: ['work.>'] }).connect();
  const crew = ends.listen('work.a', 'crew');
  const others = ends.listen('work.a', 'others');
  const plain = ends.listen('work.a');
  ends.sends('work.a', undefined, ['crew', 'nobody']);
  ends.sends('work.a');
  ends.sends('work.a', '$JS.ACK.H.c.1.7.1.99.0@s', ['others']);
  expect([crew.got.length, others.got.length, plain.got.length]).toEqual([1, 1, 3]);
});

test('a hub that makes up replies without end takes only so much room', () => {
  const ends = new LeafEnds({ imports: ['cmd.>'] }).connect();
  ends.listen('cmd.a');
  for (let i = 0; i < 40_000; i++) ends.sends('cmd.a', `acme.${i}`);
  expect(ends.broker.subscriptions).toBeLessThanOrEqual(1 + 2 * 2048);
  for (let i = 0; i < 10_000; i++) ends.sends('cmd.a', `$JS.ACK.H${i}.c.1.1.1.1.0`);
  expect(ends.broker.subscriptions).toBeLessThanOrEqual(1 + 2 * 2048);
  expect(ends.interest.counters.deniedInMsgs, 'what nobody stores does not wait for the disk').toBe(
    0,
  );
  expect(ends.publish('acme.39999'), 'others came since').toBe('nobody');
  ends.sends('cmd.a', 'acme.last');
  expect(ends.publish('acme.last')).toBe('delivered');
});
