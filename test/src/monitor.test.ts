import { request, type IncomingHttpHeaders } from 'node:http';
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import type { Health } from '../../src/monitor/health.ts';
import type { JszInput, StreamSnapshot } from '../../src/monitor/jsz.ts';
import { Monitor, MonitorError } from '../../src/monitor/monitor.ts';
import type { VarzInput } from '../../src/monitor/varz.ts';
import { until } from '../support/until.ts';

const NOW_MS = Date.UTC(2026, 6, 1, 12);

const VARZ: VarzInput = {
  serverId: 'ID',
  serverName: 'plant1',
  version: '2.14.0',
  agentVersion: '0.1.0',
  wallMs: NOW_MS,
  uptimeMs: 90_061_000,
  usage: { memBytes: 50_000_000, cpuPercent: 1.5, cores: 4 },
  broker: { inMsgs: 5, inBytes: 600, outMsgs: 3, nobodyMsgs: 1 },
  subscriptions: 7,
  connections: 2,
  leafnodes: 1,
  sections: {
    mqtt: { inMsgs: 4, droppedSlowMsgs: 0 },
    serial: [{ name: 'meter', open: true, lastError: null, opens: 1 }],
    hub: { state: 'connected', server: 'hub:4222', lastError: undefined },
  },
};

const FORWARDED: StreamSnapshot = {
  config: {
    name: 'PLANT',
    subjects: ['plant.>'],
    retention: 'limits',
    storage: 'file',
    maxAgeMs: 3_600_000,
    maxBytes: 1_048_576,
    maxMsgs: undefined,
    discard: 'old',
    duplicateWindowMs: 120_000,
    duplicateIdsMax: 100_000,
  },
  createdMs: Date.UTC(2026, 0, 1),
  messages: 10,
  bytes: 1000,
  firstSeq: 3,
  firstTimeMs: NOW_MS - 5000,
  lastSeq: 12,
  lastTimeMs: NOW_MS - 1000,
  subjects: 2,
  durableSeq: 12,
  duplicateIds: 4,
  forward: {
    confirmedSeq: 8,
    hubSeq: 208,
    pending: 4,
    pendingBytes: 400,
    state: 'sending',
    detail: undefined,
  },
  consumers: 0,
  consumerDetails: () => [],
};

const LOCAL: StreamSnapshot = {
  ...FORWARDED,
  config: { ...FORWARDED.config, name: 'LOCAL', subjects: ['local.>'], maxAgeMs: undefined },
  createdMs: null,
  messages: 0,
  bytes: 0,
  firstSeq: 0,
  firstTimeMs: null,
  lastSeq: 0,
  lastTimeMs: null,
  subjects: 0,
  durableSeq: 0,
  duplicateIds: 0,
  forward: null,
};

const JSZ: JszInput = {
  serverId: 'ID',
  wallMs: NOW_MS,
  storeDir: '/var/lib/mangrove',
  streams: [FORWARDED, LOCAL],
};

let monitor: Monitor | undefined;

afterEach(async () => {
  await monitor?.stop();
  monitor = undefined;
});

const CONNZ = { serverId: 'NTEST', wallMs: 0, nowMs: 0, clients: [] };
const MQTTZ = { serverId: 'NTEST', wallMs: 0, sessions: [] };
const LEAFZ = { serverId: 'NTEST', wallMs: 0, link: undefined };
const METRICS = {
  health: { ok: true, problems: [] },
  varz: VARZ,
  diskFull: false,
  streams: [],
  hub: undefined,
  forwards: [],
  leaf: undefined,
  sourcing: { missedMsgs: 0, oversizeMsgs: 0, jumps: 0 },
  mqtt: undefined,
};
const SUBSZ = { serverId: 'NTEST', wallMs: 0, subscriptions: 0, cachedSubjects: 0 };

/** What the sources answer; a test changes it while the monitor runs. */
interface State {
  health: Health;
  varz: VarzInput;
  jsz: JszInput;
}

