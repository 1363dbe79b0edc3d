// One life of the agent's process: the real broker, store, streams, forwarders and serial port on a clock, a disk and
// a hub that the simulation holds. It ends by stop(), or by a death that leaves files behind.

import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { SerialPort } from '../../device/serial/port.ts';
import { FRAME_BYTES_MAX } from '../../device/serial/serial-config.ts';
import { Broker, type Routed } from '../../src/broker.ts';
import { JetStream, type StreamOrder } from '../../src/jetstream/jetstream.ts';
import type { Stream } from '../../src/jetstream/stream.ts';
import type { Message, Receipt } from '../../src/message.ts';
import type { Mode } from '../../sync/choose-way.ts';
import { ForwardState } from '../../sync/forward-state.ts';
import { Forwarder } from '../../sync/forwarder.ts';
import type { Random } from '../support/random.ts';
import { ProcessClock } from './clock.ts';
import { SimDisk, type DiskEvents, type DiskScript, type Image } from './disk.ts';
import { GATEWAY, PREFIX } from './journal.ts';
import type { FakeClock } from '../support/fake-clock.ts';
import type { ScriptedHub } from '../support/scripted-hub.ts';
import { WatchedHub, WatchedStream, type Watch } from './watched-hub.ts';

export interface GatewaySettings {
  readonly streams: readonly StreamOrder[];
  readonly graceMs: number;
  readonly commitIntervalMs: number;
  readonly mode: Mode;
}

/** The world around the process. */
export interface Surroundings {
  readonly clock: FakeClock;
  readonly hub: ScriptedHub;
  readonly disk: DiskScript;
  readonly random: Random;
  readonly log: Logger;
  readonly newEpoch: () => string;
  readonly sentAs: Map<string, string>;
  readonly batchIds: Set<string>;
  /** Sees every publish before the broker does; returns the receipt to use. */
  readonly tap: (message: Message, receipt: Receipt | undefined) => Receipt | undefined;
  readonly openSerial: (() => Promise<Duplex>) | null;
  readonly problem: (text: string) => void;
  readonly count: (what: string) => void;
  readonly described: Watch['described'];
  readonly confirmed: Watch['confirmed'];
  /** The process wants to end: its disk failed. */
  readonly fatal: (error: Error) => void;
  readonly cut: (image: Image) => void;
}

class TappedBroker extends Broker {
  readonly #tap: Surroundings['tap'];

  constructor(tap: Surroundings['tap']) {
    super();
    this.#tap = tap;
  }

  override publish(message: Message, receipt?: Receipt): Routed {
    return super.publish(message, this.#tap(message, receipt));
  }
}

export class Gateway {
  readonly broker: Broker;
  readonly jetstream: JetStream;
  readonly clock: ProcessClock;
  readonly #surroundings: Surroundings;
  readonly #mode: Mode;
  #disk: SimDisk | undefined;
  #forwarders: Forwarder[] = [];
  #serial: SerialPort | undefined;
  /** Takes messages. */
  up = false;
  #alive = true;

  /** Opens the store; throws as the agent would. */
  constructor(dataDir: string, settings: GatewaySettings, surroundings: Surroundings) {
    this.#surroundings = surroundings;
    this.#mode = settings.mode;
    const { clock, log, disk, random } = surroundings;
    this.clock = new ProcessClock(clock, Math.floor(random() * 1e6));
    this.broker = new TappedBroker((message, receipt) => surroundings.tap(message, receipt));
    const events: DiskEvents = {
      cut: (image) => surroundings.cut(image),
      overrun: (bytes) => surroundings.problem(`the files take ${bytes} bytes, more than the disk`),
    };
    const forwards = new Map(
      settings.streams.map(({ name }) => [name, { graceMs: settings.graceMs }]),
    );
    this.jetstream = new JetStream(
      {
        dataDir,
        commitIntervalMs: settings.commitIntervalMs,
        streams: settings.streams,
        forwards,
        newEpoch: surroundings.newEpoch,
        onFatal: (error) => {
          if (this.#alive) surroundings.fatal(error);
        },
        parts: {
          disk: (path) => (this.#disk = new SimDisk(path, this.clock, disk, events)),
          checkpointer: (db) => this.disk.checkpointer(db),
        },
      },
      { broker: this.broker, clock: this.clock, log },
    );
  }

  get disk(): SimDisk {
    if (this.#disk === undefined) throw new Error('the store is not open');
    return this.#disk;
  }

  get alive(): boolean {
    return this.#alive;
  }

  get forwarded(): readonly Stream[] {
    return this.jetstream.streams.filter(({ name }) => name !== 'dead_letter');
  }

  get statuses(): ReturnType<Forwarder['status']>[] {
    return this.#forwarders.map((forwarder) => forwarder.status());
  }

  /** Makes the new epochs durable, then starts everything else. */
  async start(): Promise<void> {
    await this.jetstream.start();
    if (!this.#alive) return;
    const { hub, log, random, openSerial } = this.#surroundings;
    const watch: Watch = {
      ...this.#surroundings,
      alive: () => this.#alive,
      atHub: (id) => hub.model.everStored.has(id),
      durable: (stream) => this.disk.durable.get(stream) ?? 0,
      noted: (stream) => this.disk.durableNotes.get(stream) ?? '',
    };
    this.#forwarders = this.forwarded.map(
      (stream) =>
        new Forwarder(
          {
            gateway: GATEWAY,
            prefix: PREFIX,
            hubStream: 'EDGE',
            stream: new WatchedStream(stream, watch),
            state: new ForwardState(stream.name, this.jetstream.table('forward.state'), (done) =>
              this.jetstream.store.whenDurable(done),
            ),
            wishes: { mode: this.#mode, order: 'strict', onlyForwarder: false },
            silenceMs: 15_000,
          },
          { hub: new WatchedHub(hub, stream.name, watch), clock: this.clock, log, random },
        ),
    );
    for (const forwarder of this.#forwarders) forwarder.start();
    if (openSerial !== null) {
      this.#serial = new SerialPort(
        {
          name: 'meter',
          path: '/dev/meter',
          baudRate: 9600,
          framing: { type: 'line' },
          frameBytesMax: FRAME_BYTES_MAX,
          decode: 'raw',
        },
        { broker: this.broker, clock: this.clock, log },
        openSerial,
      );
      this.#serial.start();
    }
    this.up = true;
  }

  /** SIGTERM. Resolves when everything is closed. */
  async stop(): Promise<void> {
    this.up = false;
    await Promise.all(this.#forwarders.map((forwarder) => forwarder.stop()));
    await this.#serial?.stop();
    await this.jetstream.stop();
    this.#end();
  }

  /** The process is gone, at once; returns what the disk holds. Call it between turns only. */
  async die(how: 'killed' | 'power cut'): Promise<Image> {
    const image = how === 'killed' ? this.disk.killed() : this.disk.cut(this.#surroundings.random);
    await this.abandon();
    return image;
  }

  async abandon(): Promise<void> {
    this.#end();
    // Only to free what the dead process held; nothing of it is seen any more.
    this.jetstream.store.fail(new Error('the process is dead'));
    await this.jetstream.stop();
  }

  #end(): void {
    this.up = false;
    this.#alive = false;
    this.clock.kill();
  }
}
