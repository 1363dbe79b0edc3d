// The scripted hub is only worth what it has in common with a real one: the same seeded commands go to both, and every
// answer is compared. One nats-server (R1) and a cluster of three (R3).

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pino } from 'pino';
import { connect, headers, type NatsConnection } from '@nats-io/transport-node';
import { systemClock } from '../../src/clock.ts';
import { HubError } from '../../sync/hub-error.ts';
import type { FastBatch, Hub, HubMessage, PublishOptions } from '../../sync/hub.ts';
import { NatsHub } from '../../sync/nats-hub.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { ModelConfig } from '../support/hub-model.ts';
import {
  startCluster,
  startNatsServer,
  type NatsCluster,
  type NatsServer,
} from '../support/nats-server.ts';
import { randomInt, seededRandom, type Random } from '../support/random.ts';
import { ScriptedHub } from '../support/scripted-hub.ts';
import { until } from '../support/until.ts';

const log = pino({ level: 'silent' });

let single: NatsServer;
let cluster: NatsCluster;
let streams = 0;

beforeAll(async () => {
  [single, cluster] = await Promise.all([startNatsServer(), startCluster(3)]);
}, 120_000);

afterAll(async () => {
  await single?.dispose();
  await cluster?.dispose();
});

interface Pair {
  readonly name: string;
  readonly real: NatsHub;
  readonly admin: NatsConnection;
  readonly scripted: ScriptedHub;
  readonly clock: FakeClock;
  readonly random: Random;
}

async function pair(seed: number, config: Partial<ModelConfig>): Promise<Pair> {
  const name = `S${++streams}`;
  const clock = new FakeClock();
  const random = seededRandom(seed);
  const full = { name, subjects: [`${name}.>`], duplicateWindowMs: 600_000, ...config };
  const scripted = new ScriptedHub({ clock, random: seededRandom(1), config: full });
  const urls = config.replicas === 3 ? [...cluster.urls] : [single.url];
  const admin = await connect({ servers: urls });
  await until('the stream', async () => {
    const answer = await admin.request(
      `$JS.API.STREAM.CREATE.${name}`,
      JSON.stringify({
        name,
        subjects: full.subjects,
        storage: 'file',
        num_replicas: config.replicas ?? 1,
        duplicate_window: full.duplicateWindowMs * 1_000_000,
        allow_atomic: config.atomic ?? true,
        allow_batched: config.batched ?? false,
        allow_msg_ttl: config.ttl ?? true,
        discard: config.discard ?? 'new',
        retention: config.retention ?? 'limits',
        max_msgs: config.maxMsgs ?? 0,
        max_msg_size: config.maxMsgSize ?? 0,
      }),
    );
    return answer.json<{ error?: object }>().error === undefined;
  });
  const real = new NatsHub(
    {
      servers: urls,
      name: 'test',
      prefix: name,
      create: false,
      keepAliveMs: 15_000,
      reconnectMaxMs: 500,
    },
    { clock: systemClock, log, random: Math.random },
  );
  real.start();
  await until('the hub', () => real.connected);
  return { name, real, admin, scripted, clock, random };
}

async function end({ real, admin }: Pair): Promise<void> {
  await real.stop();
  await admin.close();
}

type Command = (hub: Hub) => Promise<unknown>;

/** What a hub answered, without what only a real one has. */
async function answer(command: Promise<unknown>): Promise<unknown> {
  try {
    return { ok: await command };
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    return { kind: error.kind, errCode: error.errCode };
  }
}

async function both(at: Pair, what: string, command: Command, ms = 1_000): Promise<void> {
  const scripted = answer(command(at.scripted));
  await at.clock.advanceAsync(ms);
  const real = await answer(command(at.real));
  expect({ what, answer: await scripted }).toEqual({ what, answer: real });
}

/** Commands with enough memory to be right as often as wrong. */
class Script {
  readonly #random: Random;
  readonly #name: string;
  readonly #ids: string[] = [];
  #next = 0;
  #lastSeq = 0;

  constructor(random: Random, name: string) {
    this.#random = random;
    this.#name = name;
  }

