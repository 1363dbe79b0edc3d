// NATS subjects: tokens between dots; `*` stands for one token, a last `>` for one or more.

/** Longer subjects are refused: they would not fit a NATS control line with room for the rest (4,096 bytes). */
export const SUBJECT_BYTES_MAX = 1024;

/** White space beyond ASCII. */
const WIDE_SPACE = /[\s]/;
const DOT = 46;
const STAR = 42;
const REST = 62;

/** Whether a message can be published to `subject`: no empty token, no white space, no wildcard token. */
export function isPublishSubject(subject: string): boolean {
  return kindOf(subject) === 'literal';
}

/** The same for one that is ASCII only: each character is a byte on the wire. */
export function isAsciiPublishSubject(subject: string): boolean {
  const { length } = subject;
  if (length === 0 || length > SUBJECT_BYTES_MAX) return false;
  let from = 0;
  for (let i = 0; i <= length; i++) {
    const code = i === length ? DOT : subject.charCodeAt(i);
    if (code === DOT) {
      if (i === from) return false;
      const first = i === from + 1 ? subject.charCodeAt(from) : 0;
      if (first === REST || first === STAR) return false;
      from = i + 1;
    } else if (code <= 32 || code >= 127) return false;
  }
  return true;
}

/** Whether `subject` is a valid filter, wildcards allowed. */
export function isFilter(subject: string): boolean {
  return kindOf(subject) !== 'invalid';
}

/** In one pass: every publish comes by here. */
function kindOf(subject: string): 'literal' | 'wildcard' | 'invalid' {
  const { length } = subject;
  if (length === 0 || length > SUBJECT_BYTES_MAX) return 'invalid';
  let kind: 'literal' | 'wildcard' = 'literal';
  let isWide = false;
  let from = 0;
  for (let i = 0; i <= length; i++) {
    const code = i === length ? DOT : subject.charCodeAt(i);
    if (code === DOT) {
      if (i === from) return 'invalid';
      const first = i === from + 1 ? subject.charCodeAt(from) : 0;
      if (first === REST && i < length) return 'invalid';
      if (first === REST || first === STAR) kind = 'wildcard';
      from = i + 1;
    } else if (code <= 32) {
      if (code === 0 || code === 32 || (code >= 9 && code <= 13)) return 'invalid';
    } else if (code > 127) isWide = true;
  }
  return isWide && WIDE_SPACE.test(subject) ? 'invalid' : kind;
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

/** Whether every subject that falls under `filter` falls under `wide`. */
export function isCovered(filter: string, wide: string): boolean {
  const tokens = filter.split('.');
  const wanted = wide.split('.');
  for (const [i, want] of wanted.entries()) {
    if (want === '>') return tokens.length > i;
    const token = tokens[i];
    if (token === undefined || token === '>' || (want !== '*' && want !== token)) return false;
  }
  return tokens.length === wanted.length;
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
