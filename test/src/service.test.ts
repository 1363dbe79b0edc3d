// The agent as systemd runs it: the unit, and what the process tells on $NOTIFY_SOCKET.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { createServer, type AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { AgentProcess, ONE_STREAM, type LogLine } from '../support/agent-process.ts';
import { NotifySocket } from '../support/notify-socket.ts';
import { until } from '../support/until.ts';

const ROOT = join(import.meta.dirname, '../..');
const UNIT = join(ROOT, 'systemd/agent.service');
/** Short, so that a test sees it run out: the disk may then take 2 s. */
const WATCHDOG_US = '1000000';

async function service(
  systemd: NotifySocket,
  options: Parameters<typeof AgentProcess.create>[0] = {},
): Promise<AgentProcess> {
  const env = { NOTIFY_SOCKET: systemd.path, WATCHDOG_USEC: WATCHDOG_US };
  return AgentProcess.create({ ...options, env });
}

function rewrite(agent: AgentProcess, change: (text: string) => string): void {
  writeFileSync(agent.configFile, change(readFileSync(agent.configFile, 'utf8')));
}

function said(agent: AgentProcess, text: string): LogLine[] {
  return agent.log.filter(({ msg }) => msg.startsWith(text));
}

test('systemd finds no mistake in the unit', () => {
  const dir = mkdtempSync(join(tmpdir(), 'mangrove-unit-'));
  try {
    const text = readFileSync(UNIT, 'utf8');
    writeFileSync(join(dir, 'agent.service'), text.replaceAll('/opt/mangrove', ROOT));
    const verify = ['-c', `systemd-analyze verify ${join(dir, 'agent.service')} 2>&1`];
    expect(execFileSync('sh', verify, { encoding: 'utf8' })).toBe('');
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('the unit exposes little: at most 2.0 by systemd-analyze security', () => {
  const arguments_ = ['security', '--offline=true', '--threshold=20', '--no-pager', UNIT];
  const report = execFileSync('systemd-analyze', arguments_, { encoding: 'utf8' });
  expect(report).toMatch(/Overall exposure level for agent\.service: [01]\.\d/);
});

test('what the unit asks for is what the agent does', () => {
  const unit = readFileSync(UNIT, 'utf8');
  const keys = unit.match(/^[A-Z]\w+=.*$/gm) ?? [];
  expect(keys).toEqual(
    expect.arrayContaining([
      'Type=notify',
      // The messages come from a child.
      'NotifyAccess=all',
      'ExecReload=/bin/kill -HUP $MAINPID',
      // A stop takes 4.5 s at most, a start as long as it takes to copy a damaged database.
      'TimeoutStopSec=10',
      'TimeoutStartSec=infinity',
      // Relative: looked for in /etc/credstore, and not missed when it is not there.
      'LoadCredential=hub.creds:mangrove-hub.creds',
    ]),
  );
  // V8 compiles at run time; serial ports are devices.
  expect(unit).not.toMatch(/^(MemoryDenyWriteExecute|PrivateDevices)=(yes|true|1)/m);
});

test('systemd hears when the agent is ready, that it lives, and when it stops', async () => {
  using systemd = await NotifySocket.listen();
  await using agent = await service(systemd);
  await agent.start();
  await until('READY=1', () => systemd.count('READY=1') === 1);
  expect(systemd.messages[0]).toEqual(['STATUS=starting: opening the streams']);
  expect(systemd.messages[1]).toEqual(['READY=1', expect.stringMatching(/^STATUS=storing/)]);
  await until('three pings', () => systemd.count('WATCHDOG=1') >= 3);
  expect(await agent.stop()).toEqual({ code: 0, signal: null });
  await until('STOPPING=1', () => systemd.count('STOPPING=1') === 1);
});

test('an agent that cannot start is never ready', async () => {
  using systemd = await NotifySocket.listen();
  await using first = await service(systemd);
  await first.start();
  await using second = await service(systemd, { dataDir: first.dataDir });
  second.spawn();
  expect(await second.exited).toMatchObject({ code: 71 });
  expect(said(second, 'the agent cannot start')).toHaveLength(1);
  expect(systemd.count('READY=1')).toBe(1);
});

test('a port that another program has is named with what to do', async () => {
  using systemd = await NotifySocket.listen();
  await using other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as AddressInfo;
  await using agent = await service(systemd, { config: `[nats]\nlisten = "127.0.0.1:${port}"\n` });
  agent.spawn();
  expect(await agent.exited).toMatchObject({ code: 71 });
  const [line] = said(agent, 'the agent cannot start');
  expect(line).toMatchObject({ hint: expect.stringContaining('another program has this port') });
  expect(JSON.stringify(line)).toContain(String(port));
});

test('a loop that stands still feeds no watchdog', async () => {
  using systemd = await NotifySocket.listen();
  await using agent = await service(systemd);
  await agent.start();
  await until('a ping', () => systemd.count('WATCHDOG=1') > 0);
  process.kill(agent.pid!, 'SIGSTOP');
  // What was under way has arrived when nothing has come for as long as systemd waits.
  let heard = -1;
  await until(
    'silence',
    async () => {
      const before = systemd.messages.length;
      await new Promise((resolve) => setTimeout(resolve, Number(WATCHDOG_US) / 1000));
      heard = systemd.messages.length;
      return heard === before;
    },
    10_000,
  );
  process.kill(agent.pid!, 'SIGCONT');
  await until('pings again', () => systemd.messages.length > heard);
});

test('a disk that hangs feeds no watchdog, and systemd is told which part it is', async () => {
  using systemd = await NotifySocket.listen();
  // From the fifth sync of each thread on, the disk takes 7 s: three times what it may.
  const wrapper = ['strace', '-D', '-f', '--seccomp-bpf', '-o', '/dev/null'];
  wrapper.push('-e', 'trace=fdatasync', '-e', 'inject=fdatasync:delay_enter=7s:when=5+');
  await using agent = await service(systemd, { wrapper });
  await agent.start();
  await until('a ping', () => systemd.count('WATCHDOG=1') > 0);
  const client = await connectAsync(`mqtt://127.0.0.1:${agent.mqttPort}`, { reconnectPeriod: 0 });
  client.on('error', () => undefined);
  const publishing = (async () => {
    for (let i = 0; i < 100; i++) await client.publishAsync('data/a', `${i}`, { qos: 1 });
  })().catch(() => undefined);
  await until(
    'the watchdog to go hungry',
    () => systemd.status?.startsWith('stuck: disk') === true,
  );
  const pings = systemd.count('WATCHDOG=1');
  expect(said(agent, 'a part makes no progress')).toMatchObject([
    { level: 50, stuck: [{ part: 'disk' }] },
  ]);
  await agent.kill();
  expect(systemd.count('WATCHDOG=1')).toBe(pings);
  client.end(true);
  await publishing;
});

test('SIGHUP puts a good file in force and names what needs a restart', async () => {
  using systemd = await NotifySocket.listen();
  await using agent = await service(systemd);
  await agent.start();
  rewrite(agent, (text) =>
    text.replace('name = "gw7"', 'name = "gw8"').replace('max_bytes = "1GiB"', 'max_msgs = 2'),
  );
  process.kill(agent.pid!, 'SIGHUP');
  await until('the reload', () => systemd.count('READY=1') === 2);
  const reloading = systemd.messages.find((message) => message.includes('RELOADING=1'));
  expect(reloading).toEqual([
    'RELOADING=1',
    expect.stringMatching(/^MONOTONIC_USEC=\d+$/),
    'STATUS=reading the configuration again',
  ]);
  expect(said(agent, 'the configuration was read again')).toMatchObject([
    { changed: ['stream DATA'] },
  ]);
  expect(said(agent, 'some changes of the configuration need a restart')).toMatchObject([
    { level: 40, keys: ['gateway.name'] },
  ]);
  const client = await connectAsync(`mqtt://127.0.0.1:${agent.mqttPort}`);
  for (let i = 0; i < 5; i++) await client.publishAsync('data/a', `${i}`, { qos: 1 });
  await client.endAsync();
  const { body } = await agent.monitor('/jsz');
  expect(body['messages']).toBe(2);
});

test('SIGHUP with a bad file changes nothing, says why, and the next good one counts', async () => {
  using systemd = await NotifySocket.listen();
  await using agent = await service(systemd);
  await agent.start();
  const client = await connectAsync(`mqtt://127.0.0.1:${agent.mqttPort}`, { reconnectPeriod: 0 });
  const good = readFileSync(agent.configFile, 'utf8');
  // Half of it is good: a new stream, and the old one takes nothing any more.
  const half = good.replace('data.>', 'other.>');
  writeFileSync(
    agent.configFile,
    `${half}[[stream]]\nname = "NEW"\nsubjects = ["new.>"]\nmax_age = "soon"\n`,
  );
  process.kill(agent.pid!, 'SIGHUP');
  await until('the refusal', () => said(agent, 'the configuration is refused').length === 1);
  const line = good.split('\n').length + 3;
  expect(said(agent, 'the configuration is refused')[0]).toMatchObject({
    level: 50,
    problems: [
      expect.stringMatching(
        new RegExp(`agent\\.toml:${line}: stream\\[2\\]\\.max_age: found "soon", expected`),
      ),
    ],
    hint: 'correct the file, then systemctl reload agent',
  });
  await until('the status', () => systemd.status?.startsWith('configuration refused') === true);
  expect(systemd.status).toContain('stream[2].max_age');
  expect(systemd.count('READY=1')).toBe(2);
  await client.publishAsync('data/a', 'still', { qos: 1 });
  await client.publishAsync('other/a', 'nobody', { qos: 1 });
  await client.publishAsync('new/a', 'nobody', { qos: 1 });
  const { body } = await agent.monitor('/jsz?streams=true');
  expect(body).toMatchObject({ streams: 1, messages: 1 });
  writeFileSync(agent.configFile, `${half}max_msgs = 10\n`);
  process.kill(agent.pid!, 'SIGHUP');
  await until('the good one', () => said(agent, 'the configuration was read again').length === 1);
  await until('the status', () => systemd.status?.startsWith('storing') === true);
  await client.publishAsync('other/a', 'taken', { qos: 1 });
  expect((await agent.monitor('/jsz')).body).toMatchObject({ messages: 2 });
  expect(client.connected).toBe(true);
  await client.endAsync();
});

test('a file that is gone, or readable for nobody, is refused like a bad one', async () => {
  using systemd = await NotifySocket.listen();
  await using agent = await service(systemd);
  await agent.start();
  rmSync(agent.configFile);
  process.kill(agent.pid!, 'SIGHUP');
  await until('the refusal', () => said(agent, 'the configuration is refused').length === 1);
  expect((await agent.monitor('/healthz')).status).toBe(200);
});

test('signals in a row, and a stop among them, end well', async () => {
  using systemd = await NotifySocket.listen();
  await using agent = await service(systemd, { config: ONE_STREAM });
  await agent.start();
  for (let i = 0; i < 20; i++) {
    rewrite(agent, (text) => text.replace(/(max_msgs = \d+\n)?$/, `max_msgs = ${i + 1}\n`));
    process.kill(agent.pid!, 'SIGHUP');
    if (i % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  process.kill(agent.pid!, 'SIGTERM');
  for (let i = 0; i < 20 && agent.running; i++) {
    process.kill(agent.pid!, 'SIGHUP');
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await agent.exited).toEqual({ code: 0, signal: null });
  expect(said(agent, 'a bug')).toEqual([]);
});
