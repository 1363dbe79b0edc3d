// The origin of a mirror, played on the broker of the gateway under test: a stream under the API of another domain, which
// can be made anew, lose messages on the way, fall silent and wait for flow control, all at the word of the test.

import type { Broker } from '../../src/broker.ts';
import type { Message } from '../../src/message.ts';

export interface OriginMessage {
  readonly subject: string;
  readonly data: string;
  readonly headers?: Buffer | undefined;
  readonly timeMs: number;
}

interface Consumer {
  readonly name: string;
  readonly target: string;
  seq: number;
  dseq: number;
}

/** Of a request for a consumer. */
export interface Asked {
  readonly subject: string;
  readonly headers: string | undefined;
  readonly config: Readonly<Record<string, unknown>>;
}

export class MirrorOrigin {
  readonly #broker: Broker;
  readonly #api: string;
  readonly stream: string;
  created = '2026-03-01T10:00:00.123456789Z';
  /** The number of its first message. */
  firstSeq = 1;
  lastSeq = 0;
  /** How often it was asked how it is. */
  infos = 0;
  readonly messages = new Map<number, OriginMessage>();
  /** Every request for a consumer. */
  readonly asked: Asked[] = [];
  /** What it answers instead; the code decides. */
  refusal: { code: number; err_code: number; description: string } | undefined;
  /** Requests for a sourcing consumer are refused, as by an older server. */
  isOld = false;
  /** It neither answers nor delivers. */
  isSilent = false;
  /** Of the stream's configuration. */
  config: Record<string, unknown> = {};
  /** Answers to flow control that came, with their headers. */
  readonly flow: { subject: string; headers: string }[] = [];
  consumer: Consumer | undefined;
  #consumers = 0;
  readonly #end: () => void;

  constructor(broker: Broker, { api = '$JS.hub.API', stream = 'ORIGIN' } = {}) {
    this.#broker = broker;
    this.#api = api;
    this.stream = stream;
    const ends = [
      broker.subscribe(`${api}.>`, { deliver: (message) => this.#request(message) }),
      broker.subscribe('$JS.FC.>', {
        deliver: ({ subject, headers }) =>
          void this.flow.push({ subject, headers: headers?.toString() ?? '' }),
      }),
    ];
    this.#end = () => ends.forEach((end) => end());
  }

  close(): void {
    this.#end();
  }

  /** Stores a message, or leaves a hole. */
  put(subject: string | undefined, data = '', more: Partial<OriginMessage> = {}): number {
    const seq = ++this.lastSeq;
    const timeMs = Date.UTC(2026, 2, 1) + seq * 1_000;
    if (subject !== undefined) this.messages.set(seq, { subject, data, timeMs, ...more });
    return seq;
  }

  /** Delivers what the consumer has not got; `lose` of them (their sequences) go to nobody. */
  deliver(lose: readonly number[] = []): void {
    const { consumer } = this;
    if (consumer === undefined || this.isSilent) return;
    for (let seq = consumer.seq + 1; seq <= this.lastSeq; seq++) {
      consumer.seq = seq;
      const message = this.messages.get(seq);
      if (message === undefined) continue;
      consumer.dseq++;
      if (lose.includes(seq)) continue;
      const { subject, data, headers, timeMs } = message;
      const left = [...this.messages.keys()].filter((other) => other > seq).length;
      const numbers = `1.${seq}.${consumer.dseq}.${timeMs}000123.${left}`;
      this.#broker.deliverTo(consumer.target, {
        subject,
        reply: `$JS.ACK.${this.stream}.${consumer.name}.${numbers}`,
        data: Buffer.from(data),
        ...(headers === undefined ? {} : { headers }),
      });
    }
  }

  /** One delivery, told apart by what it says of itself. */
  say(
    seq: number,
    data: string,
    { consumer = this.consumer?.name, deliveries = 1, dseq = 1 },
  ): void {
    if (this.consumer === undefined) return;
    this.#broker.deliverTo(this.consumer.target, {
      subject: 'said',
      reply: `$JS.ACK.${this.stream}.${consumer}.${deliveries}.${seq}.${dseq}.1772323200000000000.0`,
      data: Buffer.from(data),
    });
  }

  heartbeat(more = ''): void {
    const { consumer } = this;
    if (consumer === undefined || this.isSilent) return;
    const lines = `Nats-Last-Consumer: ${consumer.dseq}\r\nNats-Last-Stream: ${consumer.seq}\r\n${more}`;
    this.#control(consumer.target, `NATS/1.0 100 Idle Heartbeat\r\n${lines}\r\n`);
  }

  askFlow(reply: string): void {
    const { consumer } = this;
    if (consumer !== undefined)
      this.#control(consumer.target, 'NATS/1.0 100 FlowControl Request\r\n\r\n', reply);
  }

  #control(subject: string, headers: string, reply?: string): void {
    this.#broker.publish({
      subject,
      headers: Buffer.from(headers),
      data: Buffer.alloc(0),
      ...(reply === undefined ? {} : { reply }),
    });
  }

  #request({ subject, reply = '', headers, data }: Message): void {
    if (this.isSilent) return;
    const rest = subject.slice(this.#api.length + 1);
    if (rest === `STREAM.INFO.${this.stream}`) return this.#answer(reply, this.#info());
    if (!rest.startsWith(`CONSUMER.CREATE.${this.stream}.`)) return;
    const { config } = JSON.parse(data.toString()) as { config: Record<string, unknown> };
    this.asked.push({ subject, headers: headers?.toString(), config });
    this.#answer(reply, this.#create(config));
  }

  #info(): object {
    this.infos++;
    if (this.refusal !== undefined) return { error: this.refusal };
    return { created: this.created, config: this.config, state: { last_seq: this.lastSeq } };
  }

  #create(config: Record<string, unknown>): object {
    if (this.isOld && config['sourcing'] === true)
      return {
        error: { code: 412, err_code: 10185, description: 'JetStream minimum api level required' },
      };
    const start = Math.max(this.firstSeq, Number(config['opt_start_seq'] ?? 1));
    const name = `${String(config['name'])}-${++this.#consumers}`;
    const target = String(config['deliver_subject']);
    this.consumer = { name, target, seq: start - 1, dseq: 0 };
    const pending = [...this.messages.keys()].filter((seq) => seq >= start).length;
    return {
      name,
      config: { deliver_subject: target },
      delivered: { consumer_seq: 0, stream_seq: start - 1 },
      num_pending: pending,
    };
  }

  #answer(reply: string, json: object): void {
    this.#broker.answer({ subject: reply, data: Buffer.from(JSON.stringify(json)) });
  }
}
