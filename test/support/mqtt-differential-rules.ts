// Where our broker answers otherwise than mosquitto 2.0.11, each with the clause or the reason. A rule looks at one step and
// rewrites one side into the words of the other; what it does not explain stays a difference.

import type { Heard } from './mqtt-differential-actor.ts';
import type { Script, Step } from './mqtt-differential-script.ts';

type Side = readonly (readonly Heard[])[];

export interface Moment {
  readonly step: Step;
  readonly before: Script;
  /** What each client heard. */
  readonly theirs: Side;
  readonly ours: Side;
}

export interface Rule {
  readonly name: string;
  /** The clause, or the decision. */
  readonly why: string;
  /** Either side in other words; undefined where the rule has nothing to say. */
  readonly rewrite: (moment: Moment) => Rewritten | undefined;
}

interface Rewritten {
  readonly theirs?: Side;
  readonly ours?: Side;
  /** From here on the two brokers know different things: the rest of the script says nothing. */
  readonly ends?: boolean;
}

/** Both sides after all rules, and whether the rest may differ; `used` gets the names of those that changed something. */
export function forgive(
  moment: Moment,
  rules: readonly Rule[],
  used: Set<string>,
): { theirs: Side; ours: Side; ends: boolean } {
  let { theirs, ours } = moment;
  let ends = false;
  for (const { name, rewrite } of rules) {
    const isAlike = plain(theirs) === plain(ours);
    const changed = rewrite({ ...moment, theirs, ours });
    if (changed === undefined) continue;
    ends ||= changed.ends === true;
    if (isAlike) continue;
    const before = plain(theirs) + plain(ours);
    theirs = changed.theirs ?? theirs;
    ours = changed.ours ?? ours;
    if (plain(theirs) + plain(ours) !== before) used.add(name);
  }
  return { theirs, ours, ends };
}

/**
 * One line for everything that was heard. Answers stand apart from messages, which may come before or after them
 * [MQTT-3.8.4-2]; messages keep their order within a topic and QoS only [MQTT-4.6.0-5].
 */
export function plain(side: Side): string {
  return side
    .map((heard, client) => {
      const lines = [
        ...heard.filter(({ kind }) => kind === 'answer').map(line),
        ...messagesOf(heard).map(line),
        // Their order is that of the PUBRECs, which an actor looks at.
        ...heard
          .filter(({ kind }) => kind === 'pubrel')
          .map(line)
          .toSorted(),
      ];
      return lines.map((text) => `  c${client} ${text}`);
    })
    .flat()
    .join('\n');
}

type Message = Extract<Heard, { kind: 'publish' }>;

function messagesOf(heard: readonly Heard[]): Message[] {
  const messages = heard.filter((each): each is Message => each.kind === 'publish');
  const group = ({ topic, qos }: Message): string => `${topic} ${qos}`;
  return messages.toSorted((a, b) => (group(a) < group(b) ? -1 : group(a) > group(b) ? 1 : 0));
}

function line(heard: Heard): string {
  if (heard.kind !== 'publish') return heard.text;
  const { topic, data, qos, retain, dup, identifiers, properties } = heard;
  return [
    `publish ${topic} "${data}" QoS ${qos}`,
    ...(retain ? ['retain'] : []),
    ...(dup ? ['dup'] : []),
    ...(identifiers.length > 0
      ? [`identifiers ${[...identifiers].toSorted((a, b) => a - b).join(',')}`]
      : []),
    ...(properties === '' ? [] : [properties]),
  ].join(' ');
}

/** Copies of one message to one client in one step become one, at the highest QoS, with all identifiers. */
function merged(side: Side): Side {
  return side.map((heard) => {
    const found: Heard[] = [];
    for (const each of heard) {
      const at = found.findIndex((other) => isCopy(other, each));
      const first = found[at];
      if (first === undefined) found.push(each);
      else found[at] = both(first, each);
    }
    return found;
  });
}

function isCopy(a: Heard, b: Heard): boolean {
  if (a.kind === 'publish' && b.kind === 'publish') return a.topic === b.topic && a.data === b.data;
  return a.kind === 'pubrel' && b.kind === 'pubrel' && a.text === b.text;
}

