// What the hub is told that we want, and what becomes of what it wants: the interest of a leafnode link, both ways.

import { expect, test } from 'vitest';
import { LeafEnds, made } from '../support/leaf-ends.ts';

test('the hub is told of what is imported and listened to here, once, and when nobody does any more', () => {
  const ends = new LeafEnds({ imports: ['cmd.gw.>', 'news.*'] }).connect();
  expect(ends.heard()).toEqual(['LS+ $JS.gw.API.>']);
  const first = ends.listen('cmd.gw.valve');
  const second = ends.listen('cmd.gw.valve');
  ends.listen('plant.secret');
  const wide = ends.listen('cmd.>');
  const all = ends.listen('>');
  expect(ends.heard()).toEqual(['LS+ cmd.gw.valve', 'LS+ cmd.gw.>', 'LS+ news.*']);
  first.end();
  all.end();
  expect(ends.heard()).toEqual(['LS- news.*']);
  second.end();
  wide.end();
  expect(ends.heard()).toEqual(['LS- cmd.gw.valve', 'LS- cmd.gw.>']);
  const brief = ends.listen('news.a');
  brief.end();
  expect(ends.heard(), 'what comes and goes at once is not said').toEqual([]);
  expect(ends.interest.advertised).toEqual(['$JS.gw.API.>']);
});

test('a queue group is told with the number of its members', () => {
  const ends = new LeafEnds({ imports: ['work.>'], domain: undefined }).connect();
  const one = ends.listen('work.x', 'crew');
  expect(ends.heard()).toEqual(['LS+ work.x crew 1']);
  const two = ends.listen('work.x', 'crew');
  const three = ends.listen('work.x', 'crew');
  ends.listen('work.x');
  expect(ends.heard()).toEqual(['LS+ work.x crew 3', 'LS+ work.x']);
  one.end();
  two.end();
  expect(ends.heard()).toEqual(['LS+ work.x crew 1']);
  three.end();
  expect(ends.heard()).toEqual(['LS- work.x crew']);
  expect(ends.interest.advertised).toEqual(['work.x']);
});

test('a message that the hub wants in several ways crosses once, with the groups that were chosen', () => {
  const ends = new LeafEnds({ exports: ['evt.>'] }).connect();
  ends.wants('evt.a', 'evt.*', '>', 'evt.a crew 2', 'evt.* others 1', 'evt.a near 1', 'b.a');
  const here = ends.listen('evt.a', 'near');
  ends.heard();
  expect(ends.publish('evt.a', undefined, '1')).toBe('delivered');
  expect(ends.publish('evt.b', undefined, '2')).toBe('delivered');
  expect(ends.publish('b.a'), 'not listed').toBe('nobody');
  expect(ends.heard()).toEqual([
    'live evt.a for plain crew others: 1',
    'live evt.b for plain others: 2',
  ]);
  expect(here.got, 'a member here is asked first').toEqual(['evt.a']);
  here.end();
  ends.publish('evt.a', undefined, '3');
  expect(ends.heard()).toEqual(['live evt.a for plain crew near others: 3']);
  for (const filter of ['evt.a', 'evt.*', '>']) ends.wantsNoMore(filter);
  ends.publish('evt.a', undefined, '4');
  expect(ends.heard()).toEqual(['live evt.a for crew near others: 4']);
  for (const [filter, queue] of [
    ['evt.a', 'crew'],
    ['evt.*', 'others'],
    ['evt.a', 'near'],
  ] as const)
    ends.wantsNoMore(filter, queue);
  expect(ends.publish('evt.a')).toBe('nobody');
});

test('the same message published twice crosses twice', () => {
  const ends = new LeafEnds({ exports: ['evt.>'] }).connect();
  ends.wants('evt.a', 'evt.a crew 1');
  ends.heard();
  const message = made('evt.a', undefined, 'again');
  ends.broker.publish(message);
  ends.broker.publish(message);
  expect(ends.heard()).toEqual(Array(2).fill('live evt.a for plain crew: again'));
});

test('two subjects of the hub that come to the same here count as two', () => {
  const ends = new LeafEnds({ exports: ['evt.a'] }).connect();
  ends.wants('evt.*', 'evt.>', 'evt.>');
  expect(ends.interest.wanted).toBe(2);
  ends.wantsNoMore('evt.*');
  expect(ends.publish('evt.a')).toBe('delivered');
  ends.wantsNoMore('evt.>');
  ends.wantsNoMore('evt.>');
  expect(ends.publish('evt.a')).toBe('nobody');
  expect(ends.broker.subscriptions).toBe(0);
});

