// The demo's verdict: every message that a sensor sent, looked for in the hub's own stream.

import type { HubRecord } from './hub.ts';

/** What one sensor sent under one subject, in order. */
export interface Sent {
  readonly subject: string;
  readonly data: readonly string[];
}

export interface Audit {
  readonly sent: number;
  readonly stored: number;
  readonly atHub: number;
  /** Sent, and not at the hub. */
  readonly lost: number;
  /** At the hub more often than it was sent. */
  readonly duplicated: number;
  /** Whether the hub has the messages in the order in which the gateway numbered them. */
  readonly inOrder: boolean;
}

/** `stored` is the gateway's own count, `prefix` what the hub's subjects begin with. */
export function audit(
  sent: readonly Sent[],
  records: readonly HubRecord[],
  { stored, prefix }: { stored: number; prefix: string },
): Audit {
  const wanted = new Map<string, number>();
  for (const { subject, data } of sent)
    for (const one of data) add(wanted, `${prefix}.${subject}\n${one}`);
  const found = new Map<string, number>();
  const ids = new Map<string, number>();
  for (const { subject, data, id } of records) {
    add(found, `${subject}\n${data}`);
    add(ids, id);
  }
  let lost = 0;
  for (const [key, times] of wanted) lost += Math.max(0, times - (found.get(key) ?? 0));
  let copies = 0;
  for (const [key, times] of found) copies += Math.max(0, times - (wanted.get(key) ?? 0));
  let sameId = 0;
  for (const times of ids.values()) sameId += times - 1;
  return {
    sent: sent.reduce((total, { data }) => total + data.length, 0),
    stored,
    atHub: records.length,
    lost,
    duplicated: Math.max(sameId, copies),
    inOrder: isInOrder(records),
  };
}

/** Message IDs end in the local sequence: it must never go back. */
function isInOrder(records: readonly HubRecord[]): boolean {
  const sequences = records.map(({ id }) => Number(id.split(':').at(-1)));
  return sequences.every((seq, i) => i === 0 || seq > (sequences[i - 1] ?? 0));
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
