// The kinds of value of the leafnode link: its JetStream domain, and subjects that may cross it. What belongs to the
// system of one side, or crosses by itself where it is needed, is refused with the word for what to do instead.

import { isFilter } from '../subject.ts';
import { Refusal, text, type Kind } from './kinds.ts';
import { topicRefusal } from './values.ts';

/** Second tokens of subjects of JetStream itself: a domain of that name would be taken for them. */
const RESERVED_DOMAINS = ['API', 'ACK', 'FC', 'EVENT', 'M', 'S', 'R', 'SCHED', '_'];
/** Names are mostly short; the domain stands in the subject of every request. */
const DOMAIN_CHARS_MAX = 64;

/** First tokens of subjects that never cross as plain messages, and what to do instead. */
const NEVER: Readonly<Partial<Record<string, string>>> = {
  $SYS: 'each side keeps its own system; /leafz and /varz of the hub tell about the link',
  $KV: 'a bucket of this gateway is reached with `domain`, one of the hub with [[kv_mirror]] or "$JS.<domain of the hub>.API.>" in exports',
  $OBJ: 'an object store of this gateway is reached with `domain`, one of the hub with "$JS.<domain of the hub>.API.>" in exports',
  $JSC: 'it belongs to clusters of nats-server',
  $NRG: 'it belongs to clusters of nats-server',
  $DEAD: 'the stream dead_letter is read with `domain`',
  $LDS: 'the link uses it to find loops',
  $GR: 'it belongs to clusters of nats-server',
  $MQTT:
    'it belongs to one broker; list the subjects of the messages: the topic a/b is the subject a.b',
  _GR_: 'answers cross by themselves, to whom they are for',
  _R_: 'answers cross by themselves, to whom they are for',
  _INBOX: 'answers cross by themselves, to whom they are for',
};

/** A bucket for objects of the hub is written to by whoever lists it; ours is the hub's by `domain`. */
const NEVER_IN = {
  ...NEVER,
  $O: 'an object store of this gateway is reached with `domain`',
};

const OWN_API =
  'JetStream of this gateway is reached with `domain`, and JetStream of the hub with "$JS.<domain of the hub>.API.>" in exports';

/** A JetStream domain: one token. */
export const domain: Kind<string> = text(
  `a JetStream domain: letters, digits, "-" and "_", at most ${DOMAIN_CHARS_MAX}, as the name of this gateway`,
  (found) => {
    if (RESERVED_DOMAINS.includes(found))
      return new Refusal(`"$JS.${found}." has a meaning of its own in JetStream`);
    return /^[A-Za-z0-9_-]+$/.test(found) && found.length <= DOMAIN_CHARS_MAX ? found : undefined;
  },
);

/** What local clients publish, and the hub may get. */
export const exportSubject: Kind<string> = text(
  'a subject such as "plant1.>", or "$JS.<domain of the hub>.API.>"',
  (found) => crossing(found, (tokens) => (isApi(tokens) ? undefined : OWN_API)),
);

/** What comes from the hub. */
export const importSubject: Kind<string> = text('a subject such as "commands.plant1.>"', (found) =>
  crossing(found, () => OWN_API, NEVER_IN),
);

/** `found`, or why it is none; `ofJetStream` judges the tokens of what begins with `$JS`. */
function crossing(
  found: string,
  ofJetStream: (tokens: readonly string[]) => string | undefined,
  never = NEVER,
): string | Refusal | undefined {
  if (found.includes('/')) return topicRefusal(found);
  if (!isFilter(found)) return undefined;
  const tokens = found.split('.');
  const [first = ''] = tokens;
  const reason =
    first === '$JS' ? ofJetStream(tokens) : Object.hasOwn(never, first) ? never[first] : undefined;
  return reason === undefined ? found : new Refusal(`it never crosses: ${reason}`);
}

/** Whether it is the API of one named domain. */
function isApi([, name = '', api, ...rest]: readonly string[]): boolean {
  const named = !RESERVED_DOMAINS.includes(name) && name !== '*' && name !== '>';
  return named && api === 'API' && rest.length > 0;
}
