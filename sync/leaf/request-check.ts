// What a request to the JetStream API could be made to do with subjects of the plant. Who asks over the link may administer the
// streams here, but messages of theirs are not to reach what `imports` keeps from him: so a consumer made over the link delivers, and a
// stream republishes, to subjects only that are listed, or to the inbox of somebody who is not here.

const CONSUMER = /^CONSUMER\.(?:CREATE|DURABLE\.CREATE)\./;
const STREAM = /^STREAM\.(?:CREATE|UPDATE|RESTORE)\./;
/** A token of the original subject, in the destination of a republish; so is what begins with `{{`. */
const MAPPED = /^\$\d+$/;

/**
 * The subject to which a request would let messages go, as a filter; undefined where there is none. `operation` is the subject
 * of the request behind `$JS.API.`. What is no JSON is left to the API, which refuses it.
 */
export function destinationOf(operation: string, data: Buffer): string | undefined {
  const isConsumer = CONSUMER.test(operation);
  if (!isConsumer && !STREAM.test(operation)) return undefined;
  const request = parsed(data);
  if (isConsumer) return text(field(field(request, 'config'), 'deliver_subject'));
  const config = operation.startsWith('STREAM.RESTORE.') ? field(request, 'config') : request;
  const destination = text(field(field(config, 'republish'), 'dest'));
  return destination === undefined ? undefined : withoutMapping(destination);
}

/** A mapping may make several tokens of one: from it on anything is possible. */
function withoutMapping(destination: string): string {
  const tokens = destination.split('.');
  const at = tokens.findIndex((token) => token.includes('{{') || MAPPED.test(token));
  return at < 0 ? destination : [...tokens.slice(0, at), '>'].join('.');
}

function parsed(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString('utf8'));
  } catch {
    return undefined;
  }
}

function field(of: unknown, name: string): unknown {
  if (typeof of !== 'object' || of === null) return undefined;
  return Object.entries(of).find(([key]) => key === name)?.[1];
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