test('a message that a stream here has taken does not go to the hub as well', () => {
  const ends = new LeafEnds({ exports: ['evt.>'] }).connect();
  ends.wants('evt.>', 'evt.> crew 1');
  const stored = ends.stream('evt.kept');
  ends.heard();
  expect(ends.publish('evt.kept', undefined, '1')).toBe('stored');
  expect(stored).toEqual(['evt.kept']);
  expect(ends.heard(), 'but a group of the hub takes its share').toEqual([
    'live evt.kept for crew: 1',
  ]);
});

test('a request goes to the hub with an inbox on which the answer can come back', () => {
  const ends = new LeafEnds({ exports: ['ask.>'] }).connect();
  ends.wants('ask.time');
  const mux = ends.listen('_INBOX.abc.*');
  const other = ends.listen('_INBOX.other.*');
  ends.heard();
  expect(ends.publish('ask.time', '_INBOX.abc.1')).toBe('delivered');
  expect(ends.heard()).toEqual([
    'LS+ _INBOX.abc.*',
    'live ask.time reply _INBOX.abc.1 for plain: x',
  ]);
  ends.publish('ask.time', '_INBOX.abc.2');
  expect(ends.heard()).toEqual(['live ask.time reply _INBOX.abc.2 for plain: x']);
  ends.sends('_INBOX.abc.1');
  ends.sends('_INBOX.other.1');
  expect(mux.got).toEqual(['_INBOX.abc.1']);
  expect(other.got).toEqual([]);
  mux.end();
  expect(ends.heard()).toEqual(['LS- _INBOX.abc.*']);
  ends.sends('_INBOX.abc.1');
  expect(ends.interest.counters.deniedInMsgs).toBe(2);
});

test('who listens to all inboxes gets the answers to what he asked, and the hub is not told of more', () => {
  const ends = new LeafEnds({ exports: ['ask.>'] }).connect();
  ends.wants('ask.time');
  const { got } = ends.listen('_INBOX.>');
  ends.listen('>');
  ends.listen('*.*.*');
  ends.heard();
  ends.publish('ask.time', 'acme.1.2');
  expect(ends.heard(), 'nobody waits there').toEqual(['live ask.time for plain: x']);
  ends.publish('ask.time', '_INBOX.a.1');
  expect(ends.heard()).toEqual(['LS+ _INBOX.a.1', 'live ask.time reply _INBOX.a.1 for plain: x']);
  ends.sends('_INBOX.a.1');
  ends.sends('_INBOX.a.2');
  expect(got).toEqual(['_INBOX.a.1', '_INBOX.a.1'].slice(0, 1));
  ends.clock.advance(700_000);
  ends.publish('ask.time', '_INBOX.b.1');
  expect(ends.heard(), 'after some minutes nobody waits').toContain('LS- _INBOX.a.1');
});

test('a request that nobody wants stays here, and who asked learns of it at once', () => {
  const ends = new LeafEnds({ exports: ['ask.>'] }).connect();
  ends.listen('_INBOX.abc.*');
  ends.heard();
  expect(ends.publish('ask.time', '_INBOX.abc.1')).toBe('nobody');
  ends.wants('ask.other', '$JS.hub.API.STREAM.>', '$JS.API.>', '_INBOX.>');
  expect(ends.publish('ask.time', '_INBOX.abc.1')).toBe('nobody');
  expect(ends.heard(), 'not a byte for the hub').toEqual([]);
});

test('a request of the hub is answered by a program here, and by no other', () => {
  const ends = new LeafEnds({ imports: ['svc.>'] }).connect();
  const service = ends.listen('svc.time');
  ends.wants('_INBOX.hub1.*', '_INBOX.hub2.*');
  ends.heard();
  ends.sends('svc.time', '_INBOX.hub1.7');
  expect(service.got).toEqual(['svc.time _INBOX.hub1.7']);
  expect(ends.publish('_INBOX.hub1.7', undefined, 'noon')).toBe('delivered');
  expect(ends.publish('_INBOX.hub1.7', undefined, 'more'), 'as often as it likes').toBe(
    'delivered',
  );
  expect(ends.publish('_INBOX.hub1.8')).toBe('nobody');
  expect(ends.publish('_INBOX.hub2.7')).toBe('nobody');
  expect(ends.heard()).toEqual([
    'live _INBOX.hub1.7 for plain: noon',
    'live _INBOX.hub1.7 for plain: more',
  ]);
  ends.clock.advance(700_000);
  expect(ends.publish('_INBOX.hub1.7'), 'not for ever').toBe('nobody');
});

