// The demo, `npm start`: two sensors, the agent, a WAN that fails and a hub, for about 40 seconds. It ends with an audit
// of the hub's own stream, and with exit code 0 only if nothing is lost and nothing is there twice.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../support/nats-server.ts';
import { until } from '../support/until.ts';
import { WanProxy } from '../support/wan-proxy.ts';
import { AgentProcess, type LogLine } from './agent-process.ts';
import { audit, type Audit } from './audit.ts';
import { HubView, startHub, type DemoHub } from './hub.ts';
import { SensorPty } from './pty.ts';
import { count, Screen, type Picture } from './screen.ts';
import { GpsReplay, Meters, toPty } from './sensors.ts';
import { WanLine } from './wan-line.ts';

const RECORDING = join(import.meta.dirname, '../fixtures/nmea0183/gps.log');
const GATEWAY = 'demo';
const STREAM = 'SENSORS';
const HUB_STREAM = 'EDGE';
const GPS_PER_S = 40;
const READINGS_PER_S = 160;
/** Upwards; the sensors fill about a third of it. */
const WAN_KBIT_PER_S = 1_500;
const LIVE_MS = 5_000;
const OUTAGE_MS = 12_000;
const REFUSED_MS = 4_000;
const PAUSE_MS = 2_000;
const POLL_MS = 200;
/** What the agent says of itself that belongs to the story; warnings always do. */
const TOLD = new Set(['connected to the hub', 'created the hub stream']);
const WARN = 40;

/** Everything that must be ended, the last one first. */
const running: (() => Promise<void> | void)[] = [];

