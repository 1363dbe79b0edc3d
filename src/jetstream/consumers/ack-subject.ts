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

/** Reads an ack subject; undefined where it is none. */
export function parseAckSubject(subject: string): AckTokens | undefined {
  let dots = 0;
  for (let i = 0; i < subject.length; i++) if (subject.charCodeAt(i) === DOT) dots++;
  if (dots !== SHORT_DOTS && dots < LONG_DOTS) return undefined;
  let from = PREFIX.length;
  if (dots >= LONG_DOTS) from = subject.indexOf('.', subject.indexOf('.', from) + 1) + 1;
  const end = subject.indexOf('.', subject.indexOf('.', from) + 1);
  const deliveriesEnd = subject.indexOf('.', end + 1);
  const seqEnd = subject.indexOf('.', deliveriesEnd + 1);
  const consumerSeqEnd = subject.indexOf('.', seqEnd + 1);
  const deliveries = digits(subject, end + 1, deliveriesEnd);
  const seq = digits(subject, deliveriesEnd + 1, seqEnd);
  const consumerSeq = digits(subject, seqEnd + 1, consumerSeqEnd);
  const good = deliveries >= 0 && seq >= 0 && consumerSeq >= 0;
  return { consumer: subject.slice(from, end), deliveries, seq: good ? seq : 0, consumerSeq };
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
