// Clients that mean no good, on the side of JetStream: each gets the right refusal, what it takes is bounded, and somebody
// else is still served. The agent is a process of its own, so that its memory can be looked at.

import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FrameClient, type Frame } from '../support/frame-client.ts';
import { natsAgent, type NatsAgent } from '../support/nats-agent.ts';
import { until } from '../support/until.ts';

/** The agent alone takes some 100 MiB. */
const MEMORY_MIB_MAX = 512;
const WAIT_MS = 30_000;

let server: NatsAgent;
let hostile: FrameClient;
let other: FrameClient;
let inboxes = 0;

beforeEach(async () => {
  server = await natsAgent();
  await server.agent.start();
  hostile = await FrameClient.to(server.port);
  other = await FrameClient.to(server.port);
  await ask(other, 'STREAM.CREATE.MINE', { name: 'MINE', subjects: ['mine'] });
});
afterEach(async () => {
  try {
    // Whatever happened: others are served, and the memory is bounded.
    expect(await request(other, 'mine', 'still here')).toMatchObject({
      data: expect.stringContaining('"stream":"MINE"'),
    });
    expect(memoryMiB()).toBeLessThan(MEMORY_MIB_MAX);
    expect(server.agent.running).toBe(true);
  } finally {
    hostile.close();
    other.close();
    await server.agent.dispose();
  }
});

