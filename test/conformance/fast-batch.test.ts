// Ordered fast batches (ADR-50), the same bytes to a real nats-server and to our agent: every flow acknowledgement, gap, error
// and end of a batch reads the same, but for what is expected of the last message ID: here that ends a batch without gaps as
// any refusal does. More seeds:
//
//   FAST_BATCH_FROM=100 FAST_BATCH_SEEDS=2000 npx vitest run test/conformance/fast-batch.test.ts

import { afterAll, beforeAll, expect, test } from 'vitest';
import { GatewayDir, TestAgent } from '../support/agent.ts';
import { startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { seededRandom } from '../support/random.ts';
import { Wire } from '../support/wire.ts';

const FROM = Number(process.env['FAST_BATCH_FROM'] ?? 1);
const SEEDS = Number(process.env['FAST_BATCH_SEEDS'] ?? 30);

let peer: NatsServer;
let dir: GatewayDir;
let agent: TestAgent;
let theirs: Client;
let ours: Client;

beforeAll(async () => {
  peer = await startNatsServer({ jetstream: 'domain: gw7' });
  dir = new GatewayDir();
  dir.configure({
    servers: ['nats://127.0.0.1:1'],
    tables: '[nats]\nlisten = "127.0.0.1:0"\n',
  });
  agent = await TestAgent.start(dir);
  theirs = await Client.to(peer.port);
  ours = await Client.to(agent.agent.parts.nats?.address?.port ?? 0);
});
afterAll(async () => {
  theirs.close();
  ours.close();
  await agent.stop();
  dir.remove();
  await peer.dispose();
});

/** One message: the end of its reply subject, and its headers. */
interface Step {
  readonly reply: string;
  readonly headers?: readonly string[];
  readonly subject?: string;
  readonly data?: string;
}

interface Script {
  readonly config: object;
  readonly steps: readonly Step[];
  /** All at once; else each when the one before has had its effect. */
  readonly burst?: boolean;
}

class Client {
  readonly #wire: Wire;
  #barriers = 0;

  private constructor(wire: Wire) {
    this.#wire = wire;
  }

  static async to(port: number): Promise<Client> {
    const wire = await Wire.to(port);
    wire.say('CONNECT {"headers":true,"no_responders":true,"lang":"x","version":"1"}\r\n');
    wire.say('SUB in.> 1\r\nSUB api.> 2\r\nSUB bar.> 3\r\n');
    await wire.settled();
    return new Client(wire);
  }

  close(): void {
    this.#wire.socket.destroy();
  }

  /** What is heard of each step, and what the stream holds in the end. */
  async run({ config, steps, burst = false }: Script): Promise<string[]> {
    await this.#ask('STREAM.DELETE.S', {});
    const order = { name: 'S', subjects: ['s.>'], storage: 'file', allow_batched: true, ...config };
    let made = '"err_code":10049';
    // nats-server may still have the files of the stream before.
    for (let tries = 0; made.includes('"err_code":10049') && tries < 100; tries++)
      made = await this.#ask('STREAM.CREATE.S', order);
    expect(made).not.toContain('"error"');
    this.#barriers = 0;
    this.#wire.take();
    const heard: string[] = [];
    for (const [i, step] of steps.entries()) {
      this.#publish(step);
      if (burst && i < steps.length - 1) continue;
      await this.#barrier(config);
      const answers = this.#answers();
      // What waits for the disk comes later than what does not.
      heard.push((burst ? answers.sort() : answers).join('\n'));
    }
    const info = await this.#ask('STREAM.INFO.S', { subjects_filter: '>' });
    const { state } = JSON.parse(info) as { state: Record<string, unknown> };
    const { messages, first_seq, last_seq, subjects = {} } = state;
    const bySubject = Object.entries(subjects as object).map(([key, count]) => `${key} ${count}`);
    heard.push(JSON.stringify({ messages, first_seq, last_seq, bySubject: bySubject.sort() }));
    for (let seq = 1; seq <= Number(last_seq); seq++) {
      const got = await this.#ask('STREAM.MSG.GET.S', { seq });
      const { message = {} } = JSON.parse(got) as { message?: Record<string, string> };
      const { subject, hdrs, data } = message;
      heard.push(`${seq}: ${subject} ${hdrs} ${data}`);
    }
    return heard;
  }

  #publish({ reply, headers = [], subject = 's.a', data = 'x' }: Step): void {
    const block = headers.length === 0 ? '' : `NATS/1.0\r\n${headers.join('\r\n')}\r\n\r\n`;
    const sizes = block === '' ? `${data.length}` : `${block.length} ${block.length + data.length}`;
    const verb = block === '' ? 'PUB' : 'HPUB';
    this.#wire.say(`${verb} ${subject} ${reply} ${sizes}\r\n${block}${data}\r\n`);
  }

  /**
   * A publish that is refused, and says where the stream is, comes behind all before it. Where no publish is answered,
   * a batch of one message does.
   */
  async #barrier(config: object): Promise<void> {
    const barrier = ++this.#barriers;
    if ('no_ack' in config) {
      this.#publish({ reply: `bar.${barrier}.1.fail.1.2.$FI`, subject: 's.bar' });
      await this.#hears(`MSG bar.${barrier}.`);
      return this.#wire.settled();
    }
    const reply = `bar.${barrier}`;
    const block = 'NATS/1.0\r\nNats-Expected-Last-Sequence: 999999\r\n\r\n';
    this.#wire.say(`HPUB s.bar ${reply} ${block.length} ${block.length}\r\n${block}\r\n`);
    await this.#hears(`MSG ${reply} `);
    await this.#wire.settled();
  }

  /** By round trips: to look every 10 ms would take most of the time. */
  async #hears(text: string): Promise<void> {
    const deadline = performance.now() + 20_000;
    while (!this.#wire.heard.includes(text)) {
      if (performance.now() > deadline) throw new Error(`nothing came with ${text}`);
      await this.#wire.settled();
    }
  }

  #answers(): string[] {
    const lines = this.#wire.take().split('\r\n');
    const answers: string[] = [];
    for (const [i, line] of lines.entries())
      if (/^MSG (in|bar)\./.test(line))
        answers.push(
          `${line.replace(/^MSG (\S+).*/, '$1').replace(/^bar\..*/, 'bar')} ${lines[i + 1]?.replace('": ', '":')}`,
        );
    return answers;
  }

  async #ask(subject: string, request: object): Promise<string> {
    const reply = `api.${++this.#barriers}`;
    const data = JSON.stringify(request);
    this.#wire.say(`PUB $JS.API.${subject} ${reply} ${data.length}\r\n${data}\r\n`);
    await this.#hears(`MSG ${reply} `);
    await this.#wire.settled();
    const [, answer = ''] = this.#wire.take().split(`MSG ${reply} `);
    return answer.split('\r\n')[1] ?? '';
  }
}

