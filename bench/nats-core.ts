// What the NATS listener costs beside nats-server: publishes with IDs into a stream, fan-out, requests, idle connections.
// A publish of ours is acknowledged after an fdatasync; nats-server syncs nothing before its answer. The processor time
// of the server a message is the figure that a busy machine disturbs least.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { runAlone } from './alone.ts';
import { freePort, rssMB, runLoad, startAgent, startNats } from './contestants.ts';
import type { Result } from './report.ts';
import { inRounds } from './rounds.ts';

const ROUNDS = 3;
const STREAM_CASES = [
  { window: 250, count: 100_000 },
  { window: 1_000, count: 150_000 },
  { window: 5_000, count: 150_000 },
];
const FAN_CASES = [
  { subscribers: 1, count: 1_000_000 },
  { subscribers: 10, count: 200_000 },
];
const REQUESTS = 20_000;
const IDLE = 1_000;
const IDLE_SUBSCRIPTIONS = 10;
const DATA_BYTES = 128;
/** Of Linux: 100 a second. */
const TICK_MICROS = 10_000;

interface Server {
  readonly pid: number;
  readonly port: number;
}

export async function run(): Promise<Result[]> {
  const port = await freePort();
  const agent = await startAgent({ config: `[nats]\nlisten = "127.0.0.1:${port}"` });
  const nats = await startNats();
  const ours = { pid: agent.pid, port };
  const results = [
    ...(await publishes(ours, nats)),
    ...(await fanOuts(ours, nats)),
    ...(await requests(ours, nats)),
  ];
  for (const server of [agent, nats]) await server.stop('remove');
  return [...results, await idle()];
}

async function publishes(ours: Server, nats: Server): Promise<Result[]> {
  const publish =
    (window: number, count: number) =>
    async (server: Server): Promise<Measured> => {
      const options = {
        port: server.port,
        stream: 'SENSORS',
        subject: 'plant1.boiler.temp',
        ids: true,
        dataBytes: DATA_BYTES,
        exists: server === ours,
        window,
        count,
      };
      return measured(server, count, () => runLoad('nats-publish', options));
    };
  for (const server of [ours, nats]) await publish(1_000, 50_000)(server);
  const results: Result[] = [];
  for (const { window, count } of STREAM_CASES)
    results.push(
      ...(await sideBySide(
        `publish with IDs, window ${window}`,
        publish(window, count),
        ours,
        nats,
      )),
    );
  return results;
}

async function fanOuts(ours: Server, nats: Server): Promise<Result[]> {
  const results: Result[] = [];
  for (const { subscribers, count } of FAN_CASES) {
    const fan = (server: Server): Promise<Measured> =>
      measured(server, count * subscribers, () =>
        runLoad('nats-core', {
          kind: 'fanout',
          port: server.port,
          dataBytes: DATA_BYTES,
          subscribers,
          count,
        }),
      );
    for (const server of [ours, nats]) await fan(server);
    results.push(...(await sideBySide(`fan-out 1 to ${subscribers}`, fan, ours, nats)));
  }
  return results;
}

interface Measured {
  readonly rate: number;
  readonly cpuMicros: number;
}

/** Runs a load; with the processor time that the server took for each of `count` messages. */
async function measured(
  { pid }: Server,
  count: number,
  load: () => Promise<unknown>,
): Promise<Measured> {
  const before = cpuMicros(pid);
  const { rate } = (await load()) as { rate: number };
  return { rate, cpuMicros: (cpuMicros(pid) - before) / count };
}

async function sideBySide(
  name: string,
  load: (server: Server) => Promise<Measured>,
  ours: Server,
  nats: Server,
): Promise<Result[]> {
  const cpu = { ours: [] as number[], nats: [] as number[] };
  const noted = async (server: Server, into: number[]): Promise<number> => {
    const { rate, cpuMicros: micros } = await load(server);
    into.push(micros);
    return rate;
  };
  const rates = await inRounds(ROUNDS, {
    ours: () => noted(ours, cpu.ours),
    nats: () => noted(nats, cpu.nats),
  });
  const common = { bench: 'nats-core', case: name };
  return [
    {
      ...common,
      unit: 'msg/s',
      ours: rates.ours,
      peer: { name: 'nats-server', measured: rates.nats },
    },
    {
      ...common,
      unit: 'µs of CPU a message',
      ours: cpu.ours,
      peer: { name: 'nats-server', measured: cpu.nats },
    },
  ];
}

async function requests(ours: Server, nats: Server): Promise<Result[]> {
  const p99: Record<'ours' | 'nats', number[]> = { ours: [], nats: [] };
  const ask = async ({ port }: Server, into: number[]): Promise<number> => {
    const options = {
      kind: 'request',
      port,
      dataBytes: DATA_BYTES,
      subscribers: 1,
      count: REQUESTS,
    };
    const found = await runLoad<{ p50: number; p99: number }>('nats-core', options);
    into.push(found.p99);
    return found.p50;
  };
  const p50 = await inRounds(ROUNDS, {
    ours: () => ask(ours, p99.ours),
    nats: () => ask(nats, p99.nats),
  });
  const common = { bench: 'nats-core', unit: 'µs' };
  return [
    {
      ...common,
      case: 'request, p50',
      ours: p50.ours,
      peer: { name: 'nats-server', measured: p50.nats },
    },
    {
      ...common,
      case: 'request, p99',
      ours: p99.ours,
      peer: { name: 'nats-server', measured: p99.nats },
    },
  ];
}

/** KB of memory for each of many connections that do nothing, with ten subscriptions each. */
async function idle(): Promise<Result> {
  // Fresh ones: memory that was in use before would hide what the connections take.
  const port = await freePort();
  const agent = await startAgent({ config: `[nats]\nlisten = "127.0.0.1:${port}"` });
  const nats = await startNats();
  const cost = async ({ pid, port }: Server): Promise<number> => {
    const before = rssMB(pid);
    const sockets: Socket[] = [];
    for (let i = 0; i < IDLE; i++) sockets.push(await idleClient(port, i));
    const after = rssMB(pid);
    for (const socket of sockets) socket.destroy();
    return (1000 * (after - before)) / IDLE;
  };
  const ours = await cost({ pid: agent.pid, port });
  const theirs = await cost(nats);
  for (const server of [agent, nats]) await server.stop('remove');
  return {
    bench: 'nats-core',
    case: `${IDLE} idle connections with ${IDLE_SUBSCRIPTIONS} subscriptions each`,
    unit: 'KB a connection',
    ours: [ours],
    peer: { name: 'nats-server', measured: [theirs] },
  };
}

async function idleClient(port: number, index: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' });
  let lines = 'CONNECT {"verbose":false,"headers":true,"protocol":1}\r\n';
  for (let i = 0; i < IDLE_SUBSCRIPTIONS; i++) lines += `SUB idle.${index}.${i} ${i}\r\n`;
  socket.write(`${lines}PING\r\n`);
  let text = '';
  while (!text.includes('PONG\r\n')) text += String((await once(socket, 'data'))[0]);
  return socket;
}

/** Processor time that a process has used. */
function cpuMicros(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * TICK_MICROS;
}

if (import.meta.main) await runAlone(run);
