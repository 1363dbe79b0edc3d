import { afterEach, expect, test } from 'vitest';
import type { ConnzInput } from '../../src/monitor/connz.ts';
import { leafz, type LeafzInput, type LeafzStatus } from '../../src/monitor/leafz.ts';
import type { MetricsInput } from '../../src/monitor/metrics.ts';
import { Monitor } from '../../src/monitor/monitor.ts';
import type { MqttzInput } from '../../src/monitor/mqttz.ts';
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
    {
      cid: 1_000_000_001,
      type: 'mqtt',
      mqttClient: 'meter 1',
      ip: '192.0.2.7',
      port: 50_000,
      sinceMs: 40_000,
      lastInMs: 99_000,
      rttMs: undefined,
      pendingBytes: 0,
      counters: { inMsgs: 9, inBytes: 90, outMsgs: 1, outBytes: 10 },
      subscriptions: [
        { subject: 'cmd.>', queue: undefined, sid: 'cmd/#', delivered: undefined, max: 0 },
        { subject: 'work', queue: 'crew', sid: '$share/crew/work', delivered: undefined, max: 0 },
      ],
      name: '',
      lang: '',
      version: '',
      user: 'meter',
    },
  ],
};
const MQTTZ: MqttzInput = {
  serverId: 'NTEST',
  wallMs: Date.UTC(2026, 0, 2),
  sessions: [
    {
      clientId: 'meter 1',
      user: 'meter',
      connected: true,
      version: 5,
      persistent: true,
      subscriptions: 2,
      queuedMessages: 3,
      queuedBytes: 300,
      inFlight: 3,
      received: 1,
      dropped: { full: 0, expired: 0 },
      expiryLeftMs: undefined,
    },
    {
      clientId: 'pump',
      user: undefined,
      connected: false,
      version: undefined,
      persistent: true,
      subscriptions: 1,
      queuedMessages: 10_000,
      queuedBytes: 1_000_000,
      inFlight: 0,
      received: 0,
      dropped: { full: 7, expired: 2 },
      expiryLeftMs: 59_001,
    },
  ],
};
const HUB = {
  name: 'hub',
  version: '2.15.1',
  domain: 'cloud',
  account: 'PLANTS',
  ip: '10.0.0.1',
  port: 7422,
  tls: true,
  compression: 's2_fast',
  rttMs: 31.4159265,
  advertised: ['$JS.plant1.API.>', '$LDS.x'],
  wanted: 2,
  wantedSubjects: () => ['plant.>', '_INBOX.a.*'],
  waitingBytes: 512,
};
const LEAFZ: LeafzInput & { link: LeafzStatus } = {
  serverId: 'NTEST',
  wallMs: Date.UTC(2026, 0, 2),
  link: {
    connected: true,
    detail: 'connected to hub',
    problem: null,
    steps: 9,
    hub: HUB,
    counters: {
      connects: 3,
      inMsgs: 10,
      inBytes: 1000,
      outMsgs: 20,
      outBytes: 4000,
      droppedMsgs: 1,
      deniedOutMsgs: 4,
      deniedInMsgs: 5,
      oversizeMsgs: 6,
    },
  },
};
const METRICS: MetricsInput = {
  health: {
    ok: false,
    problems: [
      { part: 'disk', text: 'the disk is full' },
      { part: 'hub "A"', text: 'wrong credentials' },
      { part: 'disk', text: 'it does not answer' },
    ],
  },
  varz: {
    agentVersion: '0.1.0',
    uptimeMs: 90_061_500,
    usage: { memBytes: 50_000_000, cpuPercent: 1.5, cores: 4 },
    connections: 2,
    broker: { inMsgs: 5, inBytes: 600, outMsgs: 3, nobodyMsgs: 1 },
  },
  diskFull: true,
  streams: [{ name: 'PLANT', messages: 10, bytes: 1000 }],
  hub: { connected: false },
  forwards: [{ stream: 'PLANT', pending: 4 }],
  leaf: LEAFZ.link,
  sourcing: { missedMsgs: 7, oversizeMsgs: 8, jumps: 1 },
  mqtt: {
    connections: 1,
    sessions: 2,
    inMsgs: 9,
    refusedMsgs: 2,
    droppedQueueMsgs: 7,
    droppedExpiredMsgs: 2,
    list: [],
  },
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
    {
      health: unused,
      varz: unused,
      jsz: unused,
      connz: () => CONNZ,
      subsz: () => SUBSZ,
      mqttz: () => MQTTZ,
      leafz: () => LEAFZ,
      metrics: () => METRICS,
    },
  );
  return (await monitor.start()).port;
}

