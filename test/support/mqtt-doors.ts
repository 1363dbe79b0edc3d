// An agent whose MQTT doors are what a test is about: a whole one, on a real configuration file, so that reading it again is
// part of it; with certificates of the test authority and official clients.

import { execFile } from 'node:child_process';
import { chmodSync, copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { MqttListener } from '../../device/mqtt/listener.ts';
import { loadConfig } from '../../src/config.ts';
import { GatewayDir, TestAgent } from './agent.ts';

const CERTIFICATES = join(import.meta.dirname, '../fixtures/hub-certificates');

/** The path of a certificate of the tests, or of a key. */
export function certificate(name: string): string {
  return join(CERTIFICATES, `${name}.pem`);
}

const run = promisify(execFile);

export class MqttDoors {
  #dir = new GatewayDir();
  #agent: TestAgent | undefined;
  #clients: MqttClient[] = [];

  /** Copies a certificate and its key to where the configuration finds them, as `cert.pem` and `key.pem`. */
  use(name: string): void {
    this.copy(name, 'cert.pem');
    this.copy(`${name}-key`, 'key.pem');
  }

  /** Copies one file of the certificates. */
  copy(name: string, file: string): void {
    copyFileSync(certificate(name), this.path(file));
    chmodSync(this.path(file), 0o600);
  }

  path(file: string): string {
    return join(this.#dir.path, file);
  }

  put(file: string, text: string): void {
    writeFileSync(this.path(file), text, { mode: 0o600 });
  }

  /** The configuration, with `tables` for MQTT. */
  configure(tables: string): void {
    const stream = '[[stream]]\nname = "ALL"\nsubjects = ["plant.>"]\n';
    const data = `[gateway]\nname = "gw7"\ndata_dir = "${this.#dir.dataDir}"\n`;
    this.put('agent.toml', `${data}${stream}${tables}`);
  }

  async start(tables: string): Promise<void> {
    this.configure(tables);
    this.#agent = await TestAgent.start(this.#dir);
  }

  /** As SIGHUP does; the keys that changed. */
  async reload(): Promise<readonly string[]> {
    const prepared = await this.agent.agent.prepare(loadConfig(this.#dir.file, {}));
    return prepared.apply();
  }

  get agent(): TestAgent {
    if (this.#agent === undefined) throw new Error('the agent does not run');
    return this.#agent;
  }

  get listener(): MqttListener {
    const { mqtt } = this.agent.agent.parts;
    if (!(mqtt instanceof MqttListener)) throw new Error('MQTT does not listen');
    return mqtt;
  }

  port(door: 'address' | 'tlsAddress' | 'websocketAddress'): number {
    const port = this.listener[door]?.port;
    if (port === undefined) throw new Error(`no ${door}`);
    return port;
  }

  async client(url: string, options: IClientOptions = {}): Promise<MqttClient> {
    const client = await connectAsync(
      url,
      { reconnectPeriod: 0, connectTimeout: 5000, ...options },
      false,
    );
    this.#clients.push(client);
    return client;
  }

  /** Runs a program of mosquitto's against `port`; rejects when it fails. */
  async mosquitto(program: 'pub' | 'sub', port: number, ...args: string[]): Promise<string> {
    const all = ['-h', 'localhost', '-p', String(port), ...args];
    const { stdout } = await run(`mosquitto_${program}`, all, { timeout: 10_000 });
    return stdout;
  }

  /** To be called after each test. */
  readonly end = async (): Promise<void> => {
    for (const client of this.#clients.splice(0)) await client.endAsync(true);
    await this.#agent?.stop();
    this.#agent = undefined;
    this.#dir.remove();
    this.#dir = new GatewayDir();
  };
}
