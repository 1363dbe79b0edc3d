// The two simulated sensors. A GPS receiver repeats a real recording over a serial line, which knows no acknowledgement;
// four meters report over MQTT 5.0 at QoS 2, and go on after a lost connection where they stopped. Both keep a list of
// what they sent.

import mqtt, { type MqttClient } from 'mqtt';
import type { SensorPty } from './pty.ts';

/** How often a sensor looks whether it is time to send. */
const TICK_MS = 50;
/** Readings that the meters hold while nobody acknowledges; beyond it they stop reading. */
const UNACKED_MAX = 5_000;

/** Sends what is due by the clock; what became due while it was paused is left out. */
abstract class Paced {
  readonly #perSecond: number;
  #timer: NodeJS.Timeout | undefined;
  #lastMs = 0;
  #due = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  resume(): void {
    if (this.#timer !== undefined) return;
    this.#lastMs = performance.now();
    this.#timer = setInterval(() => {
      const nowMs = performance.now();
      this.#due += ((nowMs - this.#lastMs) * this.#perSecond) / 1000;
      this.#lastMs = nowMs;
      for (; this.#due >= 1; this.#due--) this.sendOne();
    }, TICK_MS);
  }

  pause(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#due = 0;
  }

  protected abstract sendOne(): void;
}

export class GpsReplay extends Paced {
  readonly subject = 'serial.gps';
  /** What was sent, without line ends, in order. */
  readonly sent: string[] = [];
  readonly #lines: readonly string[];
  readonly #write: (line: string) => void;

  /** `recording` is replayed line by line, from its start again at its end. */
  constructor(recording: string, perSecond: number, write: (line: string) => void) {
    super(perSecond);
    this.#lines = recording.split('\r\n').filter((line) => line !== '');
    this.#write = write;
  }

  protected override sendOne(): void {
    const line = this.#lines[this.sent.length % this.#lines.length] ?? '';
    this.sent.push(line);
    this.#write(line);
  }
}

/** Writes lines to the serial line; a pipe that is gone is seen in the audit. */
export function toPty(pty: SensorPty): (line: string) => void {
  return (line) => void pty.write(`${line}\r\n`).catch(() => undefined);
}

const METERS = [
  { subject: 'plant1.boiler.temp', unit: 'celsius', base: 71, swing: 4 },
  { subject: 'plant1.boiler.pressure', unit: 'bar', base: 2.1, swing: 0.3 },
  { subject: 'plant1.pump.flow', unit: 'l_min', base: 38, swing: 6 },
  { subject: 'plant1.mains.power', unit: 'watt', base: 4200, swing: 900 },
] as const;

export class Meters extends Paced {
  /** What was handed over, by subject, in order. */
  readonly sent = new Map<string, string[]>(METERS.map(({ subject }) => [subject, []]));
  readonly #client: MqttClient;
  #count = 0;
  #acked = 0;
  #others = 0;

  constructor(client: MqttClient, perSecond: number) {
    super(perSecond);
    this.#client = client;
    client.on('error', () => undefined);
  }

  static async connect(port: number, perSecond: number): Promise<Meters> {
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
      clientId: 'demo-meters',
      protocolVersion: 5,
      // Exactly once needs a session that outlives the connection.
      clean: false,
      properties: { sessionExpiryInterval: 3_600 },
      reconnectPeriod: 200,
      connectTimeout: 5_000,
    });
    return new Meters(client, perSecond);
  }

  /** Readings handed over. */
  get count(): number {
    return this.#count;
  }

  /** What waits for its PUBREC or PUBCOMP. */
  get unacked(): number {
    return this.#count - this.#acked + this.#others;
  }

  /** Any line, for the GPS where no serial line can be had. */
  publish(subject: string, data: string): void {
    this.#others++;
    this.#client.publish(subject.replaceAll('.', '/'), data, { qos: 2 }, (error) => {
      if (!error) this.#others--;
    });
  }

  async end(): Promise<void> {
    this.pause();
    await this.#client.endAsync(true);
  }

  protected override sendOne(): void {
    if (this.unacked >= UNACKED_MAX) return;
    const n = this.#count++;
    const meter = METERS[n % METERS.length] ?? METERS[0];
    const value = meter.base + meter.swing * Math.sin(n / 40);
    const data = JSON.stringify({ n, [meter.unit]: Number(value.toFixed(2)) });
    this.sent.get(meter.subject)?.push(data);
    this.#client.publish(meter.subject.replaceAll('.', '/'), data, { qos: 2 }, (error) => {
      if (!error) this.#acked++;
    });
  }
}