async function difference(script: Script): Promise<string | undefined> {
  const [a, b] = [await theirs.run(script), await ours.run(script)];
  if (JSON.stringify(a) === JSON.stringify(b)) return undefined;
  const lines = [`config ${JSON.stringify(script.config)}${script.burst === true ? ' burst' : ''}`];
  for (const [i, heard] of a.entries()) {
    const sent = script.burst === true && i === 0 ? script.steps : script.steps.slice(i, i + 1);
    lines.push(...sent.map((step) => JSON.stringify(step)));
    if (heard === b[i]) continue;
    lines.push(`theirs: ${heard}`, `ours:   ${b[i]}`);
    break;
  }
  return lines.join('\n');
}

/** `a 1 0` is message 1 of batch a, which starts it. */
function steps(text: string, flow = 3, gap = 'fail'): Step[] {
  return text.split(/,\s*/).map((word) => {
    const [id, n, op, ...headers] = word.split(' ');
    const all = headers.map((header) => header.replace('=', ': '));
    return { reply: `in.${id}.${flow}.${gap}.${n}.${op}.$FI`, headers: all };
  });
}

const FENCE = 'Nats-Expected-Last-Sequence';

test.each<[string, Script]>([
  [
    'a batch that is committed with its last message',
    { config: {}, steps: steps('a 1 0, a 2 1, a 3 1, a 4 1, a 5 2') },
  ],
  [
    'a batch that is ended behind its last message',
    { config: {}, steps: steps('a 1 0, a 2 1, a 3 3, a 4 1') },
  ],
  ['a batch of one message', { config: {}, steps: steps('a 1 2') }],
  ['a batch that begins with its end', { config: {}, steps: steps('a 1 3') }],
  ['a gap ends the batch', { config: {}, steps: steps('a 1 0, a 2 1, a 4 1, a 3 1, a 5 2') }],
  [
    'a gap that may be',
    { config: {}, steps: steps('a 1 0, a 2 1, a 4 1, a 9 1, a 8 1, a 10 2', 3, 'ok') },
  ],
  ['a gap before the end', { config: {}, steps: steps('a 1 0, a 5 3', 3, 'ok') }],
  ['pings', { config: {}, steps: steps('a 1 0, a 1 4, a 2 1, a 1 4, a 3 4, a 3 1') }],
  [
    'pings where gaps may be',
    { config: {}, steps: steps('a 1 0, a 7 4, a 7 1, a 8 1, a 9 3', 2, 'ok') },
  ],
  ['a ping for a batch that is not there', { config: {}, steps: steps('a 1 4, a 2 4') }],
  [
    'two batches share the flow',
    {
      config: {},
      steps: steps('a 1 0, b 1 0, a 2 1, b 2 1, b 3 1, b 4 1, a 3 3, b 5 1, b 6 1, b 7 3', 9),
    },
  ],
  [
    'a stream without fast batches stores nothing',
    { config: { allow_batched: false }, steps: steps('a 1 0, a 2 2, a x y') },
  ],
  [
    'a stream without acknowledgements',
    { config: { no_ack: true }, steps: steps('a 1 0, a 2 1, a 3 2, b 3 1', 1) },
  ],
  [
    'a fence that does not hold',
    { config: {}, steps: steps(`a 1 0 ${FENCE}=7, a 2 1, b 1 0, b 2 1 ${FENCE}=7, b 3 1`) },
  ],
  [
    'a fence where gaps may be',
    {
      config: {},
      steps: steps(`a 1 0 ${FENCE}=7, a 2 1, a 3 1 ${FENCE}=7, a 4 2 ${FENCE}=7`, 1, 'ok'),
    },
  ],
  [
    'duplicates are skipped',
    {
      config: {},
      steps: steps(
        'a 1 0 Nats-Msg-Id=1, a 2 1 Nats-Msg-Id=1, a 3 1, a 4 2 Nats-Msg-Id=1, b 1 2 Nats-Msg-Id=1, c 1 0 Nats-Msg-Id=1, c 2 3',
        1,
      ),
    },
  ],
  [
    'an ID that is too long',
    { config: {}, steps: [...steps(`${'a'.repeat(64)} 1 2`), ...steps(`${'a'.repeat(65)} 1 2`)] },
  ],
  [
    'a level that is not there',
    {
      config: {},
      steps: steps('a 1 0 Nats-Required-Api-Level=1, a 2 1 Nats-Required-Api-Level=99, a 3 1'),
    },
  ],
])('%s', async (_, script) => {
  expect(await difference(script)).toBeUndefined();
});

