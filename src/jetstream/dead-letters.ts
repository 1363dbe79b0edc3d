// Messages that the hub will never take move to the dead-letter stream: first the copy is on the disk, then the original
// goes.

import type { Message, Receipt } from '../message.ts';
import type { Stock } from './stock.ts';
import type { Store } from './store.ts';

/** What `Stream.deadLetter` promises. */
export function deadLetter(
  { store, stock, name }: { readonly store: Store; readonly stock: Stock; readonly name: string },
  publish: (message: Message, receipt: Receipt) => void,
  seq: number,
  reason: string,
): Promise<void> {
  const row = store.guard([], () => stock.rows.read(seq, seq, 1, 1))[0];
  const subject = row === undefined ? undefined : stock.subjects.byId(row.subjectId)?.subject;
  if (row === undefined || subject === undefined || !stock.stands(seq)) return Promise.resolve();
  const { subjectId, ts, data, headers } = row;
  const message = {
    subject: `$DEAD.${name}.${subject}`,
    data,
    headers: deadLetterHeaders(headers, name, seq, reason),
  };
  return new Promise((resolve, reject) => {
    publish(message, (error) => {
      if (error !== null) return reject(error);
      const bytes = data.length + (headers?.length ?? 0);
      if (stock.stands(seq)) stock.take({ seq, subjectId, ts, bytes }, 'dead_letter', true);
      resolve();
    });
  });
}

/** The stored headers, with where the message came from and why the hub refused it before them. */
function deadLetterHeaders(
  headers: Buffer | null,
  stream: string,
  seq: number,
  reason: string,
): Buffer {
  const own =
    `NATS/1.0\r\nMangrove-Stream: ${stream}\r\nMangrove-Sequence: ${seq}\r\n` +
    `Mangrove-Reason: ${reason.replace(/[\r\n]/g, ' ')}\r\n`;
  const rest =
    headers === null ? Buffer.from('\r\n') : headers.subarray(headers.indexOf('\r\n') + 2);
  return Buffer.concat([Buffer.from(own), rest]);
}
