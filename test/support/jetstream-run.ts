// Runs a script against a server and writes down what came of each step. It waits for what a step is answered with; where
// no answer is due, until nothing has come for a moment (`marginMs`).

import { FrameClient, type Frame } from './frame-client.ts';
import type { Header, Script, Step } from './jetstream-script.ts';

export interface Observation {
  readonly step: Step;
  readonly frames: readonly Frame[];
  /** Frames whose order is of the server's choosing are compared as a set. */
  readonly unordered: boolean;
}

export interface Run {
  readonly observations: readonly Observation[];
  /** Consumer names that the server chose, and the step whose answer told. */
  readonly names: ReadonlyMap<string, number>;
  readonly errors: readonly string[];
}

/** An answer that has not come after so many margins does not come. */
const ANSWER_MARGINS = 75;
/** The same where none is expected. */
const SILENCE_MARGINS = 8;
const CLEAN_MS = 10_000;
/** Several may run on one server at a time. */
let runs = 0;

/** `script` against the server at `port`, which is left without the script's streams. */
export async function runScript(port: number, script: Script, marginMs: number): Promise<Run> {
  const client = await FrameClient.to(port);
  try {
    await removeStreams(client, script);
    const runner = new Runner(client, script, marginMs);
    for (const step of script) await runner.run(step);
    await client.quiet(3 * marginMs);
    const run = runner.result();
    await removeStreams(client, script);
    return run;
  } finally {
    client.close();
  }
}

/** Deletes the streams that `script` speaks of. */
async function removeStreams(client: FrameClient, script: Script): Promise<void> {
  const names = new Set(
    script.flatMap((step) =>
      step.do === 'api' && step.subject.startsWith('STREAM.CREATE.')
        ? [step.subject.slice('STREAM.CREATE.'.length)]
        : [],
    ),
  );
  const reply = `_INBOX.c${++runs}`;
  const { sid, box } = client.subscribe(reply);
  for (const name of names) client.publish(`$JS.API.STREAM.DELETE.${name}`, { reply });
  await client.until(() => box.length >= names.size, CLEAN_MS);
  client.unsubscribe(sid);
}

class Runner {
  readonly #client: FrameClient;
  readonly #marginMs: number;
  readonly #script: Script;
  readonly #boxes = new Map<number, Frame[]>();
  readonly #sids = new Map<number, string>();
  readonly #answered = new Map<number, string>();
  readonly #replies: Frame[];
  readonly #inbox: string;
  /** Something may still be on its way that nobody waited for. */
  #stirred = false;
  #consumers = false;

  constructor(client: FrameClient, script: Script, marginMs: number) {
    this.#client = client;
    this.#script = script;
    this.#marginMs = marginMs;
    this.#inbox = `_INBOX.r${++runs}`;
    this.#replies = client.subscribe(`${this.#inbox}.d.*`).box;
  }

