// Finds another gateway with our JetStream domain: no hub notices two, and both would answer what is asked of one. Whoever
// connects says hello on a subject of the domain, and whoever has the domain as well hears it and answers. What we say
// ourselves never comes back.

import { every, type Cancel, type Clock } from '../../src/clock.ts';
import type { Message } from '../../src/message.ts';
import { isName } from '../../src/subject.ts';

/** While there is somebody, hello is said again after this time, to learn when it is over. */
const AGAIN_MS = 60_000;
/** Nothing heard for so long: the other one is gone. */
const GONE_MS = 150_000;
/** At most one answer in this time, however many ask. */
const ANSWER_MS = 1_000;
/** Names of others are shown up to this length. */
const NAME_CHARS_MAX = 64;

export interface HelloOptions {
  readonly domain: string;
  readonly name: string;
  /** Nobody else's. */
  readonly id: string;
  /** Called with the name of another gateway when it is first heard of. */
  readonly found: (other: string) => void;
}

export class Hello {
  readonly #options: HelloOptions;
  readonly #clock: Clock;
  readonly #prefix: string;
  #send: ((subject: string, data: Buffer) => void) | undefined;
  #cancel: Cancel = () => undefined;
  #other: { readonly name: string; heardMs: number } | undefined;
  #answeredMs = -Infinity;

  constructor(options: HelloOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    this.#prefix = `$JS.${options.domain}.API.MANGROVE.`;
  }

  /** The name of another gateway with our domain; undefined for none. */
  get other(): string | undefined {
    const heardMs = this.#other?.heardMs ?? -Infinity;
    return this.#clock.monotonicMs() - heardMs < GONE_MS ? this.#other?.name : undefined;
  }

  /** Connected: says hello. */
  open(send: (subject: string, data: Buffer) => void): void {
    this.#send = send;
    this.#say('HELLO');
    this.#cancel = every(this.#clock, AGAIN_MS, () => {
      if (this.other !== undefined) this.#say('HELLO');
    });
  }

  close(): void {
    this.#cancel();
    this.#send = undefined;
  }

  /** Takes what is for us; false for any other message. */
  take({ subject, data }: Message): boolean {
    if (!subject.startsWith(this.#prefix)) return false;
    const [verb, id, ...more] = subject.slice(this.#prefix.length).split('.');
    if (id === undefined || id === this.#options.id || more.length > 0) return true;
    if (verb !== 'HELLO' && verb !== 'HERE') return true;
    this.#heard(data);
    const nowMs = this.#clock.monotonicMs();
    if (verb === 'HELLO' && nowMs - this.#answeredMs >= ANSWER_MS) {
      this.#answeredMs = nowMs;
      this.#say('HERE');
    }
    return true;
  }

  #heard(data: Buffer): void {
    const said = data.toString('utf8').slice(0, NAME_CHARS_MAX);
    const name = isName(said) ? said : 'unknown';
    const known = this.other === name;
    this.#other = { name, heardMs: this.#clock.monotonicMs() };
    if (!known) this.#options.found(name);
  }

  #say(verb: string): void {
    const { id, name } = this.#options;
    this.#send?.(`${this.#prefix}${verb}.${id}`, Buffer.from(name));
  }
}
