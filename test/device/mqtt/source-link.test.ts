// How a source and a broker find together: versions, logins, subscriptions, retained messages, silence.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SourceRig } from '../../support/mqtt-broker.ts';

test('the session is to last, and the broker is told how many messages may be in flight', async () => {
  await using rig = new SourceRig({ user: 'gw7' });
  rig.start();
  const end = await rig.end(1);
  expect(await end.welcome()).toMatchObject({
    protocolVersion: 5,
    clientId: 'mangrove-gw7-zigbee',
    clean: false,
    keepalive: 15,
    username: 'gw7',
    properties: { sessionExpiryInterval: 0xffff_ffff, receiveMaximum: 1024 },
  });
  expect(await end.grant()).toMatchObject({
    subscriptions: [{ topic: 'plant1/#', qos: 1, rh: 2, rap: false }],
  });
});

test.each([
  ['in the words of MQTT 5', Buffer.from('2003008400', 'hex')],
  ['in the words of MQTT 5, without properties', Buffer.from('20020084', 'hex')],
  ['in the words of 3.1.1', Buffer.from('20020001', 'hex')],
])('a broker that refuses MQTT 5 %s gets 3.1.1', async (_, connack) => {
  await using rig = new SourceRig();
  rig.start();
  const first = await rig.end(1);
  expect((await first.expect('connect')).protocolVersion).toBe(5);
  first.write(connack);
  await rig.settle();
  rig.clock.advance(1000);
  const second = await rig.end(2);
  const connect = await second.welcome();
  expect(connect).toMatchObject({ protocolVersion: 4, clean: false });
  await second.grant();
  second.publish('plant1/a', 'm1', 1);
  await rig.settle();
  expect(second.takePubacks()).toEqual([1]);
  expect(rig.source.stats()).toMatchObject({ protocol: '3.1.1', connected: true, problem: null });
});

test('a broker that hangs up on hearing MQTT 5 is tried with 3.1.1, and so in turn', async () => {
  await using rig = new SourceRig();
  rig.start();
  const versions: (number | undefined)[] = [];
  for (let count = 1; count <= 3; count++) {
    const end = await rig.end(count);
    versions.push((await end.expect('connect')).protocolVersion);
    end.stream.destroy();
    await rig.settle();
    rig.clock.advance(1000);
  }
  expect(versions).toEqual([5, 4, 5]);
});

test('protocol = "5" stays with it, and says what to do', async () => {
  await using rig = new SourceRig({ protocol: '5' });
  rig.start();
  const first = await rig.end(1);
  await first.expect('connect');
  first.write(Buffer.from('2003008400', 'hex'));
  await rig.settle();
  expect(rig.source.stats().problem).toBe('the broker does not speak this version of MQTT');
  expect(rig.logged.said.at(-1)).toMatchObject({ hint: 'set protocol = "3.1.1" or "auto"' });
  rig.clock.advance(1000);
  expect((await (await rig.end(2)).expect('connect')).protocolVersion).toBe(5);
});

