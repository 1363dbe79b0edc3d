// Reads every message under a filter from a hub stream and compares the numbers in its data with 0, 1, 2 …: what is
// missing, what came twice, and what stands behind a later one. Prints {"messages", "missing", "twice", "behind"}; for several
// gateways, whose subjects differ in token `gatewayToken`, each is counted for itself.

import { connect } from '@nats-io/transport-node';
import { NUMBER_DIGITS } from './data.ts';

export interface HubAuditOptions {
  readonly server: string;
  readonly stream: string;
  readonly filter: string;
  /** Messages of each gateway. */
  readonly count: number;
  /** Where the number begins in the data. */
  readonly numberAt: number;
  /** The token of the subject that names the gateway; all are of one without. */
  readonly gatewayToken?: number;
}

export interface HubAudit {
  readonly messages: number;
  readonly gateways: number;
  readonly missing: number;
  readonly twice: number;
  readonly behind: number;
}

/** Messages asked for at once. */
const PULL = 5_000;

const options = JSON.parse(process.argv[2] ?? '') as HubAuditOptions;
const connection = await connect({ servers: options.server });
const seen = new Map<string, { marks: Uint8Array; last: number; count: number }>();
const found = { messages: 0, gateways: 0, missing: 0, twice: 0, behind: 0 };
const consumer = await create();
const inbox = `_INBOX.audit.${process.pid}`;
let left = consumer.num_pending;
await new Promise<void>((resolve, reject) => {
  let asked = 0;
  const ask = (): void => {
    if (left === 0) return resolve();
    asked = Math.min(PULL, left);
    const request = JSON.stringify({ batch: asked, expires: 30_000_000_000 });
    connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${options.stream}.${consumer.name}`, request, {
      reply: inbox,
    });
  };
  connection.subscribe(inbox, {
    callback: (error, message) => {
      if (error !== null) return reject(error);
      if (message.headers !== undefined && message.headers.code >= 400)
        return reject(new Error(`the hub answered ${message.headers.status}`));
      note(message.subject, message.data);
      left--;
      if (--asked === 0) ask();
    },
  });
  ask();
});
for (const { count } of seen.values()) found.missing += options.count - count;
found.gateways = seen.size;
console.log(JSON.stringify(found));
await connection.close();

function note(subject: string, data: Uint8Array): void {
  const key =
    options.gatewayToken === undefined ? '' : (subject.split('.')[options.gatewayToken] ?? '');
  let gateway = seen.get(key);
  if (gateway === undefined) {
    gateway = { marks: new Uint8Array(options.count), last: -1, count: 0 };
    seen.set(key, gateway);
  }
  const { numberAt } = options;
  const number = Number(
    Buffer.from(data.subarray(numberAt, numberAt + NUMBER_DIGITS)).toString('latin1'),
  );
  found.messages++;
  if (gateway.marks[number] === 1) found.twice++;
  else if (gateway.marks[number] === 0) gateway.count++;
  else throw new Error(`number ${number} on ${subject} was never sent`);
  gateway.marks[number] = 1;
  if (number < gateway.last) found.behind++;
  gateway.last = number;
}

async function create(): Promise<{ name: string; num_pending: number }> {
  const config = {
    ack_policy: 'none',
    deliver_policy: 'all',
    filter_subject: options.filter,
    inactive_threshold: 60_000_000_000,
    mem_storage: true,
  };
  const answer = await connection.request(
    `$JS.API.CONSUMER.CREATE.${options.stream}`,
    JSON.stringify({ stream_name: options.stream, config }),
    { timeout: 30_000 },
  );
  const info = answer.json<{ name: string; num_pending: number; error?: object }>();
  if (info.error !== undefined) throw new Error(`no consumer: ${JSON.stringify(info.error)}`);
  return info;
}
