// The same lines of protocol to a real nats-server and to our listener: the answers are the same, but for INFO. Groups have
// one willing member at a time, as which one of several gets a message is chance.

import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Broker } from '../../src/broker.ts';
import { systemClock } from '../../src/clock.ts';
import { NatsListener } from '../../src/nats/listener.ts';
import { startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { randomInt, seededRandom, type Random } from '../support/random.ts';
import { Wire } from '../support/wire.ts';

const ROUNDS = 100;
const STEPS = 25;
const CLIENTS = 3;

let theirs: NatsServer;
const ours = new NatsListener(
  {
    listen: { host: '127.0.0.1', port: 0 },
    allowAnonymous: true,
    serverId: 'NTEST',
    serverName: 'gw7',
  },
  { broker: new Broker(), clock: systemClock, log: pino({ level: 'silent' }) },
);
const ports = (): [number, number] => [theirs.port, ours.address?.port ?? 0];

/** The same with users. */
let theirsGuarded: NatsServer;
const oursGuarded = new NatsListener(
  {
    listen: { host: '127.0.0.1', port: 0 },
    allowAnonymous: false,
    serverId: 'NTEST',
    serverName: 'gw7',
    users: [
      {
        user: 'meter',
        secret: { type: 'password', text: 'sw0rdfish' },
        permissions: {
          publish: ['site.>', 'work'],
          denyPublish: ['site.secret.>'],
          subscribe: ['_INBOX.>', 'site.>'],
          denySubscribe: ['site.secret.*'],
          allowResponses: false,
        },
      },
      {
        user: 'robot',
        secret: { type: 'password', text: 'r0b0t' },
        permissions: {
          publish: undefined,
          denyPublish: [],
          subscribe: ['work'],
          denySubscribe: [],
          allowResponses: true,
        },
      },
      { user: 'boss', secret: { type: 'password', text: 'b0ss' }, permissions: undefined },
    ],
  },
  { broker: new Broker(), clock: systemClock, log: pino({ level: 'silent' }) },
);
const GUARD = `authorization { users: [
  { user: meter, password: sw0rdfish, permissions: {
      publish: { allow: ["site.>", "work"], deny: ["site.secret.>"] },
      subscribe: { allow: ["_INBOX.>", "site.>"], deny: ["site.secret.*"] } } }
  { user: robot, password: r0b0t, permissions: { subscribe: ["work"], allow_responses: true } }
  { user: boss, password: b0ss }
] }`;

beforeAll(async () => {
  theirs = await startNatsServer({ jetstream: null });
  theirsGuarded = await startNatsServer({ jetstream: null, config: GUARD });
  await ours.start();
  await oursGuarded.start();
});
afterAll(async () => {
  await theirs.dispose();
  await theirsGuarded.dispose();
  await ours.stop(100);
  await oursGuarded.stop(100);
});

/** What is said to which client. */
interface Step {
  readonly client: number;
  readonly bytes: string;
}

/** Runs `steps` against the server at `port`; what each client heard after each step. */
async function run(port: number, steps: readonly Step[]): Promise<string[]> {
  const wires: Wire[] = [];
  const transcript: string[] = [];
  const spoke = new Set<number>();
  for (let i = 0; i < CLIENTS; i++) wires.push(await Wire.to(port));
  for (const wire of wires) wire.take();
  for (const { client, bytes } of steps) {
    wires[client]?.say(bytes);
    await wires[client]?.settled();
    spoke.add(client);
    // Whoever has not said CONNECT might be closed for a PING.
    for (const [i, wire] of wires.entries()) if (spoke.has(i) && !wire.closed) await wire.settled();
    const heard = wires.map((wire) => `${plain(wire.take())}${wire.closed ? '[closed]' : ''}`);
    transcript.push(`${client} says ${JSON.stringify(bytes.slice(0, 200))}`, ...heard);
  }
  for (const wire of wires) wire.socket.destroy();
  return transcript;
}

/**
 * Without what comes by the clock, or from `settled`; and in order, as which of several subscriptions gets a message first
 * is chance, and so is which one a 503 comes by.
 */
function plain(heard: string): string {
  const frames: string[] = [];
  for (let at = 0; at < heard.length;) {
    const lineEnd = heard.indexOf('\r\n', at) + 2;
    const line = heard.slice(at, lineEnd);
    const size = /^H?MSG .* (\d+)\r\n$/.exec(line)?.[1];
    const end = size === undefined ? lineEnd : lineEnd + Number(size) + 2;
    if (lineEnd === 1) throw new Error(`half a line: ${heard.slice(at)}`);
    frames.push(heard.slice(at, end));
    at = end;
  }
  return frames
    .filter((frame) => !/^(INFO .*|PING|PONG)\r\n/.test(frame))
    .map((frame) =>
      frame.replace(/^(HMSG \S+) \d+ (.*\r\nNATS\/1.0 503\r\nNats-Subject)/, '$1 ? $2'),
    )
    .toSorted()
    .join('');
}

async function compare(steps: readonly Step[], [their, our] = ports()): Promise<void> {
  const [expected, found] = await Promise.all([run(their, steps), run(our, steps)]);
  expect(found).toEqual(expected);
}

const SUBJECTS = ['a', 'a.b', 'a.b.c', 'b', 'b.c', 'größe', 'A.b', 'a.bb'];
const FILTERS = [
  ...SUBJECTS,
  '*',
  '>',
  'a.*',
  'a.>',
  '*.b',
  'a.*.c',
  '*.*',
  'b.>',
  'a*',
  'a.>b',
  'x.y',
];
const BAD_FILTERS = ['a..b', '.a', 'a.', 'a.>.b', '>.a', '.'];
const DATA = ['', 'x', 'hello', '\r\n', 'PUB a 1\r\nx', 'y'.repeat(300), 'z'.repeat(9000)];

function one<T>(random: Random, list: readonly T[]): T {
  return list[randomInt(random, list.length)] as T;
}

function latin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}