test('a reply subject that only ends like one of a batch is refused', async () => {
  const replies = [
    '$FI',
    'x.$FI',
    '1.$FI',
    '1.0.$FI',
    'fail.1.0.$FI',
    '5.fail.1.0.$FI',
    'u.5.fail.1.0.$FI',
  ];
  const bad = [
    '5.fail.1.5',
    '5.fail.1.x',
    '5.fail.0.1',
    '5.fail.2.0',
    '5.fail.1.1',
    '5.fail.1.3',
    '5.no.1.0',
    '0.fail.x.1',
    '5.fail.-1.4',
  ];
  const odd = ['0.fail.1.0', 'x.fail.2.1', '99999.ok.3.1', '-5.ok.4.01', '5.ok.05.1'];
  const all = [
    ...replies.map((reply) => `in.${reply}`),
    ...[...bad, ...odd].map((reply) => `in.u.${reply}.$FI`),
  ];
  const steps = [{ reply: 'u.5.fail.1.0.$FI' }, ...all.map((reply) => ({ reply }))];
  expect(await difference({ config: {}, steps })).toBeUndefined();
});

const LENIENT: readonly object[] = [{}, { max_msgs: 3 }, { max_msgs_per_subject: 1 }];
const CONFIGS: readonly object[] = [
  ...LENIENT,
  { discard: 'new', max_msgs: 6 },
  { discard: 'new', max_msgs_per_subject: 2, discard_new_per_subject: true },
  { retention: 'interest' },
  { storage: 'memory', allow_rollup_hdrs: true, allow_msg_ttl: true },
  { max_msg_size: 90, no_ack: true },
  { subject_transform: { src: 's.a', dest: 's.z' } },
];