test('a reply outside of the usual inboxes is answered as well, for as long as the hub listens', () => {
  const ends = new LeafEnds({ imports: ['svc.>'] }).connect();
  ends.listen('svc.time');
  ends.wants('acme.inbox.*');
  ends.heard();
  expect(ends.publish('acme.inbox.1')).toBe('nobody');
  ends.sends('svc.time', 'acme.inbox.1');
  expect(ends.publish('acme.inbox.1', undefined, 'noon')).toBe('delivered');
  ends.sends('$JS.gw.API.INFO', 'acme.inbox.2');
  expect(ends.broker.answer(made('acme.inbox.2', undefined, '{}'))).toBe('delivered');
  expect(ends.publish('acme.inbox.3')).toBe('nobody');
  expect(ends.heard()).toEqual([
    'live acme.inbox.1 for plain: noon',
    'live acme.inbox.2 for plain: {}',
  ]);
  ends.wantsNoMore('acme.inbox.1');
  expect(ends.publish('acme.inbox.1')).toBe('nobody');
});

test('a request from another cluster of the hub is answered on the way by which it came', () => {
  const ends = new LeafEnds({ imports: ['svc.>'] }).connect();
  const service = ends.listen('svc.time');
  ends.listen('$JS.gw.API.>');
  ends.wants('_GR_.>', '_INBOX.known.*');
  ends.heard();
  const far = '_GR_.abcdef.ghijkl.';
  for (const inbox of ['_INBOX.far', '_INBOX.known', 'acme.box']) {
    ends.sends('svc.time', `${far}${inbox}.1`);
    expect(ends.publish(`${inbox}.1`, undefined, 'noon')).toBe('delivered');
    ends.sends('$JS.gw.API.INFO', `${far}${inbox}.2`);
    expect(ends.broker.answer(made(`${inbox}.2`, undefined, '{}'))).toBe('delivered');
    expect(ends.heard()).toEqual([
      `live ${far}${inbox}.1 for plain: noon`,
      `live ${far}${inbox}.2 for plain: {}`,
    ]);
  }
  expect(service.got).toContain('svc.time _INBOX.far.1');
  // Asked again from the cluster to which the link leads.
  ends.sends('svc.time', '_INBOX.known.3');
  ends.publish('_INBOX.known.3');
  expect(ends.heard()).toEqual(['live _INBOX.known.3 for plain: x']);
  ends.sends('svc.time', `${far}$JS.ACK.H.c.1.7.1.99.0@svc.old`);
  expect(service.got.at(-1)).toBe('svc.old $JS.ACK.H.c.1.7.1.99.0');
  ends.publish('$JS.ACK.H.c.1.7.1.99.0', undefined, '+ACK');
  expect(ends.heard()).toEqual([`live ${far}$JS.ACK.H.c.1.7.1.99.0 for plain: +ACK`]);
});

test('a request with the domain of the gateway reaches its API, and a key behind it the bucket', () => {
  const ends = new LeafEnds().connect();
  const api = ends.listen('$JS.gw.API.>');
  const bucket = ends.stream('$KV.b.>');
  ends.wants('_INBOX.h.*');
  ends.heard();
  ends.sends('$JS.gw.API.CONSUMER.CREATE.S.c.a.>', '_INBOX.h.1');
  expect(api.got).toEqual(['$JS.gw.API.CONSUMER.CREATE.S.c.a.> _INBOX.h.1']);
  ends.sends('$JS.gw.API.$KV.b.key', '_INBOX.h.2');
  expect(bucket).toEqual(['$KV.b.key']);
  expect(ends.heard()).toEqual(['live _INBOX.h.2 for plain: {"stream":"S","domain":"gw","seq":1}']);
  ends.sends('$JS.gw.API.$KV.b.*', '_INBOX.h.3');
  ends.sends('$JS.gw.API.$KV.nobody.key', '_INBOX.h.4');
  expect(ends.heard(), 'nobody here: silence').toEqual([]);
  expect(bucket.length).toBe(1);
});

