// Makes a script from a seed. Each seed has a theme: what lies in the nature of one (several members of a group, say) would
// only hide what another is about.

import { illegalPacket, illegalStart } from './mqtt-differential-illegal.ts';
import type { Script, Step } from './mqtt-differential-script.ts';
import type { RawFilter, RawProperties, RawVersion, RawWill } from './mqtt-raw-encode.ts';
import { randomInt, seededRandom, type Random } from './random.ts';

interface Theme {
  readonly name: string;
  readonly versions: readonly RawVersion[];
  readonly qos: readonly number[];
  readonly filters: readonly string[];
  /** How often each kind of step comes. */
  readonly weights: Readonly<Partial<Record<Kind, number>>>;
  readonly features: ReadonlySet<Feature>;
}

type Kind =
  | 'connect'
  | 'subscribe'
  | 'unsubscribe'
  | 'publish'
  | 'retain'
  | 'hold'
  | 'ack'
  | 'disconnect'
  | 'cut'
  | 'illegal'
  | 'start';

type Feature =
  | 'sessions'
  | 'wills'
  | 'properties'
  | 'options'
  | 'identifiers'
  | 'receiveMaximum'
  | 'packetSize'
  | 'aliases';

const TOPICS = ['a', 'a/b', 'a/b/c', 'b', 'b/c', '/a', 'a/', 'a//b', 'A/b', 'größe', 'a b', 'a.b'];
/** None of them matches a topic of another. */
const EXACT = ['a', 'a/b', 'a/b/c', 'b', 'b/c', '/a', 'größe'];
const FILTERS = [
  ...TOPICS,
  '#',
  '+',
  '+/#',
  'a/#',
  'a/+',
  '+/b',
  'a/+/c',
  'a/+/b',
  '/+',
  '/#',
  '+/+',
  'a/b/#',
  'b/#',
  'nobody/#',
];

const SHARED = ['$share/g/a', '$share/g/a/+', '$share/h/b/#', '$share/g/größe', 'a/b/c', '/a'];

const ALL: readonly RawVersion[] = [3, 4, 4, 5, 5];
const BASIC = { connect: 3, subscribe: 6, unsubscribe: 2, publish: 10, disconnect: 1, cut: 1 };

function theme(
  name: string,
  weights: Theme['weights'],
  features: readonly Feature[] = [],
  rest: Partial<Pick<Theme, 'versions' | 'qos' | 'filters'>> = {},
): Theme {
  return {
    name,
    weights: { ...BASIC, ...weights },
    features: new Set(features),
    versions: ALL,
    qos: [0, 1, 2],
    filters: FILTERS,
    ...rest,
  };
}

export const THEMES: readonly Theme[] = [
  theme('routing', { publish: 14 }),
  theme('sessions', { connect: 6, cut: 4, disconnect: 3 }, ['sessions'], { filters: EXACT }),
  theme('in flight', { hold: 5, ack: 8, connect: 5, cut: 4 }, ['sessions', 'receiveMaximum'], {
    filters: EXACT,
  }),
  theme('retained', { retain: 8, subscribe: 8 }, ['options']),
  theme('wills', { connect: 6, cut: 4, disconnect: 3 }, ['wills']),
  theme('five', { retain: 2 }, ['properties', 'options', 'identifiers', 'sessions'], {
    versions: [5],
  }),
  theme('aliases', { publish: 14 }, ['aliases', 'properties'], { versions: [5], filters: EXACT }),
  // No member of two groups for one topic, and none that has it on its own: copies of one message look alike.
  theme('shared', { publish: 14 }, ['properties'], { filters: SHARED }),
  theme('sizes', { publish: 14 }, ['packetSize', 'sessions'], { versions: [5], filters: EXACT }),
  theme('illegal', { illegal: 5, connect: 6 }, ['wills']),
  theme('starts', { start: 8, connect: 4, publish: 4 }),
  theme(
    'all of it',
    { hold: 1, ack: 2, retain: 2, illegal: 1 },
    ['sessions', 'wills', 'options', 'properties'],
    { filters: EXACT },
  ),
];

const STEPS = 40;
const CLIENTS = 3;

