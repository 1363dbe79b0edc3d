// What a serial port publishes to in these tests: the real broker with one subscriber that stores, refuses or lets
// wait as told, and a log that is read back.

import { duplexPair, type Duplex } from 'node:stream';
import { pino, type Logger } from 'pino';
import { Broker } from '../../../src/broker.ts';
import { PublishError, type Message, type Receipt } from '../../../src/message.ts';

export const DISK_FULL = new PublishError(503, 10077, 'disk full');

export class ScriptedStream {
  /** Data of what was stored, one character a byte, in the order of storage. */
  readonly stored: string[] = [];
  /** Published and not answered yet. */
  readonly inFlight: { message: Message; receipt: Receipt | undefined }[] = [];
  /** What is done with a publish: answered at once, or kept until `commit` or `refuse`. */
  mode: 'store' | 'refuse' | 'wait' = 'store';
  refusal: PublishError = DISK_FULL;

  store(message: Message, receipt: Receipt | undefined): void {
    if (this.mode === 'refuse') return receipt?.(this.refusal, null);
    this.inFlight.push({ message, receipt });
    // Never before `publish` has returned: an fdatasync takes time.
    if (this.mode === 'store') queueMicrotask(() => this.commit());
  }

  /** Stores the first `count` of what is in flight. */
  commit(count = this.inFlight.length): void {
    for (const { message, receipt } of this.inFlight.splice(0, count)) {
      this.stored.push(message.data.toString('latin1'));
      receipt?.(null, { stream: 'SENSORS', seq: this.stored.length });
    }
  }

  /** Refuses the first `count` of what is in flight. */
  refuse(count = this.inFlight.length, error = this.refusal): void {
    for (const { receipt } of this.inFlight.splice(0, count)) receipt?.(error, null);
  }
}

/** A broker whose subjects `serial.>` are stored by a scripted stream. */
export function scriptedBroker(): {
  broker: Broker;
  stream: ScriptedStream;
  unsubscribe: () => void;
} {
  const broker = new Broker();
  const stream = new ScriptedStream();
  return { broker, stream, unsubscribe: broker.subscribe('serial.>', stream) };
}

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [key: string]: unknown;
}

/** A logger and what it has said. */
export function readLog(): { log: Logger; said: LogLine[]; warnings: () => string[] } {
  const said: LogLine[] = [];
  const log = pino({ base: null }, { write: (line: string) => void said.push(JSON.parse(line)) });
  return {
    log,
    said,
    warnings: () => said.filter(({ level }) => level >= 40).map(({ msg }) => msg),
  };
}

/** A cable: what is written to `device` is read from `port`. */
export function cable(): { device: Duplex; port: Duplex } {
  const [device, port] = duplexPair();
  device.on('error', () => {});
  return { device, port };
}