test('what a stream here takes from the hub is acknowledged over the link', () => {
  const ends = new LeafEnds({ imports: ['cmd.>'] }).connect();
  ends.stream('cmd.>');
  ends.wants('_INBOX.h.*');
  ends.heard();
  ends.sends('cmd.a', '_INBOX.h.1');
  ends.sends('cmd.a');
  ends.sends('cmd.a', 'acme.1');
  expect(ends.heard()).toEqual([
    'live _INBOX.h.1 for plain: {"stream":"S","domain":"gw","seq":1}',
    'live acme.1 for plain: {"stream":"S","domain":"gw","seq":3}',
  ]);
});

test('only so much of the hub waits for the disk here; beyond it the hub is told so', () => {
  const ends = new LeafEnds({ imports: ['cmd.>'] }).connect();
  const receipts: (() => void)[] = [];
  ends.broker.subscribe('cmd.>', {
    store: (_, receipt) => receipts.push(() => receipt?.(null, { stream: 'S', seq: 1 })),
  });
  ends.wants('_INBOX.h');
  const mib = 'x'.repeat(1024 * 1024);
  for (let i = 0; i < 40; i++) ends.sends('cmd.a', '_INBOX.h', [], mib);
  expect(receipts.length).toBe(32);
  const said = ends.heard().filter((line) => line.includes('10023'));
  expect(said.length).toBe(8);
  receipts[0]?.();
  ends.sends('cmd.a', '_INBOX.h', [], mib);
  expect(receipts.length).toBe(33);
});

test('what a consumer here delivers crosses with its subject behind the reply, in the lane for bulk', () => {
  const ends = new LeafEnds().connect();
  ends.wants('$JS.S.abc', '_INBOX.pull');
  ends.heard();
  const stored = made('plant.temp', '$JS.ACK.S.c.1.7.1.99.0', 'hot');
  expect(ends.broker.deliverTo('$JS.S.abc', stored)).toBe('delivered');
  ends.broker.deliverTo('$JS.S.abc', made('plant.temp', '$JS.ACK.S.c.1.8.2.99.0', 'hot'));
  ends.broker.answer(made('$JS.S.abc', '$JS.FC.S.c.xyz', ''));
  ends.broker.answer(made('$JS.S.abc', undefined, 'beat'));
  ends.broker.answer(made('_INBOX.pull', undefined, 'status'));
  expect(ends.heard()).toEqual([
    'LS+ $JS.ACK.S.c.>',
    'bulk $JS.S.abc reply $JS.ACK.S.c.1.7.1.99.0@plant.temp for plain: hot',
    'LS+ $JS.FC.S.c.*',
    'bulk $JS.S.abc reply $JS.ACK.S.c.1.8.2.99.0@plant.temp for plain: hot',
    'bulk $JS.S.abc reply $JS.FC.S.c.xyz for plain: ',
    'bulk $JS.S.abc for plain: beat',
    'live _INBOX.pull for plain: status',
  ]);
  const acks = ends.listen('$JS.ACK.>');
  const flow = ends.listen('$JS.FC.>');
  ends.sends('$JS.ACK.S.c.1.7.1.99.0', '_INBOX.h.1');
  ends.sends('$JS.FC.S.c.xyz');
  ends.sends('$JS.ACK.S.other.1.7.1.99.0');
  ends.sends('$JS.FC.S.other.xyz');
  expect(acks.got).toEqual(['$JS.ACK.S.c.1.7.1.99.0 _INBOX.h.1']);
  expect(flow.got).toEqual(['$JS.FC.S.c.xyz']);
  expect(ends.interest.counters.deniedInMsgs).toBe(2);
});

test('a status keeps its place behind the data of its own consumer, whoever delivers in between', () => {
  const ends = new LeafEnds().connect();
  ends.wants('$JS.S.one', '$JS.S.two');
  for (const name of ['one', 'two'])
    ends.broker.deliverTo(`$JS.S.${name}`, made('a', `$JS.ACK.S.${name}.1.1.1.1.0`));
  ends.heard();
  for (const name of ['one', 'two', 'one'])
    ends.broker.answer(made(`$JS.S.${name}`, undefined, ''));
  expect(ends.heard()).toEqual(
    ['one', 'two', 'one'].map((name) => `bulk $JS.S.${name} for plain: `),
  );
});

test('subjects here that come and go leave no trace', () => {
  const ends = new LeafEnds({ imports: ['cmd.>'], domain: undefined }).connect();
  for (let i = 0; i < 20_000; i++) {
    ends.listen(`cmd.${i}`).end();
    if (i % 1000 === 0) ends.clock.turn();
  }
  ends.heard();
  ends.listen('cmd.last');
  expect(ends.heard()).toEqual(['LS+ cmd.last']);
  expect(ends.interest.counters.ignoredInterests).toBe(0);
});

