// The agent: wires every part in one order, ends on a signal, and says by its exit code how it ended. The only file that
// knows the devices and the hub as well as the broker between them.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { AssertionError } from './assert.ts';
import { Broker } from './broker.ts';
import { commandLine } from './cli.ts';
import { systemClock, type Clock } from './clock.ts';
import { EXIT_CONFIG, type Config, type HubAuth, type HubConfig } from './config.ts';
import type { NatsHubConfig } from '../sync/nats-hub.ts';
import { warnings } from './config/summary.ts';
import { JetStream } from './jetstream/jetstream.ts';
import { SchemaTooNewError } from './jetstream/schema.ts';
import { createLogger, type Logger } from './log.ts';
import { ProcessUsage } from './monitor/process-usage.ts';
import { health, jsz, varz, type ForwarderView, type Parts } from './status.ts';
import { VERSION } from './version.ts';

/** A bug of ours (EX_SOFTWARE). */
const EXIT_SOFTWARE = 70;
/** A listener or the data directory could not be had (EX_OSERR). */
const EXIT_START = 71;
/** The disk failed (EX_IOERR). */
const EXIT_DISK = 74;
const FULL_HINT = 'free space on the disk of data_dir; the next start then goes through';
const DISK_HINT =
  'the kernel log (dmesg) says what the disk reported; check the card, its power and its connection';
/** A stop takes no longer than this; what is not on the disk by then was never acknowledged. */
const STOP_MS = 4_500;
/** By then the hub has been dialled and the sessions are loaded. */
const SETTLED_MS = 2_000;
/** Of it, for MQTT clients to get the acknowledgements of what they sent. */
const MQTT_STOP_MS = 1_500;

/** Something that runs; `stop` is called once. */
interface Running {
  stop(): Promise<void> | void;
}

/** The running agent. */
export interface Agent {
  readonly parts: Parts;
  /** Stops in reverse order of the start. Everything taken in is on the disk when it resolves. */
  stop(): Promise<void>;
}

