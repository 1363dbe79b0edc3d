// A stream of a hub that is filled from one of ours, as nats-server fills it: it asks for a consumer, listens to what the
// answer names, takes what comes in its order, and asks anew where something does not fit. The test says when it stores.

import type { Broker } from '../../src/broker.ts';
import { headerValue } from '../../src/headers.ts';
import type { Message } from '../../src/message.ts';
import { tokensOf } from './consumer-lab.ts';

export interface Answer {
  readonly name?: string;
  readonly error?: { readonly err_code: number; readonly description: string };
  readonly config?: Readonly<Record<string, unknown>>;
  readonly delivered?: { readonly stream_seq: number };
}

export interface Asked {
  /** Of the request; a hub before 2.14 has none. */
  readonly headers?: string;
  /** Behind `CONSUMER.CREATE.<stream>`. */
  readonly tail?: string;
  readonly config?: Readonly<Record<string, unknown>>;
}

/** What nats-server 2.15 asks with, but for where it begins. */
export const NEW_HUB = {
  name: 'JS_SRC_aB3dE6gH',
  ack_policy: 'none',
  ack_wait: 79_200_000_000_000,
  max_deliver: 1,
  replay_policy: 'instant',
  flow_control: true,
  idle_heartbeat: 1_000_000_000,
  inactive_threshold: 10_000_000_000,
  num_replicas: 0,
  direct: true,
  sourcing: true,
  metadata: { '_nats.src.stream': 'AGG', '_nats.src.acc': '$G' },
};

const { name: _name, sourcing: _sourcing, metadata: _metadata, ...OLD } = NEW_HUB;
/** nats-server 2.10 gives no name to one without a filter. */
export const OLD_HUB = OLD;

/** Of all hubs: each has subjects of its own. */
let asks = 0;

export class ReadingHub {
  readonly #broker: Broker;
  readonly #stream: string;
  readonly #isOld: boolean;
  #answer: Answer | undefined;
  #identity: string | undefined;
  #leave: () => void = () => {};
  #deliverTo = '';
  #consumer = '';
  /** Sequences that it has stored, in its order. */
  readonly stored: number[] = [];
  readonly beats: string[] = [];
  readonly questions: string[] = [];
  dseq = 0;
  sseq = 0;
  /** It has seen that something is missing. */
  mustAsk = false;
  /** Answers to flow control at once. */
  answers = true;

  constructor(broker: Broker, stream: string, { isOld = false } = {}) {
    this.#broker = broker;
    this.#stream = stream;
    this.#isOld = isOld;
  }

  /** The same one, when the gateway has restarted: it listens where it did, and knows what it knew. */
  after(broker: Broker): ReadingHub {
    const same = new ReadingHub(broker, this.#stream, { isOld: this.#isOld });
    same.dseq = this.dseq;
    same.sseq = this.sseq;
    same.answers = this.answers;
    same.#consumer = this.#consumer;
    same.listen(this.#deliverTo);
    return same;
  }

  get answer(): Answer {
    return this.#answer ?? {};
  }

  get identity(): string | undefined {
    return this.#identity;
  }

  get deliverTo(): string {
    return this.#deliverTo;
  }

  /** Asks; the answer is there when the store has settled. From the start, or behind what it has stored. */
  ask({ headers, tail = '', config = {} }: Asked = {}): void {
    this.#leave();
    this.#answer = undefined;
    const reply = `$JSC.R.${++asks}`;
    const cancel = this.#broker.subscribe(reply, {
      deliver: (message) => {
        cancel();
        this.#answered(message);
      },
    });
    this.#deliverTo = `$JS.S.rand${asks}`;
    const start =
      this.sseq === 0
        ? { deliver_policy: 'all' }
        : { deliver_policy: 'by_start_sequence', opt_start_seq: this.sseq + 1 };
    const base = this.#isOld ? OLD_HUB : NEW_HUB;
    const whole = { ...base, deliver_subject: this.#deliverTo, ...start, ...config };
    const lines =
      headers ?? (this.#isOld ? undefined : 'Nats-Required-Api-Level: 5\r\nNats-Stream-Identity: ');
    this.#broker.publish({
      subject: `$JS.gw.API.CONSUMER.CREATE.${this.#stream}${tail}`,
      reply,
      ...(lines === undefined ? {} : { headers: Buffer.from(`NATS/1.0\r\n${lines}\r\n\r\n`) }),
      data: Buffer.from(
        JSON.stringify({ stream_name: this.#stream, action: '', config: whole, novelty: 1 }),
      ),
    });
  }

  #answered({ headers, data }: Message): void {
    const answer = JSON.parse(data.toString()) as Answer;
    this.#answer = answer;
    this.#identity = headerValue(headers, 'Nats-Stream-Identity');
    if (answer.error !== undefined) return;
    this.#consumer = answer.name ?? '';
    const { stream_seq: delivered = 0 } = answer.delivered ?? {};
    // Up to nats-server 2.12 it is taken for one less than what is stored.
    if (!this.#isOld) this.sseq = Math.max(this.sseq, delivered);
    else if (this.sseq !== delivered) this.sseq = delivered + 1;
    this.dseq = 0;
    this.mustAsk = false;
    this.listen(this.#deliverTo);
  }

  /** Listens there; nothing of before is asked for. */
  listen(subject: string): void {
    this.#leave();
    this.#leave = this.#broker.subscribe(subject, {
      deliver: (message) => this.#take(message),
    });
  }

  /** The link is cut. */
  leave(): void {
    this.#leave();
    this.#leave = () => {};
  }

  #take(message: Message): void {
    const { reply, headers } = message;
    const text = headers?.toString() ?? '';
    if (text.startsWith('NATS/1.0 100 ')) return this.#control(text, reply);
    const [, , , consumer = ''] = reply?.split('.') ?? [];
    if (consumer !== this.#consumer) return;
    const { deliveries, seq, consumerSeq } = tokensOf(message);
    if (deliveries > 1) return;
    if (seq <= this.sseq) {
      if (consumerSeq === this.dseq + 1) this.dseq++;
    } else if (consumerSeq === this.dseq + 1) {
      this.dseq++;
      this.sseq = seq;
      this.stored.push(seq);
    } else if (consumerSeq > this.dseq) this.mustAsk = true;
  }

  #control(text: string, reply: string | undefined): void {
    if (reply === undefined) {
      this.beats.push(text);
      const said = Number(/Nats-Last-Consumer: (\d+)/.exec(text)?.[1] ?? 0);
      if (said > 0 && said !== this.dseq) this.mustAsk = true;
      return;
    }
    this.questions.push(reply);
    if (this.answers) this.confirm(reply);
  }

  /** Answers a question of flow control. */
  confirm(reply: string, seq = this.sseq): void {
    const lines = `NATS/1.0\r\nNats-Last-Consumer: ${this.dseq}\r\nNats-Last-Stream: ${seq}\r\n\r\n`;
    this.#broker.publish(
      this.#isOld
        ? { subject: reply, data: Buffer.alloc(0) }
        : { subject: reply, headers: Buffer.from(lines), data: Buffer.alloc(0) },
    );
  }
}
