// The agent: wires every part in one order, and puts a configuration that was read again in force part by part. The only
// file that knows the devices and the hub as well as the broker between them.

import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { mqttLogins } from '../device/mqtt/access/configured-logins.ts';
import type { LoginOptions } from '../device/mqtt/access/logins.ts';
import type { MqttListener } from '../device/mqtt/listener.ts';
import type { MqttSource } from '../device/mqtt/source/source.ts';
import type { SerialPort } from '../device/serial/port.ts';
import type { NatsHub, NatsHubConfig } from '../sync/nats-hub.ts';
import { assert } from './assert.ts';
import { Broker } from './broker.ts';
import { commandLine } from './cli.ts';
import type { Clock } from './clock.ts';
import type {
  Config,
  ForwardConfig,
  HubAuth,
  HubConfig,
  MqttSourceConfig,
  SerialConfig,
} from './config.ts';
import { inForce } from './config/in-force.ts';
import type { JetStreamApi } from './jetstream/api/api.ts';
import { JetStream, type Forwards } from './jetstream/jetstream.ts';
import { setLevel, type Logger } from './log.ts';
import { ProcessUsage } from './monitor/process-usage.ts';
import { mqttStore } from './mqtt-store.ts';
import type { NatsListener } from './nats/listener.ts';
import { PROTOCOL_VERSION } from './nats/info.ts';
import { natsOptions, natsUsers } from './nats/options.ts';
import { Roster, type Running } from './roster.ts';
import { run, type Agent, type Prepared } from './run.ts';
import {
  connz,
  health,
  jsz,
  metrics,
  mqttz,
  subsz,
  varz,
  type ForwarderView,
  type Parts,
} from './status.ts';

export type { Agent } from './run.ts';

/** Of the time for a stop, for MQTT clients to get the acknowledgements of what they sent. */
const MQTT_STOP_MS = 1_500;
/** The same for NATS clients. */
const NATS_STOP_MS = 1_000;
/** The first delay before a broker is dialled again is drawn from this. */
const SOURCE_RETRY_MS = 500;

type Deps = { readonly broker: Broker; readonly clock: Clock; readonly log: Logger };

/** Starts every part that `config` asks for. Rejects, with everything stopped again, when one cannot start. */
export async function startAgent(
  config: Config,
  { clock, log, onFatal }: { clock: Clock; log: Logger; onFatal: (error: Error) => void },
): Promise<Agent> {
  const agent = new Wiring(config, { broker: new Broker(), clock, log }, onFatal);
  try {
    await agent.start();
    return agent;
  } catch (error) {
    await agent.stop();
    throw error;
  }
}

/** What comes and goes with the configuration. */
interface Follower {
  /** Stops what `config` does not have as it is. */
  release(config: Config): Promise<string[]>;
  /** Starts what is missing. */
  follow(config: Config): Promise<string[]>;
}

class Wiring implements Agent {
  readonly #deps: Deps;
  readonly #jetstream: JetStream;
  readonly #hubs: Roster<HubOrder, NatsHub>;
  readonly #forwarders: Roster<ForwardOrder, ForwarderView & Running>;
  readonly #sources: Roster<MqttSourceConfig, RunningSource>;
  readonly #ports: Roster<SerialConfig, SerialPort>;
  readonly #identity: Pick<Parts, 'serverId' | 'startedMs' | 'usage'>;
  /** In the order of the start. */
  readonly #followers: readonly Follower[];
  readonly #running: Running[] = [];
  #config: Config;
  #mqtt: MqttListener | undefined;
  #mqttLogins: LoginOptions | undefined;
  #nats: NatsListener | undefined;
  #api: JetStreamApi | undefined;
  #natsUsers: ReturnType<typeof natsUsers> = [];

