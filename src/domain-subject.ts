// Requests that name the JetStream domain of the gateway: `$JS.<domain>.API.…` is the same as `$JS.API.…`, and in front of
// the subject of a bucket the domain is left out. So clients here ask, and those behind a link.

import { isFilter, isPublishSubject } from './subject.ts';

/** What may stand behind the domain beside requests. nats-server maps the first two; object stores use the last. */
const BUCKETS = /^\$(?:KV|OBJ|O)\../;
const REQUESTS = /^(?:INFO$|(?:STREAM|CONSUMER|DIRECT|META|SERVER|ACCOUNT)\..)/;

/** How requests under `domain` begin. */
export function domainPrefix(domain: string): string {
  return `$JS.${domain}.API.`;
}

/** `subject` without the domain; `prefix` is its domainPrefix. Unchanged where it is no such request. */
export function withoutDomain(subject: string, prefix: string): string {
  if (!subject.startsWith(prefix)) return subject;
  const rest = subject.slice(prefix.length);
  if (BUCKETS.test(rest)) return rest;
  return REQUESTS.test(rest) ? `$JS.API.${rest}` : subject;
}

/** Whether a message can go to `subject`: the API names filters in its own, `$JS.API.CONSUMER.CREATE.S.c.a.>`. */
export function isRequestSubject(subject: string): boolean {
  return (
    isPublishSubject(subject) ||
    (subject.startsWith('$JS.') && isFilter(subject.replaceAll('>', '*')))
  );
}