class Demo {
  readonly #screen: Screen;
  readonly #proxy: WanProxy;
  readonly #agent: AgentProcess;
  readonly #view: HubView;
  readonly #gps: GpsReplay;
  readonly #meters: Meters;
  readonly #startedMs = performance.now();
  readonly #picture = { sent: 0, stored: 0, atHub: 0, wan: 'up', agent: 'up' } as {
    -readonly [key in keyof Picture]: Picture[key];
  };

  constructor(
    screen: Screen,
    { proxy, agent, view }: { proxy: WanProxy; agent: AgentProcess; view: HubView },
    { gps, meters }: { gps: GpsReplay; meters: Meters },
  ) {
    this.#screen = screen;
    this.#proxy = proxy;
    this.#agent = agent;
    this.#view = view;
    this.#gps = gps;
    this.#meters = meters;
  }

  /** The story. Resolves with its verdict. */
  async run(): Promise<Audit> {
    const watching = setInterval(() => void this.#look(), POLL_MS);
    running.push(() => clearInterval(watching));
    this.#tell('The sensors send, the hub has each message moments later.');
    this.#gps.resume();
    this.#meters.resume();
    await sleep(LIVE_MS);

    this.#picture.wan = 'silent';
    this.#proxy.blackHole();
    this.#tell(
      'The WAN swallows everything, and nobody is told. The gateway has to notice by itself.',
      'bad',
    );
    await sleep(OUTAGE_MS);
    const backlog = this.#waiting;
    await this.#restore(`The WAN is back. ${count(backlog)} messages wait on the gateway's disk.`);

    await until(
      'the backlog to shrink by a third',
      () => this.#waiting < (backlog * 2) / 3,
      60_000,
    );
    await this.#killAgent();
    await this.#drained('The backlog is at the hub.');
    await sleep(PAUSE_MS);

    this.#picture.wan = 'refused';
    await this.#proxy.refuse();
    this.#proxy.resetAll();
    this.#tell('The WAN fails once more: connections are reset, new ones refused.', 'bad');
    await sleep(REFUSED_MS);
    await this.#restore('The WAN is back.');

    await sleep(PAUSE_MS);
    this.#gps.pause();
    this.#meters.pause();
    await until('the last acknowledgements', () => this.#meters.unacked === 0, 60_000);
    await this.#drained('The sensors have stopped, and the gateway has nothing left to send.');
    clearInterval(watching);
    this.#screen.close();
    return this.#audit();
  }

  /** A line of the agent's log. */
  agentSaid({ level, msg, error }: LogLine): void {
    if (level < WARN && !TOLD.has(msg)) return;
    this.#tell(`agent: ${msg}${error === undefined ? '' : `: ${error}`}`, 'agent');
  }

  async #restore(text: string): Promise<void> {
    await this.#proxy.restore();
    this.#picture.wan = 'up';
    this.#tell(text, 'good');
  }

  /**
   * Ends the agent as a power cut ends a process. A serial line cannot repeat what nobody read, so the GPS holds still
   * meanwhile. The meters do not: what is on its way is finished with the next process (QoS 2 is "exactly once").
   */
  async #killAgent(): Promise<void> {
    this.#gps.pause();
    await this.#agent.serialSettled(this.#gps.sent.length).catch(() => undefined);
    const killed = this.#agent.kill();
    const { pid } = this.#agent;
    this.#picture.agent = 'down';
    this.#tell(
      `kill -9 ${pid}: the agent dies in the middle of it, with readings on their way in and a batch on its way out.`,
      'bad',
    );
    await killed;
    const sinceMs = performance.now();
    await this.#agent.start();
    await this.#agent.serialReady();
    this.#picture.agent = 'up';
    this.#gps.resume();
    const seconds = ((performance.now() - sinceMs) / 1000).toFixed(1);
    this.#tell(
      `The agent is back after ${seconds} s, as process ${this.#agent.pid}, and asks the hub what it has.`,
      'good',
    );
  }

  async #drained(text: string): Promise<void> {
    await until(
      'the backlog to drain',
      async () => {
        const { messages, pending } = await this.#agent.stream();
        // New readings arrive all the time: a few of them are always under way.
        return messages > 0 && pending < READINGS_PER_S / 4;
      },
      90_000,
    );
    this.#tell(text, 'good');
  }

  async #audit(): Promise<Audit> {
    await until(
      'the hub to confirm the rest',
      async () => (await this.#agent.stream()).pending === 0,
      60_000,
    );
    const { messages } = await this.#agent.stream();
    const sent = [...this.#meters.sent].map(([subject, data]) => ({ subject, data }));
    sent.push({ subject: this.#gps.subject, data: this.#gps.sent });
    return audit(sent, await this.#view.all(), {
      stored: messages,
      prefix: `edge.${GATEWAY}.${STREAM}`,
    });
  }

  get #waiting(): number {
    return this.#picture.stored - this.#picture.atHub;
  }

  get #seconds(): number {
    return (performance.now() - this.#startedMs) / 1000;
  }

  #tell(text: string, tone: 'step' | 'agent' | 'good' | 'bad' = 'step'): void {
    this.#screen.event(this.#seconds, text, tone);
    this.#draw();
  }

  async #look(): Promise<void> {
    const [stream, atHub] = await Promise.all([
      this.#agent.stream().catch(() => undefined),
      this.#view.messages().catch(() => undefined),
    ]);
    this.#picture.stored = stream?.messages ?? this.#picture.stored;
    this.#picture.atHub = atHub ?? this.#picture.atHub;
    this.#draw();
  }

  #draw(): void {
    this.#screen.draw({
      ...this.#picture,
      seconds: this.#seconds,
      sent: this.#gps.sent.length + this.#meters.count,
    });
  }
}

async function main(screen: Screen): Promise<number> {
  screen.say();
  screen.say('Mangrove: serial and MQTT in, on the disk first, exactly once to the hub', 'bold');
  screen.say();
  const directory = mkdtempSync(join(tmpdir(), 'mangrove-demo-'));
  running.push(() => rmSync(directory, { recursive: true, force: true }));
  const hub = await startHub(process.env['MANGROVE_DEMO_HUB'], () =>
    screen.say('looking for a nats-server to be the hub …', 'dim'),
  );
  running.push(() => hub.stop());
  const line = await new WanLine(hub.port, WAN_KBIT_PER_S).listen();
  running.push(() => line.close());
  const proxy = await new WanProxy(line.port).listen();
  running.push(() => proxy.close());
  const pty = await SensorPty.make(join(directory, 'ttyGPS'));
  if (pty !== undefined) running.push(() => pty.close());
  const view = await HubView.open(hub.port, HUB_STREAM);
  running.push(() => view.close());

  let demo: Demo | undefined;
  const [mqttPort, monitorPort] = [await freePort(), await freePort()];
  const config = join(directory, 'agent.toml');
  writeFileSync(config, configuration({ directory, mqttPort, monitorPort, hub: proxy.port, pty }));
  const agent = new AgentProcess(config, monitorPort, (said) => demo?.agentSaid(said));
  running.push(() => agent.end());
  await agent.start();
  await agent.serialReady();
  await until('the agent to find the hub', () => agent.hubConnected());
  const meters = await Meters.connect(mqttPort, READINGS_PER_S);
  running.push(() => meters.end());
  const write =
    pty === undefined ? (text: string) => meters.publish('serial.gps', text) : toPty(pty);
  const gps = new GpsReplay(readFileSync(RECORDING, 'latin1'), GPS_PER_S, write);
  introduce(screen, { pty, hub, monitorPort });

  demo = new Demo(screen, { proxy, agent, view }, { gps, meters });
  return conclude(screen, await demo.run(), hub);
}

