// A stream to read from, in memory, whose every message is on the disk: for tests of gets. It counts how often it was
// looked at, and counts messages when told to.

import type { GetSource } from '../../src/jetstream/api/get-request.ts';
import type { StoredMessage, StreamConfig } from '../../src/jetstream/stream-types.ts';
import type { SubjectFilter } from '../../src/jetstream/subject-filter.ts';
import { streamConfig } from './stream-configs.ts';

export const FIRST_MS = Date.UTC(2026, 0, 2);

/** Rows that one look passes, as a stream bounds it. */
const LOOK_ROWS = 100;

export class MemorySource implements GetSource {
  readonly config: StreamConfig;
  readonly messages = new Map<number, StoredMessage>();
  durableSeq = 0;
  looks = 0;
  /** Counts that are not done yet; undefined: they are done at once. */
  counts: (() => void)[] | undefined;

  constructor(change: Partial<StreamConfig> = {}) {
    this.config = streamConfig({ allowDirect: true, ...change });
  }

  get name(): string {
    return this.config.name;
  }

  get firstSeq(): number {
    return this.messages.keys().next().value ?? this.durableSeq + 1;
  }

  /** Message n was stored n seconds after FIRST_MS. */
  add(
    subject: string,
    data: string | Buffer = `data ${this.durableSeq + 1}`,
    headers?: Buffer,
  ): void {
    const seq = ++this.durableSeq;
    this.messages.set(seq, {
      subject,
      data: Buffer.from(data),
      ...(headers === undefined ? {} : { headers }),
      seq,
      epoch: 'e',
      timeMs: FIRST_MS + seq * 1000,
      timeSynced: true,
    });
  }

  get(seq: number): StoredMessage | undefined {
    return this.messages.get(seq);
  }

  scan(
    filter: SubjectFilter,
    fromSeq: number,
    { messagesMax, bytesMax }: { messagesMax: number; bytesMax: number },
  ): { messages: StoredMessage[]; nextSeq: number } {
    this.looks++;
    const messages: StoredMessage[] = [];
    const from = Math.max(fromSeq, this.firstSeq);
    let bytes = 0;
    let seq = from;
    for (; seq <= this.durableSeq && seq < from + LOOK_ROWS; seq++) {
      const message = this.messages.get(seq);
      if (message === undefined || !filter.covers(message.subject)) continue;
      bytes += message.data.length;
      if (messages.length > 0 && bytes > bytesMax) break;
      messages.push(message);
      if (messages.length === messagesMax) return { messages, nextSeq: seq + 1 };
    }
    return { messages, nextSeq: seq };
  }

  lastOf(filter: SubjectFilter): StoredMessage | undefined {
    return [...this.messages.values()].findLast(({ subject }) => filter.covers(subject));
  }

  lastPerSubject(
    filter: SubjectFilter,
    { upToSeq = Infinity, max }: { upToSeq?: number; max: number },
  ): Promise<number[]> {
    const last = new Map<string, number>();
    for (const { subject, seq } of this.messages.values())
      if (seq <= upToSeq && filter.covers(subject)) last.set(subject, seq);
    return last.size > max
      ? Promise.reject(new RangeError('too many'))
      : Promise.resolve([...last.values()].sort((a, b) => a - b));
  }

  seqAtTime(timeMs: number): number {
    for (const message of this.messages.values()) if (message.timeMs >= timeMs) return message.seq;
    return this.durableSeq + 1;
  }

  count(filter: SubjectFilter, fromSeq: number, done: (messages: number) => void): () => void {
    const finish = (): void => {
      const all = [...this.messages.values()];
      done(all.filter(({ seq, subject }) => seq >= fromSeq && filter.covers(subject)).length);
    };
    if (this.counts === undefined) finish();
    else this.counts.push(finish);
    return () => undefined;
  }
}
