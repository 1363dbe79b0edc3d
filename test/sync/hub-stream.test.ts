import { describe, expect, test } from 'vitest';
import { pino } from 'pino';
import { createHubStream } from '../../sync/hub-create.ts';
import { HubError, isExplained, jetStreamError, localError } from '../../sync/hub-error.ts';
import { covers, hubStream, type StreamInfoAnswer } from '../../sync/hub-stream.ts';

const log = pino({ level: 'silent' });

test('a pattern covers a filter when every subject of the filter falls under it', () => {
  for (const pattern of [
    'edge.gw7.telemetry.>',
    'edge.gw7.>',
    'edge.*.>',
    'edge.>',
    '>',
    '*.*.*.>',
  ])
    expect(covers(pattern, 'edge.gw7.telemetry.>')).toBe(true);
  for (const pattern of [
    'edge.gw8.>',
    'edge.gw7.telemetry.*',
    'edge.gw7.telemetry',
    'edge.gw7.telemetry.a.>',
    'edge',
    'other.>',
  ])
    expect(covers(pattern, 'edge.gw7.telemetry.>')).toBe(false);
  expect(covers('edge.*.*', 'edge.gw7.telemetry')).toBe(true);
  expect(covers('edge.gw7.telemetry.>', 'edge.gw7.telemetry')).toBe(false);
  expect(covers('edge.gw7', 'edge.*')).toBe(false);
});

test('an incomplete description is an answer to be asked for again', () => {
  expect(() => hubStream({}, '2.15.1')).toThrow(HubError);
});

test('several replicas may differ on servers before 2.10.23', () => {
  const answer = (num_replicas?: number): StreamInfoAnswer => ({
    created: '2026-01-01T00:00:00Z',
    config: { name: 'EDGE', ...(num_replicas === undefined ? {} : { num_replicas }) },
    state: { last_seq: 0 },
  });
  for (const version of ['2.9.10', '2.9.25', '2.10.0', '2.10.9', '2.10.22', '2.10.22-RC.1', ''])
    expect(hubStream(answer(3), version).mayDiffer, version).toBe(true);
  for (const version of ['2.10.23', '2.10.27', '2.10.27-RC.1', '2.11.0', '2.15.1', '3.0.0'])
    expect(hubStream(answer(3), version).mayDiffer, version).toBe(false);
  expect(hubStream(answer(2), '2.9.10').mayDiffer).toBe(true);
  for (const one of [answer(1), answer()]) expect(hubStream(one, '2.9.10').mayDiffer).toBe(false);
});

describe('an error of the hub', () => {
  test('is retried where the hub or somebody else was in the way', () => {
    for (const errCode of [
      10002, 10008, 10009, 10071, 10077, 10158, 10164, 10167, 10176, 10201, 10205, 10208, 10210,
      10211,
    ])
      expect(jetStreamError(400, errCode, 'x').kind).toBe('retry');
    for (const name of ['linkDown', 'timeout', 'noResponders', 'badAnswer'] as const)
      expect(localError(name, 'x').kind).toBe('retry');
  });

  test('is poison where this message will never be stored', () => {
    for (const errCode of [10054, 10097, 10111, 10168, 10188, 10227])
      expect(jetStreamError(400, errCode, 'x').kind).toBe('poison');
    expect(jetStreamError(503, 10077, 'maximum bytes exceeded').kind).toBe('retry');
    expect(jetStreamError(503, 10077, 'message too large').kind).toBe('poison');
  });

  test('is for an operator where only he can mend it, and then has a hint', () => {
    for (const errCode of [10035, 10039, 10059, 10060, 10076, 10109, 10185]) {
      const error = jetStreamError(400, errCode, 'x');
      expect(error.kind).toBe('configuration');
      expect(error.hint).toMatch(/hub/);
    }
    for (const name of ['permission', 'unfitStream', 'hubTooOld'] as const)
      expect(localError(name, 'x').kind).toBe('configuration');
  });

  test('that nobody knows is the hub’s for 5xx and 429, and the message’s else', () => {
    for (const code of [500, 503, 429, 409])
      expect(jetStreamError(code, 10999, 'x').kind).toBe('retry');
    for (const code of [400, 404, 412])
      expect(jetStreamError(code, 10999, 'x').kind).toBe('poison');
    expect(isExplained(10999)).toBe(false);
    expect(isExplained(10054)).toBe(true);
  });
});

describe('creating the hub stream', () => {
  type Config = Record<string, unknown>;

  async function create(
    refuse: (config: Config) => number | undefined,
    { clustered = false, remembers = false } = {},
  ): Promise<{ tried: Config[]; error: HubError | undefined }> {
    const tried: Config[] = [];
    try {
      await createHubStream('EDGE', 'edge', {
        clustered,
        remembers,
        log,
        create: (config) => {
          tried.push(config);
          const errCode = refuse(config);
          return errCode === undefined
            ? Promise.resolve()
            : Promise.reject(jetStreamError(errCode === 10065 ? 400 : 500, errCode, 'refused'));
        },
      });
      return { tried, error: undefined };
    } catch (error) {
      return { tried, error: error as HubError };
    }
  }

  test('asks for less where the hub has less room', async () => {
    const { tried } = await create(({ max_bytes: bytes }) =>
      Number(bytes) > 5e8 ? 10047 : undefined,
    );
    expect(tried.map(({ max_bytes: bytes }) => bytes)).toEqual([
      8 * 1024 ** 3,
      1024 ** 3,
      256 * 1024 ** 2,
    ]);
  });

  test('gives up keys that an older server does not know, newest first', async () => {
    const { tried, error } = await create((config) =>
      'allow_atomic' in config ? 10025 : undefined,
    );
    expect(error).toBeUndefined();
    expect(tried.at(-1)).not.toHaveProperty('allow_batched');
    expect(tried.at(-1)).not.toHaveProperty('allow_atomic');
    expect(tried.at(-1)).toMatchObject({ allow_msg_ttl: true, discard: 'new' });
  });

  test('remembers IDs for a moment only, but where something rests on it', async () => {
    const window = ({ tried }: { tried: Config[] }): unknown => tried.at(-1)?.['duplicate_window'];
    expect(window(await create(() => undefined))).toBe(100_000_000);
    expect(window(await create(() => undefined, { remembers: true }))).toBeUndefined();
    const old = (config: Config): number | undefined =>
      'allow_batched' in config ? 10025 : undefined;
    expect(window(await create(old))).toBeUndefined();
  });

  test('has three replicas in a cluster that has the peers, else one', async () => {
    const { tried } = await create(({ num_replicas: n }) => (n === 3 ? 10005 : undefined), {
      clustered: true,
    });
    expect(tried.map(({ num_replicas: n }) => n)).toEqual([3, 1]);
    expect((await create(() => undefined)).tried[0]).toMatchObject({ num_replicas: 1 });
  });

  test('is content when somebody else was faster', async () => {
    expect((await create(() => 10058)).error).toBeUndefined();
  });

  test('says what an operator can do when the hub refuses for good', async () => {
    const overlap = await create(() => 10065);
    expect(overlap.error).toMatchObject({ kind: 'configuration', errCode: 10065 });
    expect(overlap.error?.hint).toContain('hub.prefix');
    const full = await create(() => 10047);
    expect(full.error).toMatchObject({ kind: 'retry', errCode: 10047 });
    expect(full.tried).toHaveLength(3);
    expect((await create(() => 10025)).tried.length).toBeLessThanOrEqual(8);
  });
});