function configuration(order: {
  directory: string;
  mqttPort: number;
  monitorPort: number;
  hub: number;
  pty: SensorPty | undefined;
}): string {
  const serial =
    order.pty === undefined ? '' : `[[serial]]\nname = "gps"\npath = "${order.pty.path}"\n`;
  return `[gateway]
name = "${GATEWAY}"
data_dir = "${join(order.directory, 'data')}"
[mqtt]
listen = "127.0.0.1:${order.mqttPort}"
[monitor]
listen = "127.0.0.1:${order.monitorPort}"
[[stream]]
name = "${STREAM}"
subjects = ["plant1.>", "serial.>"]
${serial}[hub]
servers = ["nats://127.0.0.1:${order.hub}"]
create = true
keep_alive = "3s"
reconnect_max = "1s"
[[forward]]
stream = "${STREAM}"
`;
}

function introduce(
  screen: Screen,
  { pty, hub, monitorPort }: { pty: SensorPty | undefined; hub: DemoHub; monitorPort: number },
): void {
  const gps =
    pty === undefined
      ? 'a GPS receiver. This machine has nothing that makes a pseudo-terminal, so its lines come over MQTT instead of a serial port'
      : `a GPS receiver on the serial port ${pty.device} (made by ${pty.madeBy})`;
  screen.part('serial', `${gps}; it replays a real NMEA recording, ${GPS_PER_S} lines a second`);
  screen.part('MQTT 5.0', `four meters, ${READINGS_PER_S} readings a second at QoS 2`);
  screen.part(
    'gateway',
    `bin/mangrove, a process of its own; watch http://127.0.0.1:${monitorPort}/varz`,
  );
  screen.part('WAN', `a TCP proxy, ${(WAN_KBIT_PER_S / 1000).toFixed(1)} Mbit/s upwards`);
  screen.part('hub', hub.told);
  screen.say();
}

function conclude(screen: Screen, result: Audit, hub: DemoHub): number {
  const { sent, stored, atHub, lost, duplicated, inOrder } = result;
  const good = lost === 0 && duplicated === 0 && inOrder;
  screen.say();
  screen.say(
    `Audit: each message sent, looked for in the stream of the ${hub.real ? 'hub' : 'stand-in hub'}.`,
  );
  if (!inOrder) screen.say('The hub does not have the order of the gateway.', 'red', 'bold');
  screen.say(
    `sent ${sent}, stored ${stored}, at the hub ${atHub}, lost ${lost}, duplicated ${duplicated}`,
    'bold',
    good ? 'green' : 'red',
  );
  screen.say();
  return good ? 0 : 1;
}

async function cleanUp(): Promise<void> {
  for (let end = running.pop(); end !== undefined; end = running.pop())
    await Promise.resolve(end()).catch(() => undefined);
}

const screen = new Screen(process.stdout);
let interrupted = false;
for (const [signal, exitCode] of [
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  process.once(signal, () => {
    interrupted = true;
    screen.close();
    screen.say('Stopped: there is no verdict.');
    void cleanUp().finally(() => process.exit(exitCode));
  });
process.once('exit', () => screen.close());
// A reader that went away (`npm start | head`) ends the demo.
process.stdout.on('error', () => process.emit('SIGTERM'));

let exitCode = 1;
try {
  exitCode = await main(screen);
} catch (error) {
  screen.close();
  if (!interrupted) console.error(error instanceof Error ? error.message : error);
}
if (!interrupted) {
  await cleanUp();
  process.exit(exitCode);
}
