// Messages as the NATS client protocol writes them (HPUB), many in one buffer: a call of the library for each costs more
// than all the rest of a backlog's way.

import type { HubMessage } from './hub.ts';

const ASCII = /^[\x20-\x7e]*$/;
const VERSION_LINE = 'NATS/1.0\r\n';
/** The names, spaces, numbers and line ends around what a message brings. */
const FRAME_BYTES = 128;
/** UTF-8 bytes of one UTF-16 unit, at most. */
const BYTES_A_UNIT = 3;

/** HPUB of all `messages`; `reply(i)` is the reply subject of the i-th. `extra` are header lines for the first one. */
export function encodePublishes(
  messages: readonly HubMessage[],
  reply: (i: number) => string,
  extra = '',
): Buffer {
  const longest = reply(messages.length).length + FRAME_BYTES;
  let bound = extra.length;
  for (const { subject, id, headerLines, data } of messages)
    bound += BYTES_A_UNIT * subject.length + id.length + headerLines.length + data.length + longest;
  const wire = Buffer.allocUnsafe(bound);
  let at = 0;
  for (const [i, { subject, id, headerLines, data }] of messages.entries()) {
    const lines = `${VERSION_LINE}Nats-Msg-Id: ${id}\r\n${i === 0 ? extra : ''}`;
    const length = lines.length + headerLines.length + 2;
    // Written at once: a string that waits for the others is copied by each collection.
    const head = `HPUB ${oneByteEach(subject)} ${reply(i)} ${length} ${length + data.length}\r\n${lines}`;
    at += wire.write(head, at, 'latin1');
    at += wire.write(headerLines, at, 'latin1');
    wire[at++] = 0x0d;
    wire[at++] = 0x0a;
    at += data.copy(wire, at);
    wire[at++] = 0x0d;
    wire[at++] = 0x0a;
  }
  return wire.subarray(0, at);
}

/** The UTF-8 bytes of a subject as characters of one byte each, as all the rest has them. */
function oneByteEach(subject: string): string {
  return ASCII.test(subject) ? subject : Buffer.from(subject, 'utf8').toString('latin1');
}
