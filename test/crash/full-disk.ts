// A gateway on a small disk that can be filled by another program, its hub behind a WAN that can be cut, and the account
// of what it acknowledged.

import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { expect } from 'vitest';
import { HubAdmin } from '../hub/hub-admin.ts';
import { AgentProcess, forwardTo } from '../support/agent-process.ts';
import { LoopFs } from '../support/loop-fs.ts';
import { startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { pluggedPty, type Pty } from '../support/pty.ts';
import { until } from '../support/until.ts';
import { WanProxy } from '../support/wan-proxy.ts';
import { parseMessage, Publisher, type PublisherOptions } from './publisher.ts';

const MIB = 1024 * 1024;
/** How soon messages are taken again once there is room. */
export const RESUME_MS = 5_000;

export class FullDisk implements AsyncDisposable {
  readonly publishers: Publisher[] = [];
  readonly #stack = new AsyncDisposableStack();
  readonly fs: LoopFs;
  readonly hub: NatsServer;
  readonly wan: WanProxy;
  readonly pty: Pty;
  readonly agent: AgentProcess;
  #serialFrames = 0;

  private constructor(parts: {
    fs: LoopFs;
    hub: NatsServer;
    wan: WanProxy;
    pty: Pty;
    agent: AgentProcess;
  }) {
    this.fs = parts.fs;
    this.hub = parts.hub;
    this.wan = parts.wan;
    this.pty = parts.pty;
    this.agent = parts.agent;
  }

  /** A running gateway on a disk of `mib`, its WAN up. */
  static async create(mib = 64): Promise<FullDisk> {
    await using stack = new AsyncDisposableStack();
    const fs = stack.use(await LoopFs.create(mib * MIB));
    const hub = stack.adopt(await startNatsServer(), (server) => server.dispose());
    const wan = stack.adopt(await new WanProxy(hub.port).listen(), (proxy) => proxy.close());
    const pty = stack.use(await pluggedPty());
    const config = `[[stream]]
name = "DATA"
subjects = ["data.>", "serial.>"]
max_bytes = "1GiB"
[[serial]]
name = "gps"
path = "${pty.path}"
${forwardTo(wan.url)}`;
    const agent = stack.use(await AgentProcess.create({ config, dataDir: `${fs.path}/data` }));
    await agent.start();
    const made = new FullDisk({ fs, hub, wan, pty, agent });
    made.#stack.use(stack.move());
    return made;
  }

  publisher(name: string, options: PublisherOptions): Publisher {
    const publisher = new Publisher(name, this.agent.mqttPort, options).start();
    this.publishers.push(publisher);
    return publisher;
  }

  /** The device on the serial port says one line. */
  async serialFrame(): Promise<void> {
    await this.pty.write(`serial:${++this.#serialFrames}:0:.\n`);
  }

  get serialFrames(): number {
    return this.#serialFrames;
  }

  /** Another program writes until nothing more goes in. */
  fill(): void {
    const fd = openSync(this.#filler, 'a');
    try {
      for (const size of [MIB, 4096, 1]) writeUntilFull(fd, Buffer.alloc(size));
    } finally {
      closeSync(fd);
    }
  }

  /** … and is stopped. */
  empty(): void {
    rmSync(this.#filler);
  }

  get #filler(): string {
    return `${this.fs.path}/filler`;
  }

  cutWan(): void {
    this.wan.blackHole();
    this.wan.resetAll();
  }

  /** Waits until the agent says that its disk is full. */
  async untilFull(each: () => void = () => {}): Promise<void> {
    await until('/healthz to name the disk', async () => {
      each();
      const { status, body } = await this.agent.monitor('/healthz');
      const text = JSON.stringify(body);
      return status === 503 && text.includes('"part":"disk"') && text.includes('the disk is full');
    });
  }

  async healthy(): Promise<boolean> {
    return (await this.agent.monitor('/healthz')).status === 200;
  }

  /** The last sequence that the agent has on its disk. */
  async durableSeq(): Promise<number> {
    const { body } = await this.agent.monitor('/jsz?streams=true');
    const text = JSON.stringify(body);
    return Number(/"name":"DATA".*?"last_seq":(\d+)/.exec(text)?.[1] ?? 0);
  }

  /** Stops the publishers, lets the rest drain, and holds what the hub has against what was acknowledged. */
  async audit(): Promise<void> {
    for (const publisher of this.publishers) publisher.stop();
    await until('the hub to have it all', async () => {
      const seq = await this.durableSeq();
      return seq > 0 && (await this.agent.confirmedSeq()) === seq;
    });
    const admin = await HubAdmin.connect(this.hub.url);
    try {
      await until('the held serial frames', () => this.#serialArrived(admin));
      const records = await admin.readAll();
      const at = new Map<string, number[]>();
      for (const { data } of records) {
        const { publisher, n } = parseMessage(data);
        at.set(publisher, [...(at.get(publisher) ?? []), n]);
      }
      for (const { name, acked, strange } of this.publishers) {
        const there = at.get(name) ?? [];
        expect(strange).toEqual([]);
        expect(inOrder(there), `${name} is at the hub once and in order`).toBe(true);
        const set = new Set(there);
        expect(
          acked.filter((n) => !set.has(n)),
          `acknowledged to ${name} and lost`,
        ).toEqual([]);
      }
      if (this.#serialFrames > 0)
        expect(at.get('serial')).toEqual(
          Array.from({ length: this.#serialFrames }, (_, i) => i + 1),
        );
    } finally {
      await admin.close();
    }
  }

  async #serialArrived(admin: HubAdmin): Promise<boolean> {
    if (this.#serialFrames === 0) return true;
    const subject = 'edge.gw7.DATA.serial.gps';
    const { state } = await admin.api<{ state: { subjects?: Record<string, number> } }>(
      'STREAM.INFO.EDGE',
      { subjects_filter: subject },
    );
    return (state.subjects?.[subject] ?? 0) >= this.#serialFrames;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const publisher of this.publishers) publisher.stop();
    await this.#stack.disposeAsync();
  }
}

function writeUntilFull(fd: number, bytes: Buffer): void {
  try {
    for (let written = bytes.length; written > 0;) written = writeSync(fd, bytes);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
  }
}

function inOrder(numbers: readonly number[]): boolean {
  return numbers.every((n, i) => i === 0 || n > (numbers[i - 1] ?? 0));
}
