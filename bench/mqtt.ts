// What MQTT costs beside nats-server and mosquitto: publishes of 128 bytes at each QoS, where PUBACK and PUBREC of ours mean
// that an fdatasync has returned; fan-out; and memory of 10,000 idle sessions.
//
// All three get the same bytes. What they keep of it differs, and not to our advantage: QoS 1 and 2 go into a stream of
// ours; nats-server and mosquitto keep nothing of a message that nobody subscribes to. A stream of ours keeps QoS 0 too, so
// there is a row beside it where nobody keeps anything.

import type { Socket } from 'node:net';
import { runAlone } from './alone.ts';
import { rssMB, runLoad, startAgent, startMosquitto, startNats } from './contestants.ts';
import { openMqtt, subscribeMqtt, type QoS } from './load/mqtt.ts';
import type { Result } from './report.ts';
import { inRounds } from './rounds.ts';

const ROUNDS = 3;
const DATA_BYTES = 128;
/** In the stream. */
const TOPIC = 'plant1/boiler/temp';
const KEPT_NOWHERE = 'elsewhere/boiler/temp';
/** What is asked: of nats-server, and of mosquitto. */
const ASKED = { nats: { atLeast: 1 }, mosquitto: { atLeast: 2 } };

interface Case {
  readonly qos: QoS;
  readonly window: number;
  readonly connections: number;
  readonly count: number;
  readonly topic?: string;
  /** nats-server closes its clients where more is in flight than its JetStream queues ("JetStream failed a pipelined operation"). */
  readonly without?: 'nats';
}

const CASES: readonly Case[] = [
  { qos: 0, window: 0, connections: 1, count: 200_000 },
  { qos: 0, window: 0, connections: 1, count: 200_000, topic: KEPT_NOWHERE },
  { qos: 0, window: 0, connections: 200, count: 200_000 },
  { qos: 1, window: 20, connections: 1, count: 30_000 },
  { qos: 1, window: 250, connections: 1, count: 100_000 },
  { qos: 1, window: 1_000, connections: 1, count: 150_000 },
  { qos: 1, window: 20, connections: 200, count: 100_000 },
  { qos: 1, window: 250, connections: 200, count: 100_000 },
  { qos: 1, window: 1_000, connections: 200, count: 200_000, without: 'nats' },
  { qos: 2, window: 20, connections: 1, count: 10_000 },
  { qos: 2, window: 250, connections: 1, count: 30_000 },
  { qos: 2, window: 1_000, connections: 1, count: 40_000 },
  { qos: 2, window: 20, connections: 200, count: 40_000 },
];
const FANS = [
  { qos: 0, subscribers: 10, count: 50_000, window: 500 },
  { qos: 1, subscribers: 10, count: 20_000, window: 200 },
] as const;
const IDLE = 10_000;
/** CONNECTs under way at once. */
const IDLE_AT_ONCE = 100;

interface Server {
  readonly pid: number;
  readonly mqttPort: number;
  stop(remove: 'remove'): Promise<void>;
}

type Servers = { readonly ours: Server; readonly nats: Server; readonly mosquitto: Server };

export async function run(): Promise<Result[]> {
  const servers = await start();
  // Each has met a hundred thousand messages before it is measured.
  const warm = { qos: 1, window: 1_000, connections: 1, count: 100_000 } as const;
  for (const server of Object.values(servers)) await publish(server, warm);
  const results: Result[] = [];
  for (const each of CASES) {
    const { qos, window, connections } = each;
    const clients = connections === 1 ? '1 connection' : `${connections} connections`;
    const kept = each.topic === KEPT_NOWHERE ? ', no stream' : '';
    const name = `QoS ${qos}, ${qos === 0 ? '' : `window ${window}, `}${clients}${kept}`;
    const measured = await measure(
      servers,
      (server) => publish(server, each),
      ROUNDS,
      each.without,
    );
    results.push(...compared(name, 'msg/s', measured, qos === 1));
  }
  for (const fan of FANS) {
    const name = `fan-out 1 to ${fan.subscribers}, QoS ${fan.qos}`;
    const measured = await measure(servers, (server) => fanOut(server, fan));
    results.push(...compared(name, 'msg/s', measured));
  }
  await stop(servers);
  return [...results, ...(await idle())];
}