function both(a: Heard, b: Heard): Heard {
  if (a.kind !== 'publish' || b.kind !== 'publish') return a;
  return {
    ...a,
    qos: Math.max(a.qos, b.qos),
    retain: a.retain || b.retain,
    identifiers: [...a.identifiers, ...b.identifiers],
  };
}

/** Answers of one side in other words; `undefined` leaves one out. */
function answers(side: Side, rewrite: (text: string) => string | undefined): Side {
  return side.map((heard) =>
    heard.flatMap((each): Heard[] => {
      if (each.kind !== 'answer') return [each];
      const text = rewrite(each.text);
      return text === undefined ? [] : [{ kind: 'answer', text }];
    }),
  );
}

/** A client that was closed: without the last words, which only say why. */
function withoutFarewell(side: Side): Side {
  return side.map((heard) => {
    if (!heard.some((each) => each.kind === 'answer' && each.text === 'closed')) return heard;
    return heard.filter(
      (each) => each.kind !== 'answer' || !/^(connack 0x(?!00)|disconnect )/.test(each.text),
    );
  });
}

/** What mosquitto takes for DISCONNECT, or answers as if it were one. */
const WILL_LOST: ReadonlySet<string> = new Set(['a second CONNECT', 'a DISCONNECT with flags']);

/** What mosquitto 2.0.11 does not mind. */
const STRICTER: ReadonlySet<string> = new Set([
  'a PINGREQ with flags',
  'a PINGREQ with data',
  'a PINGRESP',
  'a SUBACK',
  'an UNSUBACK',
  'a PUBACK with flags',
  'a PUBLISH with a wildcard in its Response Topic',
  'CONNECT with Authentication Data alone',
  'a PUBLISH with a Subscription Identifier',
  'a PUBLISH with Payload Format Indicator 2',
  'a PUBREL without its flags',
  'a SUBSCRIBE with wrong flags',
  'an UNSUBSCRIBE with wrong flags',
  'a SUBSCRIBE without filters',
  'an UNSUBSCRIBE without filters',
  'No Local on a shared subscription',
]);

/** Filters that cannot be. */
const WRONG_FILTER = /^(a SUBSCRIBE to|an UNSUBSCRIBE from|a shared subscription with(out)?) /;

/** Without what differs from subscription to subscription. */
function bare(side: Side): Side {
  return side.map((heard) =>
    heard.map((each) =>
      each.kind === 'publish' ? { ...each, identifiers: [], retain: false } : each,
    ),
  );
}

/** All messages as if one client had got them. */
function pooled(side: Side): Side {
  const messages = side.flat().filter(({ kind }) => kind !== 'answer');
  const alike = bare([messages]).flat();
  const rank = (each: Heard): string => (each.kind === 'publish' ? each.data : each.text);
  return [
    ...side.map((heard) => heard.filter(({ kind }) => kind === 'answer')),
    alike.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1)),
  ];
}

function hasShared(step: Step): boolean {
  return step.do === 'subscribe' && step.filters.some(({ filter }) => filter.startsWith('$share/'));
}

