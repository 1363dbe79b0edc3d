// Reads a system call trace of the agent (see trace.ts) for what it says to NATS clients: nothing that speaks of a message
// may leave before the fdatasync that covers its commit has returned, and no answer to an acknowledgement before one that
// covers a commit which came after the acknowledgement. That last is told by rounds: a client that waits for all answers of
// a round before it begins the next cannot have sent one of the next when the last of the round had not left.

import { isSync, readTrace, type Call, type TraceReader } from './trace.ts';

/** A message is `m:<number>:.`, its PubAck goes to `_INBOX.p.<number>`, answers to acks go to `_INBOX.a.<round>.<number>`. */
const MESSAGE = /m:(\d+):\./g;
const PUBACK = /MSG _INBOX\.p\.(\d+) /g;
const ACK_ANSWER = /MSG _INBOX\.a\.(\d+)\.(\d+) /g;
const WAL_HEADER_BYTES = 24;

export interface NatsTraceReport {
  readonly pubacks: number;
  readonly deliveries: number;
  readonly ackAnswers: number;
  readonly syncs: number;
  /** What left too early, as sentences. */
  readonly violations: readonly string[];
}

export function checkNatsTrace(file: string): NatsTraceReport {
  const checker = new NatsChecker();
  readTrace(file, checker);
  return checker.report;
}

class NatsChecker implements TraceReader {
  #commits = 0;
  /** Of these, how many are on the disk. */
  #durable = 0;
  #syncs = 0;
  #syncCovers: number | undefined;
  #writing = new Set<number>();
  #lastFrame = false;
  readonly #commitOf = new Map<number, number>();
  #round = 0;
  /** Commits complete when the last answer of the round before left. */
  #commitsBefore = 0;
  #commitsAtAnswer = 0;
  #pubacks = 0;
  #deliveries = 0;
  #ackAnswers = 0;
  readonly #violations: string[] = [];

  get report(): NatsTraceReport {
    return {
      pubacks: this.#pubacks,
      deliveries: this.#deliveries,
      ackAnswers: this.#ackAnswers,
      syncs: this.#syncs,
      violations: this.#violations,
    };
  }

  began(call: Call): void {
    if (isSync(call)) this.#syncCovers = this.#commits;
    else if (call.on.startsWith('TCP')) this.#leaves(call.bytes.toString('latin1'));
  }

  returned(call: Call): void {
    if (isSync(call)) {
      if (call.result === 0) this.#durable = Math.max(this.#durable, this.#syncCovers ?? 0);
      this.#syncCovers = undefined;
      this.#syncs++;
    } else if (call.name === 'pwrite64' && call.on.endsWith('.db-wal')) this.#walWrite(call.bytes);
  }

  #walWrite(bytes: Buffer): void {
    if (bytes.length === WAL_HEADER_BYTES) {
      this.#lastFrame = bytes.readUInt32BE(4) !== 0;
      return;
    }
    for (const number of numbers(MESSAGE, bytes.toString('latin1')))
      if (!this.#commitOf.has(number)) this.#writing.add(number);
    if (!this.#lastFrame) return;
    this.#lastFrame = false;
    this.#commits++;
    for (const number of this.#writing) this.#commitOf.set(number, this.#commits);
    this.#writing.clear();
  }

  #leaves(text: string): void {
    for (const number of numbers(PUBACK, text)) {
      this.#pubacks++;
      this.#check(number, 'was acknowledged');
    }
    for (const number of numbers(MESSAGE, text)) {
      this.#deliveries++;
      this.#check(number, 'was delivered');
    }
    for (const [, round = '', number = ''] of text.matchAll(ACK_ANSWER))
      this.#answered(Number(round), number);
  }

  #check(number: number, what: string): void {
    const commit = this.#commitOf.get(number);
    if (commit === undefined) this.#violations.push(`${number} ${what} before it was written`);
    else if (commit > this.#durable)
      this.#violations.push(`${number} ${what} before commit ${commit} was on the disk`);
  }

  #answered(round: number, number: string): void {
    if (round !== this.#round) this.#commitsBefore = this.#commitsAtAnswer;
    this.#round = round;
    this.#ackAnswers++;
    this.#commitsAtAnswer = this.#commits;
    if (this.#durable <= this.#commitsBefore)
      this.#violations.push(`ack ${round}.${number} was answered before a sync covered it`);
  }
}

function numbers(pattern: RegExp, text: string): number[] {
  return [...text.matchAll(pattern)].map(([, number]) => Number(number));
}
