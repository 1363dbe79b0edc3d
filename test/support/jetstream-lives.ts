// Scripts of chance about the life of two consumers on one stream: their messages come and go, they are changed, reset,
// paused, deleted and made again, while clients fetch and acknowledge what earlier ones have delivered.

import { ConsumerSteps, SECOND } from './jetstream-consumer-steps.ts';
import { one } from './jetstream-configs.ts';
import { ACKS } from './jetstream-requests.ts';
import { ScriptWriter, type Script } from './jetstream-script.ts';
import { randomInt, seededRandom, type Random } from './random.ts';

const STEPS = 45;
const STREAM = 'LIFE';
const NAMES = ['A', 'B'] as const;
type Name = (typeof NAMES)[number];
type Config = Record<string, unknown>;

/** The script of `seed`. */
export function lifeOf(seed: number): Script {
  return new Life(seededRandom(seed)).script();
}

class Life {
  readonly #random: Random;
  readonly #script = new ScriptWriter();
  readonly #steps = new ConsumerSteps(this.#script, STREAM);
  readonly #configs: Record<Name, Config> = { A: {}, B: {} };
  readonly #fetched: number[] = [];
  readonly #retention: string;

  constructor(random: Random) {
    this.#random = random;
    this.#retention = this.#one(['limits', 'limits', 'interest', 'workqueue']);
  }

  #int(below: number): number {
    return randomInt(this.#random, below);
  }

  #one<T>(list: readonly T[]): T {
    return one(this.#random, list);
  }

  script(): Script {
    const storage = this.#one(['file', 'file', 'memory']);
    this.#steps.listen(`$JS.EVENT.ADVISORY.CONSUMER.*.${STREAM}.>`);
    this.#steps.stream({ retention: this.#retention, storage });
    if (this.#int(2) === 0) this.#steps.publish(3 + this.#int(4));
    for (const name of NAMES) this.#make(name);
    this.#steps.publish(2 + this.#int(6));
    for (let i = 0; i < STEPS; i++) this.#step(this.#one(NAMES));
    for (const name of NAMES) this.#steps.info(name);
    this.#steps.streamInfo();
    for (const name of NAMES) this.#steps.take(name, 50);
    for (const name of NAMES) this.#steps.info(name);
    return this.#script.steps;
  }

  /** Of a work-queue each message is for one of them. */
  #filters(name: Name): Config {
    const subject = (token: string): string => `${STREAM}.${token}`;
    if (this.#retention === 'workqueue')
      return {
        filter_subjects:
          name === 'A' ? [subject('1'), subject('2')] : ['3', '4', '5', '6', '7'].map(subject),
      };
    return this.#one<Config>([
      {},
      {},
      { filter_subject: subject(this.#one(['1', '3', '*', '>'])) },
      { filter_subjects: [subject('2'), subject(this.#one(['1', '5']))] },
    ]);
  }

  #make(name: Name): void {
    const policy =
      this.#retention === 'workqueue'
        ? { deliver_policy: 'all', ack_policy: 'explicit' }
        : {
            ack_policy: this.#one(['explicit', 'explicit', 'explicit', 'all', 'none']),
            ...this.#one<Config>([
              { deliver_policy: 'all' },
              { deliver_policy: 'all' },
              { deliver_policy: 'new' },
              { deliver_policy: 'last' },
              { deliver_policy: 'by_start_sequence', opt_start_seq: 1 + this.#int(9) },
            ]),
          };
    this.#configs[name] = { ...policy, ...this.#filters(name), ...this.#limits() };
    this.#steps.consumer(name, this.#configs[name]);
  }

  #limits(): Config {
    return {
      ...(this.#int(3) === 0 ? { max_ack_pending: this.#one([1, 2, 3, 7]) } : {}),
      ...(this.#int(3) === 0 ? { max_deliver: this.#one([1, 2, 3]) } : {}),
      ...(this.#int(6) === 0 ? { headers_only: true } : {}),
      ...(this.#int(6) === 0 ? { sample_freq: '100' } : {}),
      ...(this.#int(6) === 0 ? { ack_wait: this.#one([20, 40]) * SECOND } : {}),
    };
  }

  #change(name: Name): void {
    const {
      max_ack_pending: _pending,
      max_deliver: _deliver,
      filter_subject: _one,
      filter_subjects: _many,
      ...kept
    } = this.#configs[name];
    const filters = this.#filters(name);
    // A consumer of nats-server whose last filter is taken away hears of no new message any more.
    const some = Object.keys(filters).length > 0 ? filters : { filter_subject: `${STREAM}.>` };
    this.#configs[name] = { ...kept, ...some, ...this.#limits() };
    this.#steps.update(name, this.#configs[name]);
  }

  #step(name: Name): void {
    switch (this.#int(20)) {
      case 0:
        return this.#change(name);
      case 1:
        return this.#steps.reset(
          name,
          this.#one([undefined, undefined, { seq: 1 + this.#int(12) }]),
        );
      case 2:
        return this.#again(name);
      case 3:
        return void this.#script.api(`STREAM.MSG.DELETE.${STREAM}`, { seq: 1 + this.#int(15) });
      case 4:
        return this.#steps.pause(name, this.#one(['2030-01-01T00:00:00Z', '', '']));
      case 5:
        return this.#steps.info(name);
      case 6:
        return this.#steps.streamInfo();
      case 7:
      case 8:
        return this.#steps.publish(1 + this.#int(2), 1 + this.#int(6));
      case 9:
      case 10:
      case 11:
      case 12:
        return this.#fetch(name);
      default:
        return this.#ack();
    }
  }

  /** Deleted and made again, with the same name; acks of the first one come to the second. */
  #again(name: Name): void {
    this.#steps.delete(name);
    if (this.#int(3) === 0) this.#steps.publish(1, 1 + this.#int(6));
    this.#make(name);
  }

  #fetch(name: Name): void {
    const batch = 1 + this.#int(5);
    this.#fetched.push(
      this.#int(8) === 0
        ? this.#steps.fetch(name, { batch, expires: 250_000_000 }, batch, 600)
        : this.#steps.take(name, batch),
    );
  }

  #ack(): void {
    if (this.#fetched.length === 0) return;
    this.#steps.ack(this.#one(this.#fetched.slice(-4)), this.#int(5), this.#one(ACKS));
  }
}
