// NATS subjects: tokens between dots; `*` stands for one token, a last `>` for one or more.

/** Longer subjects are refused: they would not fit a NATS control line with room for the rest (4,096 bytes). */
export const SUBJECT_BYTES_MAX = 1024;

const SPACE = /[\0\s]/;

/** Whether a message can be published to `subject`: no empty token, no white space, no wildcard token. */
export function isPublishSubject(subject: string): boolean {
  return isFilter(subject) && !hasWildcard(subject);
}

/** Whether `subject` is a valid filter, wildcards allowed. */
export function isFilter(subject: string): boolean {
  if (subject.length === 0 || subject.length > SUBJECT_BYTES_MAX || SPACE.test(subject))
    return false;
  const tokens = subject.split('.');
  return tokens.every((token, i) => token !== '' && (token !== '>' || i === tokens.length - 1));
}

export function hasWildcard(subject: string): boolean {
  if (!subject.includes('*') && !subject.includes('>')) return false;
  return subject.split('.').some((token) => token === '*' || token === '>');
}

/** Whether a published `subject` falls under `filter`. */
export function matches(filter: string, subject: string): boolean {
  if (filter === subject) return true;
  const wanted = filter.split('.');
  const tokens = subject.split('.');
  for (let i = 0; i < wanted.length; i++) {
    if (wanted[i] === '>') return tokens.length > i;
    if (i >= tokens.length || (wanted[i] !== '*' && wanted[i] !== tokens[i])) return false;
  }
  return wanted.length === tokens.length;
}

/** Whether some subject falls under both filters. Two streams may not collide: a message has one home. */
export function collide(a: string, b: string): boolean {
  const left = a.split('.');
  const right = b.split('.');
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    if (i >= left.length || i >= right.length) return false;
    if (left[i] === '>' || right[i] === '>') return true;
    if (left[i] !== right[i] && left[i] !== '*' && right[i] !== '*') return false;
  }
  return true;
}

/** A name for a stream or a gateway: one token of letters, digits, `-` and `_`, at most 255 long. */
export function isName(name: string): boolean {
  return /^[A-Za-z0-9_-]{1,255}$/.test(name);
}
