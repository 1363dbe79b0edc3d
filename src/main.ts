// The agent: wires every part in one order, and puts a configuration that was read again in force part by part. The only
// file that knows the devices and the hub as well as the broker between them.

import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { mqttLogins } from '../device/mqtt/access/configured-logins.ts';
import type { LoginOptions } from '../device/mqtt/access/logins.ts';
import type { MqttListener } from '../device/mqtt/listener.ts';
import type { SerialPort } from '../device/serial/port.ts';
import type { LeafLink } from '../sync/leaf/leaf-link.ts';
import type { NatsHub } from '../sync/nats-hub.ts';
import { Broker } from './broker.ts';
import { commandLine } from './cli.ts';
import type { Clock } from './clock.ts';
import type { Config, MqttSourceConfig, SerialConfig } from './config.ts';
import { inForce } from './config/in-force.ts';
import type { JetStreamApi } from './jetstream/api/api.ts';
import type { OpenApiOptions } from './jetstream/api/open-api.ts';
import type { JetStream } from './jetstream/jetstream.ts';
import { setLevel, type Logger } from './log.ts';
import { ProcessUsage } from './monitor/process-usage.ts';
import { mqttStore } from './mqtt-store.ts';
import type { NatsListener } from './nats/listener.ts';
import { PROTOCOL_VERSION } from './nats/info.ts';
import { natsOptions, natsUsers } from './nats/options.ts';
import { follower, type Deps, type Follower } from './parts/follower.ts';
import {
  forwardOrders,
  hubOrders,
  startForwarder,
  startHub,
  type ForwardOrder,
  type HubOrder,
} from './parts/hub.ts';
import { startPort, startSource, type RunningSource } from './parts/incoming.ts';
import { isBusyLink, leafOrders, startLeaf, type LeafOrder } from './parts/leaf.ts';
import { changedStreams, forwardsOf, openStreams, streamOrders } from './parts/streams.ts';
import { Roster, type Running } from './roster.ts';
import { run, type Agent, type Prepared } from './run.ts';
import {
  connz,
  health,
  jsz,
  leafz,
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

class Wiring implements Agent {
  readonly #deps: Deps;
  readonly #jetstream: JetStream;
  readonly #hubs: Roster<HubOrder, NatsHub>;
  readonly #forwarders: Roster<ForwardOrder, ForwarderView & Running>;
  readonly #sources: Roster<MqttSourceConfig, RunningSource>;
  readonly #ports: Roster<SerialConfig, SerialPort>;
  readonly #leaves: Roster<LeafOrder, LeafLink>;
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
    this.#leaves = new Roster(
      () => 'link',
      (order) => this.#startLeaf(order),
    );
    this.#followers = [
      follower('hub', this.#hubs, hubOrders),
      follower('forward', this.#forwarders, forwardOrders),
      follower('mqtt_source', this.#sources, ({ mqttSources }) => mqttSources),
      follower('serial', this.#ports, ({ serial }) => serial),
      follower('leaf', this.#leaves, leafOrders),
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
      leaf: this.#leaves.parts[0],
    };
  }

  /** Streams first; then what reads them and what fills them; monitoring when all of it is there. */
  async start(): Promise<void> {
    this.#running.push(this.#jetstream);
    await this.#jetstream.start();
    this.#running.push(this.#hubs, this.#forwarders);
    await this.#startMqtt();
    await this.#startNats();
    this.#running.push(this.#sources, this.#ports, this.#leaves);
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
        : await this.#jetstream.prepare(streamOrders(config), forwardsOf(config));
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
    const { nats } = this.#config;
    if (nats === undefined) return;
    const { NatsListener } = await import('./nats/listener.ts');
    const users = natsUsers(nats);
    const { serverId } = this.#identity;
    const { API_LEVEL } = await import('./jetstream/api/open-api.ts');
    const { describe, isBusy } = await import('./nats/clients.ts');
    await this.#openApi({ describe, isBusy });
    const listener = new NatsListener(
      natsOptions(nats, users, { serverId, ...this.#names, apiLevel: API_LEVEL }),
      this.#deps,
    );
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

  get #names(): { readonly serverName: string; readonly domain: string } {
    return { serverName: this.#config.gateway.name, domain: this.#config.domain };
  }

  /** Once, for whoever comes first: local clients, or the hub. */
  async #openApi(clients: Pick<OpenApiOptions, 'describe' | 'isBusy'> = {}): Promise<void> {
    if (this.#api !== undefined) return;
    const { openApi } = await import('./jetstream/api/open-api.ts');
    const isBusy = (who: object): boolean => clients.isBusy?.(who) === true || isBusyLink(who);
    const view = { ...this.#names, version: PROTOCOL_VERSION, ...clients, isBusy };
    const api = openApi(this.#jetstream, this.#deps, view);
    this.#api = api;
    this.#running.push({ stop: async () => api.close() });
  }

  async #startLeaf(order: LeafOrder): Promise<LeafLink> {
    if (order.domain !== undefined) await this.#openApi();
    const { serverId } = this.#identity;
    return startLeaf(order, { serverId, jetstream: this.#jetstream }, this.#deps);
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
      leafz: () => leafz(this.parts),
      metrics: () => metrics(this.parts),
    });
    const address = await monitor.start();
    this.#running.push(monitor);
    this.#deps.log.info({ address }, 'monitoring is listening');
  }
}

if (import.meta.main) {
  const result = commandLine(process.argv.slice(2), process.env, {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
  });
  if ('run' in result) await run(result.run, startAgent);
  else process.exitCode = result.exitCode;
}