  result(): Run {
    const names = new Map<string, number>();
    const text = JSON.stringify(this.#script);
    for (const [id, name] of this.#answered) if (!text.includes(`"${name}"`)) names.set(name, id);
    const observations = this.#script.map((step) => ({
      step,
      frames: byConsumer(this.#boxes.get(step.id) ?? this.#mine(step.id)),
      unordered: step.do === 'subscribe' && step.subject.startsWith('$JS.EVENT.'),
    }));
    return { observations, names, errors: this.#client.errors };
  }

  async run(step: Step): Promise<void> {
    switch (step.do) {
      case 'api':
        return this.#api(step);
      case 'publish':
        return this.#publish(step);
      case 'send':
        this.#client.publish(step.subject, step);
        this.#stirred = true;
        return this.#client.quiet(this.#marginMs);
      case 'fetch':
        return this.#fetch(step);
      case 'ack':
        return this.#ack(step);
      case 'subscribe': {
        const { sid, box } = this.#client.subscribe(step.subject, step.queue);
        this.#sids.set(step.id, sid);
        this.#boxes.set(step.id, box);
        return this.#client.flush();
      }
      case 'unsubscribe':
        this.#client.unsubscribe(this.#sids.get(step.of) ?? '0');
        return this.#client.flush();
      case 'wait':
        return void (await new Promise((resolve) => setTimeout(resolve, step.ms)));
    }
  }

  async #api(step: Step & { do: 'api' }): Promise<void> {
    if (this.#stirred) await this.#client.quiet(this.#marginMs);
    this.#stirred = false;
    await this.#ask(step.id, `$JS.API.${this.#named(step.subject)}`, text(step.body), step.headers);
    const creates = step.subject.startsWith('CONSUMER.');
    this.#consumers ||= creates;
    // A new consumer delivers what there is.
    this.#stirred = creates;
    const { name } = parse(this.#mine(step.id)[0]?.data);
    if (step.subject.startsWith('CONSUMER.CREATE') && typeof name === 'string')
      this.#answered.set(step.id, name);
  }

  async #publish(step: Step & { do: 'publish' }): Promise<void> {
    await this.#ask(step.id, step.subject, step.data ?? '', step.headers, step.silent === true);
    // How many are still to come stands in each delivery: one after the other, then.
    if (this.#consumers) await this.#client.quiet(this.#marginMs);
  }

  async #ask(
    id: number,
    subject: string,
    data: string,
    headers: readonly Header[] | undefined,
    silent = false,
  ): Promise<void> {
    this.#client.publish(subject, { reply: `${this.#inbox}.d.${id}`, data, headers });
    const before = this.#replies.length;
    const answered = (): boolean => this.#replies.length > before && this.#mine(id).length > 0;
    const margins = silent ? SILENCE_MARGINS : ANSWER_MARGINS;
    await this.#client.until(answered, margins * this.#marginMs);
  }

  async #fetch(step: Step & { do: 'fetch' }): Promise<void> {
    const { id, messages, ms } = step;
    const inbox = `${this.#inbox}.f.${id}`;
    const { sid, box } = this.#client.subscribe(inbox);
    this.#sids.set(id, sid);
    this.#boxes.set(id, box);
    this.#client.publish(`$JS.API.${this.#named(step.subject)}`, {
      reply: inbox,
      data: text(step.body),
      headers: step.headers,
    });
    const done = (): boolean => {
      const last = box.at(-1);
      return (last !== undefined && isFinal(last)) || countMessages(box) >= messages;
    };
    await this.#client.until(done, ms);
    this.#stirred = true;
  }

  async #ack(step: Step & { do: 'ack' }): Promise<void> {
    const messages = byConsumer(this.#boxes.get(step.of) ?? []).filter(
      ({ reply }) => consumerOf(reply) !== '',
    );
    const message = messages[step.index % Math.max(1, messages.length)];
    if (message === undefined) return;
    this.#stirred = true;
    if (step.sync) return this.#ask(step.id, message.reply, step.data, undefined);
    this.#client.publish(message.reply, { data: step.data });
    await this.#client.quiet(this.#marginMs);
  }

  /** Answers to step `id`. */
  #mine(id: number): Frame[] {
    return this.#replies.filter(({ subject }) => subject === `${this.#inbox}.d.${id}`);
  }

  #named(subject: string): string {
    return subject.replaceAll(
      /\{(\d+)\}/g,
      (_, id: string) => this.#answered.get(Number(id)) ?? 'none',
    );
  }
}

function text(body: unknown): string {
  if (body === undefined) return '';
  return typeof body === 'string' ? body : JSON.stringify(body);
}

function parse(data: string | undefined): Record<string, unknown> {
  try {
    return JSON.parse(data ?? '') as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** Where several consumers deliver to one subject, which of them comes first is chance. */
function byConsumer(frames: readonly Frame[]): Frame[] {
  return frames.toSorted((a, b) => {
    const [left, right] = [consumerOf(a.reply), consumerOf(b.reply)];
    return left < right ? -1 : left > right ? 1 : 0;
  });
}

/** Stream and consumer of a delivery. */
function consumerOf(reply: string): string {
  return /^\$JS\.ACK\.[^.]+\.[^.]+/.exec(reply)?.[0] ?? '';
}

/** A status other than a heartbeat or flow control. */
export function isFinal({ headers }: Frame): boolean {
  return /^NATS\/1\.0 (?!100)\d/.test(headers);
}

export function isHeartbeat({ headers }: Frame): boolean {
  return headers.startsWith('NATS/1.0 100 Idle Heartbeat');
}

function countMessages(box: readonly Frame[]): number {
  return box.filter(({ headers }) => !/^NATS\/1\.0 \d/.test(headers)).length;
}
