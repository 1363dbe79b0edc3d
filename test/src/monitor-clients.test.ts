import { afterEach, expect, test } from 'vitest';
import type { ConnzInput } from '../../src/monitor/connz.ts';
import { Monitor } from '../../src/monitor/monitor.ts';
import type { SubszInput } from '../../src/monitor/subsz.ts';

let monitor: Monitor | undefined;
afterEach(() => monitor?.stop());

const CONNZ: ConnzInput = {
  serverId: 'NTEST',
  wallMs: Date.UTC(2026, 0, 2),
  nowMs: 100_000,
  clients: [
    {
      cid: 7,
      type: 'nats',
      ip: '127.0.0.1',
      port: 40_000,
      sinceMs: 10_000,
      lastInMs: 97_000,
      rttMs: 0.3,
      pendingBytes: 12,
      counters: { inMsgs: 1, inBytes: 2, outMsgs: 3, outBytes: 4 },
      subscriptions: [
        { subject: 'plant.>', queue: undefined, sid: '1', delivered: 5, max: 0 },
        { subject: 'work', queue: 'crew', sid: 'b', delivered: 0, max: 9 },
      ],
      name: 'panel',
      lang: 'nats.js',
      version: '3.4.0',
      user: undefined,
    },
  ],
};
const SUBSZ: SubszInput = {
  serverId: 'NTEST',
  wallMs: Date.UTC(2026, 0, 2),
  subscriptions: 5,
  cachedSubjects: 2,
};

async function start(): Promise<number> {
  const unused = (): never => {
    throw new Error('not asked for here');
  };
  monitor = new Monitor(
    { listen: { host: '127.0.0.1', port: 0 } },
    { health: unused, varz: unused, jsz: unused, connz: () => CONNZ, subsz: () => SUBSZ },
  );
  return (await monitor.start()).port;
}

function ask(port: number, path: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${port}${path}`);
}

test('/connz lists the NATS clients as nats-server does', async () => {
  const port = await start();
  const json = await (await ask(port, '/connz?subs=1')).json();
  expect(json).toEqual({
    server_id: 'NTEST',
    now: '2026-01-02T00:00:00.000Z',
    num_connections: 1,
    total: 1,
    offset: 0,
    limit: 1024,
    connections: [
      {
        cid: 7,
        kind: 'Client',
        type: 'nats',
        ip: '127.0.0.1',
        port: 40_000,
        start: '2026-01-01T23:58:30.000Z',
        last_activity: '2026-01-01T23:59:57.000Z',
        rtt: '300µs',
        uptime: '1m30s',
        idle: '3s',
        pending_bytes: 12,
        in_msgs: 1,
        out_msgs: 3,
        in_bytes: 2,
        out_bytes: 4,
        subscriptions: 2,
        name: 'panel',
        lang: 'nats.js',
        version: '3.4.0',
        subscriptions_list: ['plant.>', 'work [crew]'],
      },
    ],
  });
  expect(await (await ask(port, '/connz?offset=1')).json()).toMatchObject({
    num_connections: 0,
    total: 1,
  });
  expect(await (await ask(port, '/connz?cid=8')).json()).toMatchObject({ total: 0 });
  expect((await ask(port, '/connz?limit=-1')).status).toBe(400);
  expect((await ask(port, '/connz?subs=2')).status).toBe(400);
});

test('/connz tells what each subscription of one client got', async () => {
  const port = await start();
  expect(await (await ask(port, '/connz?cid=7&subs=detail')).json()).toMatchObject({
    connections: [
      {
        cid: 7,
        subscriptions_list_detail: [
          { account: '$G', subject: 'plant.>', sid: '1', msgs: 5, cid: 7 },
          { account: '$G', subject: 'work', qgroup: 'crew', sid: 'b', msgs: 0, max: 9, cid: 7 },
        ],
      },
    ],
  });
  expect((await ask(port, '/connz?cid=x')).status).toBe(400);
});

test('/subsz counts subscriptions', async () => {
  const port = await start();
  expect(await (await ask(port, '/subsz')).json()).toEqual({
    server_id: 'NTEST',
    now: '2026-01-02T00:00:00.000Z',
    num_subscriptions: 5,
    num_cache: 2,
  });
});