async function start(): Promise<Servers> {
  const mosquitto = await startMosquitto();
  if (mosquitto === undefined) throw new Error('mosquitto is missing: apt-get install mosquitto');
  return { ours: await startAgent(), nats: await startNats(), mosquitto };
}

async function stop(servers: Servers): Promise<void> {
  for (const server of Object.values(servers)) await server.stop('remove');
}

type Measured = Record<keyof Servers, number[]>;

function measure(
  servers: Servers,
  load: (server: Server) => Promise<number>,
  rounds = ROUNDS,
  without?: 'nats',
): Promise<Measured> {
  const of = (who: keyof Servers) => async (): Promise<number> => {
    try {
      return who === without ? NaN : await load(servers[who]);
    } catch (error) {
      throw new Error(`${who} did not do it`, { cause: error });
    }
  };
  return inRounds(rounds, { ours: of('ours'), nats: of('nats'), mosquitto: of('mosquitto') });
}

function compared(name: string, unit: string, measured: Measured, asked = false): Result[] {
  const peers = { nats: 'nats-server MQTT: no sync', mosquitto: 'mosquitto: no sync' };
  const there = (['nats', 'mosquitto'] as const).filter((peer) => !measured[peer].includes(NaN));
  return there.map((peer) => ({
    bench: 'mqtt',
    case: name,
    unit,
    ours: measured.ours,
    peer: { name: peers[peer], measured: measured[peer] },
    ...(asked ? { required: ASKED[peer] } : {}),
  }));
}

async function publish({ mqttPort: port }: Server, load: Case): Promise<number> {
  // At QoS 2 what was taken is to be known after a power cut, so these sessions stay.
  const options = {
    port,
    dataBytes: DATA_BYTES,
    topic: TOPIC,
    persistent: load.qos === 2,
    ...load,
  };
  return (await runLoad<{ rate: number }>('mqtt-publish', options)).rate;
}

async function fanOut({ mqttPort: port }: Server, fan: (typeof FANS)[number]): Promise<number> {
  const options = { port, dataBytes: DATA_BYTES, topic: KEPT_NOWHERE, ...fan };
  return (await runLoad<{ rate: number }>('mqtt-fanout', options)).rate;
}

/** Fresh servers: memory that was in use before would hide what the sessions take. */
async function idle(): Promise<Result[]> {
  const results: Result[] = [];
  for (const clean of [true, false]) {
    const servers = await start();
    const measured = await measure(servers, (server) => idleCost(server, clean), 1);
    await stop(servers);
    const kind = clean ? 'clean' : 'persistent';
    const name = `${IDLE} idle ${kind} sessions, connected, one subscription each`;
    results.push(...compared(name, 'KB a connection', measured));
  }
  return results;
}

async function idleCost({ pid, mqttPort }: Server, clean: boolean): Promise<number> {
  const before = rssMB(pid);
  const sockets: Socket[] = [];
  for (let first = 0; first < IDLE; first += IDLE_AT_ONCE)
    sockets.push(
      ...(await Promise.all(
        Array.from({ length: IDLE_AT_ONCE }, async (_, i) => {
          const socket = await openMqtt(mqttPort, `idle-${first + i}`, clean);
          // nats-server takes no more than 1,000 subscriptions of QoS 1, and ours costs the same at each.
          await subscribeMqtt(socket, `idle/${first + i}/+`, 0);
          return socket;
        }),
      )),
    );
  const after = rssMB(pid);
  for (const socket of sockets) socket.destroy();
  return (1000 * (after - before)) / IDLE;
}

if (import.meta.main) await runAlone(run);
