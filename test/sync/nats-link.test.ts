// The link to the hub through a WAN that does everything a WAN does, and to servers that are none.

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { localError } from '../../sync/hub-error.ts';
import { startNatsServer } from '../support/nats-server.ts';
import { until } from '../support/until.ts';
import {
  afterwards,
  at,
  connected,
  disconnected,
  failure,
  FILTER,
  lastSeq,
  listen,
  logged,
  messages,
  newHub,
  publish,
  throughWan,
  start,
  stop,
  tearDown,
} from './link-bench.ts';

beforeAll(start);
afterEach(tearDown);
afterAll(stop);

describe('a WAN', () => {
  test('that resets: requests under way fail at once, and the link is made again', async () => {
    const wan = await throughWan();
    const hub = await connected(newHub());
    await hub.stream('EDGE');
    wan.blackHole();
    const waiting = failure(hub.stream('EDGE'));
    wan.resetAll();
    expect(await waiting).toMatchObject({
      kind: 'retry',
      errCode: localError('linkDown', '').errCode,
    });
    await wan.restore();
    await connected(hub);
    await hub.stream('EDGE');
    expect(hub.status().connects).toBe(2);
  });

  test('that refuses: tried again for as long as it takes, without a flood of lines', async () => {
    const wan = await throughWan();
    const hub = await connected(newHub());
    await wan.refuse();
    wan.resetAll();
    await until('a few attempts', () => hub.status().failures > 8);
    expect(hub.detail).toContain('connection refused');
    expect(logged('no connection').length).toBeLessThanOrEqual(2);
    expect(logged('no connection')[0]?.hint).toContain('Data waits on disk');
    await wan.restore();
    await connected(hub);
    expect(hub.detail).toBe('');
  });

  test.each([['up', 'down'], ['down']] as const)(
    'that swallows bytes (%s %s) is found out within the keep-alive',
    async (...directions) => {
      const wan = await throughWan();
      const hub = await connected(newHub());
      wan.blackHole(...directions);
      await disconnected(hub);
      expect(hub.detail).toMatch(/nothing heard for \d s/);
      await wan.restore();
      await connected(hub);
    },
  );

  test('that swallows bytes leaves no socket behind, however often we dial', async () => {
    const wan = await throughWan();
    const hub = await connected(newHub({ keepAliveMs: 300 }));
    wan.blackHole();
    const before = wan.counters.connections;
    await until('a few attempts', () => wan.counters.connections >= before + 4);
    // One may be dialling just now.
    await until('old sockets to be closed', () => wan.connections <= 1);
    await wan.restore();
    await connected(hub);
  });

  test('that is cut in the middle of a batch: all of it is there, or nothing', async () => {
    const wan = await throughWan();
    const hub = await connected(newHub());
    await hub.stream('EDGE');
    for (const bytes of [1, 500, 20_000, 60_000, 90_000]) {
      const before = await lastSeq(hub);
      wan.cutAfter('up', bytes);
      expect((await failure(publish(hub, messages(500), before))).kind).toBe('retry');
      await connected(hub);
      expect(await lastSeq(hub)).toBe(before);
      // The whole of it arrives, and no answer comes back.
      wan.cutAfter('down', 0);
      expect((await failure(publish(hub, messages(500), before))).kind).toBe('retry');
      await connected(hub);
      expect([before, before + 500]).toContain(await lastSeq(hub));
    }
  });

  test('that delivers late what an old connection had sent: the fence refuses it', async () => {
    const wan = await throughWan();
    const hub = await connected(newHub());
    await hub.stream('EDGE');
    const before = await lastSeq(hub);
    wan.delayOld(700);
    const late = messages(20);
    const lost = failure(publish(hub, late, before));
    // What is in our process is not sent any more once the socket is reset: let it out first.
    await until('the batch to be on its way', () => wan.held > 0);
    hub.reconnect('as after a silence');
    expect((await lost).kind).toBe('retry');
    await connected(hub);
    const after = await publish(hub, late, before);
    expect(after).toBe(before + 20);
    await until('the late bytes to arrive', () => wan.held === 0);
    expect(await lastSeq(hub)).toBe(after);
  });

  test('that is slow for one large message is given time', async () => {
    const wan = await throughWan();
    const hub = await connected(newHub({ keepAliveMs: 600 }));
    await hub.stream('EDGE');
    const before = await lastSeq(hub);
    wan.delayOld(1_500);
    const fence = { kind: 'filter' as const, filter: FILTER, seq: before };
    const patient = hub.publish(messages(1, 200_000), { stream: 'EDGE', fence, patienceMs: 5_000 });
    expect((await patient).seq).toBe(before + 1);
    expect(hub.status().connects).toBe(1);
  });
});