  constructor(config: Config, deps: Deps, onFatal: (error: Error) => void) {
    this.#config = config;
    this.#deps = deps;
    this.#identity = {
      serverId: randomBytes(12).toString('hex').toUpperCase(),
      startedMs: deps.clock.monotonicMs(),
      usage: new ProcessUsage(deps.clock),
    };
    this.#jetstream = openStreams(config, deps, onFatal);
    this.#hubs = new Roster(
      () => 'link',
      (order) => startHub(order, deps),
    );
    this.#forwarders = new Roster(
      ({ stream }) => stream,
      (order) =>
        startForwarder(order, { hub: this.#hubs.parts[0], jetstream: this.#jetstream }, deps),
    );
    this.#sources = new Roster(
      ({ name }) => name,
      (order) => startSource(order, this.#jetstream, deps),
    );
    this.#ports = new Roster(
      ({ name }) => name,
      (order) => startPort(order, deps),
    );
    this.#followers = [
      follower('hub', this.#hubs, hubOrders),
      follower('forward', this.#forwarders, forwardOrders),
      follower('mqtt_source', this.#sources, ({ mqttSources }) => mqttSources),
      follower('serial', this.#ports, ({ serial }) => serial),
    ];
  }

  /** The parts that there are at this moment. */
  get parts(): Parts {
    const { broker, clock } = this.#deps;
    return {
      ...this.#identity,
      config: this.#config,
      clock,
      broker,
      jetstream: this.#jetstream,
      forwarders: this.#forwarders.parts,
      mqtt: this.#mqtt,
      nats: this.#nats,
      api: this.#api,
      mqttSources: this.#sources.parts,
      serial: this.#ports.parts,
      hub: this.#hubs.parts[0],
    };
  }

  /** Streams first; then what reads them and what fills them; monitoring when all of it is there. */
  async start(): Promise<void> {
    this.#running.push(this.#jetstream);
    await this.#jetstream.start();
    this.#running.push(this.#hubs, this.#forwarders);
    await this.#startMqtt();
    await this.#startNats();
    this.#running.push(this.#sources, this.#ports);
    for (const each of this.#followers) await each.follow(this.#config);
    await this.#startMonitor();
  }

  async stop(): Promise<void> {
    for (let part = this.#running.pop(); part !== undefined; part = this.#running.pop())
      await part.stop();
  }

  /** Everything that can fail is done here: `apply` only stops, switches and starts. */
  async prepare(next: Config): Promise<Prepared> {
    const { config, needRestart } = inForce(this.#config, next);
    const logins = config.mqtt === undefined ? undefined : mqttLogins(config.mqtt);
    const renewals = [
      ['mqtt.tls', this.#mqtt?.prepareTls()],
      ['nats.tls', this.#nats?.prepareTls()],
    ] as const;
    const localUsers = natsUsers(config.nats);
    const streams = changedStreams(this.#config, config);
    const switchStreams =
      streams.length === 0
        ? undefined
        : await this.#jetstream.prepare(config.streams, forwardsOf(config));
    return {
      needRestart,
      apply: async () => {
        const changed = new Set(streams);
        // A stream is switched while nothing reads it that shall not read it any more, and only then read by others.
        for (const each of this.#followers.toReversed())
          for (const name of await each.release(config)) changed.add(name);
        switchStreams?.();
        for (const [key, renew] of renewals) if (renew?.() === true) changed.add(key);
        for (const key of this.#admitOnly(logins)) changed.add(key);
        if (this.#admitLocally(config, localUsers)) changed.add('nats.users');
        if (this.#config.log.level !== config.log.level) changed.add('log.level');
        setLevel(this.#deps.log, config.log.level);
        this.#config = config;
        for (const each of this.#followers)
          for (const name of await each.follow(config)) changed.add(name);
        return [...changed];
      },
    };
  }

  /** The keys by which others may connect by MQTT than before, or may do other things. */
  #admitOnly(logins: LoginOptions | undefined): string[] {
    const before = this.#mqttLogins;
    if (logins === undefined || before === undefined || this.#mqtt === undefined) return [];
    const { acl, ...rest } = logins;
    const { acl: aclBefore, ...restBefore } = before;
    const changed = [
      ...(isDeepStrictEqual(rest, restBefore) ? [] : ['mqtt.users']),
      ...(isDeepStrictEqual(acl, aclBefore) ? [] : ['mqtt.acl']),
    ];
    if (changed.length > 0) this.#mqtt.admitOnly(logins);
    this.#mqttLogins = logins;
    return changed;
  }

  /** Whether others may connect by NATS than before, or may do other things. */
  #admitLocally({ nats }: Config, users: ReturnType<typeof natsUsers>): boolean {
    if (nats === undefined || this.#nats === undefined) return false;
    const { allowAnonymous } = nats;
    if (
      allowAnonymous === this.#config.nats?.allowAnonymous &&
      isDeepStrictEqual(users, this.#natsUsers)
    )
      return false;
    this.#nats.admitOnly(users, allowAnonymous);
    this.#natsUsers = users;
    return true;
  }

  async #startMqtt(): Promise<void> {
    const { mqtt } = this.#config;
    if (mqtt === undefined) return;
    const { MqttListener } = await import('../device/mqtt/listener.ts');
    const jetstream = this.#jetstream;
    const logins = mqttLogins(mqtt);
    const listener = new MqttListener(
      { ...mqtt, ...logins },
      {
        ...this.#deps,
        store: mqttStore(jetstream),
      },
    );
    await listener.start();
    this.#running.push({ stop: () => listener.stop(MQTT_STOP_MS) });
    this.#mqtt = listener;
    this.#mqttLogins = logins;
    const { address, tlsAddress, websocketAddress } = listener;
    this.#deps.log.info({ address, tlsAddress, websocketAddress }, 'MQTT is listening');
  }

  async #startNats(): Promise<void> {
    const { nats, gateway } = this.#config;
    if (nats === undefined) return;
    const { NatsListener } = await import('./nats/listener.ts');
    const users = natsUsers(nats);
    const { serverId } = this.#identity;
    const serverName = gateway.name;
    const { openApi, API_LEVEL } = await import('./jetstream/api/open-api.ts');
    const names = { serverName, domain: gateway.name };
    const { describe, isBusy } = await import('./nats/clients.ts');
    const view = { ...names, version: PROTOCOL_VERSION, describe, isBusy };
    const api = openApi(this.#jetstream, this.#deps, view);
    this.#running.push({ stop: async () => api.close() });
    const listener = new NatsListener(
      natsOptions(nats, users, { serverId, ...names, apiLevel: API_LEVEL }),
      this.#deps,
    );
    this.#api = api;
    await listener.start();
    this.#running.push({
      stop: () => {
        this.#jetstream.dismiss();
        return listener.stop(NATS_STOP_MS);
      },
    });
    this.#nats = listener;
    this.#natsUsers = users;
    const { address, websocketAddress } = listener;
    this.#deps.log.info({ address, websocketAddress }, 'NATS is listening');
  }

  async #startMonitor(): Promise<void> {
    const { monitor: order } = this.#config;
    if (order === undefined) return;
    // node:http takes 5 MB.
    const { Monitor } = await import('./monitor/monitor.ts');
    const monitor = new Monitor(order, {
      health: () => health(this.parts),
      varz: () => varz(this.parts),
      jsz: () => jsz(this.parts),
      connz: () => connz(this.parts),
      subsz: () => subsz(this.parts),
      mqttz: () => mqttz(this.parts),
      metrics: () => metrics(this.parts),
    });
    const address = await monitor.start();
    this.#running.push(monitor);
    this.#deps.log.info({ address }, 'monitoring is listening');
  }
}

function follower<Order, Part extends Running>(
  table: string,
  roster: Roster<Order, Part>,
  ordersOf: (config: Config) => readonly Order[],
): Follower {
  const named = (names: string[]): string[] => names.map((name) => `${table} ${name}`);
  return {
    release: async (config) => named(await roster.release(ordersOf(config))),
    follow: async (config) => named(await roster.follow(ordersOf(config))),
  };
}

// --- streams ---

function openStreams(config: Config, deps: Deps, onFatal: (error: Error) => void): JetStream {
  return new JetStream(
    {
      dataDir: config.gateway.dataDir,
      commitIntervalMs: config.gateway.commitIntervalMs,
      streams: config.streams,
      forwards: forwardsOf(config),
      domain: config.gateway.name,
      ...config.jetstream,
      newEpoch: () => randomBytes(6).toString('base64url'),
      onFatal,
    },
    deps,
  );
}

function forwardsOf({ forwards }: Config): Forwards {
  return new Map(forwards.map((forward) => [forward.stream, forward]));
}

/** Streams that are new, gone or other than before, also in how they are forwarded. */
function changedStreams(before: Config, after: Config): string[] {
  const facts = ({ streams, forwards }: Config): Map<string, unknown> => {
    const graces = new Map(forwards.map(({ stream, graceMs }) => [stream, graceMs]));
    return new Map(streams.map((stream) => [stream.name, [stream, graces.get(stream.name)]]));
  };
  const [old, now] = [facts(before), facts(after)];
  const names = [...new Set([...old.keys(), ...now.keys()])];
  return names
    .filter((name) => !isDeepStrictEqual(old.get(name), now.get(name)))
    .map((name) => `stream ${name}`);
}

// --- the hub ---

interface HubOrder extends HubConfig {
  readonly gateway: string;
  /** A stream that goes to it. */
  readonly forwarded: string | undefined;
  readonly relaxed: boolean;
}

/** A forwarder is bound to its link: another link needs another forwarder. How long its grace is concerns the stream. */
interface ForwardOrder extends Omit<ForwardConfig, 'graceMs'> {
  readonly link: HubOrder;
  /** No other stream goes to the hub. */
  readonly onlyForwarder: boolean;
}

function hubOrders({ hub, gateway, forwards }: Config): HubOrder[] {
  const forwarded = forwards[0]?.stream;
  const relaxed = forwards.some(({ order }) => order === 'relaxed');
  return hub === undefined ? [] : [{ ...hub, gateway: gateway.name, forwarded, relaxed }];
}

function forwardOrders(config: Config): ForwardOrder[] {
  return hubOrders(config).flatMap((link) =>
    config.forwards.map(({ stream, mode, order }) => ({
      stream,
      mode,
      order,
      onlyForwarder: config.forwards.length === 1,
      link,
    })),
  );
}

/** Loaded only where there is a hub: the NATS client takes 11 MB. */
async function startHub(order: HubOrder, { clock, log }: Deps): Promise<NatsHub> {
  const { NatsHub } = await import('../sync/nats-hub.ts');
  const { systemRandom: random } = await import('../sync/backoff.ts');
  const hub = new NatsHub(hubConfig(order), { clock, log, random });
  hub.start();
  return hub;
}

async function startForwarder(
  { link, stream: name, mode, order, onlyForwarder }: ForwardOrder,
  { hub, jetstream }: { hub: NatsHub | undefined; jetstream: JetStream },
  { clock, log }: Deps,
): Promise<ForwarderView & Running> {
  const { Forwarder } = await import('../sync/forwarder.ts');
  const { systemRandom: random } = await import('../sync/backoff.ts');
  const stream = jetstream.stream(name);
  assert(hub !== undefined && stream !== undefined, `the stream ${name} and the link are there`);
  const { gateway, prefix, stream: hubStream } = link;
  const { ForwardState } = await import('../sync/forward-state.ts');
  const state = new ForwardState(name, jetstream.table('forward.state'), (done) =>
    jetstream.store.whenDurable(done),
  );
  const wishes = { mode, order, onlyForwarder };
  const silenceMs = link.keepAliveMs;
  const forwarder = new Forwarder(
    { gateway, prefix, hubStream, stream, state, wishes, silenceMs },
    { hub, clock, log, random },
  );
  forwarder.start();
  return { stream: name, status: () => forwarder.status(), stop: () => forwarder.stop() };
}

/** The configuration of the hub in the words of the link. */
function hubConfig({ auth, gateway, forwarded, ...hub }: HubOrder): NatsHubConfig {
  const inboxPrefix = `_INBOX.${gateway}`;
  const subject = `${hub.prefix}.${gateway}.${forwarded}._hello`;
  return {
    ...hub,
    name: `mangrove ${gateway}`,
    inboxPrefix,
    credentials: credentialsOf(auth),
    ...(forwarded === undefined ? {} : { twins: { gateway, inboxPrefix, subject } }),
  };
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

// --- what comes in ---

type RunningSource = Running & Pick<MqttSource, 'stats'>;

async function startSource(
  order: MqttSourceConfig,
  jetstream: JetStream,
  deps: Deps,
): Promise<RunningSource> {
  const { MqttSource } = await import('../device/mqtt/source/source.ts');
  const { Backoff, systemRandom } = await import('../sync/backoff.ts');
  const delays = { baseMs: SOURCE_RETRY_MS, capMs: order.reconnectMaxMs };
  const source = new MqttSource(order, {
    ...deps,
    table: jetstream.table('mqtt.sources'),
    pauses: new Backoff(delays, systemRandom),
  });
  source.start();
  return { stats: () => source.stats(), stop: () => source.stop(MQTT_STOP_MS) };
}

async function startPort(order: SerialConfig, deps: Deps): Promise<SerialPort> {
  const { SerialPort } = await import('../device/serial/port.ts');
  const port = new SerialPort(order, deps);
  port.start();
  return port;
}

if (import.meta.main) {
  const result = commandLine(process.argv.slice(2), process.env, {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
  });
  if ('run' in result) await run(result.run, startAgent);
  else process.exitCode = result.exitCode;
}