/** Starts every part that `config` asks for. Rejects, with everything stopped again, when one cannot start. */
export async function startAgent(
  config: Config,
  { clock, log, onFatal }: { clock: Clock; log: Logger; onFatal: (error: Error) => void },
): Promise<Agent> {
  const running: Running[] = [];
  const stop = async (): Promise<void> => {
    for (let part = running.pop(); part !== undefined; part = running.pop()) await part.stop();
  };
  try {
    const startedMs = clock.monotonicMs();
    const broker = new Broker();
    const jetstream = openStreams(config, { broker, clock, log }, onFatal);
    running.push(jetstream);
    await jetstream.start();
    const { hub, forwarders } = await startForwarding(config, jetstream, { clock, log }, running);
    const mqtt = await startMqtt(config, jetstream, { broker, clock, log }, running);
    const serial = await startSerial(config, { broker, clock, log }, running);
    const parts: Parts = {
      config,
      clock,
      startedMs,
      broker,
      jetstream,
      forwarders,
      mqtt,
      serial,
      hub,
      serverId: randomBytes(12).toString('hex').toUpperCase(),
      usage: new ProcessUsage(clock),
    };
    await startMonitor(parts, log, running);
    return { parts, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

type Deps = { broker: Broker; clock: Clock; log: Logger };

function openStreams(config: Config, deps: Deps, onFatal: (error: Error) => void): JetStream {
  return new JetStream(
    {
      dataDir: config.gateway.dataDir,
      commitIntervalMs: config.gateway.commitIntervalMs,
      streams: config.streams,
      forwards: new Map(config.forwards.map((forward) => [forward.stream, forward])),
      newEpoch: () => randomBytes(6).toString('base64url'),
      onFatal,
    },
    deps,
  );
}

async function startForwarding(
  config: Config,
  jetstream: JetStream,
  { clock, log }: { clock: Clock; log: Logger },
  running: Running[],
): Promise<{ hub: Parts['hub']; forwarders: ForwarderView[] }> {
  if (config.hub === undefined) return { hub: undefined, forwarders: [] };
  // Loaded only where there is a hub: the NATS client takes 11 MB.
  const { NatsHub } = await import('../sync/nats-hub.ts');
  const { Forwarder } = await import('../sync/forwarder.ts');
  const { systemRandom: random } = await import('../sync/backoff.ts');
  const { prefix, stream: hubStream } = config.hub;
  const gateway = config.gateway.name;
  const hub = new NatsHub(hubConfig(config.hub, gateway), { clock, log, random });
  running.push(hub);
  const forwarders = config.forwards.map(({ stream: name }) => {
    const stream = jetstream.stream(name);
    if (stream === undefined) throw new Error(`there is no stream ${name} to forward`);
    const forwarder = new Forwarder(
      { gateway, prefix, hubStream, stream },
      { hub, clock, log, random },
    );
    running.push(forwarder);
    forwarder.start();
    return { stream: name, status: () => forwarder.status() };
  });
  hub.start();
  return { hub, forwarders };
}

/** The configuration of the hub in the words of the link. */
function hubConfig({ auth, ...hub }: HubConfig, gateway: string): NatsHubConfig {
  return { ...hub, name: `mangrove ${gateway}`, credentials: credentialsOf(auth) };
}

function credentialsOf(auth: HubAuth): NatsHubConfig['credentials'] {
  switch (auth.type) {
    case 'none':
      return undefined;
    case 'credentials':
      return { kind: 'creds', file: auth.file };
    case 'password':
      return { kind: 'user', user: auth.user, passwordFile: auth.passwordFile };
    case 'token':
    case 'nkey':
      return { kind: auth.type, file: auth.file };
  }
}

async function startMqtt(
  config: Config,
  jetstream: JetStream,
  deps: Deps,
  running: Running[],
): Promise<Parts['mqtt']> {
  if (config.mqtt === undefined) return undefined;
  const { MqttListener } = await import('../device/mqtt/listener.ts');
  const users = config.mqtt.users.map((user) =>
    'password' in user
      ? user
      : { user: user.user, password: readFileSync(user.passwordFile, 'utf8').trim() },
  );
  const listener = new MqttListener(
    { ...config.mqtt, users },
    {
      ...deps,
      store: {
        sessions: jetstream.table('mqtt.sessions'),
        queue: jetstream.table('mqtt.queue'),
        retained: jetstream.table('mqtt.retained'),
        whenDurable: (done) => jetstream.store.whenDurable(done),
        hasRoom: () => jetstream.store.full === null,
      },
    },
  );
  await listener.start();
  running.push({ stop: () => listener.stop(MQTT_STOP_MS) });
  deps.log.info({ address: listener.address }, 'MQTT is listening');
  return listener;
}

async function startSerial(
  config: Config,
  deps: Deps,
  running: Running[],
): Promise<Parts['serial']> {
  if (config.serial.length === 0) return [];
  const { SerialPort } = await import('../device/serial/port.ts');
  return config.serial.map((order) => {
    const port = new SerialPort(order, deps);
    running.push(port);
    port.start();
    return port;
  });
}

async function startMonitor(parts: Parts, log: Logger, running: Running[]): Promise<void> {
  const { monitor: order } = parts.config;
  if (order === undefined) return;
  // node:http takes 5 MB.
  const { Monitor } = await import('./monitor/monitor.ts');
  const monitor = new Monitor(order, {
    health: () => health(parts),
    varz: () => varz(parts),
    jsz: () => jsz(parts),
  });
  const address = await monitor.start();
  running.push(monitor);
  log.info({ address }, 'monitoring is listening');
}

/** Runs the agent until a signal or a failure, and ends the process. */
async function run(config: Config): Promise<void> {
  const log = await createLogger(config.log.level);
  for (const text of warnings(config)) log.warn(text);
  const crash = (error: unknown): void => {
    log.fatal({ err: error }, 'a bug: the agent ends and starts again');
    process.exit(EXIT_SOFTWARE);
  };
  process.on('uncaughtException', crash);
  process.on('unhandledRejection', crash);
  const onFatal = (error: Error): void => {
    log.fatal(
      { err: error, hint: hintOf(error) ?? DISK_HINT },
      'the disk can no longer be trusted: the agent ends',
    );
    process.exit(EXIT_DISK);
  };
  let agent: Agent;
  try {
    agent = await startAgent(config, { clock: systemClock, log, onFatal });
  } catch (error) {
    if (error instanceof AssertionError) return crash(error);
    log.fatal({ err: error, hint: hintOf(error) }, 'the agent cannot start');
    process.exit(error instanceof SchemaTooNewError ? EXIT_CONFIG : EXIT_START);
  }
  const { streams } = agent.parts.jetstream;
  log.info(
    { version: VERSION, gateway: config.gateway.name, streams: streams.map(({ name }) => name) },
    'the agent is running',
  );
  // What the start left behind, its code above all, would stay for good: 4 MB of an idle agent.
  systemClock.after(SETTLED_MS, () => {
    globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => void end(agent, signal, log));
  }
}

async function end(agent: Agent, signal: string, log: Logger): Promise<void> {
  log.info({ signal }, 'stopping');
  systemClock.after(STOP_MS, () => {
    log.warn('something did not stop in time; everything acknowledged is on the disk');
    process.exit(0);
  });
  await agent.stop();
  log.info('stopped');
  process.exit(0);
}

/** What the operator can do about `error`, where the error or its code tells. */
function hintOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('hint' in error) return String(error.hint);
  const code = 'code' in error ? String(error.code) : '';
  if (/^(SQLITE_FULL|ENOSPC)/.test(code)) return FULL_HINT;
  if (/^(SQLITE_(IOERR|READONLY|CANTOPEN)|EIO$|EROFS$)/.test(code)) return DISK_HINT;
  return undefined;
}

if (import.meta.main) {
  const result = commandLine(process.argv.slice(2), process.env, {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
  });
  if ('run' in result) await run(result.run);
  else process.exitCode = result.exitCode;
}