describe('a hub', () => {
  test('that restarts is found again', async () => {
    const own = await startNatsServer();
    afterwards(() => own.dispose());
    const hub = await connected(newHub({ servers: [own.url] }));
    await hub.stream('EDGE');
    await publish(hub, messages(3), 0);
    await own.kill();
    await disconnected(hub);
    expect(await failure(hub.stream('EDGE'))).toMatchObject({ kind: 'retry' });
    await own.restart();
    await connected(hub);
    expect(await lastSeq(hub)).toBe(3);
  });

  test('with several servers: the next one is tried', async () => {
    const closed = await startNatsServer();
    await closed.dispose();
    const hub = newHub({ servers: [closed.url, at.server.url] });
    await connected(hub);
    expect(hub.status().server).toBe(at.server.url);
  });

  test('that lives but never answers publishes is left for another', async () => {
    const mute = await listen((line) => (line.startsWith('PING') ? 'PONG\r\n' : ''), {});
    const hub = await connected(newHub({ servers: [`127.0.0.1:${mute}`], keepAliveMs: 300 }));
    const options = { stream: 'EDGE', fence: { kind: 'filter' as const, filter: FILTER, seq: 0 } };
    for (let i = 0; i < 3; i++)
      expect(await failure(hub.publish(messages(1), options))).toMatchObject({
        errCode: localError('timeout', '').errCode,
      });
    await until('a new connection', () => hub.status().connects === 2);
  });

  test('that falls silent in the middle of the login is left', async () => {
    let pings = 0;
    const mute = await listen(
      (line) => (line.startsWith('PING') && pings++ === 0 ? 'PONG\r\n' : ''),
      {},
    );
    const hub = newHub({ servers: [`127.0.0.1:${mute}`], keepAliveMs: 300 });
    await until('the link to be given up', () => hub.status().failures > 0);
    expect(hub.status().connects).toBe(0);
    await until('another attempt', () => hub.status().failures > 1);
  });

  test('that is too old says which is needed', async () => {
    const old = await listen((line) => (line.startsWith('PING') ? 'PONG\r\n' : ''), {
      version: '2.8.4',
    });
    const hub = await connected(newHub({ servers: [`127.0.0.1:${old}`] }));
    const error = await failure(hub.stream('EDGE'));
    expect(error).toMatchObject({
      kind: 'configuration',
      message: 'the hub is nats-server 2.8.4',
    });
    expect(error.hint).toContain('2.9');
  });

  test('that is none: a portal that answers HTTP', async () => {
    const portal = await listen(() => '', undefined);
    const hub = newHub({ servers: [`127.0.0.1:${portal}`] });
    await until('an attempt', () => logged('no connection').length > 0);
    expect(logged('no connection')[0]).toMatchObject({ kind: 'not a hub' });
    expect(hub.connected).toBe(false);
  });

  test('whose name nobody knows', async () => {
    newHub({ servers: ['no-such-hub.invalid:4222'] });
    await until('an attempt', () => logged('no connection').length > 0);
    expect(logged('no connection')[0]).toMatchObject({ kind: 'name' });
    expect(logged('no connection')[0]?.hint).toContain('DNS');
  });
});

describe('stop()', () => {
  test('ends at once, connected, dialling or waiting, and leaves no socket', async () => {
    const wan = await throughWan();
    const one = await connected(newHub());
    await one.stop();
    expect(one.connected).toBe(false);
    wan.blackHole();
    const seen = wan.counters.connections;
    const two = newHub({ keepAliveMs: 60_000 });
    await until('it to dial', () => wan.counters.connections > seen);
    await two.stop();
    await wan.refuse();
    const three = newHub({ reconnectMaxMs: 3_600_000 });
    await until('it to wait', () => three.status().failures > 0);
    await three.stop();
    await until('the sockets to be closed', () => wan.connections === 0);
  });
});