function ask(port: number, path: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${port}${path}`);
}

test('/connz lists the clients as nats-server does', async () => {
  const port = await start();
  const json = await (await ask(port, '/connz?subs=1')).json();
  expect(json).toEqual({
    server_id: 'NTEST',
    now: '2026-01-02T00:00:00.000Z',
    num_connections: 2,
    total: 2,
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
      {
        cid: 1_000_000_001,
        kind: 'Client',
        type: 'mqtt',
        ip: '192.0.2.7',
        port: 50_000,
        start: '2026-01-01T23:59:00.000Z',
        last_activity: '2026-01-01T23:59:59.000Z',
        uptime: '1m0s',
        idle: '1s',
        pending_bytes: 0,
        in_msgs: 9,
        out_msgs: 1,
        in_bytes: 90,
        out_bytes: 10,
        subscriptions: 2,
        authorized_user: 'meter',
        mqtt_client: 'meter 1',
        subscriptions_list: ['cmd.>', 'work [crew]'],
      },
    ],
  });
  expect(await (await ask(port, '/connz?offset=2')).json()).toMatchObject({
    num_connections: 0,
    total: 2,
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

test('/connz finds an MQTT client by its Client Identifier', async () => {
  const port = await start();
  const found = await (await ask(port, '/connz?mqtt_client=meter%201&subs=detail')).json();
  expect(found).toMatchObject({
    total: 1,
    connections: [
      {
        cid: 1_000_000_001,
        subscriptions_list_detail: [
          { account: '$G', subject: 'cmd.>', sid: 'cmd/#', cid: 1_000_000_001 },
          { account: '$G', subject: 'work', qgroup: 'crew', sid: '$share/crew/work' },
        ],
      },
    ],
  });
  expect(JSON.stringify(found)).not.toContain('msgs":null');
  expect(await (await ask(port, '/connz?mqtt_client=pump')).json()).toMatchObject({ total: 0 });
});

test('/mqttz shows who is away, what waits for it, what was dropped and when it ends', async () => {
  const port = await start();
  expect(await (await ask(port, '/mqttz')).json()).toEqual({
    server_id: 'NTEST',
    now: '2026-01-02T00:00:00.000Z',
    num_sessions: 2,
    total: 2,
    offset: 0,
    limit: 1024,
    sessions: [
      {
        client_id: 'meter 1',
        authorized_user: 'meter',
        state: 'connected',
        protocol: '5.0',
        persistent: true,
        subscriptions: 2,
        queued_messages: 3,
        queued_bytes: 300,
        in_flight: 3,
        received: 1,
        dropped: { full: 0, expired: 0 },
      },
      {
        client_id: 'pump',
        state: 'away',
        persistent: true,
        subscriptions: 1,
        queued_messages: 10_000,
        queued_bytes: 1_000_000,
        in_flight: 0,
        received: 0,
        dropped: { full: 7, expired: 2 },
        expires_in_seconds: 60,
      },
    ],
  });
});

test('/mqttz gives a page, a state or one client', async () => {
  const port = await start();
  const names = async (query: string): Promise<unknown[]> => {
    const json = (await (await ask(port, `/mqttz?${query}`)).json()) as {
      num_sessions: number;
      total: number;
      sessions: { client_id: string }[];
    };
    expect(json.num_sessions).toBe(json.sessions.length);
    return [json.total, ...json.sessions.map((session) => session.client_id)];
  };
  expect(await names('limit=1')).toEqual([2, 'meter 1']);
  expect(await names('limit=1&offset=1')).toEqual([2, 'pump']);
  expect(await names('offset=2')).toEqual([2]);
  expect(await names('state=away')).toEqual([1, 'pump']);
  expect(await names('state=connected')).toEqual([1, 'meter 1']);
  expect(await names('client_id=meter%201')).toEqual([1, 'meter 1']);
  expect(await names('client_id=nobody')).toEqual([0]);
  for (const wrong of ['limit=-1', 'offset=x', 'limit=', 'state=gone'])
    expect((await ask(port, `/mqttz?${wrong}`)).status).toBe(400);
});

test('/metrics is what Prometheus reads', async () => {
  const port = await start();
  const answer = await ask(port, '/metrics');
  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  const text = await answer.text();
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  expect(lines).toEqual([
    'mangrove_info{version="0.1.0"} 1',
    'mangrove_uptime_seconds 90061',
    'mangrove_memory_bytes 50000000',
    'mangrove_healthy 0',
    'mangrove_problem{part="disk"} 1',
    'mangrove_problem{part="hub \\"A\\""} 1',
    'mangrove_disk_full 1',
    'mangrove_connections 2',
    'mangrove_received_messages_total 5',
    'mangrove_unrouted_messages_total 1',
    'mangrove_stream_messages{stream="PLANT"} 10',
    'mangrove_stream_bytes{stream="PLANT"} 1000',
    'mangrove_hub_connected 0',
    'mangrove_forward_pending_messages{stream="PLANT"} 4',
    'mangrove_leaf_connected 1',
    'mangrove_leaf_pending_bytes 512',
    'mangrove_leaf_rtt_seconds 0.031416',
    'mangrove_leaf_connects_total 3',
    'mangrove_leaf_received_messages_total 10',
    'mangrove_leaf_received_bytes_total 1000',
    'mangrove_leaf_sent_messages_total 20',
    'mangrove_leaf_sent_bytes_total 4000',
    'mangrove_leaf_dropped_messages_total 1',
    'mangrove_leaf_denied_sent_messages_total 4',
    'mangrove_leaf_denied_received_messages_total 5',
    'mangrove_leaf_oversize_messages_total 6',
    'mangrove_sourcing_missed_messages_total 7',
    'mangrove_sourcing_oversize_messages_total 8',
    'mangrove_sourcing_jumps_total 1',
    'mangrove_mqtt_connections 1',
    'mangrove_mqtt_sessions 2',
    'mangrove_mqtt_received_messages_total 9',
    'mangrove_mqtt_refused_messages_total 2',
    'mangrove_mqtt_dropped_messages_total{reason="queue_full"} 7',
    'mangrove_mqtt_dropped_messages_total{reason="expired"} 2',
  ]);
  for (const line of lines) {
    const name = /^[a-z_]+/.exec(line)?.[0] ?? '';
    expect(text).toContain(`# HELP ${name} `);
    expect(text).toContain(`# TYPE ${name} ${name.endsWith('_total') ? 'counter' : 'gauge'}\n`);
  }
  expect((await ask(port, '/metrics')).status).toBe(200);
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

