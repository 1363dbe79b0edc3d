// The subjects on which a consumer is answered: `$JS.ACK.<stream>.<consumer>.…` acknowledges a delivery, `$JS.FC.<stream>.
// <consumer>.<id>` answers its flow control.

const CONSUMER = /^\$JS\.(?:ACK|FC)\.([^.*>]+)\.([^.*>]+)\../;
/** Dots of an acknowledgement, at least; what comes first behind so many may be `@` and the subject of the message. */
const ACK_DOTS = 8;
const AT = 64;
const DOT = 46;

/** `$JS.ACK.<stream>.<consumer>.`, or the same of flow control; undefined for anything else. */
export function consumerOf(subject: string): string | undefined {
  const parts = CONSUMER.exec(subject);
  return parts === null ? undefined : parts[0].slice(0, -1);
}

/** Stream and consumer of such a subject. */
export function consumerNames(
  subject: string,
): { readonly stream: string; readonly consumer: string } | undefined {
  const [, stream, consumer] = CONSUMER.exec(subject) ?? [];
  return stream === undefined || consumer === undefined ? undefined : { stream, consumer };
}

/** All such subjects of the consumer whose subjects begin with `begin`, as a filter. */
export function consumerFilter(begin: string): string {
  return begin.startsWith('$JS.ACK.') ? `${begin}>` : `${begin}*`;
}

/**
 * A delivery as it crosses a link has its subject behind the reply, `$JS.ACK.…@<subject>`: both, or undefined where there is no
 * `@` behind an acknowledgement.
 */
export function splitDelivery(
  reply: string,
): { readonly reply: string; readonly subject: string } | undefined {
  if (!reply.startsWith('$JS.ACK.')) return undefined;
  for (let i = 0, dots = 0; i < reply.length; i++) {
    const code = reply.charCodeAt(i);
    if (code === DOT) dots++;
    else if (code === AT && dots >= ACK_DOTS)
      return { reply: reply.slice(0, i), subject: reply.slice(i + 1) };
  }
  return undefined;
}