async function setup(state: Partial<State> = {}): Promise<{ port: number; state: State }> {
  const full = { health: { ok: true, problems: [] }, varz: VARZ, jsz: JSZ, ...state };
  monitor = new Monitor(
    { listen: { host: '127.0.0.1', port: 0 } },
    {
      health: () => full.health,
      varz: () => full.varz,
      jsz: () => full.jsz,
      connz: () => CONNZ,
      subsz: () => SUBSZ,
      mqttz: () => MQTTZ,
      leafz: () => LEAFZ,
      metrics: () => METRICS,
    },
  );
  const { host, port } = await monitor.start();
  expect(host).toBe('127.0.0.1');
  return { port, state: full };
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly json: Record<string, unknown>;
}

function ask(port: number, path: string, method = 'GET', headers = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path, method, headers, agent: false };
    const asked = request(options, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => {
        const json = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>;
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json });
      });
    });
    asked.on('error', reject);
    asked.end();
  });
}

describe('/healthz', () => {
  test('says ok, in exactly the words of nats-server', async () => {
    const { port } = await setup();
    const answer = await ask(port, '/healthz');
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual({ status: 'ok' });
    expect(answer.headers).toMatchObject({
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'content-length': String(Buffer.byteLength(answer.text)),
    });
    expect(answer.headers['access-control-allow-origin']).toBeUndefined();
  });

  test('says what is wrong at the moment it is asked', async () => {
    const { port, state } = await setup();
    const disk = { part: 'disk', text: 'The disk is full.', hint: 'Make room.' };
    const hub = { part: 'hub', text: 'The hub does not answer.' };
    state.health = { ok: false, problems: [disk, hub] };
    const failing = await ask(port, '/healthz');
    expect(failing.status).toBe(503);
    expect(failing.json).toEqual({
      status: 'unavailable',
      error: 'The disk is full.',
      problems: [disk, hub],
    });
    state.health = { ok: true, problems: [hub] };
    const waiting = await ask(port, '/healthz');
    expect(waiting.status).toBe(200);
    expect(waiting.json).toEqual({ status: 'ok', problems: [hub] });
  });
});

test('/varz has nats-server’s names, our sections, and nothing that is not known', async () => {
  const { port } = await setup();
  await ask(port, '/healthz');
  await ask(port, '/healthz');
  const { status, json } = await ask(port, '/varz');
  expect(status).toBe(200);
  expect(json).toEqual({
    server_id: 'ID',
    server_name: 'plant1',
    version: '2.14.0',
    mangrove: '0.1.0',
    start: '2026-06-30T10:58:59.000Z',
    now: '2026-07-01T12:00:00.000Z',
    uptime: '1d1h1m1s',
    mem: 50_000_000,
    cores: 4,
    cpu: 1.5,
    connections: 2,
    leafnodes: 1,
    in_msgs: 5,
    in_bytes: 600,
    out_msgs: 3,
    unrouted_msgs: 1,
    subscriptions: 7,
    mqtt: { in_msgs: 4, dropped_slow_msgs: 0 },
    serial: [{ name: 'meter', open: true, last_error: null, opens: 1 }],
    hub: { state: 'connected', server: 'hub:4222' },
    http_host: '127.0.0.1',
    http_port: port,
    http_req_stats: { '/healthz': 2, '/varz': 1 },
  });
});

test('the start is reckoned from now, so that a clock that is set late does not falsify it', async () => {
  const { port, state } = await setup();
  state.varz = { ...VARZ, wallMs: Date.UTC(1970, 0, 1, 0, 1), uptimeMs: 60_000 };
  expect((await ask(port, '/varz')).json['start']).toBe('1970-01-01T00:00:00.000Z');
  state.varz = { ...VARZ, wallMs: NOW_MS, uptimeMs: 61_000 };
  expect((await ask(port, '/varz')).json['start']).toBe('2026-07-01T11:58:59.000Z');
});

