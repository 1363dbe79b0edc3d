// Compression of a link, agreed on before the login: the hub says in INFO how it would compress, the leaf answers with an
// INFO of its own, and from there on both sides send S2 streams, each at its own level. A leaf that sends CONNECT
// without an INFO before it declines.

import { S2Reader } from './s2/s2-reader.ts';
import { S2Writer } from './s2/s2-writer.ts';
import type { LeafInfo } from './leaf-info.ts';

/** `auto`: on a line that is longer than a LAN's. */
export type Compression = 'auto' | 'on' | 'off';

/** There and back in less is a LAN, which is cheaper than compressing for it; nats-server draws the same line. */
const LAN_MS = 10;
/** A hub waits two seconds for the login, which takes two turns there and back with this: a longer line does without. */
const LONG_MS = 750;
/** What a hub may say that compresses, or does where the leaf wants it. */
const WILLING = ['accept', 's2_auto', 's2_uncompressed', 's2_fast', 's2_better', 's2_best'];
/** The name that nats-server has for what our writer does; a hub that merely accepts takes it for its own side too. */
export const LEVEL = 's2_fast';

/** Both directions of one connection. */
export class LeafCompression {
  readonly #reader = new S2Reader();
  readonly #writer = new S2Writer();

  /** Throws an S2Error where what the hub sent is none of it. */
  readonly decode = (bytes: Buffer): Iterable<Buffer> => this.#reader.decode(bytes);
  readonly encode = (data: Buffer): Buffer => this.#writer.encode(data);
}

/** Whether to answer the hub's first INFO with one of ours; `rttMs` is the time there and back. */
export function wantsCompression(wanted: Compression, info: LeafInfo, rttMs: number): boolean {
  if (wanted === 'off' || !WILLING.includes(info.compression ?? '')) return false;
  return rttMs <= LONG_MS && (wanted === 'on' || rttMs > LAN_MS);
}

/** The line that answers it; in the clear. */
export function compressionLine(serverId: string): string {
  return `INFO ${JSON.stringify({ server_id: serverId, compression: LEVEL })}\r\n`;
}