function memoryMiB(): number {
  const status = readFileSync(`/proc/${server.agent.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
}

async function request(client: FrameClient, subject: string, data = ''): Promise<Frame> {
  const inbox = `_INBOX.test.${++inboxes}`;
  const { box, sid } = client.subscribe(inbox);
  client.publish(subject, { reply: inbox, data });
  await client.until(() => box.length > 0, WAIT_MS);
  client.unsubscribe(sid);
  const [frame] = box;
  if (frame === undefined) throw new Error(`no answer on ${subject}`);
  return frame;
}

interface Answer {
  readonly error?: { readonly err_code: number; readonly description: string };
  readonly [field: string]: unknown;
}

async function ask(client: FrameClient, subject: string, data: unknown = ''): Promise<Answer> {
  const text = typeof data === 'string' ? data : JSON.stringify(data);
  return JSON.parse((await request(client, `$JS.API.${subject}`, text)).data);
}

async function refusal(subject: string, data: unknown): Promise<string | undefined> {
  return (await ask(hostile, subject, data)).error?.description;
}

function consumer(name: string, config: object): object {
  return { stream_name: 'S', config: { name, ack_policy: 'explicit', ...config } };
}

/** What `count` requests, sent without waiting, are answered with. */
async function storm(count: number, send: (i: number, reply: string) => void): Promise<Frame[]> {
  const inbox = `_INBOX.test.${++inboxes}`;
  const { box, sid } = hostile.subscribe(inbox);
  for (let i = 0; i < count; i++) {
    send(i, inbox);
    if (i % 1_000 === 999) await hostile.flush();
  }
  await hostile.until(() => box.length >= count, WAIT_MS);
  hostile.unsubscribe(sid);
  return box;
}

test('requests that are deep, huge or absurd are refused', async () => {
  const create = (data: string): Promise<string | undefined> => refusal('STREAM.CREATE.J', data);
  expect(await create('{"name":'.repeat(30_000))).toContain('exceeded max depth');
  expect(await create('['.repeat(250_000))).toContain('exceeded max depth');
  expect(await create('x'.repeat(900_000))).toBe('message size exceeds maximum allowed');
  expect(await create(`{"name":"J","max_msgs":${'9'.repeat(200_000)}}`)).toContain('number 999');
  expect(await create(`{"name":"${String.raw`\u0041`.repeat(40_000)}"}`)).toContain(
    'does not match',
  );
  const keys = `{${Array.from({ length: 20_000 }, () => '"name":"J"').join(',')}}`;
  expect(await create(keys)).toBeUndefined();
});

test('one consumer with a thousand wildcards is possible, more filters are refused, and so are very long ones', async () => {
  await ask(hostile, 'STREAM.CREATE.S', { name: 'S', subjects: ['s.>'] });
  const filters = (count: number, length: number): object => ({
    filter_subjects: Array.from({ length: count }, (_, i) => `*.${i}.`.padEnd(length, 'x')),
  });
  expect(await refusal('CONSUMER.CREATE.S.a', consumer('a', filters(1_000, 20)))).toBeUndefined();
  expect(await refusal('CONSUMER.CREATE.S.b', consumer('b', filters(1_001, 20)))).toBe(
    'consumer can not have more than 1000 filter subjects',
  );
  expect(await refusal('CONSUMER.CREATE.S.c', consumer('c', filters(900, 100)))).toBe(
    'consumer can not have more than 32768 bytes of filter subjects',
  );
  const twice = { filter_subjects: ['s.*.b', 's.>'] };
  expect(await refusal('CONSUMER.CREATE.S.d', consumer('d', twice))).toBe(
    'consumer subject filters cannot overlap',
  );
});

test('configurations of consumers have room for 32 MiB together, and filters for 50,000', async () => {
  await ask(hostile, 'STREAM.CREATE.S', { name: 'S', subjects: ['s.>'] });
  const big = (i: number): object => consumer(`c${i}`, { metadata: { m: 'x'.repeat(125_000) } });
  let refused: string | undefined;
  let made = 0;
  for (; made < 300 && refused === undefined; made++)
    refused = await refusal(`CONSUMER.CREATE.S.c${made}`, big(made));
  expect(refused).toBe('insufficient resources');
  expect(made * 125_000).toBeGreaterThan(31 * 1024 * 1024);
  expect(made * 125_000).toBeLessThanOrEqual(32 * 1024 * 1024);
  // What goes makes room.
  await ask(hostile, 'CONSUMER.DELETE.S.c0');
  expect(await refusal('CONSUMER.CREATE.S.c0', big(0))).toBeUndefined();
  await ask(hostile, 'STREAM.DELETE.S');
  await ask(hostile, 'STREAM.CREATE.S', { name: 'S', subjects: ['s.>'] });
  const filters = Array.from({ length: 1_000 }, (_, i) => `s.${i}`);
  const many = (i: number): object => consumer(`f${i}`, { filter_subjects: filters });
  for (let i = 0; i < 50; i++)
    expect(await refusal(`CONSUMER.CREATE.S.f${i}`, many(i))).toBeUndefined();
  expect(await refusal('CONSUMER.CREATE.S.f50', many(50))).toBe('insufficient resources');
});

test('a work-queue with a thousand consumers knows which of their filters are taken', async () => {
  await ask(hostile, 'STREAM.CREATE.S', { name: 'S', subjects: ['s.>'], retention: 'workqueue' });
  const create = (i: number, filter: string): [string, string] => [
    `$JS.API.CONSUMER.CREATE.S.c${i}`,
    JSON.stringify(consumer(`c${i}`, { filter_subject: filter })),
  ];
  const made = await storm(1_000, (i, reply) => {
    const [subject, data] = create(i, `s.*.${i}`);
    hostile.publish(subject, { reply, data });
  });
  expect(made.filter(({ data }) => data.includes('"error"'))).toEqual([]);
  const again = async (i: number, filter: string): Promise<string | undefined> => {
    const [subject, data] = create(i, filter);
    return refusal(subject.slice('$JS.API.'.length), data);
  };
  const taken = 'filtered consumer not unique on workqueue stream';
  expect(await again(1_000, 's.a.7')).toBe(taken);
  // What one gives up, another may have.
  await ask(hostile, 'CONSUMER.DELETE.S.c7');
  expect(await again(1_000, 's.a.7')).toBeUndefined();
  expect(await again(1_001, 's.b.7')).toBeUndefined();
  expect(await again(8, 's.*.new')).toBeUndefined();
  expect(await again(1_002, 's.c.new')).toBe(taken);
  expect(await again(1_002, 's.*.8')).toBeUndefined();
  expect(await again(1_003, 's.>')).toBe(taken);
}, 120_000);

test('streams of clients have 5,000 subjects together', async () => {
  const create = (i: number, count: number): Promise<string | undefined> =>
    refusal(`STREAM.CREATE.S${i}`, {
      name: `S${i}`,
      storage: 'memory',
      subjects: Array.from({ length: count }, (_, k) => `s.*.${i}.${k}`),
    });
  // One more is the other client's.
  for (let i = 0; i < 9; i++) expect(await create(i, 500)).toBeUndefined();
  expect(await create(9, 500)).toBe(
    'streams have too many subjects together, maximum allowed is 5000',
  );
  expect(await create(9, 499)).toBeUndefined();
  // A stream may be changed that has no more than before.
  const update = { name: 'S9', storage: 'memory', subjects: ['s.*.9.x'] };
  expect(await refusal('STREAM.UPDATE.S9', update)).toBeUndefined();
});

test('who asks and asks and does not read is cut', async () => {
  for (let i = 0; i < 20; i++)
    await ask(hostile, `STREAM.CREATE.L${i}`, {
      name: `L${i}`,
      metadata: { m: 'x'.repeat(20_000) },
    });
  const socket: Socket = connect(server.port, '127.0.0.1');
  let closed = false;
  socket.on('error', () => undefined);
  socket.on('close', () => (closed = true));
  socket.pause();
  socket.write('CONNECT {"verbose":false}\r\nSUB _INBOX.x 1\r\n');
  const flood = 'PUB $JS.API.STREAM.LIST _INBOX.x 0\r\n\r\n'.repeat(500);
  await until('the flood is cut off', () => {
    if (socket.writableLength < 1_000_000) socket.write(flood);
    return closed;
  });
});

test('a consumer keeps 512 pull requests, however many come and whatever they ask for', async () => {
  await ask(hostile, 'STREAM.CREATE.S', { name: 'S', subjects: ['s.>'] });
  await ask(hostile, 'CONSUMER.CREATE.S.d', consumer('d', { durable_name: 'd' }));
  const next = '$JS.API.CONSUMER.MSG.NEXT.S.d';
  const endless = '{"batch":1000000000,"expires":9223372036854775807}';
  const waiting = hostile.subscribe('_INBOX.waiting');
  for (let i = 0; i < 20_000; i++) {
    hostile.publish(next, { reply: '_INBOX.waiting', data: endless });
    if (i % 1_000 === 0) await hostile.flush();
  }
  await hostile.flush();
  expect(waiting.box).toHaveLength(20_000 - 512);
  expect(new Set(waiting.box.map(({ headers }) => headers))).toEqual(
    new Set(['NATS/1.0 409 Exceeded MaxWaiting\r\n\r\n']),
  );
  const noWait = '{"no_wait":true,"batch":1000000000}';
  const none = await storm(20_000, (_, reply) => hostile.publish(next, { reply, data: noWait }));
  expect(none).toHaveLength(20_000);
  expect((await ask(hostile, 'CONSUMER.INFO.S.d'))['num_waiting']).toBe(512);
  hostile.unsubscribe(waiting.sid);
}, 120_000);

test('acknowledgements of what was never delivered change nothing', async () => {
  await ask(hostile, 'STREAM.CREATE.S', { name: 'S', subjects: ['s.>'] });
  await ask(hostile, 'CONSUMER.CREATE.S.d', consumer('d', { durable_name: 'd' }));
  for (let i = 0; i < 3; i++) await request(hostile, 's.a', 'x');
  await request(hostile, '$JS.API.CONSUMER.MSG.NEXT.S.d', '1');
  const before = await ask(hostile, 'CONSUMER.INFO.S.d');
  const words = ['+ACK', '-NAK', '+TERM', '-NAK {"delay":99999999999999999}', '+WPI'];
  for (let i = 0; i < 20_000; i++) {
    const data = words[i % words.length] ?? '';
    hostile.publish(`$JS.ACK.S.d.1.${i + 2}.${i + 2}.1.0`, { data });
    hostile.publish(`$JS.FC.S.d.x${i}`);
    if (i % 1_000 === 0) await hostile.flush();
  }
  for (const odd of ['18446744073709551615.1', '-1.-1', 'NaN.1e9', '1.1.1.1.1', ''])
    hostile.publish(`$JS.ACK.S.d.1.${odd}.1.0`, { data: '+ACK' });
  await hostile.flush();
  const { ts: _now, ...after } = await ask(hostile, 'CONSUMER.INFO.S.d');
  expect(before).toMatchObject(after);
  // A reply that looks like an acknowledgement could make us acknowledge something ourselves.
  hostile.publish('s.a', { reply: '$JS.ACK.S.d.1.1.1.1.0', data: 'x' });
  await hostile.flush();
  expect(hostile.errors).toEqual([
    '-ERR \'Permissions Violation for Publish with Reply of "$JS.ACK.S.d.1.1.1.1.0"\'',
  ]);
}, 120_000);

test('fifty atomic batches of a stream are open, a thousand in all', async () => {
  const create = (i: number): Promise<Answer> =>
    ask(hostile, `STREAM.CREATE.B${i}`, { name: `B${i}`, subjects: [`b${i}`], allow_atomic: true });
  for (let i = 0; i < 25; i++) await create(i);
  const answers = await storm(2_000, (i, reply) =>
    hostile.publish(`b${i % 25}`, {
      reply,
      headers: [
        ['Nats-Batch-Id', `id${i}`],
        ['Nats-Batch-Sequence', '1'],
      ],
      data: 'x'.repeat(10_000),
    }),
  );
  const refused = answers.filter(({ data }) => data !== '');
  expect([answers.length, refused.length]).toEqual([2_000, 1_000]);
  expect(refused[0]?.data).toContain('"err_code":10210');
});

test('what is republished must not come back, by whatever way', async () => {
  const cycle = 'stream configuration for republish destination forms a cycle';
  const create = (name: string, subject: string, src: string, dest: string): Promise<unknown> =>
    refusal(`STREAM.CREATE.${name}`, { name, subjects: [subject], republish: { src, dest } });
  expect(await create('OWN', 'own.>', 'own.>', 'own.x.>')).toBe(cycle);
  expect(await create('HIDDEN', 'a.b.c', 'a.*.c', 'a.{{wildcard(1)}}.c')).toBe(cycle);
  expect(await create('ONE', 'one.>', 'one.>', 'two.>')).toBeUndefined();
  expect(await create('TWO', 'two.>', 'two.>', 'three.>')).toBeUndefined();
  expect(await create('THREE', 'three.>', 'three.>', 'one.>')).toBe(cycle);
  expect(await create('THREE', 'three.>', 'three.>', 'four.>')).toBeUndefined();
  const closing = { name: 'THREE', subjects: ['three.>'], republish: { src: '>', dest: 'one.>' } };
  expect(await refusal('STREAM.UPDATE.THREE', closing)).toBe(cycle);
  hostile.publish('one.x', { data: 'x' });
  const state = async (): Promise<unknown> => (await ask(hostile, 'STREAM.INFO.THREE'))['state'];
  await until('it has gone through all three', async () =>
    JSON.stringify(await state()).includes('"messages":1'),
  );
});

test('a consumer may deliver to the API and to a stream: it is no request, and nothing is stored', async () => {
  await ask(hostile, 'STREAM.CREATE.S', { name: 'S', subjects: ['s.>'] });
  for (let i = 0; i < 3; i++) await request(hostile, 's.a', '');
  const push = (name: string, to: string): Promise<string | undefined> =>
    refusal(
      `CONSUMER.CREATE.S.${name}`,
      consumer(name, { ack_policy: 'none', deliver_subject: to }),
    );
  const errors = async (): Promise<unknown> => {
    const { api } = (await ask(other, 'INFO')) as { api?: { errors: number } };
    return api?.errors;
  };
  expect(await push('own', 's.b')).toBe('consumer deliver subject forms a cycle');
  const before = await errors();
  expect(await push('api', '$JS.API.STREAM.DELETE.MINE')).toBeUndefined();
  expect(await push('acks', '$JS.ACK.S.own.1.1.1.1.1')).toBeUndefined();
  expect(await push('stored', 'mine')).toBeUndefined();
  await hostile.flush();
  expect((await ask(other, 'STREAM.INFO.MINE'))['state']).toMatchObject({ messages: 0 });
  expect(await errors()).toBe(before);
});

test('messages that expire and purges by the hundred end in an empty stream', async () => {
  await ask(hostile, 'STREAM.CREATE.S', {
    name: 'S',
    subjects: ['s.>'],
    allow_msg_ttl: true,
    subject_delete_marker_ttl: 1_000_000_000,
  });
  for (let i = 0; i < 5_000; i++) hostile.publish(`s.${i}`, { headers: [['Nats-TTL', '1s']] });
  const purges = await storm(300, (i, reply) =>
    hostile.publish('$JS.API.STREAM.PURGE.S', {
      reply,
      data: i % 2 === 0 ? `{"filter":"s.${i}"}` : '{"keep":4000}',
    }),
  );
  expect(purges.filter(({ data }) => data.includes('"success":true'))).toHaveLength(300);
  await until('everything has expired, the markers too', async () =>
    JSON.stringify((await ask(hostile, 'STREAM.INFO.S'))['state']).includes('"messages":0'),
  );
}, 120_000);

test('who asks for everything and does not read gets what fits, and others go on', async () => {
  await ask(hostile, 'STREAM.CREATE.S', { name: 'S', subjects: ['s.>'], allow_direct: true });
  const data = 'x'.repeat(60_000);
  await storm(500, (i, reply) => hostile.publish(`s.${i}`, { reply, data }));
  const everything = '{"seq":1,"batch":1000000000,"next_by_subj":">"}';
  const get = `PUB $JS.API.DIRECT.GET.S _INBOX.slow ${everything.length}\r\n${everything}\r\n`;
  const sockets = Array.from({ length: 4 }, () => {
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.pause();
    socket.write('CONNECT {"verbose":false,"headers":true}\r\nSUB _INBOX.slow 1\r\n');
    socket.write(get.repeat(50));
    return socket;
  });
  const push = consumer('slow', { ack_policy: 'none', deliver_subject: '_INBOX.slow' });
  expect(await refusal('CONSUMER.CREATE.S.slow', push)).toBeUndefined();
  for (let i = 0; i < 200; i++) await request(other, 'mine', 'x');
  for (const socket of sockets) socket.destroy();
}, 120_000);