describe('/jsz', () => {
  const totals = {
    server_id: 'ID',
    now: '2026-07-01T12:00:00.000Z',
    config: { store_dir: '/var/lib/mangrove' },
    memory: 0,
    storage: 1000,
    accounts: 1,
    streams: 2,
    consumers: 1,
    messages: 10,
    bytes: 1000,
    total: 1,
  };
  const forwarded = {
    name: 'PLANT',
    created: '2026-01-01T00:00:00.000Z',
    state: {
      messages: 10,
      bytes: 1000,
      first_seq: 3,
      first_ts: '2026-07-01T11:59:55.000Z',
      last_seq: 12,
      last_ts: '2026-07-01T11:59:59.000Z',
      num_subjects: 2,
      consumer_count: 1,
    },
    durable_seq: 12,
    duplicate_ids: 4,
    forward: { confirmed_seq: 8, hub_seq: 208, pending: 4, pending_bytes: 400, state: 'sending' },
  };
  const local = {
    name: 'LOCAL',
    created: '0001-01-01T00:00:00Z',
    state: {
      messages: 0,
      bytes: 0,
      first_seq: 0,
      first_ts: '0001-01-01T00:00:00Z',
      last_seq: 0,
      last_ts: '0001-01-01T00:00:00Z',
      num_subjects: 0,
      consumer_count: 0,
    },
    durable_seq: 0,
    duplicate_ids: 0,
  };
  const account = { name: '$G', id: '$G', memory: 0, storage: 1000 };
  const config = {
    name: 'PLANT',
    subjects: ['plant.>'],
    retention: 'limits',
    max_msgs: -1,
    max_bytes: 1_048_576,
    max_age: 3_600_000_000_000,
    discard: 'old',
    storage: 'file',
    num_replicas: 1,
    duplicate_window: 120_000_000_000,
    duplicate_ids_max: 100_000,
  };
  const consumer = {
    stream_name: 'PLANT',
    name: 'hub',
    ack_floor: { stream_seq: 8 },
    num_pending: 4,
    ts: '2026-07-01T12:00:00.000Z',
  };

  test('alone gives the totals', async () => {
    const { port } = await setup();
    expect((await ask(port, '/jsz')).json).toEqual(totals);
    expect((await ask(port, '/jsz?streams=false&consumers=0')).json).toEqual(totals);
    expect((await ask(port, '/jsz?accounts=true')).json).toEqual({
      ...totals,
      account_details: [account],
    });
  });

  test('gives each stream with its state, and the forwarder’s mark as a consumer named hub', async () => {
    const { port } = await setup();
    expect((await ask(port, '/jsz?streams=true')).json).toEqual({
      ...totals,
      account_details: [{ ...account, stream_detail: [forwarded, local] }],
    });
    expect((await ask(port, '/jsz?consumers=1')).json).toEqual({
      ...totals,
      account_details: [
        { ...account, stream_detail: [{ ...forwarded, consumer_detail: [consumer] }, local] },
      ],
    });
  });

  test('gives the configuration when it is asked for', async () => {
    const { port } = await setup({ jsz: { ...JSZ, streams: [FORWARDED] } });
    const { json } = await ask(port, '/jsz?consumers=true&config=true&raft=true');
    const [detail] = json['account_details'] as { stream_detail: object[] }[];
    expect(detail?.stream_detail).toEqual([
      {
        ...forwarded,
        config,
        consumer_detail: [
          {
            ...consumer,
            config: {
              durable_name: 'hub',
              name: 'hub',
              deliver_policy: 'all',
              ack_policy: 'all',
              replay_policy: 'instant',
            },
          },
        ],
      },
    ]);
    const alone = await ask(port, '/jsz?config=true');
    expect(alone.json).not.toHaveProperty('account_details');
  });

  test('lists the consumers of clients behind the forwarder’s mark, and tells memory from disk', async () => {
    const detail = {
      stream_name: 'PLANT',
      name: 'c',
      config: { durable_name: 'c' },
      num_pending: 1,
    };
    const stream: StreamSnapshot = { ...FORWARDED, consumers: 1, consumerDetails: () => [detail] };
    const memory = { ...LOCAL, bytes: 7, config: { ...LOCAL.config, storage: 'memory' } };
    const limits = { maxMemory: 64, maxStorage: 1024, domain: 'plant1' };
    const { port } = await setup({ jsz: { ...JSZ, limits, streams: [stream, memory] } });
    const { json } = await ask(port, '/jsz?consumers=1');
    expect(json).toMatchObject({ consumers: 2, memory: 7, storage: 1000, bytes: 1007 });
    expect(json['config']).toEqual({
      max_memory: 64,
      max_storage: 1024,
      domain: 'plant1',
      store_dir: '/var/lib/mangrove',
    });
    const [account_] = json['account_details'] as { stream_detail: object[] }[];
    const { config: _, ...plain } = detail;
    expect(account_?.stream_detail[0]).toMatchObject({
      state: { consumer_count: 2 },
      consumer_detail: [consumer, plain],
    });
    const whole = await ask(port, '/jsz?consumers=1&config=1');
    expect(JSON.stringify(whole.json)).toContain(JSON.stringify(detail));
  });

  test('refuses an option that is neither true nor false', async () => {
    const { port } = await setup();
    const { status, json } = await ask(port, '/jsz?streams=yes');
    expect(status).toBe(400);
    expect(json).toEqual({ error: 'streams: found "yes", expected true or false' });
  });
});

