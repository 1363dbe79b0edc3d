// mosquitto's own clients against an agent as the operator runs it: every version with every other, every QoS, retained
// messages, Wills, shared subscriptions, properties, requests.

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { Programs, VERSIONS, type MosquittoVersion } from '../support/mqtt-programs.ts';
import { until } from '../support/until.ts';

let agent: AgentProcess;
let programs: Programs;

beforeAll(async () => {
  agent = await AgentProcess.create();
  await agent.start();
  programs = new Programs(agent.mqttPort);
});
afterEach(() => programs[Symbol.asyncDispose]());
afterAll(() => agent.dispose());

/** A topic of its own for each test: they share an agent. */
let topics = 0;
const topic = (name = 't'): string => `data/${name}-${topics++}`;

const PAIRS = VERSIONS.flatMap((from) => VERSIONS.map((to) => [from, to] as const));

test.each(PAIRS)('%s publishes with each QoS, %s hears it with each QoS', async (from, to) => {
  const name = topic();
  const subs = await Promise.all(
    [0, 1, 2].map((qos) => programs.sub(to, '%q %r %t %p', '-t', name, '-q', String(qos))),
  );
  for (const qos of [0, 1, 2])
    await programs.pub(from, '-t', name, '-q', `${qos}`, '-m', `m${qos}`);
  for (const [granted, sub] of subs.entries())
    expect(await sub.received(3)).toEqual(
      [0, 1, 2].map((qos) => `${Math.min(qos, granted)} 0 ${name} m${qos}`),
    );
});

test.each(PAIRS)(
  '%s publishes a thousand lines with QoS 2, %s hears each once, in order',
  async (from, to) => {
    const name = topic();
    const sub = await programs.sub(to, '%p', '-t', name, '-q', '2');
    const args = [...address(from), '-t', name, '-q', '2', '-l'];
    const pub = await programs.start('mosquitto_pub', args);
    const lines = Array.from({ length: 1000 }, (_, i) => `line ${i}`);
    pub.child.stdin.end(`${lines.join('\n')}\n`);
    await pub.succeeded();
    await sub.received(1000);
    await programs.pub(from, '-t', name, '-q', '2', '-m', 'end');
    expect(await sub.received(1001)).toEqual([...lines, 'end']);
  },
);

test.each(PAIRS)(
  '%s retains with each QoS, %s gets it marked; an empty one takes it away',
  async (from, to) => {
    const name = topic('kept');
    for (const qos of [0, 1, 2])
      await programs.pub(from, '-t', `${name}/${qos}`, '-q', `${qos}`, '-r', '-m', `k${qos}`);
    const sub = await programs.sub(to, '%q %r %t %p', '-t', `${name}/+`, '-q', '2');
    expect((await sub.received(3)).toSorted()).toEqual(
      [0, 1, 2].map((qos) => `${qos} 1 ${name}/${qos} k${qos}`),
    );
    for (const qos of [0, 1, 2])
      await programs.pub(from, '-t', `${name}/${qos}`, '-q', `${qos}`, '-r', '-n');
    const later = await programs.sub(to, '%t %p', '-t', `${name}/+`, '-q', '2');
    await programs.pub(from, '-t', `${name}/end`, '-q', '2', '-m', 'end');
    expect(await later.received(1)).toEqual([`${name}/end end`]);
  },
);

test.each(VERSIONS)(
  'a %s client that is killed leaves its Will, retained; one that ends does not',
  async (version) => {
    const name = topic('will');
    const watcher = await programs.sub(
      'mqttv5',
      '%q %r %t %p',
      '-t',
      `${name}/#`,
      '-q',
      '2',
      '--retain-as-published',
    );
    const will = (who: string): string[] =>
      [
        [
          '-t',
          `${name}/none`,
          '-i',
          `${version}-${who}`,
          '-q',
          '1',
          '--will-qos',
          '2',
          '--will-retain',
        ],
        ['--will-topic', `${name}/${who}`, '--will-payload', 'lost'],
      ].flat();
    const polite = [...address(version), ...will('polite'), '-E'];
    await (await programs.start('mosquitto_sub', polite)).succeeded();
    const killed = await programs.sub(version, '%p', ...will('killed'));
    await killed.kill();
    expect(await watcher.received(1)).toEqual([`2 1 ${name}/killed lost`]);
    const late = await programs.sub(version, '%q %r %t %p', '-t', `${name}/#`, '-q', '2');
    expect(await late.received(1)).toEqual([`2 1 ${name}/killed lost`]);
  },
);

test.each(VERSIONS)(
  'a %s client that was away gets what came with QoS 1 and 2, over a kill -9 of the agent',
  async (version) => {
    const name = topic('away');
    // mosquitto_sub of 5.0 asks for a session that lasts by `-x`.
    const session = [
      '-i',
      `away-${version}`,
      '-c',
      '-q',
      '2',
      '-t',
      name,
      ...(version === 'mqttv5' ? ['-x', '3600'] : []),
    ];
    await (
      await programs.start('mosquitto_sub', [...address(version), ...session, '-E'])
    ).succeeded();
    for (const qos of [1, 2])
      for (let i = 0; i < 20; i++)
        await programs.pub('mqttv5', '-t', name, '-q', `${qos}`, '-m', `${qos}-${i}`);
    await agent.kill('SIGKILL');
    await agent.start();
    const back = await programs.sub(version, '%q %p', ...session);
    const all = [1, 2].flatMap((qos) => Array.from({ length: 20 }, (_, i) => `${qos} ${qos}-${i}`));
    expect(await back.received(40)).toEqual(all);
    await programs.pub('mqttv5', '-t', name, '-q', '2', '-m', 'end');
    expect(await back.received(41)).toEqual([...all, '2 end']);
  },
  120_000,
);