test('who delivers sees that the link is full, and what the hub takes at most', () => {
  const ends = new LeafEnds({ exports: ['evt.>'] }).connect({ payloadBytesMax: 10 });
  ends.wants('$JS.S.abc', 'evt.>');
  const [listener] = ends.broker.listeners('$JS.S.abc');
  expect(listener).toMatchObject({ unreadBytes: 0, messageBytesMax: 10 });
  ends.out.isFull = true;
  expect(listener).toMatchObject({ unreadBytes: Infinity });
  ends.heard();
  expect(ends.publish('evt.a', undefined, 'x'.repeat(10))).toBe('delivered');
  expect(ends.publish('evt.a', undefined, 'x'.repeat(11))).toBe('nobody');
  const headers = Buffer.from('NATS/1.0\r\nA: b\r\n\r\n');
  expect(ends.broker.publish({ ...made('evt.a', undefined, ''), headers })).toBe('nobody');
  expect(ends.interest.counters.oversizeMsgs).toBe(2);
  ends.out.waitingBytes = 2 ** 30;
  expect(ends.broker.deliverTo('$JS.S.abc', made('a', '$JS.ACK.S.c.1.1.1.1.0'))).toBe('nobody');
  expect(ends.heard().length).toBe(1);
});

test('a delivery of the hub shows the subject under which the hub stores it, and is acknowledged there', () => {
  const ends = new LeafEnds({ exports: ['$JS.hub.API.>'] }).connect();
  ends.wants('$JS.hub.API.CONSUMER.>');
  const inbox = ends.listen('_INBOX.push');
  const pull = ends.listen('_INBOX.pull.*');
  ends.heard();
  const create = JSON.stringify({ stream_name: 'H', config: { deliver_subject: '_INBOX.push' } });
  ends.publish('$JS.hub.API.CONSUMER.CREATE.H', '_INBOX.pull.1', create);
  expect(ends.heard().slice(0, -1).toSorted()).toEqual(['LS+ _INBOX.pull.*', 'LS+ _INBOX.push']);
  const later = JSON.stringify({ stream_name: 'H', config: { deliver_subject: '_INBOX.later' } });
  ends.publish('$JS.hub.API.CONSUMER.CREATE.H.c2', undefined, later);
  expect(ends.heard().length, 'nobody listens there yet').toBe(1);
  const listener = ends.listen('_INBOX.later');
  expect(ends.heard()).toEqual(['LS+ _INBOX.later']);
  ends.sends('_INBOX.later', '$JS.ACK.H.c2.1.7.1.99.0@orders.old');
  expect(listener.got).toEqual(['orders.old $JS.ACK.H.c2.1.7.1.99.0']);
  ends.sends('_INBOX.push', '$JS.ACK.H.c.1.7.1.99.0@orders.new');
  expect(inbox.got).toEqual(['orders.new $JS.ACK.H.c.1.7.1.99.0']);
  expect(ends.publish('$JS.ACK.H.c.1.7.1.99.0', undefined, '+ACK')).toBe('delivered');
  expect(ends.publish('$JS.ACK.H.other.1.7.1.99.0')).toBe('nobody');
  ends.sends('_INBOX.push', '$JS.FC.H.c.id');
  expect(ends.publish('$JS.FC.H.c.id', undefined, '')).toBe('delivered');
  expect(ends.heard()).toEqual([
    'live $JS.ACK.H.c.1.7.1.99.0 for plain: +ACK',
    'live $JS.FC.H.c.id for plain: ',
  ]);
  expect(pull.got).toEqual([]);
});

test('an object bucket here is offered to the hub, unless it has one of that name itself', () => {
  const ends = new LeafEnds().connect();
  ends.heard();
  const chunks = ends.stream('$O.fw.C.>');
  ends.stream('$O.fw.M.>');
  expect(ends.heard()).toEqual(['LS+ $O.fw.>']);
  ends.sends('$O.fw.C.abc');
  ends.sends('$O.other.C.abc');
  expect(chunks).toEqual(['$O.fw.C.abc']);
  ends.wants('$O.fw.C.>', '$O.fw.M.>', '$O.no.C.>');
  expect(ends.heard()).toEqual(['LS- $O.fw.>']);
  ends.sends('$O.fw.C.abd');
  expect(chunks.length).toBe(1);
  ends.wantsNoMore('$O.fw.C.>');
  expect(ends.heard()).toEqual([]);
  ends.wantsNoMore('$O.fw.M.>');
  expect(ends.heard()).toEqual(['LS+ $O.fw.>']);
  ends.sends('$JS.gw.API.$O.fw.C.abe');
  expect(chunks).toEqual(['$O.fw.C.abc', '$O.fw.C.abe']);
});