test('/leafz shows the hub as nats-server does, and what is not sent', async () => {
  const port = await start();
  const answer = async (query = ''): Promise<unknown> => (await ask(port, `/leafz${query}`)).json();
  const leaf = {
    id: 3,
    name: 'hub',
    is_spoke: true,
    account: '$G',
    ip: '10.0.0.1',
    port: 7422,
    rtt: '31.416ms',
    in_msgs: 10,
    out_msgs: 20,
    in_bytes: 1000,
    out_bytes: 4000,
    subscriptions: 2,
    compression: 's2_fast',
    version: '2.15.1',
    domain: 'cloud',
    remote_account: 'PLANTS',
    tls: true,
    pending_bytes: 512,
    dropped_msgs: 1,
    denied_out_msgs: 4,
    denied_in_msgs: 5,
    oversize_msgs: 6,
    advertised: 2,
  };
  const head = { server_id: 'NTEST', now: '2026-01-02T00:00:00.000Z', leafnodes: 1 };
  expect(await answer()).toEqual({ ...head, leafs: [leaf] });
  const lists = {
    subscriptions_list: ['plant.>', '_INBOX.a.*'],
    advertised_list: ['$JS.plant1.API.>', '$LDS.x'],
  };
  expect(await answer('?subs=1')).toEqual({ ...head, leafs: [{ ...leaf, ...lists }] });
  expect((await ask(port, '/leafz?subs=perhaps')).status).toBe(400);
});

test('/leafz has no leaf while there is no connection, and writes short and long round trips as Go does', () => {
  const { link } = LEAFZ;
  const of = (more: Partial<LeafzStatus>) =>
    leafz({ ...LEAFZ, link: { ...link, ...more } }, { subs: true });
  expect(of({ connected: false, hub: undefined })).toMatchObject({ leafnodes: 0, leafs: [] });
  expect(leafz({ ...LEAFZ, link: undefined }, { subs: false })).toMatchObject({ leafs: [] });
  const rtt = (rttMs: number | undefined): unknown => {
    const { leafs } = of({ hub: { ...HUB, rttMs } }) as { leafs: [{ rtt?: string }] };
    return leafs[0].rtt;
  };
  expect(rtt(undefined)).toBeUndefined();
  expect(rtt(0)).toBe('1µs');
  expect(rtt(0.2341)).toBe('234µs');
  expect(rtt(12)).toBe('12ms');
  expect(rtt(2_500)).toBe('2.5s');
});
