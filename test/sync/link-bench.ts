// Hubs over real sockets for tests of the link: a nats-server, a WAN before it, stubs, and the log.

import { createServer, type Server } from 'node:net';
import { pino } from 'pino';
import { systemClock } from '../../src/clock.ts';
import type { HubError } from '../../sync/hub-error.ts';
import { filterOf, hubMessage } from '../../sync/hub-message.ts';
import type { HubMessage } from '../../sync/hub.ts';
import { NatsHub, type NatsHubConfig } from '../../sync/nats-hub.ts';
import { startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { until } from '../support/until.ts';
import { WanProxy } from '../support/wan-proxy.ts';

const GW7 = { prefix: 'edge', gateway: 'gw7', stream: 'telemetry' };
export const FILTER = filterOf(GW7);

export interface Line {
  readonly level: number;
  readonly msg: string;
  readonly kind?: string;
  readonly error?: string;
  readonly hint?: string;
}

/** What a test has at hand; `start` is for beforeAll. */
export const at = {
  server: undefined as unknown as NatsServer,
  wan: undefined as WanProxy | undefined,
  lines: [] as Line[],
};
const ends: (() => Promise<unknown> | void)[] = [];

export async function start(): Promise<void> {
  at.server = await startNatsServer();
}

export async function stop(): Promise<void> {
  await at.server?.dispose();
}

/** For afterEach: ends everything that the test began. */
export async function tearDown(): Promise<void> {
  for (const end of ends.splice(0).toReversed()) await end();
  at.lines = [];
  at.wan = undefined;
}

/** Runs `end` after the test. */
export function afterwards(end: () => Promise<unknown> | void): void {
  ends.push(end);
}

export async function throughWan(port = at.server.port): Promise<WanProxy> {
  const wan = await new WanProxy(port).listen();
  at.wan = wan;
  ends.push(() => wan.close());
  return wan;
}

export function newHub(config: Partial<NatsHubConfig> = {}): NatsHub {
  const log = pino(
    { level: 'debug', base: null },
    { write: (line) => void at.lines.push(JSON.parse(line) as Line) },
  );
  const hub = new NatsHub(
    {
      servers: [at.wan?.url ?? at.server?.url ?? ''],
      name: 'mangrove gw7',
      inboxPrefix: '_INBOX.gw7',
      prefix: 'edge',
      create: true,
      keepAliveMs: 1_500,
      reconnectMaxMs: 200,
      ...config,
    },
    { clock: systemClock, log, random: Math.random },
  );
  ends.push(() => hub.stop());
  hub.start();
  return hub;
}

export async function connected(hub: NatsHub): Promise<NatsHub> {
  await until('a connection to the hub', () => hub.connected);
  return hub;
}

export async function disconnected(hub: NatsHub): Promise<void> {
  await until('the link to be found dead', () => !hub.connected);
}

let seq = 0;

/** Messages that nobody has sent yet. */
export function messages(count: number, bytes = 20): HubMessage[] {
  return Array.from({ length: count }, () =>
    hubMessage(GW7, {
      kind: 'message',
      message: {
        subject: 'plant1.temp',
        data: Buffer.alloc(bytes, 0x61),
        seq: ++seq,
        epoch: 'e',
        timeMs: 0,
        timeSynced: true,
      },
    }),
  );
}

export async function failure(promise: Promise<unknown>): Promise<HubError> {
  try {
    await promise;
  } catch (error) {
    return error as HubError;
  }
  throw new Error('it did not fail');
}

export async function lastSeq(hub: NatsHub): Promise<number> {
  return (await hub.lastBySubject('EDGE', FILTER))?.seq ?? 0;
}

export async function publish(hub: NatsHub, list: HubMessage[], at?: number): Promise<number> {
  const fence = { kind: 'filter' as const, filter: FILTER, seq: at ?? (await lastSeq(hub)) };
  return (await hub.publish(list, { stream: 'EDGE', fence })).seq;
}

export function logged(text: string): Line[] {
  return at.lines.filter(({ msg }) => msg.includes(text));
}

/** A stub server: INFO with these facts (undefined: an HTTP answer), then `answer` to each line. */
export async function listen(
  answer: (line: string) => string,
  facts: Record<string, unknown> | undefined,
): Promise<number> {
  const info = {
    server_id: 'x',
    version: '2.15.1',
    headers: true,
    max_payload: 1_048_576,
    proto: 1,
    ...facts,
  };
  const stub: Server = createServer((socket) => {
    socket.on('error', () => undefined);
    ends.push(() => void socket.destroy());
    if (facts === undefined)
      return void socket.end('HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n');
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
    let rest = '';
    socket.on('data', (bytes: Buffer) => {
      const all = (rest + bytes.toString('latin1')).split('\r\n');
      rest = all.pop() ?? '';
      for (const line of all) socket.write(answer(line));
    });
  });
  await new Promise<void>((resolve) => stub.listen(0, '127.0.0.1', resolve));
  ends.push(() => void stub.close());
  const address = stub.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}