describe('the listener', () => {
  test('names the paths that it has', async () => {
    const { port } = await setup();
    for (const path of ['/', '/routez', '/healthz/', '//x', '/__proto__', '/toString']) {
      const { status, json } = await ask(port, path);
      expect(status, path).toBe(404);
      expect(json['paths']).toEqual([
        '/healthz',
        '/varz',
        '/connz',
        '/mqttz',
        '/leafz',
        '/subsz',
        '/jsz',
        '/metrics',
      ]);
    }
  });

  test('only reads', async () => {
    const { port } = await setup();
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const answer = await ask(port, '/varz', method);
      expect(answer.status, method).toBe(405);
      expect(answer.headers.allow).toBe('GET, HEAD');
    }
    const head = await ask(port, '/varz', 'HEAD');
    expect(head).toMatchObject({ status: 200, text: '' });
    expect(Number(head.headers['content-length'])).toBeGreaterThan(100);
  });

  test('refuses a request with endless headers and one that is no HTTP', async () => {
    const { port } = await setup();
    const large = await ask(port, '/varz', 'GET', { cookie: 'x'.repeat(10_000) }).catch(String);
    expect(typeof large === 'string' ? large : large.status).toSatisfy(
      (result: unknown) => result === 431 || String(result).includes('ECONNRESET'),
    );
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    socket.write('CONNECT {"verbose":false}\r\nPING\r\n\r\n');
    await once(socket, 'close');
    expect(text).toContain('400 Bad Request');
    expect((await ask(port, '/healthz')).status).toBe(200);
  });

  test('takes no more connections than it can afford, and recovers', async () => {
    const { port } = await setup();
    const sockets: Socket[] = [];
    let closed = 0;
    for (let i = 0; i < 40; i++) {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      socket.on('close', () => closed++);
      sockets.push(socket);
    }
    await until('the connections beyond the limit to be closed', () => closed === 8);
    expect(sockets.filter((socket) => !socket.destroyed)).toHaveLength(32);
    for (const socket of sockets) socket.destroy();
    await until('a new connection to be served', async () => {
      const answer = await ask(port, '/healthz').catch(() => undefined);
      return answer?.status === 200;
    });
  });

  test('ends with its connections, and leaves its port free', async () => {
    const { port } = await setup();
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const closed = once(socket, 'close');
    socket.resume();
    await monitor?.stop();
    await closed;
    await expect(ask(port, '/healthz')).rejects.toThrow('ECONNREFUSED');
  });

  test('says which port is taken', async () => {
    const { port } = await setup();
    const second = new Monitor(
      { listen: { host: '127.0.0.1', port } },
      {
        health: () => ({ ok: true, problems: [] }),
        varz: () => VARZ,
        jsz: () => JSZ,
        connz: () => CONNZ,
        subsz: () => SUBSZ,
        mqttz: () => MQTTZ,
        leafz: () => LEAFZ,
        metrics: () => METRICS,
      },
    );
    const error: unknown = await second.start().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(MonitorError);
    expect(error).toMatchObject({
      message: `cannot listen on 127.0.0.1:${port} for monitoring (EADDRINUSE)`,
      hint: expect.stringContaining('[monitor] listen'),
      cause: { code: 'EADDRINUSE' },
    });
  });
});
