// Publishes to a JetStream stream over the wire as fast as it acknowledges: one raw socket that pipelines pre-built
// frames and counts acks, so that the load program costs less than the server it measures. Prints {"rate": messages a
// second}, all acknowledged.

import { once } from 'node:events';
import { connect } from 'node:net';
import { dataPool, NUMBER_DIGITS, numberAt, type DataKind } from './data.ts';

const ACK = Buffer.from('"seq":');

export interface NatsPublishOptions {
  readonly port: number;
  /** Created when it is not there. */
  readonly stream: string;
  /** It is there: the server need not have the API to create it. */
  readonly exists?: boolean;
  readonly subject: string;
  readonly count: number;
  /** Publishes in flight. */
  readonly window: number;
  readonly dataBytes: number;
  /** Whether each message carries a Nats-Msg-Id. */
  readonly ids: boolean;
  /** What the data is; `x` without. */
  readonly data?: DataKind;
  /** Number the messages from 0 on, in their data. */
  readonly numbered?: boolean;
}

/** Different data, again and again. */
const POOL = 65_535;

const options = JSON.parse(process.argv[2] ?? '') as NatsPublishOptions;
const socket = connect({ port: options.port, host: '127.0.0.1', noDelay: true });
await once(socket, 'connect');
socket.write('CONNECT {"verbose":false,"pedantic":false,"headers":true,"lang":"bench"}\r\n');
if (options.exists !== true) await createStream(options);
socket.write('SUB _INBOX.b 1\r\n');
const startedMs = performance.now();
await pump(options);
const seconds = (performance.now() - startedMs) / 1000;
console.log(JSON.stringify({ rate: options.count / seconds, seconds }));
socket.destroy();

async function createStream({ stream, subject }: NatsPublishOptions): Promise<void> {
  const config = JSON.stringify({
    name: stream,
    subjects: [subject],
    storage: 'file',
    retention: 'limits',
    num_replicas: 1,
    duplicate_window: 120_000_000_000,
  });
  socket.write(
    `SUB _INBOX.c 2\r\nPUB $JS.API.STREAM.CREATE.${stream} _INBOX.c ${config.length}\r\n${config}\r\n`,
  );
  let text = '';
  while (!text.includes('stream_create_response')) text += String((await once(socket, 'data'))[0]);
  if (text.includes('"error"')) throw new Error(`the stream was not created: ${text}`);
}

/** The data of the n-th message, in latin1. */
function dataSource({ data: kind = 'x', dataBytes, numbered }: NatsPublishOptions) {
  if (kind === 'x' && numbered !== true) {
    const data = 'x'.repeat(dataBytes);
    return () => data;
  }
  const pool = dataPool(kind, dataBytes, POOL).toString('latin1');
  const at = numberAt(kind);
  return (n: number): string => {
    const from = (n % POOL) * dataBytes;
    const number = numbered === true ? String(n).padStart(NUMBER_DIGITS, '0') : '';
    return `${pool.slice(from, from + at)}${number}${pool.slice(from + at + number.length, from + dataBytes)}`;
  };
}

function pump(options: NatsPublishOptions): Promise<void> {
  const { subject, count, window, ids } = options;
  const dataOf = dataSource(options);
  let sent = 0;
  let acked = 0;
  let carry: Buffer = Buffer.alloc(0);
  const fill = (): void => {
    let out = '';
    while (sent < count && sent - acked < window) {
      const data = dataOf(sent++);
      const headers = ids ? `NATS/1.0\r\nNats-Msg-Id: ${process.pid}.${sent}\r\n\r\n` : '';
      out += ids
        ? `HPUB ${subject} _INBOX.b ${headers.length} ${headers.length + data.length}\r\n${headers}${data}\r\n`
        : `PUB ${subject} _INBOX.b ${data.length}\r\n${data}\r\n`;
    }
    if (out !== '') socket.write(out, 'latin1');
  };
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('data', (chunk: Buffer) => {
      const bytes = carry.length === 0 ? chunk : Buffer.concat([carry, chunk]);
      let end = 0;
      for (let at = bytes.indexOf(ACK); at >= 0; at = bytes.indexOf(ACK, end)) {
        acked++;
        end = at + ACK.length;
      }
      carry = bytes.subarray(Math.max(end, bytes.length - ACK.length + 1));
      if (bytes.includes('"error"')) return reject(new Error(bytes.toString('latin1', 0, 300)));
      if (acked >= count) return resolve();
      fill();
    });
    fill();
  });
}
