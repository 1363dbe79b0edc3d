// Core NATS over raw sockets that count bytes instead of reading lines, so that the load program costs less than the
// server it measures. `fanout`: one publishes, several get it; prints {"rate": deliveries a second}. `request`: one asks,
// one answers, one at a time; prints {"p50", "p99"} in microseconds.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface NatsCoreOptions {
  readonly port: number;
  /** Where it is published, if that is another server. */
  readonly publishPort?: number;
  readonly kind: 'fanout' | 'request';
  readonly subscribers: number;
  /** Messages, or requests. */
  readonly count: number;
  readonly dataBytes: number;
  /** Messages that may be on their way. */
  readonly window?: number;
}

const HELLO =
  'CONNECT {"verbose":false,"pedantic":false,"headers":true,"lang":"bench"}\r\nPING\r\n';
const PONG = 'PONG\r\n';
/** Messages that may be on their way by default: no subscriber must become a slow one. */
const WINDOW = 20_000;
const BATCH = 500;

const options = JSON.parse(process.argv[2] ?? '') as NatsCoreOptions;
console.log(
  JSON.stringify(await (options.kind === 'fanout' ? fanOut(options) : requests(options))),
);
process.exit(0);

async function client(port: number, first = ''): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  let text = '';
  socket.write(first === '' ? HELLO : HELLO.replace('PING', `${first}\r\nPING`));
  while (!text.includes(PONG)) text += String((await once(socket, 'data'))[0]);
  return socket;
}

async function fanOut(wanted: NatsCoreOptions): Promise<object> {
  const { port, publishPort = port, subscribers, count, dataBytes, window = WINDOW } = wanted;
  const frameBytes = `MSG bench.a 1 ${dataBytes}\r\n`.length + dataBytes + 2;
  const received = Array.from({ length: subscribers }, () => 0);
  let wake = (): void => undefined;
  for (let i = 0; i < subscribers; i++) {
    const socket = await client(port, 'SUB bench.a 1');
    socket.on('data', (chunk: Buffer) => {
      received[i] = (received[i] ?? 0) + chunk.length;
      wake();
    });
  }
  const publisher = await client(publishPort);
  publisher.resume();
  // The second INFO has come by then, and is not counted.
  await new Promise((resolve) => setTimeout(resolve, 200));
  received.fill(0);
  const batch = `PUB bench.a ${dataBytes}\r\n${'x'.repeat(dataBytes)}\r\n`.repeat(BATCH);
  const startedMs = performance.now();
  for (let sent = 0; sent < count; sent += BATCH) {
    while (sent - Math.min(...received) / frameBytes > window)
      await new Promise<void>((r) => (wake = r));
    if (!publisher.write(batch, 'latin1')) await once(publisher, 'drain');
  }
  while (Math.min(...received) < count * frameBytes) await new Promise<void>((r) => (wake = r));
  const seconds = (performance.now() - startedMs) / 1000;
  return { rate: (count * subscribers) / seconds, seconds };
}

async function requests({ port, count, dataBytes }: NatsCoreOptions): Promise<object> {
  const data = 'x'.repeat(dataBytes);
  const service = await client(port, 'SUB bench.service 1');
  service.on('data', (chunk: Buffer) => {
    const reply = /MSG bench\.service 1 (\S+) /.exec(chunk.toString('latin1'))?.[1];
    if (reply !== undefined) service.write(`PUB ${reply} 2\r\nok\r\n`);
  });
  const asker = await client(port, 'SUB _INBOX.bench.* 1');
  const micros: number[] = [];
  for (let i = 0; i < count + 2000; i++) {
    const startedMs = performance.now();
    asker.write(`PUB bench.service _INBOX.bench.${i} ${dataBytes}\r\n${data}\r\n`);
    for (let text = ''; !text.includes('ok\r\n');) text += String((await once(asker, 'data'))[0]);
    // A PING of the server may stand before or behind. The first ones warm up.
    if (i >= 2000) micros.push(1000 * (performance.now() - startedMs));
  }
  micros.sort((a, b) => a - b);
  return { p50: micros[Math.floor(count / 2)], p99: micros[Math.floor(count * 0.99)] };
}
