// Turns entries of a local stream into messages for the hub, and hub message IDs back into local positions. Nothing
// here depends on the attempt: the same entry becomes the same bytes, with the same ID, each time it is sent.

import type { HubMessage } from './hub.ts';
import type { Entry, Gap, StoredMessage } from '../src/jetstream/stream-types.ts';

/** Whose messages these are: the names that subjects and IDs are made of. */
export interface Origin {
  /** First token of the hub's subjects. */
  readonly prefix: string;
  readonly gateway: string;
  readonly stream: string;
}

/** A place in a local stream, as a message ID names it. */
export interface Position {
  readonly epoch: string;
  readonly seq: number;
}

/** Appended to the ID of the last message to name the checkpoint that says so. */
const CHECKPOINT = 'checkpoint';

/** The last moment that RFC 3339 can write; a wrong clock may be beyond it. */
const LAST_TIME_MS = 253_402_300_799_999;

/** The filter that covers all messages of one local stream at the hub, and nothing else. */
export function filterOf({ prefix, gateway, stream }: Origin): string {
  return `${prefix}.${gateway}.${stream}.>`;
}

/** Where a stream's checkpoint is kept: outside of the filter, so that it never hides the last message. */
export function checkpointSubject({ prefix, gateway, stream }: Origin): string {
  return `${prefix}.${gateway}.${stream}`;
}

export function messageId({ gateway, stream }: Origin, { epoch, seq }: Position): string {
  return `${gateway}:${stream}:${epoch}:${seq}`;
}

/** The position in an ID of this origin, a checkpoint's included; null for any other ID. */
export function parseId({ gateway, stream }: Origin, id: string | undefined): Position | null {
  const parts = id?.split(':') ?? [];
  const [ofGateway, ofStream, epoch, digits, suffix] = parts;
  if (parts.length > 5 || ofGateway !== gateway || ofStream !== stream) return null;
  if (suffix !== undefined && suffix !== CHECKPOINT) return null;
  if (epoch === undefined || epoch === '' || digits === undefined || !/^\d{1,16}$/.test(digits))
    return null;
  const seq = Number(digits);
  return Number.isSafeInteger(seq) ? { epoch, seq } : null;
}

/** The hub message of an entry: a message under its own subject, a gap as a record of what is missing. */
export function hubMessage(origin: Origin, entry: Entry): HubMessage {
  return entry.kind === 'message'
    ? storedMessage(origin, entry.message)
    : gapRecord(origin, entry.gap);
}

/** The local position that an entry brings the hub to. */
export function positionOf(entry: Entry): Position {
  return entry.kind === 'message'
    ? entry.message
    : { epoch: entry.gap.epoch, seq: entry.gap.lastSeq };
}

/** The message that says at the hub how far this stream has come. */
export function checkpoint(origin: Origin, last: Position): HubMessage {
  const id = messageId(origin, last);
  return {
    subject: checkpointSubject(origin),
    id: `${id}:${CHECKPOINT}`,
    // It must outlive the messages that it speaks for.
    headerLines: 'Nats-TTL: never\r\n',
    data: Buffer.from(JSON.stringify({ id })),
  };
}

function storedMessage(origin: Origin, message: StoredMessage): HubMessage {
  const time = timeLines(message.timeMs, message.timeSynced);
  return {
    subject: `${origin.prefix}.${origin.gateway}.${origin.stream}.${message.subject}`,
    id: messageId(origin, message),
    headerLines: message.headers === undefined ? time : time + renamedLines(message.headers),
    data: message.data,
  };
}

function gapRecord(origin: Origin, gap: Gap): HubMessage {
  const { stream } = origin;
  return {
    subject: `${origin.prefix}.${origin.gateway}.${stream}._gap`,
    id: messageId(origin, { epoch: gap.epoch, seq: gap.lastSeq }),
    headerLines: 'Mangrove-Gap: 1\r\n',
    data: Buffer.from(
      JSON.stringify({
        stream,
        first_seq: gap.firstSeq,
        last_seq: gap.lastSeq,
        count: gap.count,
        reason: gap.reason,
        first_time: gap.firstTimeMs === null ? null : rfc3339(gap.firstTimeMs),
        last_time: gap.lastTimeMs === null ? null : rfc3339(gap.lastTimeMs),
      }),
    ),
  };
}

/**
 * The lines of a stored block, with `Mangrove-` before every name that begins with `Nats-`: those are orders to the
 * broker they were given to. Sent on as they are, an expectation would be refused for ever and a rollup would purge
 * other gateways' data. nats-server finds its headers behind any line end, also behind an early blank line.
 */
function renamedLines(block: Buffer | undefined): string {
  if (block === undefined) return '';
  const text = block.toString('latin1');
  const start = text.indexOf('\r\n');
  if (start < 0) return '';
  let lines = text.slice(start + 2);
  if (lines.endsWith('\r\n\r\n')) lines = lines.slice(0, -2);
  else if (lines === '\r\n' || lines === '') return '';
  else if (!lines.endsWith('\r\n')) lines += '\r\n';
  return /(?:^|\n)nats-/i.test(lines) ? lines.replace(/(^|\n)(?=nats-)/gi, '$1Mangrove-') : lines;
}

let last = { ms: Number.NaN, synced: false, lines: '' };

/** The header lines for a message's time. Consecutive messages often share their millisecond, and then the string. */
function timeLines(ms: number, synced: boolean): string {
  if (ms === last.ms && synced === last.synced) return last.lines;
  const lines = `Mangrove-Time: ${rfc3339(ms)}\r\nMangrove-Time-Quality: ${synced ? 'synced' : 'unsynced'}\r\n`;
  last = { ms, synced, lines };
  return lines;
}

/** RFC 3339 with milliseconds, UTC. */
function rfc3339(ms: number): string {
  return new Date(Math.min(Math.max(Math.trunc(ms) || 0, 0), LAST_TIME_MS)).toISOString();
}
