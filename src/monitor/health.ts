// /healthz: whether the agent does its job, in nats-server's shape, and what stands in its way.

/** Something that an operator should know of. */
export interface HealthProblem {
  /** Such as `disk`, `serial meter1`, `hub`. */
  readonly part: string;
  /** What is wrong, as a sentence. */
  readonly text: string;
  /** What to do about it. */
  readonly hint?: string | undefined;
}

export interface Health {
  /** False when messages are lost or refused. A hub that is away is not that: the streams wait for it. */
  readonly ok: boolean;
  /** The worst first; may have entries while `ok` holds. */
  readonly problems: readonly HealthProblem[];
}

/** The status code and the JSON of /healthz. */
export function healthz({ ok, problems }: Health): { status: number; body: object } {
  const listed = problems.length === 0 ? {} : { problems };
  if (ok) return { status: 200, body: { status: 'ok', ...listed } };
  const error = problems[0]?.text ?? 'unavailable';
  return { status: 503, body: { status: 'unavailable', error, ...listed } };
}
