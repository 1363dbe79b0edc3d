// How busy the broker is, as mosquitto reckons it: exponentially damped averages of events per minute, over 1, 5 and 15
// minutes, as the load averages of a Unix system are.

const MINUTE_MS = 60_000;
const SPANS_MIN = [1, 5, 15] as const;

/** Of which of the figures there are averages: counters that only grow. */
const TOPICS = {
  'messages/received': 'inPackets',
  'messages/sent': 'outPackets',
  'publish/received': 'inMsgs',
  'publish/sent': 'outMsgs',
  'publish/dropped': 'droppedMsgs',
  'bytes/received': 'inPacketBytes',
  'bytes/sent': 'outPacketBytes',
  connections: 'connects',
} as const;

/** Counters since the start. */
export type LoadFigures = Readonly<Record<(typeof TOPICS)[keyof typeof TOPICS], number>>;

export class SysLoad {
  #before: { readonly figures: LoadFigures; readonly atMs: number } | undefined;
  readonly #averages = new Map<string, number>();

  /** Counts in what has happened since it was called before. */
  add(figures: LoadFigures, nowMs: number): void {
    const before = this.#before;
    this.#before = { figures: { ...figures }, atMs: nowMs };
    if (before === undefined) return;
    const elapsedMs = nowMs - before.atMs;
    if (elapsedMs <= 0) return;
    for (const [topic, key] of Object.entries(TOPICS)) {
      const perMinute = ((figures[key] - before.figures[key]) * MINUTE_MS) / elapsedMs;
      for (const span of SPANS_MIN) {
        const name = `${topic}/${span}min`;
        const kept = Math.exp(-elapsedMs / (span * MINUTE_MS));
        this.#averages.set(name, perMinute + kept * ((this.#averages.get(name) ?? 0) - perMinute));
      }
    }
  }

  /** Topics behind `$SYS/broker/`, and their values. */
  lines(): [string, string][] {
    return Object.keys(TOPICS).flatMap((topic) =>
      SPANS_MIN.map((span): [string, string] => {
        const name = `${topic}/${span}min`;
        return [`load/${name}`, (this.#averages.get(name) ?? 0).toFixed(2)];
      }),
    );
  }
}
