// What can go wrong between the gateway and its hub, in three kinds. The table below is the only place that says
// which JetStream error is which: retry after back-off and read-back, poison (this message will never be taken), or
// configuration (an operator must act; nothing is lost meanwhile).

export type HubErrorKind = 'retry' | 'poison' | 'configuration';

export interface HubErrorDetails {
  /** JetStream's err_code, or one of our own names below 1,000. */
  readonly errCode?: number;
  /** What an operator can do about it. */
  readonly hint?: string;
  /** It will not pass by itself; so is every error of kind configuration. */
  readonly standing?: boolean;
  readonly cause?: unknown;
}

/** Our own numbers for what JetStream has none for. */
export const LOCAL_ERROR = {
  linkDown: 1,
  timeout: 2,
  noResponders: 3,
  permission: 4,
  tooLarge: 5,
  unfitStream: 6,
  badAnswer: 7,
  hubTooOld: 8,
  /** Messages of a fast batch were lost on the way; those before them are stored. */
  gap: 9,
} as const;

/** A request to the hub that failed. The outcome of a publish is then unknown, whatever the kind: read back. */
export class HubError extends Error {
  override name = 'HubError';
  readonly kind: HubErrorKind;
  readonly errCode: number;
  readonly hint: string | undefined;
  /** An operator must act: it will not pass by itself, also where it is tried again at a retry's pace. */
  readonly standing: boolean;

  constructor(kind: HubErrorKind, message: string, details: HubErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = kind;
    this.errCode = details.errCode ?? 0;
    this.hint = details.hint;
    this.standing = details.standing ?? kind === 'configuration';
  }
}

interface Row {
  readonly kind: HubErrorKind;
  readonly hint?: string;
  readonly standing?: boolean;
}

const RETRY: Row = { kind: 'retry' };
const POISON: Row = { kind: 'poison' };

function configuration(hint: string): Row {
  return { kind: 'configuration', hint };
}

/** It passes by itself; the hint is for the day when it does not. */
function retry(hint: string): Row {
  return { kind: 'retry', hint };
}

/** It is tried again as often as what passes by itself, because whoever mends it shall not have to wait. */
function standing(hint: string): Row {
  return { kind: 'retry', hint, standing: true };
}

const FULL = 'the hub has no room: give the hub stream, its account or its disk more';
const TTL =
  'the hub stream allows no per-message TTL any more: set allow_msg_ttl on it, or none of max_age and the other limits';
const LEADERLESS =
  'the servers of the hub agree on no leader just now; if it lasts, bring those back that are away';
const OFFLINE =
  'the server with the hub stream is away, or an older version than the stream needs: look at the log of the hub';
const CROWDED =
  'more gateways send batches at once than the hub allows: messages go one by one meanwhile; raise max_inflight_per_stream and max_inflight_total in limits { batch { … } } of its jetstream block, or use more hub streams';
const UNANSWERED =
  'the connection lives, but nobody answers for the hub stream: it has no leader, its server is overloaded, or its disk is full; see nats stream info, and the log of the hub';

/** JetStream's err_code to kind and hint. */
const TABLE: Readonly<Record<number, Row>> = {
  // The hub is there but cannot now: elections, restarts, full disks, too many gateways at once.
  10002: standing(FULL),
  10004: RETRY,
  10008: retry(LEADERLESS),
  10009: retry(LEADERLESS),
  10023: standing(FULL),
  10028: standing(FULL),
  10041: RETRY,
  10047: standing(FULL),
  10051: RETRY,
  10063: RETRY,
  10077: standing(FULL),
  10118: retry(OFFLINE),
  10167: RETRY,
  10194: retry(OFFLINE),
  // Somebody or something was faster: read back.
  10071: RETRY,
  10158: RETRY,
  10163: RETRY,
  10164: RETRY,
  10201: RETRY,
  // A batch that the hub no longer has, or may not open now.
  10174: RETRY,
  10175: RETRY,
  10176: RETRY,
  10205: RETRY,
  10206: RETRY,
  10207: RETRY,
  10208: RETRY,
  10210: retry(CROWDED),
  10211: retry(CROWDED),
  // A TTL is sent on checkpoints only: the stream's configuration changed since it was checked.
  10165: standing(TTL),
  10166: standing(TTL),
  // This message, as it is, will never be stored.
  10054: POISON,
  10097: POISON,
  10111: POISON,
  10168: POISON,
  10170: POISON,
  10171: POISON,
  10188: POISON,
  10189: POISON,
  10190: POISON,
  10191: POISON,
  10192: POISON,
  10203: POISON,
  10212: POISON,
  10223: POISON,
  10227: POISON,
  // Only a person can mend these.
  10027: configuration(
    'the account of these credentials may have no more streams: raise its max_streams, or name an existing one in hub.stream',
  ),
  10035: configuration('the hub does not know the account of these credentials'),
  10039: configuration('enable JetStream for the account of these credentials at the hub'),
  10059: configuration('the hub stream does not exist: create it, or set create = true in [hub]'),
  10060: configuration('another hub stream takes these subjects: let hub.stream name that one'),
  10076: configuration('enable JetStream at the hub'),
  10109: configuration('the hub stream is sealed: create another one and name it in hub.stream'),
  10120: configuration('give the account limits for as many replicas as the hub stream has'),
  10169: configuration(
    'the hub stream counts (allow_msg_counter): name an ordinary one in hub.stream',
  ),
  10172: configuration(
    'the hub stream counts (allow_msg_counter): name an ordinary one in hub.stream',
  ),
  10185: configuration('the hub is too old for what was asked of it: upgrade it'),
  10193: configuration('the hub does not take the fence: upgrade it to nats-server 2.12 or later'),
  [LOCAL_ERROR.linkDown]: RETRY,
  [LOCAL_ERROR.timeout]: retry(UNANSWERED),
  [LOCAL_ERROR.noResponders]: RETRY,
  [LOCAL_ERROR.badAnswer]: RETRY,
  [LOCAL_ERROR.gap]: RETRY,
  [LOCAL_ERROR.tooLarge]: POISON,
};

/** The error for an answer of JetStream's. `code` is HTTP-like and decides for an err_code that the table does not know. */
export function jetStreamError(code: number, errCode: number, description: string): HubError {
  const text = `${description} (${errCode})`;
  // The file store's own limit on one message hides in the general code for a store that failed.
  if (errCode === 10077 && /too large/i.test(description))
    return new HubError('poison', text, { errCode });
  const row = TABLE[errCode] ?? unexplained(code);
  return new HubError(row.kind, text, { errCode, ...details(row) });
}

/** An error of ours with a number of LOCAL_ERROR. */
export function localError(
  name: keyof typeof LOCAL_ERROR,
  message: string,
  more: Omit<HubErrorDetails, 'errCode'> = {},
): HubError {
  const errCode = LOCAL_ERROR[name];
  const row = TABLE[errCode] ?? configuration('');
  return new HubError(row.kind, message, { ...details(row), ...more, errCode });
}

function details({ hint, standing: stands }: Row): HubErrorDetails {
  return {
    ...(hint === undefined || hint === '' ? {} : { hint }),
    ...(stands === undefined ? {} : { standing: stands }),
  };
}

/** Whether the table explains this err_code; a message is set aside at once only for an explained one. */
export function isExplained(errCode: number): boolean {
  return errCode in TABLE || errCode === 10077;
}

/** 5xx and 429 speak of the hub, other 4xx of the message. */
function unexplained(code: number): Row {
  return code >= 500 || code === 429 || code === 409 ? RETRY : POISON;
}