export function themeOf(seed: number): string {
  return THEMES[seed % THEMES.length]?.name ?? '';
}

export function scriptOf(seed: number, versions?: readonly RawVersion[]): Script {
  const random = seededRandom(seed);
  const chosen = THEMES[seed % THEMES.length];
  if (chosen === undefined) throw new Error('no theme');
  return new Generator(random, versions === undefined ? chosen : { ...chosen, versions }).script();
}

function one<T>(random: Random, list: readonly T[]): T {
  return list[randomInt(random, list.length)] as T;
}

class Generator {
  readonly #random: Random;
  readonly #theme: Theme;
  #messages = 0;
  readonly #versionOf: RawVersion[] = [];
  readonly #connected = new Set<number>();
  readonly #options = new Map<string, Pick<RawFilter, 'noLocal' | 'retainAsPublished'>>();

  constructor(random: Random, chosen: Theme) {
    this.#random = random;
    this.#theme = chosen;
  }

  script(): Script {
    const steps: Step[] = [];
    for (let client = 0; client < CLIENTS; client++) steps.push(this.#connect(client));
    const { weights } = this.#theme;
    const kinds = (Object.entries(weights) as [Kind, number][]).flatMap(([kind, weight]) =>
      Array.from({ length: weight }, () => kind),
    );
    while (steps.length < STEPS) steps.push(this.#step(one(this.#random, kinds)));
    return steps;
  }

  #chance(oneIn: number): boolean {
    return randomInt(this.#random, oneIn) === 0;
  }

  #has(feature: Feature): boolean {
    return this.#theme.features.has(feature);
  }

  #step(kind: Kind): Step {
    const random = this.#random;
    const client = randomInt(random, CLIENTS);
    const version = this.#versionOf[client] ?? 4;
    switch (kind) {
      case 'connect':
        return this.#connectAgain(client);
      case 'subscribe':
        return this.#subscribe(client, version);
      case 'unsubscribe':
        return {
          do: 'unsubscribe',
          client,
          filters: this.#some(() => one(random, this.#theme.filters)),
        };
      case 'publish':
        return this.#publish(client, version, this.#chance(12));
      case 'retain':
        return this.#publish(client, version, true);
      case 'hold':
        return { do: 'hold', client, held: !this.#chance(4) };
      case 'ack':
        return { do: 'ack', client, which: randomInt(random, 10) };
      case 'disconnect':
        return this.#disconnect(client, version);
      case 'cut':
        this.#connected.delete(client);
        return { do: 'cut', client };
      case 'illegal':
        return { do: 'raw', client, version, ...illegalPacket(random, version) };
      case 'start':
        return this.#start(client);
    }
  }

  #some<T>(make: () => T): T[] {
    return Array.from({ length: 1 + (this.#chance(3) ? randomInt(this.#random, 3) : 0) }, make);
  }

  #start(client: number): Step {
    const version = one(this.#random, this.#theme.versions);
    this.#versionOf[client] = version;
    const start = illegalStart(this.#random, version, `c${client}`);
    return { do: 'raw', client, version, fresh: true, ...start };
  }

  /** Sometimes a take-over; never of a session with a Will, which mosquitto forgets [MQTT-3.1.2-8]. */
  #connectAgain(client: number): Step {
    if (this.#has('wills') && this.#has('sessions') && this.#connected.delete(client))
      return { do: 'cut', client };
    return this.#connect(client);
  }

  #connect(client: number): Step {
    this.#connected.add(client);
    const random = this.#random;
    const kept = this.#has('sessions');
    // A session moves between versions only where nothing differs by that.
    const version = this.#versionOf[client] ?? one(random, this.#theme.versions);
    this.#versionOf[client] = version;
    const clean = !kept || this.#chance(4);
    const properties: [RawProperties[number][0], RawProperties[number][1]][] = [];
    if (kept && !this.#chance(4))
      properties.push(['sessionExpiryInterval', one(random, [1000, 0xffff_ffff])]);
    if (this.#has('receiveMaximum') && this.#chance(2))
      properties.push(['receiveMaximum', one(random, [1, 2, 3, 10])]);
    if (this.#has('packetSize') && !this.#chance(3)) properties.push(['maximumPacketSize', 200]);
    if (this.#chance(8)) properties.push(['topicAliasMaximum', 5]);
    const will = this.#has('wills') && !this.#chance(3) ? this.#will(version) : undefined;
    return {
      do: 'connect',
      client,
      version,
      clean,
      ...(will === undefined ? {} : { will }),
      ...(version === 5 && properties.length > 0 ? { properties } : {}),
    };
  }

  #will(version: RawVersion): RawWill {
    const random = this.#random;
    const properties = version === 5 && this.#has('properties') ? this.#properties() : [];
    return {
      topic: one(random, EXACT),
      data: `w${++this.#messages}`,
      qos: one(random, this.#theme.qos),
      retain: this.#chance(4),
      ...(properties.length > 0 ? { properties } : {}),
    };
  }

  #subscribe(client: number, version: RawVersion): Step {
    const random = this.#random;
    const options = version === 5 && this.#has('options');
    const wanted = this.#some((): RawFilter => {
      const filter = one(random, this.#theme.filters);
      return {
        filter,
        qos: filter.startsWith('$share/') ? 1 : one(random, this.#theme.qos),
        ...(options ? this.#optionsOf(client, filter) : {}),
        ...(options && this.#chance(2) ? { retainHandling: randomInt(random, 3) } : {}),
      };
    });
    // The same filter twice in one packet is not for another broker to judge: mosquitto sends its retained messages twice.
    const filters = [...new Map(wanted.map((each) => [each.filter, each])).values()];
    const identified = version === 5 && this.#has('identifiers') && this.#chance(2);
    const identifier = one(random, [1, 2, 127, 128, 268_435_455]);
    return {
      do: 'subscribe',
      client,
      filters,
      ...(identified ? { properties: [['subscriptionIdentifier', identifier]] } : {}),
    };
  }

  /** The same at each SUBSCRIBE: mosquitto keeps the options of the first one, against [MQTT-3.8.4-3]. */
  #optionsOf(client: number, filter: string): Pick<RawFilter, 'noLocal' | 'retainAsPublished'> {
    const key = `${client} ${filter}`;
    const known = this.#options.get(key);
    if (known !== undefined) return known;
    const options = {
      ...(this.#chance(4) ? { noLocal: true } : {}),
      ...(this.#chance(3) ? { retainAsPublished: true } : {}),
    };
    this.#options.set(key, options);
    return options;
  }

  #publish(client: number, version: RawVersion, retain: boolean): Step {
    const random = this.#random;
    const five = version === 5;
    const data =
      retain && this.#chance(3)
        ? ''
        : `m${++this.#messages}${one(random, ['', '', ' and more', ' '.repeat(300)])}`;
    const properties = five && this.#has('properties') && this.#chance(2) ? this.#properties() : [];
    let topic = one(random, this.#has('aliases') ? EXACT : TOPICS);
    if (five && this.#has('aliases') && this.#chance(2)) {
      properties.push(['topicAlias', 1 + randomInt(random, 3)]);
      if (this.#chance(2)) topic = '';
    }
    const qos = one(random, this.#theme.qos);
    return {
      do: 'publish',
      client,
      topic,
      data,
      qos,
      retain,
      ...(qos === 2 && this.#chance(4) ? { twice: true } : {}),
      ...(properties.length > 0 ? { properties } : {}),
    };
  }

  #properties(): (readonly [RawProperties[number][0], RawProperties[number][1]])[] {
    const random = this.#random;
    const all: RawProperties = [
      ['payloadFormatIndicator', 1],
      ['messageExpiryInterval', 1000],
      ['contentType', 'text/plain'],
      ['responseTopic', 'answer/here'],
      ['correlationData', Buffer.from([0, 1, 255])],
      ['userProperty', ['a', 'b']],
      ['userProperty', ['z', 'größe']],
      ['userProperty', ['a', 'c']],
    ];
    return all.filter(() => randomInt(random, 3) === 0);
  }

  #disconnect(client: number, version: RawVersion): Step {
    const five = version === 5;
    return {
      do: 'disconnect',
      client,
      ...(five && this.#chance(2) ? { code: one(this.#random, [0, 4]) } : {}),
    };
  }
}