test('a refused login is a problem until it is accepted, and the password is in no message', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'mangrove-source-'));
  try {
    const passwordFile = join(dir, 'broker.secret');
    writeFileSync(passwordFile, 'w0rd-of-passage\n');
    await using rig = new SourceRig({ user: 'gw7', passwordFile });
    rig.start();
    const first = await rig.end(1);
    expect(String((await first.expect('connect')).password)).toBe('w0rd-of-passage');
    first.send({ cmd: 'connack', sessionPresent: false, reasonCode: 0x86, returnCode: 0 });
    await rig.settle();
    expect(rig.source.stats()).toMatchObject({
      connected: false,
      problem: 'the broker refuses the user name or password',
    });
    writeFileSync(passwordFile, 'another\n');
    rig.clock.advance(1000);
    const second = await rig.end(2);
    expect(String((await second.welcome()).password)).toBe('another');
    await rig.settle();
    expect(rig.source.stats()).toMatchObject({ connected: true, problem: null });
    rmSync(passwordFile);
    second.stream.destroy();
    await rig.settle();
    rig.clock.advance(1000);
    await rig.settle();
    expect(rig.source.stats().problem).toBe('password_file cannot be read');
    expect(rig.ends).toHaveLength(2);
    expect(JSON.stringify([rig.logged.said, rig.source.stats()])).not.toContain('w0rd');
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('a broker that still has the session is not asked to subscribe again, over a restart of the agent too', async () => {
  await using rig = new SourceRig({ topics: ['plant1/#', 'tele/+/SENSOR'] });
  rig.start();
  const first = await rig.end(1);
  await first.welcome();
  await first.grant();
  await first.grant();
  await rig.settle();
  const second = await rig.reconnect();
  expect(second.pending).toEqual([]);
  const third = await rig.restart({ topics: ['plant1/#', 'tele/+/SENSOR'] });
  await third.welcome(true);
  await rig.settle();
  expect(third.pending).toEqual([]);
  // Only the difference to the configuration is asked for.
  const fourth = await rig.restart({ topics: ['plant1/#', 'stat/#'] });
  await fourth.welcome(true);
  expect(await fourth.expect('unsubscribe')).toMatchObject({ unsubscriptions: ['tele/+/SENSOR'] });
  expect((await fourth.expect('subscribe')).subscriptions).toMatchObject([{ topic: 'stat/#' }]);
  await rig.settle();
  expect(fourth.pending).toEqual([]);
});

test('an unanswered SUBSCRIBE is asked again, and so is everything when the session is gone', async () => {
  await using rig = new SourceRig();
  rig.start();
  const first = await rig.end(1);
  await first.welcome();
  await first.expect('subscribe');
  const second = await rig.reconnect();
  await second.grant();
  await rig.settle();
  const third = await rig.reconnect(false);
  await third.grant();
  await rig.settle();
  expect((await rig.reconnect()).pending).toEqual([]);
});

test('a refused subscription is a problem, is asked for every minute, and keeps nothing else from coming', async () => {
  await using rig = new SourceRig({ topics: ['plant1/#', 'secret/#'] });
  rig.start();
  const end = await rig.end(1);
  await end.welcome();
  await end.grant();
  expect((await end.grant(0x87)).subscriptions[0]?.topic).toBe('secret/#');
  end.publish('plant1/a', 'm1', 1);
  await rig.settle();
  expect(end.takePubacks()).toEqual([1]);
  expect(rig.source.stats().problem).toBe('the broker refuses the subscription secret/#');
  for (let seconds = 0; seconds < 60; seconds += 10) {
    end.send({ cmd: 'pingresp' });
    await rig.settle();
    rig.clock.advance(10_000);
  }
  expect((await end.grant(1)).subscriptions[0]?.topic).toBe('secret/#');
  await rig.settle();
  expect(rig.source.stats().problem).toBeNull();
});

test('retained messages are old news: without `retained` they are acknowledged and dropped', async () => {
  await using rig = new SourceRig({ protocol: '3.1.1' });
  const end = await rig.ready();
  end.publish('plant1/a', 'old', 1, { retain: true });
  end.publish('plant1/a', 'new', 2);
  await rig.settle();
  expect(rig.stream.stored).toEqual(['new']);
  expect(end.takePubacks()).toEqual([1, 2]);
  expect(rig.source.stats()).toMatchObject({ droppedRetained: 1, stored: 1 });
});

test('with `retained` each comes once, also when the broker loses the session again and again', async () => {
  await using rig = new SourceRig({ retained: true });
  rig.start();
  const first = await rig.end(1);
  await first.welcome();
  expect((await first.grant()).subscriptions[0]).toMatchObject({ rh: 1 });
  first.publish('plant1/a', 'on', 1, { retain: true });
  first.publish('plant1/b', '20', 2, { retain: true });
  first.publish('plant1/b', '21', 3);
  await rig.settle();
  const second = await rig.reconnect(false);
  await second.grant();
  second.publish('plant1/a', 'on', 1, { retain: true });
  second.publish('plant1/b', '21', 2, { retain: true });
  await rig.settle();
  const third = await rig.reconnect(false);
  await third.grant();
  third.publish('plant1/a', 'off', 1, { retain: true });
  await rig.settle();
  expect(rig.stream.stored).toEqual(['on', '20', '21', 'off']);
  expect([second.takePubacks(), third.takePubacks()]).toEqual([[1, 2], [1]]);
});

test('a retained message that comes again before it is on the disk gets no PUBACK from the memory of it', async () => {
  await using rig = new SourceRig({ retained: true });
  const first = await rig.ready();
  rig.stream.mode = 'wait';
  first.publish('plant1/a', 'on', 1, { retain: true });
  await rig.settle();
  const second = await rig.reconnect();
  second.publish('plant1/a', 'on', 1, { retain: true, dup: true });
  await rig.settle();
  expect(second.takePubacks()).toEqual([]);
  rig.stream.commit();
  await rig.settle();
  expect(second.takePubacks()).toEqual([1]);
});

test('a broker that falls silent is left within the keep-alive, and a quiet one is asked', async () => {
  await using rig = new SourceRig({ keepAliveMs: 4000 });
  const end = await rig.ready();
  rig.clock.advance(2000);
  await end.expect('pingreq');
  end.send({ cmd: 'pingresp' });
  await rig.settle();
  rig.clock.advance(3000);
  await rig.settle();
  expect(rig.source.stats().connected).toBe(true);
  rig.clock.advance(2000);
  await rig.settle();
  expect(rig.source.stats()).toMatchObject({
    connected: false,
    detail: 'the broker has fallen silent',
    problem: null,
  });
  expect(end.closed).toBe(true);
});

test('while it is we who do not read, nobody is blamed, and the broker hears from us', async () => {
  await using rig = new SourceRig({ keepAliveMs: 4000 });
  const end = await rig.ready();
  rig.stream.mode = 'refuse';
  for (let id = 1; id <= 1024; id++) end.publish('plant1/a', `m${id}`, id);
  await rig.settle();
  expect(rig.source.stats()).toMatchObject({
    paused: true,
    detail: 'waiting for the disk or the stream',
  });
  rig.clock.advance(60_000);
  await rig.settle();
  expect(rig.source.stats().connected).toBe(true);
  expect(end.pending.filter((cmd) => cmd === 'pingreq').length).toBeGreaterThan(20);
});

test("the broker's own keep-alive goes before ours", async () => {
  await using rig = new SourceRig({ keepAliveMs: 60_000 });
  rig.start();
  const end = await rig.end(1);
  await end.welcome(false, { serverKeepAlive: 20 });
  await end.grant();
  await rig.settle();
  rig.clock.advance(15_000);
  await end.expect('pingreq');
});

test('a broker that never answers is given up and tried again, with longer pauses only after failures', async () => {
  await using rig = new SourceRig();
  rig.start();
  await rig.end(1);
  rig.clock.advance(12_000);
  await rig.settle();
  expect(rig.source.stats().detail).toBe('the broker does not answer');
  rig.clock.advance(1000);
  const second = await rig.end(2);
  await second.welcome();
  await second.grant();
  rig.clock.advance(4000);
  await rig.reconnect();
  expect(rig.resets).toBe(0);
  rig.clock.advance(6000);
  await rig.reconnect();
  expect(rig.resets).toBe(1);
});

test('another client with our identifier is named as such', async () => {
  await using rig = new SourceRig();
  const end = await rig.ready();
  end.send({ cmd: 'disconnect', reasonCode: 0x8e });
  await rig.settle();
  expect(rig.logged.said.at(-1)).toMatchObject({
    msg: 'the MQTT source is away; trying again',
    error: 'another client took the session over',
    hint: 'give each client of the broker its own client_id',
  });
});

test.each([
  ['a web server', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ['an endless packet', Buffer.from('20ffffffff7f', 'hex')],
])('%s is no broker, and is tried again', async (_, bytes) => {
  await using rig = new SourceRig();
  rig.start();
  const end = await rig.end(1);
  await end.expect('connect');
  end.write(bytes);
  await rig.settle();
  expect(rig.source.stats().detail).toMatch(/^the broker broke the protocol: /);
  rig.clock.advance(1000);
  expect((await rig.end(2)).closed).toBe(false);
});
