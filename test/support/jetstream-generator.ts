// Scripts of chance for the differential test. A seed gives one script; each has a theme, so that what it does builds on
// what it has done: a stream or two with some messages first, then thirty steps of its theme and a few of any other.

import {
  CONSUMERS,
  one,
  plainConsumer,
  plainStream,
  PUBLISHED,
  STREAMS,
  wildConsumer,
  wildStream,
  type Json,
} from './jetstream-configs.ts';
import {
  ACKS,
  batchHeader,
  deletion,
  directGet,
  EXPIRES_MS,
  get,
  INFOS,
  LISTS,
  NO_CONSUMERS,
  noConfigs,
  PAUSES,
  publishHeaders,
  pull,
  PURGES,
} from './jetstream-requests.ts';
import { ScriptWriter, type Header, type Script } from './jetstream-script.ts';
import { randomInt, seededRandom, type Random } from './random.ts';

const STEPS = 30;

export const THEMES = [
  'streams',
  'publishes',
  'gets',
  'consumers',
  'pulls',
  'pushes',
  'retention',
  'batches',
] as const;
export type Theme = (typeof THEMES)[number];

/** The script of `seed`. */
export function scriptOf(seed: number): Script {
  const theme = THEMES[seed % THEMES.length] ?? 'streams';
  return new Generator(seededRandom(seed), theme).script();
}

class Generator {
  readonly #random: Random;
  readonly #theme: Theme;
  readonly #script = new ScriptWriter();
  /** Steps whose boxes hold deliveries. */
  readonly #deliveries: number[] = [];
  readonly #members = new Set<string>();
  #batch = 0;

  constructor(random: Random, theme: Theme) {
    this.#random = random;
    this.#theme = theme;
  }

  script(): Script {
    const script = this.#script;
    for (const kind of ['CONSUMER', 'STREAM'])
      if (this.#int(3) === 0)
        script.add({ do: 'subscribe', subject: `$JS.EVENT.ADVISORY.${kind}.>` });
    script.add({ do: 'subscribe', subject: 'rep.>' });
    this.#begin();
    for (let i = 0; i < STEPS; i++)
      this.#step(this.#int(8) === 0 ? this.#one(THEMES) : this.#theme);
    for (const name of STREAMS)
      script.api(`STREAM.INFO.${name}`, { deleted_details: true, subjects_filter: '>' });
    for (const name of STREAMS) script.api(`CONSUMER.LIST.${name}`);
    return script.steps;
  }

  #int(below: number): number {
    return randomInt(this.#random, below);
  }

  #one<T>(list: readonly T[]): T {
    return one(this.#random, list);
  }

  #stream(): string {
    return this.#int(20) === 0 ? 'NONE' : this.#one([...STREAMS, 'S1']);
  }