  next(lastSeq: number, config: Partial<ModelConfig>): [string, Command] {
    this.#lastSeq = lastSeq;
    const kind = this.#random();
    if (kind < 0.6) return this.#publish(config);
    const filter = this.#filter();
    const seq = randomInt(this.#random, lastSeq + 2);
    const n = this.#name;
    if (kind < 0.7) return [`last ${filter}`, (hub) => hub.lastBySubject(n, filter)];
    if (kind < 0.78)
      return [`next ${filter} ${seq}`, (hub) => hub.nextBySubject(n, filter, seq + 1)];
    if (kind < 0.86) return [`at ${seq}`, (hub) => hub.messageAt(n, seq + 1)];
    if (kind < 0.92)
      return [`scan ${filter} ${seq}`, (hub) => scan(hub, n, filter, seq + 1, lastSeq)];
    if (kind < 0.97)
      return [
        `delete ${seq}`,
        async (hub) =>
          (await hub.messageAt(n, seq + 1)) === null ? 'gone' : hub.deleteMessage(n, seq + 1),
      ];
    return ['info', async (hub) => ({ ...(await hub.stream(n)), created: '' })];
  }

  #filter(): string {
    const of = ['gw7.telemetry.>', 'gw7.telemetry', 'gw8.telemetry.>', 'gw7.*.>', '>'];
    return `${this.#name}.${of[randomInt(this.#random, of.length)] ?? '>'}`;
  }