export const RULES: readonly Rule[] = [
  {
    name: 'any member',
    why: 'Which member of a shared subscription gets a message is for the server to choose [4.8.2].',
    rewrite: ({ before, theirs, ours }) =>
      before.some(hasShared) ? { theirs: pooled(theirs), ours: pooled(ours) } : undefined,
  },
  {
    name: 'one copy',
    why: 'A message that matches several subscriptions goes once to a session, at the highest QoS [MQTT-3.3.4-2], with all identifiers [MQTT-3.3.4-4].',
    rewrite: ({ theirs, ours }) => ({ theirs: merged(theirs), ours: merged(ours) }),
  },
  {
    name: 'nobody there',
    why: 'PUBACK and PUBREC say 0x10 whenever nobody takes the message [3.4.2.1, 3.5.2.1]; mosquitto says it at QoS 1 only, and not where others have subscribed to a level below.',
    rewrite: ({ ours }) => ({
      ours: answers(ours, (text) => text.replace(/^(puback|pubrec) (.*) 0x10$/, '$1 $2 0x00')),
    }),
  },
  {
    name: 'taken over',
    why: 'The old connection is told 0x8E [MQTT-3.1.4-3]; mosquitto closes it without a word.',
    rewrite: ({ ours }) => ({
      ours: answers(ours, (text) =>
        text === 'to the old connection: disconnect 0x8e' ? undefined : text,
      ),
    }),
  },
  {
    name: 'last words',
    why: 'Whoever is closed is told why where the version has words for it [4.13.2]; which reason is not for another broker to say.',
    rewrite: ({ theirs, ours }) => ({
      theirs: withoutFarewell(theirs),
      ours: withoutFarewell(ours),
    }),
  },
  {
    name: 'nothing retained for a group',
    why: 'Retained messages are not sent for a shared subscription [3.3.1.3, 4.8.2]; mosquitto sends them.',
    rewrite: ({ step, theirs }) => {
      if (!hasShared(step)) return undefined;
      return { theirs: theirs.map((heard) => heard.filter(({ kind }) => kind === 'answer')) };
    },
  },
  {
    name: 'nothing to release',
    why: 'PUBREL and PUBREC for an identifier that is not in use are answered with 0x92 [3.6.2.1, 3.7.2.1]; mosquitto says 0x00.',
    rewrite: ({ ours }) => ({
      ours: ours.map((heard) =>
        heard.map((each) => {
          if (each.kind === 'publish') return each;
          const text = each.text.replace(
            /^(pubcomp|pubrel) of \(unknown\) 0x92$/,
            '$1 of (unknown) 0x00',
          );
          return { ...each, text };
        }),
      ),
    }),
  },
  {
    name: 'last Will',
    why: 'Whoever is closed for a second CONNECT [MQTT-3.1.0-2] or a DISCONNECT that is none has its Will published [MQTT-3.1.2-8]; mosquitto forgets it.',
    rewrite: ({ step, ours }) =>
      step.do === 'raw' && WILL_LOST.has(step.what) ? { theirs: ours, ends: true } : undefined,
  },
  {
    name: 'queued once',
    why: 'The one copy that a client gets when it comes back stands for all subscriptions that matched; mosquitto queues those of QoS 1 and 2 only.',
    rewrite: ({ step, theirs, ours }) =>
      step.do === 'connect' ? { theirs: bare(theirs), ours: bare(ours) } : undefined,
  },
  {
    name: 'stricter',
    why: 'Wrong flags [MQTT-2.1.3-1], packets that only servers send [2.1.2], wildcards in a Response Topic [MQTT-3.3.2-14], a Subscription Identifier from a client [MQTT-3.3.4-6], No Local on a shared subscription [MQTT-3.8.3-4], Authentication Data without a method [3.1.2.11.10] and, also in 3.1, a SUBSCRIBE of nothing [MQTT-3.8.3-2] end the connection [MQTT-4.13.1-1]; mosquitto overlooks them.',
    rewrite: ({ step, theirs, ours }) => {
      if (step.do !== 'raw' || !STRICTER.has(step.what)) return undefined;
      const isClosed = ours[step.client]?.some((each) => isAnswer(each, 'closed')) === true;
      const isTheirs = theirs[step.client]?.some((each) => isAnswer(each, 'closed')) === true;
      return isClosed && !isTheirs ? { theirs: ours, ends: true } : undefined;
    },
  },
  {
    name: 'wrong filters',
    why: 'A filter that cannot be is answered in SUBACK or UNSUBACK with 0x8F, 0x80 before 5.0 [3.9.3]; mosquitto closes the connection, and takes wildcards in a ShareName [MQTT-4.8.2-2].',
    rewrite: ({ step, theirs, ours }) => {
      if (step.do !== 'raw' || !WRONG_FILTER.test(step.what)) return undefined;
      const isRefused = ours[step.client]?.some((each) =>
        isAnswer(each, /^(suback 0x8[0f]|unsuback( 0x8f)?)$/),
      );
      return isRefused === true ? { theirs: ours, ends: true } : { theirs };
    },
  },
];

function isAnswer(heard: Heard, text: string | RegExp): boolean {
  if (heard.kind !== 'answer') return false;
  return typeof text === 'string' ? heard.text === text : text.test(heard.text);
}