  /** Streams, messages and consumers to begin with. */
  #begin(): void {
    for (const name of this.#theme === 'streams' ? ['S1'] : STREAMS) {
      const config: Json = { ...plainStream(this.#random, name), ...this.#wanted() };
      this.#script.api(`STREAM.CREATE.${name}`, config);
    }
    if (this.#theme !== 'streams')
      for (let i = this.#int(8) + 2; i > 0; i--)
        this.#script.publish(this.#one(PUBLISHED), `m${i}`);
    if (this.#theme === 'pushes')
      for (const subject of ['push.1', 'push.2'])
        this.#listen(subject, this.#int(3) === 0 ? 'crew' : undefined);
    if (this.#theme === 'pulls' || this.#theme === 'pushes' || this.#theme === 'retention')
      for (const name of CONSUMERS.slice(0, 2)) this.#create(name, this.#theme === 'pushes');
  }

  /** What a theme cannot do without. */
  #wanted(): Json {
    if (this.#theme === 'retention')
      return { retention: this.#one(['interest', 'workqueue', 'interest']), first_seq: 0 };
    if (this.#theme === 'batches') return { allow_atomic: true };
    if (this.#theme === 'gets') return { allow_direct: true };
    return {};
  }

  #step(theme: Theme): void {
    switch (theme) {
      case 'streams':
        return this.#streamStep();
      case 'publishes':
        return this.#int(6) === 0 ? this.#removalStep() : this.#publishStep();
      case 'gets':
        return this.#int(4) === 0 ? this.#publishStep() : this.#getStep();
      case 'consumers':
        return this.#consumerStep();
      case 'pulls':
        return this.#pullStep();
      case 'pushes':
        return this.#pushStep();
      case 'retention':
        return this.#int(3) === 0 ? this.#plainPublish() : this.#pullStep();
      case 'batches':
        return this.#batchStep();
    }
  }

  #streamStep(): void {
    const name = this.#one(STREAMS);
    const script = this.#script;
    switch (this.#int(14)) {
      case 0:
      case 1:
        return void script.api(`STREAM.CREATE.${name}`, wildStream(this.#random, name));
      case 2:
      case 3:
      case 4:
        return void script.api(`STREAM.UPDATE.${name}`, wildStream(this.#random, name));
      case 5:
        return void script.api(`STREAM.UPDATE.${name}`, plainStream(this.#random, name));
      case 6:
        return void script.api(`STREAM.INFO.${this.#stream()}`, this.#one(INFOS));
      case 7:
        return void script.api(this.#one(['STREAM.NAMES', 'STREAM.LIST']), this.#one(LISTS));
      case 8:
        return void script.api(
          this.#one([
            'INFO',
            'INFO',
            'NONE',
            'STREAM',
            'STREAM.INFO',
            'STREAM.INFO.a.b',
            'STREAM.CREATE',
          ]),
        );
      case 9:
        return void script.api(
          `STREAM.DELETE.${this.#stream()}`,
          this.#one([undefined, undefined, {}, 'x']),
        );
      case 10:
        return void script.api(`STREAM.CREATE.${name}`, this.#one(noConfigs(name)));
      case 11:
        return void script.api(`STREAM.INFO.${name}`, undefined, [
          ['Nats-Required-Api-Level', this.#one(['0', '1', '99', 'x', '-1', ''])],
        ]);
      case 12:
        return this.#removalStep();
      default:
        return this.#plainPublish();
    }
  }

  #plainPublish(): void {
    this.#script.publish(this.#one(PUBLISHED), `p${this.#script.steps.length}`);
  }

  #publishStep(): void {
    const headers: Header[] = [];
    const unique = `u${this.#script.steps.length}`;
    for (let i = this.#int(3); i >= 0; i--) headers.push(...publishHeaders(this.#random, unique));
    const data = this.#one(['', 'x', `d${unique}`, 'y'.repeat(250), '{"json":1}']);
    this.#script.publish(this.#one(PUBLISHED), data, this.#int(5) === 0 ? undefined : headers);
  }

  #removalStep(): void {
    const name = this.#stream();
    switch (this.#int(3)) {
      case 0:
        return void this.#script.api(`STREAM.PURGE.${name}`, this.#one(PURGES));
      case 1:
        return void this.#script.api(`STREAM.MSG.DELETE.${name}`, deletion(this.#random));
      default:
        return void this.#script.api(`STREAM.INFO.${name}`, { deleted_details: true });
    }
  }

  #getStep(): void {
    const name = this.#stream();
    if (this.#int(4) === 0)
      return void this.#script.api(`STREAM.MSG.GET.${name}`, get(this.#random));
    const body = directGet(this.#random);
    const several = /batch|multi_last/.test(JSON.stringify(body ?? ''));
    const bySubject = this.#int(6) === 0;
    const subject = bySubject ? `.${this.#one(['a.x', 'a.*', 'c', 'q', 'a.größe'])}` : '';
    const headers: Header[] = [['Nats-Required-Api-Level', this.#one(['1', '99'])]];
    this.#script.add({
      do: 'fetch',
      subject: `DIRECT.GET.${name}${subject}`,
      ...(bySubject && this.#int(4) > 0 ? {} : { body }),
      messages: several && !bySubject ? 1_000 : 1,
      ms: 250,
      ...(this.#int(30) === 0 ? { headers } : {}),
    });
  }

  #create(name: string, push: boolean, wild = false): void {
    const stream = this.#one(STREAMS);
    const config = wild
      ? wildConsumer(this.#random, stream)
      : plainConsumer(this.#random, stream, push);
    const durable = this.#int(3) > 0;
    const action = this.#one([
      undefined,
      undefined,
      'create',
      ...(wild ? ['update', '', 'remove'] : []),
    ]);
    const body = {
      stream_name: wild && this.#int(20) === 0 ? 'OTHER' : stream,
      config: {
        name,
        ...(durable ? { durable_name: name } : {}),
        ...config,
      },
      ...(action === undefined ? {} : { action }),
      ...(wild && this.#int(12) === 0 ? { pedantic: true } : {}),
    };
    const { filter_subject: filter } = config;
    const plain = `CONSUMER.CREATE.${stream}.${name}`;
    const filtered = typeof filter === 'string' && filter !== '' && !filter.includes(' ');
    const subjects = [
      plain,
      plain,
      ...(durable ? [`CONSUMER.DURABLE.CREATE.${stream}.${name}`] : []),
      ...(filtered ? [`${plain}.${wild && this.#int(3) === 0 ? 'a.x' : filter}`] : []),
    ];
    this.#script.api(this.#one(subjects), body);
  }

  /** Consumer steps beside creation. */
  #lookStep(): void {
    const script = this.#script;
    const at = `${this.#stream()}.${this.#one([...CONSUMERS, 'none'])}`;
    switch (this.#int(6)) {
      case 0:
        return void script.api(`CONSUMER.INFO.${at}`, this.#one([undefined, {}, 'x']));
      case 1:
        return void script.api(
          `${this.#one(['CONSUMER.NAMES', 'CONSUMER.LIST'])}.${this.#stream()}`,
          this.#one([undefined, {}, { offset: 0 }, { offset: 100 }, 'x', { x: 1 }]),
        );
      case 2:
        return void script.api(`CONSUMER.PAUSE.${at}`, this.#one(PAUSES));
      case 3:
        return void script.api(`CONSUMER.DELETE.${at}`, this.#one([undefined, undefined, {}, 'x']));
      default:
        return void script.api(`CONSUMER.INFO.${at}`);
    }
  }

  #consumerStep(): void {
    switch (this.#int(8)) {
      case 0:
      case 1:
        return this.#lookStep();
      case 2: {
        // Unnamed.
        const stream = this.#one(STREAMS);
        const config = plainConsumer(this.#random, stream, false);
        const id = this.#script.api(`CONSUMER.CREATE.${stream}`, { stream_name: stream, config });
        if (this.#int(2) === 0) this.#script.api(`CONSUMER.INFO.${stream}.{${id}}`);
        return;
      }
      case 3:
        return this.#create(this.#one(CONSUMERS), this.#int(3) === 0);
      case 4:
        return void this.#script.api('CONSUMER.CREATE.S1.C1', this.#one(NO_CONSUMERS));
      default:
        return this.#create(this.#one(CONSUMERS), false, true);
    }
  }

  #pull(): void {
    const body = pull(this.#random);
    const batch = (body as { batch?: unknown } | undefined)?.batch;
    const expires = JSON.stringify(body ?? '').includes('expires');
    const headers: Header[] = [['Nats-Required-Api-Level', '99']];
    this.#deliveries.push(
      this.#script.add({
        do: 'fetch',
        subject: `CONSUMER.MSG.NEXT.${this.#stream()}.${this.#one(CONSUMERS)}`,
        body,
        messages: typeof batch === 'number' ? Math.max(1, batch) : 1,
        // One that waits for good is looked at in the end.
        ms: expires ? 2 * EXPIRES_MS + 60 : 60,
        ...(this.#int(40) === 0 ? { headers } : {}),
      }),
    );
  }

  #ack(): void {
    if (this.#deliveries.length === 0) return;
    const data = this.#one(ACKS);
    this.#script.add({
      do: 'ack',
      of: this.#one(this.#deliveries),
      index: this.#int(4),
      data,
      sync: data.startsWith('+NXT') || this.#int(3) > 0,
    });
  }

  #pullStep(): void {
    switch (this.#int(12)) {
      case 0:
        return this.#lookStep();
      case 1:
        return this.#create(this.#one(CONSUMERS), false);
      case 2:
      case 3:
        return this.#plainPublish();
      case 4:
      case 5:
      case 6:
      case 7:
        return this.#pull();
      case 8:
        return void this.#script.api(`STREAM.INFO.${this.#one(STREAMS)}`, {
          deleted_details: true,
        });
      default:
        return this.#ack();
    }
  }

  #pushStep(): void {
    switch (this.#int(10)) {
      case 0:
      case 1:
        return this.#create(this.#one(CONSUMERS), true);
      case 2:
        return this.#lookStep();
      case 3:
        return this.#listen(
          this.#one(['push.1', 'push.2']),
          this.#one([undefined, undefined, 'crew', 'gang']),
        );
      case 4:
        if (this.#deliveries.length > 0)
          this.#script.add({ do: 'unsubscribe', of: this.#one(this.#deliveries) });
        return;
      case 5:
      case 6:
        return this.#ack();
      case 7:
        return this.#removalStep();
      default:
        return this.#plainPublish();
    }
  }

  /** Which of several members of a group gets a message is chance: one each. */
  #listen(subject: string, queue: string | undefined): void {
    const member = `${subject} ${queue}`;
    if (queue !== undefined && this.#members.has(member)) return;
    this.#members.add(member);
    this.#deliveries.push(
      this.#script.add({ do: 'subscribe', subject, ...(queue === undefined ? {} : { queue }) }),
    );
  }

  #batchStep(): void {
    if (this.#int(5) === 0) return this.#int(2) === 0 ? this.#plainPublish() : this.#getStep();
    const id = this.#one([
      `b${++this.#batch}`,
      `b${this.#batch}`,
      'x'.repeat(this.#one([64, 65])),
      '',
    ]);
    const size = 1 + this.#int(4);
    const commit = this.#one(['1', '1', '1', '1', 'eob', '0', 'yes', undefined]);
    const subjects = this.#one([['a.x'], ['a.x', 'a.y'], ['b.x', 'c'], ['a.x', 'b.x']]);
    for (let i = 1; i <= size; i++) {
      const seq = this.#int(15) === 0 ? this.#one(['0', '7', 'x', '']) : String(i);
      const headers: Header[] = [['Nats-Batch-Id', id]];
      if (this.#int(25) > 0) headers.push(['Nats-Batch-Sequence', seq]);
      if (i === size && commit !== undefined) headers.push(['Nats-Batch-Commit', commit]);
      if (this.#int(4) === 0) headers.push(batchHeader(this.#random, `v${id}${i}`));
      const silent = i > 1 && i < size && this.#int(2) === 0;
      this.#script.publish(this.#one(subjects), `${id.slice(0, 3)}.${i}`, headers, silent);
    }
  }
}