test('a group of mosquitto_sub shares what comes: each message once, members of all versions', async () => {
  const name = topic('shared');
  const members = await Promise.all(
    VERSIONS.map((version) => programs.sub(version, '%p', '-t', `$share/crew/${name}`, '-q', '2')),
  );
  const other = await programs.sub('mqttv5', '%p', '-t', `$share/other/${name}`, '-q', '2');
  const pub = await programs.start('mosquitto_pub', [
    ...address('mqttv5'),
    '-t',
    name,
    '-q',
    '2',
    '-l',
  ]);
  const lines = Array.from({ length: 300 }, (_, i) => `${i}`);
  pub.child.stdin.end(`${lines.join('\n')}\n`);
  await pub.succeeded();
  await other.received(300);
  const got = (): string[] => members.flatMap((member) => member.messages);
  await until('all of it', () => got().length >= 300);
  expect(got().toSorted((a, b) => Number(a) - Number(b))).toEqual(lines);
  for (const member of members) expect(member.messages.length).toBeGreaterThan(30);
  expect(other.messages).toEqual(lines);
});

test('properties of a message arrive as they were sent, in the order of the user properties', async () => {
  const name = topic('properties');
  const sub = await programs.sub(
    'mqttv5',
    '%A|%C|%D|%E|%F|%P|%R|%p',
    '-t',
    name,
    '-q',
    '2',
    '-D',
    'subscribe',
    'subscription-identifier',
    '7',
  );
  const properties: readonly string[][] = [
    ['content-type', 'text/plain'],
    ['correlation-data', 'abc'],
    ['payload-format-indicator', '1'],
    ['message-expiry-interval', '100'],
    ['response-topic', 'data/answers'],
    ['user-property', 'unit', 'C'],
    ['user-property', 'unit', 'K'],
    ['user-property', 'a name: with "all" sorts of größe', 'and a valüe: too'],
  ];
  await programs.pub(
    'mqttv5',
    '-t',
    name,
    '-q',
    '1',
    '-m',
    'x',
    ...properties.flatMap((each) => ['-D', 'publish', ...each]),
  );
  const [line = ''] = await sub.received(1);
  expect(line).toMatch(
    /^\|text\/plain\|abc\|(100|99)\|1\|unit:C unit:K a name: with "all" sorts of größe:and a valüe: too *\|data\/answers\|x$/,
  );
});

test('mosquitto_rr asks, and hears the answer on its Response Topic', async () => {
  const name = topic('ask');
  const service = await programs.sub('mqttv5', '%R|%D|%p', '-t', name, '-q', '1');
  const ask = ['-t', name, '-e', `${name}/answer`, '-m', 'how warm?', '-q', '1', '-F', '%p'];
  const asker = await programs.start('mosquitto_rr', [
    ...address('mqttv5'),
    ...ask,
    '-D',
    'publish',
    'correlation-data',
    '42',
  ]);
  const [question = ''] = await service.received(1);
  expect(question).toBe(`${name}/answer|42|how warm?`);
  await programs.pub(
    'mqttv5',
    '-t',
    `${name}/answer`,
    '-q',
    '1',
    '-m',
    '21 C',
    '-D',
    'publish',
    'correlation-data',
    '42',
  );
  await asker.succeeded();
  expect(asker.out).toBe('21 C\n');
});

test('a message that has expired is given to nobody; a session that has expired is gone', async () => {
  const name = topic('expiry');
  const session = ['-i', 'expiry', '-c', '-q', '1', '-t', name];
  await (
    await programs.start('mosquitto_sub', [...address('mqttv5'), ...session, '-x', '3600', '-E'])
  ).succeeded();
  await programs.pub(
    'mqttv5',
    '-t',
    name,
    '-q',
    '1',
    '-m',
    'short',
    '-D',
    'publish',
    'message-expiry-interval',
    '1',
  );
  await programs.pub(
    'mqttv5',
    '-t',
    name,
    '-q',
    '1',
    '-m',
    'long',
    '-D',
    'publish',
    'message-expiry-interval',
    '600',
  );
  await expired(name);
  const back = await programs.sub('mqttv5', '%p', ...session, '-x', '3600');
  await back.received(1);
  await programs.pub('mqttv5', '-t', name, '-q', '1', '-m', 'end');
  expect(await back.received(2)).toEqual(['long', 'end']);
});

/** Waits until a retained message that expires in two seconds, sent now, has gone: by the agent's own clock. */
async function expired(name: string): Promise<void> {
  const marker = `${name}/marker`;
  await programs.pub(
    'mqttv5',
    '-t',
    marker,
    '-r',
    '-q',
    '1',
    '-m',
    'x',
    '-D',
    'publish',
    'message-expiry-interval',
    '2',
  );
  await until('the expiry', async () => {
    const look = await programs.start('mosquitto_sub', [
      ...address('mqttv5'),
      '-t',
      marker,
      '-C',
      '1',
      '-W',
      '1',
    ]);
    await look.exited;
    return look.out === '';
  });
}

function address(version: MosquittoVersion): string[] {
  return ['-h', '127.0.0.1', '-p', `${agent.mqttPort}`, '-V', version];
}
