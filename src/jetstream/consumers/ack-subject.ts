// The subject that a client answers a delivery on. It says which delivery is meant, in one of two forms:
//
//   $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time ns>.<pending>
//   $JS.ACK.<domain>.<account>.<stream>.<consumer>.<the same five>[.<anything>]
//
// We write the first and read both. They are read without taking them apart: there is one for each message.

const PREFIX = '$JS.ACK.';
const DOT = 46;
const ZERO = 48;
const NINE = 57;
const PREFIX_DOTS = 2;
/** Dots of the first form; the second has two more at least. */
const SHORT_DOTS = 8;
const LONG_DOTS = 10;

/** What an ack says of its delivery. `seq` is 0 where the numbers are none. */
export interface AckTokens {
  /** `<stream>.<consumer>`. */
  readonly consumer: string;
  readonly deliveries: number;
  readonly seq: number;
  readonly consumerSeq: number;
}

/** The beginning of all ack subjects of one consumer. */
export function ackPrefix(stream: string, consumer: string): string {
  return `${PREFIX}${stream}.${consumer}.`;
}

/** Where the dots of the subject that is being read are, behind the prefix. */
const dots = new Int32Array(LONG_DOTS);

/** Reads an ack subject, which begins with `$JS.ACK.`; undefined where it is none. */
export function parseAckSubject(subject: string): AckTokens | undefined {
  let count = PREFIX_DOTS;
  for (let i = PREFIX.length; i < subject.length; i++) {
    if (subject.charCodeAt(i) !== DOT) continue;
    if (count < LONG_DOTS) dots[count - PREFIX_DOTS] = i;
    count++;
  }
  if (count !== SHORT_DOTS && count < LONG_DOTS) return undefined;
  const skip = count >= LONG_DOTS ? 2 : 0;
  const from = skip === 0 ? PREFIX.length : dotAt(1) + 1;
  const end = dotAt(skip + 1);
  const deliveriesEnd = dotAt(skip + 2);
  const seqEnd = dotAt(skip + 3);
  const deliveries = digits(subject, end + 1, deliveriesEnd);
  const seq = digits(subject, deliveriesEnd + 1, seqEnd);
  const consumerSeq = digits(subject, seqEnd + 1, dotAt(skip + 4));
  const good = deliveries >= 0 && seq >= 0 && consumerSeq >= 0;
  return { consumer: subject.slice(from, end), deliveries, seq: good ? seq : 0, consumerSeq };
}

function dotAt(n: number): number {
  return dots[n] ?? 0;
}

function digits(text: string, from: number, end: number): number {
  let number = 0;
  for (let i = from; i < end; i++) {
    const code = text.charCodeAt(i);
    if (code < ZERO || code > NINE) return -1;
    number = number * 10 + code - ZERO;
  }
  return end > from ? number : -1;
}
