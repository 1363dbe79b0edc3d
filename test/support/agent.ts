// A whole agent in this process, where a test can ask and tell its parts. It reads a real configuration file; what it logs
// is kept line by line. agent-process.ts has the one that can be killed.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { MqttListener } from '../../device/mqtt/listener.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config.ts';
import { startAgent, type Agent } from '../../src/main.ts';
import type { PubAck } from '../../src/message.ts';
import type { ForwarderStatus } from '../../sync/forwarder-status.ts';
import type { LogLine } from './agent-process.ts';
import { until } from './until.ts';

export interface AgentOptions {
  readonly servers: readonly string[];
  /** Default: `data` in the agent's directory. */
  readonly dataDir?: string;
  readonly name?: string;
  /** Further lines of `[hub]`. */
  readonly hub?: string;
  /** Further lines of `[[stream]]`. */
  readonly stream?: string;
  /** Further lines of `[[forward]]`. */
  readonly forward?: string;
  /** Further tables. */
  readonly tables?: string;
}

/** The directory of one gateway: its configuration and its data. */
export class GatewayDir {
  readonly path = mkdtempSync(join(tmpdir(), 'mangrove-gateway-'));
  readonly dataDir = join(this.path, 'data');
  readonly file = join(this.path, 'agent.toml');

  configure(options: AgentOptions): void {
    const { servers, name = 'gw7', dataDir = this.dataDir } = options;
    mkdirSync(this.path, { recursive: true });
    writeFileSync(
      this.file,
      `[gateway]
name = "${name}"
data_dir = "${dataDir}"
[log]
level = "debug"
[mqtt]
listen = "127.0.0.1:0"
[[stream]]
name = "SENSORS"
subjects = ["plant1.>", "serial.>"]
${options.stream ?? ''}
[hub]
servers = ${JSON.stringify(servers)}
keep_alive = "1s"
reconnect_max = "300ms"
${options.hub ?? ''}
[[forward]]
stream = "SENSORS"
${options.forward ?? ''}
${options.tables ?? ''}
`,
      { mode: 0o600 },
    );
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** An agent in this process. */
export class TestAgent {
  readonly log: LogLine[] = [];
  readonly agent: Agent;
  #stopped = false;

  private constructor(agent: Agent, log: LogLine[]) {
    this.agent = agent;
    this.log = log;
  }

  /** Starts on the configuration in `dir`, which `configure` has written. */
  static async start(dir: GatewayDir): Promise<TestAgent> {
    const lines: LogLine[] = [];
    const log = pino(
      { level: 'debug', base: null },
      { write: (line: string) => void lines.push(JSON.parse(line) as LogLine) },
    );
    const agent = await startAgent(loadConfig(dir.file, {}), {
      clock: systemClock,
      log,
      onFatal: (error) => {
        throw error;
      },
    });
    return new TestAgent(agent, lines);
  }

  get mqttPort(): number {
    const { mqtt } = this.agent.parts;
    const address = mqtt instanceof MqttListener ? mqtt.address : undefined;
    if (address === undefined) throw new Error('MQTT does not listen');
    return address.port;
  }

  /** Publishes as a serial port would; resolves when the message is on the disk. */
  publish(subject: string, data: Buffer, headers?: Buffer): Promise<PubAck> {
    return new Promise((resolve, reject) => {
      const message = { subject, data, ...(headers === undefined ? {} : { headers }) };
      const routed = this.agent.parts.broker.publish(message, (error, ack) =>
        error !== null || ack === null
          ? reject(error ?? new Error('neither stored nor refused'))
          : resolve(ack),
      );
      if (routed !== 'stored') reject(new Error(`no stream takes ${subject}`));
    });
  }

  status(stream = 'SENSORS'): ForwarderStatus {
    const view = this.agent.parts.forwarders.find((forwarder) => forwarder.stream === stream);
    if (view === undefined) throw new Error(`${stream} is not forwarded`);
    return view.status() as ForwarderStatus;
  }

  /** Resolves when all that is stored has been confirmed by the hub. */
  async drained(timeoutMs = 60_000): Promise<void> {
    await until(
      'the backlog to be at the hub',
      () => {
        const { pending, state } = this.status();
        return pending === 0 && state === 'caught up';
      },
      timeoutMs,
    ).catch((error: unknown) => {
      const tail = this.log.slice(-15).map((line) => JSON.stringify(line));
      throw new Error(`${String(error)}: ${JSON.stringify(this.status())}\n${tail.join('\n')}`);
    });
  }

  /** The lines at warn or above whose message holds `text`. */
  said(text: string): LogLine[] {
    return this.log.filter(({ level, msg }) => level >= 40 && msg.includes(text));
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await this.agent.stop();
  }
}