test('ten thousand subjects of the hub come and go, and nothing stays', () => {
  const ends = new LeafEnds({ exports: ['evt.>'] }).connect();
  for (let i = 0; i < 10_000; i++) ends.wants(`evt.${i}`, `_INBOX.c${i}.*`, `own.${i}`);
  expect(ends.interest.wanted).toBe(16_384);
  expect(ends.interest.counters.ignoredInterests).toBe(20_000 - 16_384);
  expect(ends.log.filter((line) => line.includes('more subjects than it keeps')).length).toBe(1);
  for (let i = 0; i < 10_000; i++) {
    ends.wantsNoMore(`evt.${i}`);
    ends.wantsNoMore(`_INBOX.c${i}.*`);
    ends.wantsNoMore(`own.${i}`);
  }
  expect(ends.interest.wanted).toBe(0);
  expect(ends.broker.subscriptions).toBe(0);
});

test('after a lost connection nothing of the old one is left, and everything of ours is said again', () => {
  const ends = new LeafEnds({ exports: ['ask.>'], imports: ['cmd.>'] }).connect();
  ends.wants('ask.a', 'ask.a crew 1', '$JS.S.abc', '_INBOX.h.*');
  const mux = ends.listen('_INBOX.abc.*');
  ends.listen('cmd.a');
  const gone = ends.listen('_INBOX.gone.*');
  ends.publish('ask.a', '_INBOX.abc.1');
  ends.publish('ask.a', '_INBOX.gone.1');
  ends.consumers.add('S c');
  ends.broker.deliverTo('$JS.S.abc', made('a', '$JS.ACK.S.c.1.7.1.99.0'));
  ends.heard();
  ends.interest.close();
  expect(ends.publish('ask.a')).toBe('nobody');
  expect(ends.broker.listeners('$JS.S.abc')).toEqual([]);
  expect(ends.interest.wanted).toBe(0);
  expect(ends.interest.advertised).toEqual([]);
  gone.end();
  ends.listen('cmd.b');
  ends.connect();
  expect(ends.heard().toSorted()).toEqual(
    ['$JS.gw.API.>', 'cmd.a', 'cmd.b', '_INBOX.abc.*', '$JS.ACK.S.c.>']
      .map((subject) => `LS+ ${subject}`)
      .toSorted(),
  );
  ends.sends('_INBOX.abc.1');
  expect(mux.got, 'the answer to what was asked before').toEqual(['_INBOX.abc.1']);
  expect(ends.publish('ask.a'), 'the hub has not said that it wants it').toBe('nobody');
});

test('what is gathered when the connection ends does not leave on the next one', () => {
  const ends = new LeafEnds({ exports: ['evt.>'] }).connect();
  ends.wants('evt.>');
  const first = ends.out;
  ends.publish('evt.a');
  ends.interest.close();
  ends.connect();
  expect(ends.heard()).toEqual(['LS+ $JS.gw.API.>']);
  expect(first.frames).toEqual([]);
});

test('programs that listen to too many subjects take no answer from others, and what is over is told when there is room', () => {
  const ends = new LeafEnds({ exports: ['ask.>'], imports: ['in.>'] }).connect();
  ends.wants('ask.>');
  const many = Array.from({ length: 17_000 }, (_, i) => ends.listen(`in.${i}`));
  const last = ends.listen('in.last');
  ends.heard();
  expect(ends.interest.counters.ignoredInterests).toBeGreaterThan(0);
  ends.listen('_INBOX.asker.*');
  ends.publish('ask.it', '_INBOX.asker.1');
  expect(ends.heard()).toContain('LS+ _INBOX.asker.*');
  for (const { end } of many.slice(0, 100)) end();
  ends.heard();
  const again = ends.listen('in.last');
  ends.heard();
  last.end();
  expect(ends.heard()).not.toContain('LS- in.last');
  for (const { end } of many.slice(100, 8000)) end();
  const heard = [...ends.heard(), ...ends.heard()];
  expect(heard).toContain('LS+ in.16999');
  expect(heard.filter((line) => line.endsWith(' in.last'))).toEqual(['LS+ in.last']);
  again.end();
  expect(ends.heard()).toEqual(['LS- in.last']);
});
