// Forwarding over real sockets to real nats-servers, through a WAN that fails all the time, with a duplicate window too
// short to help: one server that is killed, and a cluster whose leader steps down. Seeded, but as real time is: not
// repeatable to the byte.

import { expect, test } from 'vitest';
import { pino } from 'pino';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { systemClock } from '../../src/clock.ts';
import { Forwarder } from '../../sync/forwarder.ts';
import { NatsHub } from '../../sync/nats-hub.ts';
import { MemoryStream } from '../support/memory-stream.ts';
import { startCluster, startNatsServer } from '../support/nats-server.ts';
import { randomInt, seededRandom, type Random } from '../support/random.ts';
import { forwarderOptions } from '../support/forwarder-options.ts';
import { until } from '../support/until.ts';
import { WanProxy } from '../support/wan-proxy.ts';

const log = pino({ level: 'silent' });
const FILTER = 'edge.gw7.telemetry.>';

class Agent {
  readonly hub: NatsHub;
  readonly forwarder: Forwarder;

  constructor(url: string, stream: MemoryStream, random: Random) {
    this.hub = new NatsHub(
      {
        servers: [url],
        name: 'gw7',
        prefix: 'edge',
        create: false,
        keepAliveMs: 600,
        reconnectMaxMs: 200,
      },
      { clock: systemClock, log, random },
    );
    this.forwarder = new Forwarder(forwarderOptions(stream), {
      hub: this.hub,
      clock: systemClock,
      log,
      random,
    });
    this.hub.start();
    this.forwarder.start();
  }

  /** As kill -9 does: no last words, but what the kernel has is still sent. */
  kill(): void {
    void this.forwarder.stop();
    void this.hub.stop();
  }
}

interface Campaign {
  readonly seed: number;
  readonly port: number;
  readonly rounds: number;
  readonly admin: NatsConnection;
  readonly replicas: number;
  /** A fault of the hub itself. */
  readonly hubFault: () => Promise<void>;
}

async function run({ seed, port, rounds, admin, replicas, hubFault }: Campaign): Promise<void> {
  const random = seededRandom(seed);
  await until('the hub stream', async () => {
    const config = {
      name: 'EDGE',
      subjects: ['edge.>'],
      num_replicas: replicas,
      duplicate_window: 100_000_000,
      allow_atomic: true,
      allow_msg_ttl: true,
    };
    const answer = await admin.request('$JS.API.STREAM.CREATE.EDGE', JSON.stringify(config));
    return answer.json<{ error?: object }>().error === undefined;
  });
  const wan = await new WanProxy(port).listen();
  let stream = new MemoryStream('telemetry');
  let agent = new Agent(wan.url, stream, random);
  const expected: string[] = [];
  const publish = setInterval(() => {
    for (let i = randomInt(random, 60); i > 0; i--) {
      const seq = stream.publish({ data: Buffer.alloc(randomInt(random, 300)) });
      expected.push(`gw7:telemetry:${stream.currentEpoch}:${seq}`);
    }
  }, 10);
  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  const faults: (() => Promise<void> | void)[] = [
    () => wan.resetAll(),
    () => wan.blackHole(),
    () => wan.blackHole('down'),
    () => wan.refuse().then(() => wan.resetAll()),
    () => wan.delayOld(300 + randomInt(random, 1_500)),
    () => wan.cutAfter('up', randomInt(random, 30_000)),
    () => wan.cutAfter('down', randomInt(random, 300)),
    () => {
      agent.kill();
      stream = new MemoryStream('telemetry', stream.image());
      agent = new Agent(wan.url, stream, random);
    },
    () => {
      wan.delayOld(300 + randomInt(random, 1_500));
      agent.kill();
      stream = new MemoryStream('telemetry', stream.image());
      agent = new Agent(wan.url, stream, random);
    },
    hubFault,
  ];
  try {
    for (let round = 0; round < rounds; round++) {
      await faults[randomInt(random, faults.length)]?.();
      await pause(50 + randomInt(random, 900));
      await wan.restore();
      await pause(randomInt(random, 300));
    }
    clearInterval(publish);
    await until('the backlog to drain', () => agent.forwarder.status().pending === 0, 60_000);
    const seen = await stored(`127.0.0.1:${port}`);
    const wrong = audit(seen, expected);
    expect({ seed, wrong, messages: seen.length }).toEqual({
      seed,
      wrong: [],
      messages: expected.length,
    });
    expect(expected.length).toBeGreaterThan(rounds * 100);
  } finally {
    clearInterval(publish);
    await agent.forwarder.stop();
    await agent.hub.stop();
    await wan.close();
  }
}

/** The IDs of all our messages at the hub, in order. */
async function stored(url: string): Promise<string[]> {
  const { hub, forwarder } = new Agent(url, new MemoryStream('nothing'), Math.random);
  await until('the hub', () => hub.connected);
  const ids: string[] = [];
  for await (const page of hub.scanHeaders('EDGE', FILTER, 1, Infinity))
    ids.push(...page.map(({ id }) => id ?? ''));
  await forwarder.stop();
  await hub.stop();
  return ids;
}

function audit(ids: readonly string[], expected: readonly string[]): string[] {
  const wrong: string[] = [];
  const seen = new Set<string>();
  const place = new Map(expected.map((id, i) => [id, i]));
  let last = -1;
  for (const id of ids) {
    const at = place.get(id);
    if (at === undefined) wrong.push(`phantom ${id}`);
    else if (seen.has(id)) wrong.push(`duplicate ${id}`);
    else if (at < last) wrong.push(`out of order ${id}`);
    seen.add(id);
    last = Math.max(last, at ?? -1);
  }
  for (const id of expected) if (!seen.has(id)) wrong.push(`lost ${id}`);
  return wrong.slice(0, 5);
}

test('one hub that is killed, a WAN that fails: each message once and in order', async () => {
  const server = await startNatsServer();
  const admin = await connect({
    servers: server.url,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
  });
  try {
    const hubFault = async (): Promise<void> => {
      await server.kill();
      await server.restart();
    };
    await run({ seed: 1, port: server.port, rounds: 12, admin, replicas: 1, hubFault });
  } finally {
    await admin.close();
    await server.dispose();
  }
}, 120_000);

test('a cluster whose leader steps down, a WAN that fails: each message once and in order', async () => {
  const cluster = await startCluster(3);
  const [first] = cluster.servers;
  const admin = await connect({
    servers: [...cluster.urls],
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
  });
  try {
    const hubFault = async (): Promise<void> => {
      await admin.request('$JS.API.STREAM.LEADER.STEPDOWN.EDGE').catch(() => undefined);
    };
    await run({ seed: 2, port: first?.port ?? 0, rounds: 12, admin, replicas: 3, hubFault });
  } finally {
    await admin.close();
    await cluster.dispose();
  }
}, 120_000);