  #message(maxMsgSize: number): HubMessage {
    const random = this.#random;
    const known = this.#ids[randomInt(random, this.#ids.length)];
    const id = known !== undefined && random() < 0.05 ? known : `id-${++this.#next}`;
    this.#ids.push(id);
    const gateway = random() < 0.8 ? 'gw7' : 'gw8';
    const large = maxMsgSize > 0 && random() < 0.1;
    return {
      subject: `${this.#name}.${gateway}.telemetry.t${randomInt(random, 3)}`,
      id,
      headerLines: 'X: y\r\n',
      data: Buffer.alloc(large ? maxMsgSize + 1 : randomInt(random, 50)),
    };
  }

  #publish({ maxMsgSize = 0 }: Partial<ModelConfig>): [string, Command] {
    const random = this.#random;
    const count = random() < 0.5 ? 1 : 2 + randomInt(random, 6);
    const messages = Array.from({ length: count }, () => this.#message(maxMsgSize));
    const filter = `${this.#name}.gw7.telemetry.>`;
    const luck = random();
    const checkpointed = random() < 0.15;
    const right = random() < 0.7;
    const stream = luck > 0.97 ? 'OTHER' : this.#name;
    const wrongSeq = randomInt(random, this.#lastSeq + 3);
    return [
      `publish ${count} ${messages.map(({ id }) => id).join(' ')}${checkpointed ? ' checkpointed' : ''}`,
      async (hub) => {
        const seq = right ? ((await hub.lastBySubject(this.#name, filter))?.seq ?? 0) : wrongSeq;
        const options: PublishOptions = { stream, fence: { kind: 'filter', filter, seq } };
        if (!checkpointed) return hub.publish(messages, options);
        const subject = `${this.#name}.gw7.telemetry`;
        const previous = (await hub.lastBySubject(this.#name, subject))?.seq ?? 0;
        const message = {
          subject,
          id: `${messages[0]?.id ?? ''}:c`,
          headerLines: 'Nats-TTL: never\r\n',
          data: Buffer.alloc(0),
        };
        const previousSeq = luck < 0.2 ? previous + 1 : previous;
        return hub.publish(messages, { ...options, checkpoint: { message, previousSeq } });
      },
    ];
  }
}

/** Fast batches: opened, fed, ended, left alone, fed by an old connection, killed, sealed. */
class BatchScript {
  readonly #at: Pair;
  readonly #abandoned: { id: string; sent: number }[] = [];
  #next = 0;

  constructor(at: Pair) {
    this.#at = at;
  }

  next(): [string, Command] {
    const { random, scripted } = this.#at;
    const kind = random();
    const one = this.#abandoned[randomInt(random, this.#abandoned.length)];
    if (one === undefined || kind < 0.45) return this.#batch();
    if (kind < 0.65) {
      const n = Math.max(2, one.sent + randomInt(random, 4) - 1);
      if (n === one.sent + 1) one.sent++;
      const message = this.#message();
      return [`late ${n}`, (hub) => this.#late(hub, { id: one.id, n, message })];
    }
    const { name } = this.#at;
    if (kind < 0.8) {
      this.#abandoned.splice(this.#abandoned.indexOf(one), 1);
      return ['kill', (hub) => hub.killBatch(name, `${name}.gw7.telemetry._batch`, one.id)];
    }
    const seq = scripted.model.last(this.#filter)?.seq ?? 0;
    const fence = { kind: 'filter', filter: this.#filter, seq: random() < 0.8 ? seq : seq + 1 };
    const options = { stream: name, fence, seal: one.id } as PublishOptions;
    const message = this.#message();
    return ['seal', (hub) => hub.publish([message], options)];
  }

  get #filter(): string {
    return `${this.#at.name}.gw7.telemetry.>`;
  }

  #message(): HubMessage {
    const id = `id-${++this.#next}`;
    const subject = `${this.#at.name}.gw7.telemetry.t${randomInt(this.#at.random, 3)}`;
    return { subject, id, headerLines: '', data: Buffer.from(id) };
  }

  #batch(): [string, Command] {
    const { random, scripted, name } = this.#at;
    const id = `b${++this.#next}`;
    const messages = Array.from({ length: 1 + randomInt(random, 6) }, () => this.#message());
    const [first = this.#message(), ...rest] = messages;
    // An ID that is known is skipped.
    const doubled = random() < 0.2 ? [...rest, first] : rest;
    const right = random() < 0.8;
    const seq = (scripted.model.last(this.#filter)?.seq ?? 0) + (right ? 0 : 1);
    const fence = { filter: this.#filter, seq };
    const ends = random() < 0.5;
    if (right && !ends) this.#abandoned.push({ id, sent: 1 + doubled.length });
    return [
      `batch of ${messages.length}${right ? '' : ' on a wrong fence'}${ends ? '' : ' that is left'}`,
      async (hub) => {
        const batch: FastBatch = await hub.openBatch(first, { stream: name, id, fence, flow: 1 });
        batch.send(doubled);
        if (ends) {
          const { seq: last, count } = await batch.commit();
          return { last, count };
        }
        while (batch.acked < batch.sent) await batch.news();
        batch.abandon();
        return batch.acked;
      },
    ];
  }

  async #late(
    hub: Hub,
    { id, n, message }: { id: string; n: number; message: HubMessage },
  ): Promise<unknown> {
    const { admin, scripted, clock, name } = this.#at;
    if (hub === scripted) {
      const late = { id, n, op: 'append', flow: 1, write: { message } } as const;
      scripted.batches.receive(late, clock.monotonicMs(), () => undefined);
      await scripted.stream(name);
    } else {
      const block = headers();
      block.set('Nats-Msg-Id', message.id);
      const reply = `old.${id}.1.fail.${n}.1.$FI`;
      admin.publish(message.subject, message.data, { reply, headers: block });
      // The next order comes behind it on the same connection, and is answered.
      await admin.request(`${name}.gw7.telemetry.x`, '', {
        noMux: true,
        timeout: 5_000,
        reply: `${name}later.none.1.fail.7.3.$FI`,
      });
    }
    return undefined;
  }
}

async function scan(
  hub: Hub,
  stream: string,
  filter: string,
  fromSeq: number,
  toSeq: number,
): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const page of hub.scanHeaders(stream, filter, fromSeq, toSeq)) found.push(...page);
  return found.map((one) => JSON.stringify(one));
}

const CONFIGS: readonly [string, Partial<ModelConfig>][] = [
  ['as we create it', {}],
  ['that is soon full', { maxMsgs: 60 }],
  ['that drops its oldest', { maxMsgs: 25, discard: 'old' }],
  ['with small messages only', { maxMsgSize: 400 }],
  ['without atomic batches', { atomic: false }],
  ['without TTLs', { ttl: false }],
];

describe.each([1, 3] as const)('replicas: %i', (replicas) => {
  test.each(CONFIGS)('a hub stream %s answers as its model does', async (_, config) => {
    for (const seed of [1, 2]) {
      const at = await pair(seed, { ...config, replicas });
      const script = new Script(at.random, at.name);
      for (let i = 0; i < 120; i++) {
        const [what, command] = script.next(at.scripted.model.lastSeq, config);
        await both(at, `${i} ${what}`, command);
      }
      await end(at);
    }
  });

  test('of many writers with one fence one gets through', async () => {
    const at = await pair(3, { replicas });
    const filter = `${at.name}.gw7.telemetry.>`;
    const race = (hub: Hub): Promise<unknown[]> =>
      Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          answer(
            hub.publish(
              [
                {
                  subject: `${at.name}.gw7.telemetry.x`,
                  id: `r${i}`,
                  headerLines: '',
                  data: Buffer.alloc(0),
                },
              ],
              { stream: at.name, fence: { kind: 'filter', filter, seq: 0 } },
            ),
          ),
        ),
      );
    const scripted = race(at.scripted);
    await at.clock.advanceAsync(5_000);
    for (const answers of [await scripted, await race(at.real)]) {
      expect(answers.filter((one) => JSON.stringify(one).includes('"ok"'))).toHaveLength(1);
      const codes = new Set(answers.map((one) => (one as { errCode?: number }).errCode ?? 0));
      expect([...codes].filter((code) => ![0, 10071, 10164].includes(code))).toEqual([]);
    }
    expect((await at.real.stream(at.name)).lastSeq).toBe(1);
    expect(at.scripted.model.lastSeq).toBe(1);
    await end(at);
  });
});

// What three replicas make of leaders that change is in fast-batch.test.ts.
test('fast batches do what their model does', async () => {
  for (const seed of [5, 6, 7]) {
    const at = await pair(seed, { batched: true });
    const script = new BatchScript(at);
    for (let i = 0; i < 60; i++) {
      const [what, command] = script.next();
      // Open batches grow no older here than they do there.
      await both(at, `${i} ${what}`, command, 50);
      await both(at, `${i} after ${what}`, (hub) => hub.lastBySubject(at.name, '>'), 50);
    }
    expect(at.scripted.batches.counters.batchesOpened).toBeGreaterThan(5);
    expect(at.scripted.batches.counters.batchesKilled).toBeGreaterThan(0);
    expect(at.scripted.batches.counters.batchesSealed).toBeGreaterThan(0);
    await end(at);
  }
});

test('an ID is forgotten after the window, and remembered over a restart within it', async () => {
  const own = await startNatsServer();
  const saved = single;
  single = own;
  try {
    for (const duplicateWindowMs of [100, 600_000]) {
      const at = await pair(4, { duplicateWindowMs });
      const subject = `${at.name}.gw7.telemetry.x`;
      const message = (id: string): HubMessage => ({
        subject,
        id,
        headerLines: '',
        data: Buffer.alloc(0),
      });
      const fence = (seq: number): PublishOptions => ({
        stream: at.name,
        fence: { kind: 'filter', filter: `${at.name}.gw7.telemetry.>`, seq },
      });
      await both(at, 'first', (hub) => hub.publish([message('a')], fence(0)));
      await own.kill();
      await own.restart();
      at.scripted.restart();
      await until('the hub again', () => at.real.connected);
      const passedMs = performance.now() + 150;
      await until('the short window to pass', () => performance.now() > passedMs);
      await at.clock.advanceAsync(5_000);
      await both(at, 'again', (hub) => hub.publish([message('a')], fence(1)));
      const { lastSeq } = at.scripted.model;
      await both(at, 'in a batch', (hub) =>
        hub.publish([message('b'), message('c')], fence(lastSeq)),
      );
      await both(at, 'last', (hub) => hub.lastBySubject(at.name, '>'));
      await end(at);
    }
  } finally {
    single = saved;
    await own.dispose();
  }
});
