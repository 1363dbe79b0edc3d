// What a message of an ordered fast batch is for (ADR-50): its reply subject says it, `<prefix>.<id>.<flow>.<ok|fail>.<n>.<op>.$FI`.
// There are no headers for it, so a message that is nothing else stays as it is.

/** By this a reply subject is known as one of a fast batch. */
const SUFFIX = '.$FI';
const OPS = ['start', 'append', 'commit', 'end', 'ping'] as const;
const FLOW_DEFAULT = 10;
const FLOW_LARGEST = 65_535;
const DIGITS = /^\d+$/;

export interface FastBatchStep {
  /** The batch. */
  readonly id: string;
  /** Its publisher wants to hear at least every so many messages. */
  readonly flow: number;
  /** The batch goes on when messages of it were lost. */
  readonly gapOk: boolean;
  /** Which message of the batch it is, from 1 on. */
  readonly n: number;
  /** `commit` is the last message, `end` comes behind the last and is none, `ping` asks how far the batch is. */
  readonly op: (typeof OPS)[number];
}

/** Whether a message with this reply subject belongs to a fast batch, or wants to. */
export function isOfFastBatch(reply: string | undefined): boolean {
  return reply?.endsWith(SUFFIX) === true;
}

/** What a reply subject that ends in `.$FI` says; undefined where it says nothing of use. */
export function readStep(reply: string): FastBatchStep | undefined {
  let end = reply.length - SUFFIX.length;
  const tokenBefore = (): string => {
    const dot = reply.lastIndexOf('.', end - 1);
    // What is left in front is the prefix, which is no part of it.
    if (end <= 0 || dot < 0) return '';
    const token = reply.slice(dot + 1, end);
    end = dot;
    return token;
  };
  const op = OPS[number(tokenBefore())];
  const n = number(tokenBefore());
  const gap = tokenBefore();
  const flow = number(tokenBefore());
  const id = tokenBefore();
  if (op === undefined || !Number.isSafeInteger(n) || n === 0 || id === '') return undefined;
  if (n === 1 ? op === 'append' || op === 'end' : op === 'start') return undefined;
  if (gap !== 'ok' && gap !== 'fail') return undefined;
  const wanted = flow > 0 ? Math.min(flow, FLOW_LARGEST) : FLOW_DEFAULT;
  return { id, flow: wanted, gapOk: gap === 'ok', n, op };
}

/** NaN for what is no number. */
function number(token: string): number {
  return DIGITS.test(token) ? Number(token) : NaN;
}