const HEADERS = [
  'Nats-Msg-Id: 1',
  'Nats-Msg-Id: 1',
  'Nats-Msg-Id: 2',
  'Nats-Expected-Stream: S',
  'Nats-Expected-Stream: T',
  'Nats-Expected-Last-Sequence: 2',
  'Nats-Expected-Last-Subject-Sequence: 1',
  'Nats-Expected-Last-Subject-Sequence-Subject: s.b',
  'Nats-Rollup: sub',
  'Nats-TTL: never',
  'Nats-TTL: x',
  'Nats-Batch-Id: q',
  'Nats-Required-Api-Level: 4',
  'Nats-Required-Api-Level: 99',
  'Nats-Incr: 1',
  'X: y',
];

/**
 * Some batches that mostly go on as they should. One that has lost a message to a refusal and then meets a number that was
 * there already never hears of its end from nats-server; here it does.
 */
function scriptOf(seed: number): Script {
  const random = seededRandom(seed);
  const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)] as T;
  const burst = random() < 0.2;
  const next = new Map<string, number>();
  const gap = pick(['ok', 'fail']);
  const flow = pick(burst ? [1, 2, 3, 5] : [1, 2, 3, 5, 600]);
  const all: Step[] = [];
  for (let i = 0; i < 25; i++) {
    const id = pick(['a', 'a', 'b', 'c']);
    const n = Math.max(
      1,
      (next.get(id) ?? 1) +
        (burst || random() < 0.9 ? 0 : pick(gap === 'ok' ? [1, 2] : [-1, 1, 2])),
    );
    const dice = random();
    const op = burst || dice < 0.8 ? (n === 1 ? 0 : 1) : dice < 0.87 ? 2 : dice < 0.93 ? 3 : 4;
    if (op !== 4) next.set(id, op === 2 || op === 3 ? 1 : n + 1);
    const headers = !burst && random() < 0.3 ? [pick(HEADERS)] : [];
    const subject = pick(['s.a', 's.b']);
    all.push({ reply: `in.${id}.${flow}.${gap}.${n}.${op}.$FI`, headers, subject, data: `${i}` });
  }
  return { config: pick(burst ? LENIENT : CONFIGS), steps: all, burst };
}

test(
  'random batches get the answers of nats-server',
  async () => {
    const found: string[] = [];
    for (let seed = FROM; seed < FROM + SEEDS && found.length < 3; seed++) {
      const text = await difference(scriptOf(seed));
      if (text !== undefined) found.push(`seed ${seed}\n${text}`);
    }
    expect(found.join('\n\n')).toBe('');
  },
  30_000 + SEEDS * 2_000,
);
