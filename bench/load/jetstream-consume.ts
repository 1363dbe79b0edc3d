// Consumes what is in a stream, with acknowledgements, and prints {"rate": messages a second} until the last one was
// processed. `pull`: raw protocol, so that the load program costs less than the server: two pulls in flight, each message
// acknowledged. `push` and `flow`: raw, a deliver subject, without and with flow control and no acknowledgements. `client`:
// the official client's consume() with acks. `ordered`: its ordered consumer.

import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect as connectClient } from '@nats-io/transport-node';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Deliveries } from './deliveries.ts';

export interface ConsumeOptions {
  readonly port: number;
  readonly kind: 'pull' | 'push' | 'flow' | 'client' | 'ordered';
  readonly stream: string;
  readonly count: number;
}

const BATCH = 5_000;
const INFO_MS = 5;

const options = JSON.parse(process.argv[2] ?? '') as ConsumeOptions;
const startedMs = performance.now();
await (options.kind === 'client' || options.kind === 'ordered' ? official(options) : raw(options));
const seconds = (performance.now() - startedMs) / 1000;
console.log(JSON.stringify({ rate: options.count / seconds, seconds }));
process.exit(0);

async function official({ port, kind, stream, count }: ConsumeOptions): Promise<void> {
  const nc = await connectClient({ servers: `127.0.0.1:${port}` });
  const js = jetstream(nc);
  const jsm = await jetstreamManager(nc);
  const acks = kind === 'client';
  if (acks)
    await jsm.consumers.add(stream, {
      durable_name: 'client',
      ack_policy: 'explicit',
      max_ack_pending: 4 * BATCH,
    });
  const consumer = await (acks ? js.consumers.get(stream, 'client') : js.consumers.get(stream));
  const messages = await consumer.consume({ max_messages: BATCH });
  let got = 0;
  for await (const message of messages) {
    if (acks) message.ack();
    if (++got === count) break;
  }
  await nc.flush();
  if (acks)
    while ((await jsm.consumers.info(stream, 'client')).num_ack_pending > 0)
      await new Promise((resolve) => setTimeout(resolve, INFO_MS));
  await nc.close();
}

async function raw({ port, kind, stream, count }: ConsumeOptions): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  socket.write('CONNECT {"verbose":false,"pedantic":false,"headers":true,"lang":"bench"}\r\n');
  const wire = new Deliveries(socket);
  wire.subscribe('_INBOX.a', 1);
  wire.subscribe('_INBOX.d', 2);
  const config = {
    durable_name: kind,
    ack_policy: kind === 'pull' ? 'explicit' : 'none',
    ...(kind === 'pull' ? { max_ack_pending: 4 * BATCH } : { deliver_subject: '_INBOX.d' }),
    ...(kind === 'flow' ? { flow_control: true, idle_heartbeat: 5_000_000_000 } : {}),
  };
  const body = JSON.stringify({ stream_name: stream, config });
  const pulls = kind === 'pull';
  const next = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${kind}`;
  const request = JSON.stringify({ batch: BATCH, expires: 30_000_000_000 });
  const pull = `PUB ${next} _INBOX.d ${request.length}\r\n${request}\r\n`;
  wire.acks = pulls;
  socket.write(
    `PUB $JS.API.CONSUMER.DURABLE.CREATE.${stream}.${kind} _INBOX.a ${body.length}\r\n${body}\r\n`,
  );
  await wire.until(() => wire.answers > 0);
  let asked = 0;
  wire.onChunk = () => {
    // The next pull is on its way before the last one is used up.
    while (pulls && asked < wire.received + 2 * BATCH && asked < count + BATCH) {
      asked += BATCH;
      socket.write(pull);
    }
  };
  wire.onChunk();
  await wire.until(() => wire.received >= count);
  while (pulls && !wire.lastAnswer.includes('"num_ack_pending":0')) {
    const answers = wire.answers;
    socket.write(`PUB $JS.API.CONSUMER.INFO.${stream}.${kind} _INBOX.a 0\r\n\r\n`);
    await wire.until(() => wire.answers > answers);
  }
}