function connectLine(random: Random): string {
  const flag = (): boolean => randomInt(random, 2) === 0;
  const headers = randomInt(random, 4) > 0;
  const options = {
    verbose: randomInt(random, 4) === 0,
    pedantic: randomInt(random, 4) === 0,
    ...(flag() ? { echo: flag() } : {}),
    headers,
    no_responders: headers && flag(),
    protocol: 1,
  };
  return `CONNECT ${JSON.stringify(options)}\r\n`;
}

function publishLine(random: Random): string {
  const subject = latin1(one(random, SUBJECTS));
  const reply =
    randomInt(random, 2) === 0 ? `${one(random, ['a.b', 'r.1', 'r.2', 'nobody'])} ` : '';
  const data = one(random, DATA);
  if (randomInt(random, 3) > 0) return `PUB ${subject} ${reply}${data.length}\r\n${data}\r\n`;
  const headers = one(random, [
    'NATS/1.0\r\n\r\n',
    'NATS/1.0\r\nA: b\r\n\r\n',
    'NATS/1.0 503\r\nX:y\r\nX: z\r\n\r\n',
  ]);
  return `HPUB ${subject} ${reply}${headers.length} ${headers.length + data.length}\r\n${headers}${data}\r\n`;
}

/** Rarely something that ends the connection. */
function wrongLine(random: Random): string {
  return one(random, [
    'FOO\r\n',
    'PUB a\r\n',
    'PUB a 5x\r\n',
    'SUB a\r\n',
    'PUB a 2\r\nabc\r\n',
    'PUB a 1048577\r\n',
    `SUB ${'a'.repeat(5000)} 1\r\n`,
    'CONNECT {"protocol":7}\r\n',
    'CONNECT {"no_responders":true}\r\n',
    'CONNECT nothing\r\n',
    'CONNECT {"verbose":"yes"}\r\n',
    'HPUB a 20 10\r\n',
    "-ERR 'no'\r\n",
  ]);
}

function line(random: Random, client: number): string {
  const sid = randomInt(random, 4);
  switch (randomInt(random, 24)) {
    case 0:
      return wrongLine(random);
    case 1:
      return connectLine(random);
    case 2:
      return `SUB ${one(random, BAD_FILTERS)} ${sid}\r\n`;
    case 3:
    case 4:
      // The names of groups are a client's own: one willing member.
      return `SUB ${latin1(one(random, FILTERS))} g${client} ${sid}\r\n`;
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
    case 10:
      return `SUB ${latin1(one(random, FILTERS))} ${sid}\r\n`;
    case 11:
    case 12:
      return `UNSUB ${sid}${one(random, ['', ' 1', ' 2', ' 3', ' 0', ' x'])}\r\n`;
    case 13:
      return `SUB r.* ${sid}\r\n`;
    case 14:
      return '+OK\r\n';
    default:
      return publishLine(random);
  }
}

test('random lines get the same answers from nats-server and from us', async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const random = seededRandom(4222 + round);
    const steps: Step[] = [];
    for (let client = 0; client < CLIENTS; client++)
      if (randomInt(random, 6) > 0) steps.push({ client, bytes: connectLine(random) });
    const groups = new Set<string>();
    for (let i = 0; i < STEPS; i++) {
      const client = randomInt(random, CLIENTS);
      const bytes = line(random, client);
      // Two members of one group would draw lots.
      const group = /^SUB \S+ (g\d)/.exec(bytes)?.[1];
      if (group !== undefined && groups.has(group)) continue;
      if (group !== undefined) groups.add(group);
      steps.push({ client, bytes });
    }
    await compare(steps);
  }
}, 120_000);

