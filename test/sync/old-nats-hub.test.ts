// What forwarding asks of a hub, asked of nats-server 2.9.10 and 2.10.27: create, describe, read, scan, and each kind of fence.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pino } from 'pino';
import { systemClock } from '../../src/clock.ts';
import { filterOf, type Origin } from '../../sync/hub-message.ts';
import type { Fence, HubMessage } from '../../sync/hub.ts';
import { NatsHub } from '../../sync/nats-hub.ts';
import { HubAdmin } from '../hub/hub-admin.ts';
import { startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { oldNatsServer } from '../support/old-nats-server.ts';
import { until } from '../support/until.ts';

const GW7: Origin = { prefix: 'edge', gateway: 'gw7', stream: 'telemetry' };
const FILTER = filterOf(GW7);

function message(n: number, subject = 'temp'): HubMessage {
  return {
    subject: `edge.gw7.telemetry.${subject}`,
    id: `gw7:telemetry:e:${n}`,
    // As a stored order to another broker travels: it must not be taken for one here.
    headerLines: 'Mangrove-Nats-Rollup: all\r\nMangrove-Nats-Expected-Last-Sequence: 77\r\n',
    data: Buffer.from(`${n}`),
  };
}

describe.each(['2.9', '2.10'] as const)('nats-server %s', (version) => {
  let server: NatsServer;
  let admin: HubAdmin;
  let hub: NatsHub;

  beforeAll(async () => {
    server = await startNatsServer({ binary: oldNatsServer(version) });
    admin = await HubAdmin.connect(server.url);
    hub = new NatsHub(
      {
        servers: [server.url],
        name: 'mangrove gw7',
        prefix: 'edge',
        create: true,
        keepAliveMs: 15_000,
        reconnectMaxMs: 1_000,
      },
      { clock: systemClock, log: pino({ level: 'silent' }), random: Math.random },
    );
    hub.start();
    await until('the hub', () => hub.connected);
  });

  afterAll(async () => {
    await hub?.stop();
    await admin?.close();
    await server?.dispose();
  });

  test('makes the hub stream, and says what it cannot do', async () => {
    expect(await hub.stream('EDGE')).toMatchObject({
      subjects: ['edge.>'],
      lastSeq: 0,
      atomic: false,
      batched: false,
      filterFence: false,
      sourced: false,
      checkpoints: false,
    });
  });

  test('a configuration copied from a newer server does not make it newer', async () => {
    const metadata = { '_nats.ver': '2.15.1', '_nats.level': '3' };
    const config = { name: 'COPY', subjects: ['copy.>'], allow_atomic: true, metadata };
    await admin.create(config);
    expect(await hub.stream('COPY')).toMatchObject({ atomic: false, filterFence: false });
    await admin.delete('COPY');
  });

  test('reads the last and the next message under a filter, one by sequence, and all IDs', async () => {
    await hub.stream('EDGE');
    expect(await hub.lastBySubject('EDGE', FILTER)).toBeNull();
    for (let n = 1; n <= 1_200; n++)
      await hub.publish([message(n, n % 2 === 0 ? 'even' : 'odd.one')], { stream: 'EDGE' });
    const id = (n: number): string => `gw7:telemetry:e:${n}`;
    expect(await hub.lastBySubject('EDGE', FILTER)).toMatchObject({ seq: 1_200, id: id(1_200) });
    const odd = 'edge.gw7.telemetry.odd.one';
    expect(await hub.lastBySubject('EDGE', odd)).toMatchObject({ seq: 1_199, id: id(1_199) });
    expect(await hub.nextBySubject('EDGE', odd, 2)).toMatchObject({ seq: 3, subject: odd });
    expect(await hub.messageAt('EDGE', 4)).toMatchObject({ seq: 4, id: id(4) });
    await hub.deleteMessage('EDGE', 4);
    expect(await hub.messageAt('EDGE', 4)).toBeNull();
    const ids: (string | undefined)[] = [];
    for await (const page of hub.scanHeaders('EDGE', FILTER, 3, 1_200))
      for (const found of page) ids.push(found.id);
    expect(ids).toHaveLength(1_197);
    expect([ids[0], ids[1], ids.at(-1)]).toEqual([id(3), id(5), id(1_200)]);
  });

  test('refuses what the fence on the subject or the stream does not allow', async () => {
    await admin.purge();
    const { lastSeq } = await hub.stream('EDGE');
    const put = (n: number, fence: Fence, subject?: string): Promise<unknown> =>
      hub.publish([message(n, subject)], { stream: 'EDGE', fence }).then(
        ({ seq }) => seq - lastSeq,
        (error: { errCode: number }) => error.errCode,
      );
    expect(await put(2_001, { kind: 'subject', seq: lastSeq })).toBe(10071);
    expect(await put(2_001, { kind: 'subject', seq: 0 })).toBe(1);
    expect(await put(2_002, { kind: 'subject', seq: 0 })).toBe(10071);
    expect(await put(2_002, { kind: 'subject', seq: 0 }, 'other')).toBe(2);
    expect(await put(2_003, { kind: 'subject', seq: lastSeq + 1 })).toBe(3);
    expect(await put(2_004, { kind: 'stream', seq: lastSeq + 2 })).toBe(10071);
    expect(await put(2_004, { kind: 'stream', seq: lastSeq + 3 })).toBe(4);
    // In flight together, each behind the one before.
    const five = [5, 6, 7, 8, 9].map((n) =>
      put(2_000 + n, { kind: 'stream', seq: lastSeq + n - 1 }),
    );
    expect(await Promise.all(five)).toEqual([5, 6, 7, 8, 9]);
    const broken = [10, 12, 13].map((n) =>
      put(2_000 + n, { kind: 'stream', seq: lastSeq + n - 1 }),
    );
    expect(await Promise.all(broken)).toEqual([10, 10071, 10071]);
  });

  test('an ID is known for as long as the window lasts', async () => {
    const before = await hub.publish([message(3_000)], { stream: 'EDGE' });
    expect(await hub.publish([message(3_000)], { stream: 'EDGE' })).toEqual({
      seq: before.seq,
      duplicate: true,
    });
  });
});
