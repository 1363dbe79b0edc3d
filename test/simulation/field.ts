// The field side: programs that publish with and without message IDs, and a device on a serial line.

import type { Duplex } from 'node:stream';
import { duplexPair } from 'node:stream';
import { PortError } from '../../device/serial/port-error.ts';
import type { FakeClock } from '../support/fake-clock.ts';
import { randomInt, type Random } from '../support/random.ts';
import type { Gateway } from './gateway.ts';
import type { Ledger, Sent } from './ledger.ts';
import type { Options } from './options.ts';

/** A program with this much unacknowledged waits. */
const UNACKED_MAX = 200;
const OVERSIZE_BYTES = 4_000;

export interface FieldParts {
  readonly clock: FakeClock;
  readonly random: Random;
  readonly ledger: Ledger;
  readonly gateway: () => Gateway | undefined;
  readonly count: (what: string) => void;
}

/** A program: sends bursts, sends again what was refused, and after a restart what has an ID and was not acknowledged. */
export class Publisher {
  readonly #parts: FieldParts;
  readonly #order: Options['publishers'][number] & { readonly name: string; oversize: boolean };
  readonly #unacked = new Set<Sent>();
  /** Given to this life of the gateway and not answered. */
  readonly #inFlight = new Set<Sent>();
  #made = 0;
  quiet = false;

  constructor(
    order: Options['publishers'][number] & { readonly name: string; oversize: boolean },
    parts: FieldParts,
  ) {
    this.#order = order;
    this.#parts = parts;
    this.#later();
  }

  get unacked(): number {
    return this.#unacked.size;
  }

  #later(): void {
    const { clock, random } = this.#parts;
    clock.after(Math.floor(random() * 2 * this.#order.everyMs), () => {
      if (!this.quiet && this.#unacked.size < UNACKED_MAX)
        this.make(1 + randomInt(random, this.#order.burst));
      this.#later();
    });
  }

  make(messages: number): void {
    const { random, ledger } = this.#parts;
    const { name, withId, bytes, oversize } = this.#order;
    for (let i = 0; i < messages; i++) {
      const nonce = `${name}-${++this.#made}`;
      const large = oversize && random() < 0.05;
      const size = large ? OVERSIZE_BYTES : randomInt(random, 2 * bytes);
      const data = Buffer.from(`${nonce} ${'x'.repeat(size)}`);
      const subject = `data.${name}.${randomInt(random, 5)}`;
      const sent = ledger.add({ nonce, stream: 'plant', subject, withId, data, oversize: large });
      this.#unacked.add(sent);
      this.#send(sent);
      // An impatient one, which does not wait for the answer.
      if (withId && random() < 0.02) this.#send(sent, true);
    }
  }

  #send(sent: Sent, impatient = false): void {
    const { clock, random, gateway, count } = this.#parts;
    const to = gateway();
    if (!this.#unacked.has(sent) || to?.up !== true) return;
    if (this.#inFlight.has(sent) && !impatient) return;
    const { nonce, subject, data, withId } = sent;
    this.#inFlight.add(sent);
    const headers = Buffer.from(`NATS/1.0\r\nNats-Msg-Id: ${nonce}\r\n\r\n`);
    to.broker.publish({ subject, data, ...(withId ? { headers } : {}) }, (error, ack) => {
      this.#inFlight.delete(sent);
      if (error === null) {
        if (ack?.duplicate === true) count('duplicate answered');
        this.#unacked.delete(sent);
        return;
      }
      count(`refused ${error.errCode}`);
      clock.after(1_000 + randomInt(random, 4_000), () => this.#send(sent));
    });
    if (!withId) return;
    clock.after(10_000 + randomInt(random, 10_000), () => {
      if (this.#inFlight.has(sent) && gateway() === to) {
        count('sent again for want of an answer');
        this.#send(sent, true);
      }
    });
  }

  /** The gateway is there again. What was under way without an ID is given up: it may be stored or not. */
  resume(): void {
    const lost = [...this.#inFlight];
    this.#inFlight.clear();
    for (const sent of lost) if (!sent.withId) this.#unacked.delete(sent);
    for (const sent of this.#unacked) this.#send(sent);
  }
}

/** A device that writes numbered lines, in pieces, whether somebody listens or not. */
export class Meter {
  readonly #parts: FieldParts;
  readonly #everyMs: number;
  #device: Duplex | undefined;
  #plugged = true;
  #lines = 0;
  #writing = false;
  quiet = false;

  constructor(everyMs: number, parts: FieldParts) {
    this.#everyMs = everyMs;
    this.#parts = parts;
    this.#later();
  }

  /** What the port opens. */
  async open(): Promise<Duplex> {
    if (!this.#plugged) throw new PortError('ENOENT', 'no such device', 'plug it in');
    const [device, port] = duplexPair();
    device.on('error', () => undefined);
    this.#device = device;
    return port;
  }

  unplug(): void {
    this.#plugged = false;
    this.#device?.destroy();
    this.#device = undefined;
  }

  plugIn(): void {
    this.#plugged = true;
  }

  #later(): void {
    const { clock, random } = this.#parts;
    clock.after(Math.floor(random() * 2 * this.#everyMs), () => {
      if (!this.quiet) this.write(1 + randomInt(random, 5));
      this.#later();
    });
  }

  write(lines: number): void {
    if (this.#writing) return;
    this.#writing = true;
    const { clock, random, ledger } = this.#parts;
    let text = '';
    for (let i = 0; i < lines; i++) {
      const nonce = `s-${++this.#lines}`;
      const data = Buffer.from(`${nonce} ${'m'.repeat(randomInt(random, 60))};`);
      ledger.add({
        nonce,
        stream: 'serial',
        subject: 'serial.meter',
        withId: false,
        data,
        oversize: false,
      });
      text += `${data.toString()}\r\n`;
    }
    const middle = randomInt(random, text.length);
    const device = this.#device;
    device?.write(text.slice(0, middle));
    clock.after(2, () => {
      this.#writing = false;
      if (device === this.#device && device?.destroyed === false) device.write(text.slice(middle));
    });
  }
}