test('requests that nobody takes are answered alike', async () => {
  const hello =
    'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}\r\n';
  const deaf = hello.replace('"no_responders":true', '"no_responders":false');
  await compare([
    { client: 0, bytes: hello },
    { client: 1, bytes: hello },
    { client: 2, bytes: deaf },
    { client: 0, bytes: 'SUB _INBOX.a.* 1\r\n' },
    { client: 0, bytes: 'PUB svc _INBOX.a.1 2\r\nhi\r\n' },
    { client: 0, bytes: latin1('PUB svc.größe _INBOX.a.1 0\r\n\r\n') },
    { client: 1, bytes: 'PUB svc _INBOX.a.1 2\r\nhi\r\n' },
    { client: 1, bytes: 'SUB svc crew 9\r\n' },
    { client: 0, bytes: 'PUB svc _INBOX.a.1 2\r\nhi\r\n' },
    { client: 1, bytes: 'PUB _INBOX.a.1 2\r\nok\r\n' },
    { client: 1, bytes: 'UNSUB 9\r\n' },
    { client: 0, bytes: 'PUB svc _INBOX.a.1 2\r\nhi\r\n' },
    { client: 0, bytes: 'SUB _INBOX.b.* group 2\r\n' },
    { client: 0, bytes: 'PUB svc _INBOX.b.1 2\r\nhi\r\n' },
    { client: 2, bytes: 'SUB _INBOX.c.* 1\r\n' },
    { client: 2, bytes: 'PUB svc _INBOX.c.1 2\r\nhi\r\n' },
    { client: 0, bytes: 'PUB svc $JS.ACK.x 2\r\nhi\r\n' },
    { client: 0, bytes: 'PUB $NRG.x 2\r\nhi\r\n' },
    { client: 0, bytes: 'PUB _GR_.x 2\r\nhi\r\n' },
    { client: 0, bytes: 'SUB _INBOX.u 3\r\n' },
    { client: 0, bytes: 'PUB a..b _INBOX.a.2 2\r\nhi\r\n' },
    { client: 0, bytes: 'PUB .a _INBOX.a.2 2\r\nhi\r\n' },
  ]);
}, 120_000);

test('a maximum of UNSUB is counted alike', async () => {
  const hello = 'CONNECT {"verbose":false,"headers":true,"protocol":1}\r\n';
  const pub = 'PUB a 1\r\nx\r\n';
  for (const [before, max, after] of [
    [0, 2, 4],
    [2, 3, 3],
    [2, 2, 2],
    [3, 2, 2],
    [1, 0, 2],
  ] as const)
    await compare([
      { client: 0, bytes: `${hello}SUB a 1\r\nSUB * crew 2\r\n` },
      { client: 1, bytes: hello + pub.repeat(before) },
      { client: 0, bytes: `UNSUB 1 ${max}\r\nUNSUB 2 ${max}\r\n` },
      { client: 1, bytes: pub.repeat(after) },
      { client: 0, bytes: 'SUB a 1\r\n' },
      { client: 1, bytes: pub },
    ]);
}, 120_000);

test('logins and permissions get the same answers', async () => {
  const login = (user: string, pass: string): string =>
    `CONNECT {"verbose":false,"headers":true,"no_responders":true,"protocol":1,"user":"${user}","pass":"${pass}"}\r\n`;
  const guarded: [number, number] = [theirsGuarded.port, oursGuarded.address?.port ?? 0];
  const pub = (subject: string, reply = ''): string => `PUB ${subject} ${reply} 1\r\nx\r\n`;
  for (const first of [
    'P',
    'PING\r\n',
    'SUB a 1\r\n',
    'x\r\n',
    login('meter', 'wrong'),
    login('', ''),
    login('nobody', 'sw0rdfish'),
    'CONNECT {"auth_token":"sw0rdfish"}\r\n',
    'CONNECT {"user":"boss","pass":"b0ss","account":"A"}\r\n',
    `${login('boss', 'b0ss')}${login('boss', 'wrong')}`,
  ])
    await compare([{ client: 0, bytes: first }], guarded);
  const everything = [
    { client: 0, bytes: login('meter', 'sw0rdfish') },
    { client: 1, bytes: login('robot', 'r0b0t') },
    { client: 2, bytes: login('boss', 'b0ss') },
    { client: 2, bytes: 'SUB > 1\r\n' },
    ...['site.a', 'site.secret.a', 'elsewhere', 'work', 'site', '$SYS.a', '_INBOX.x'].map(
      (subject) => ({ client: 0, bytes: pub(subject) }),
    ),
    ...[
      'site.>',
      'site.a',
      'site.secret.a',
      'site.secret.*',
      'site.*.a',
      '>',
      '*',
      '_INBOX.a',
      'other',
    ].map((subject, sid) => ({ client: 0, bytes: `SUB ${subject} ${sid}\r\n` })),
    { client: 0, bytes: 'SUB elsewhere crew 20\r\n' },
    ...['site.a', 'site.secret.a', 'site.secret.a.b', 'site.b.a', '_INBOX.a'].map((subject) => ({
      client: 2,
      bytes: pub(subject, 'reply'),
    })),
    { client: 1, bytes: 'SUB work 1\r\nSUB other 2\r\n' },
    { client: 1, bytes: pub('work') },
    { client: 0, bytes: pub('work', '_INBOX.a') },
    { client: 1, bytes: pub('_INBOX.a') },
    { client: 1, bytes: pub('_INBOX.a') },
    { client: 1, bytes: pub('_INBOX.b') },
    { client: 0, bytes: pub('site.nobody', '_INBOX.a') },
  ];
  await compare(everything, guarded);
}, 120_000);
