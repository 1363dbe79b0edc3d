// Many messages in one buffer: byte for byte what the library would have written for each.

import { connect as connectSocket, createServer } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect, type MsgHdrs, type NatsConnection } from '@nats-io/transport-node';
import { encodePublishes } from '../../sync/publish-encoder.ts';
import type { HubMessage } from '../../sync/hub.ts';
import { startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { until } from '../support/until.ts';

const MESSAGES: readonly HubMessage[] = [
  { subject: 'edge.gw7.t.a', id: 'gw7:t:e:1', headerLines: '', data: Buffer.from('21.5') },
  { subject: 'edge.gw7.t.b', id: 'gw7:t:e:2', headerLines: 'X: y\r\n', data: Buffer.alloc(0) },
  // Beyond ASCII: UTF-8 in a subject, single bytes in a header.
  {
    subject: 'edge.gw7.t.größe.温度',
    id: 'gw7:t:e:3',
    headerLines: 'Unit: \xb0C\r\nEmpty:\r\n',
    data: Buffer.from([0, 255, 13, 10, 13, 10, 128]),
  },
  {
    subject: 'edge.gw7.t.large',
    id: 'gw7:t:e:4',
    headerLines: '',
    data: Buffer.alloc(300_000, 'x'),
  },
];
const EXTRA = 'Nats-Expected-Stream: EDGE\r\n';
const reply = (i: number): string => `_INBOX.a.b.10.fail.${i + 1}.1.$FI`;

let server: NatsServer;
let connection: NatsConnection;
let written = Buffer.alloc(0);
const proxy = createServer((client) => {
  const hub = connectSocket(server.port, '127.0.0.1');
  client.on('data', (bytes: Buffer) => {
    written = Buffer.concat([written, bytes]);
    hub.write(bytes);
  });
  hub.pipe(client);
  for (const socket of [client, hub]) socket.on('error', () => undefined);
  client.on('close', () => hub.destroy());
});

beforeAll(async () => {
  server = await startNatsServer();
  await new Promise<void>((resolve) => void proxy.listen(0, '127.0.0.1', resolve));
  const address = proxy.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  connection = await connect({ servers: `127.0.0.1:${port}` });
});

afterAll(async () => {
  await connection?.close();
  await new Promise((resolve) => proxy.close(resolve));
  await server?.dispose();
});

test('the bytes are those that the library writes', async () => {
  await connection.flush();
  written = Buffer.alloc(0);
  for (const [i, { subject, id, headerLines, data }] of MESSAGES.entries()) {
    const block = `NATS/1.0\r\nNats-Msg-Id: ${id}\r\n${i === 0 ? EXTRA : ''}${headerLines}\r\n`;
    const headers = { encode: () => Buffer.from(block, 'latin1') } as unknown as MsgHdrs;
    connection.publish(subject, data, { headers, reply: reply(i) });
  }
  await connection.flush();
  const ours = encodePublishes(MESSAGES, reply, EXTRA);
  expect(written.subarray(0, ours.length).equals(ours)).toBe(true);
  expect(written.subarray(ours.length).toString()).toBe('PING\r\n');
});

test('a server reads them as they were meant', async () => {
  const seen: { subject: string; data: Buffer; id: string | undefined; reply: string }[] = [];
  connection.subscribe('edge.gw7.t.>', {
    callback: (_error, { subject, data, headers, reply: to = '' }) => {
      seen.push({ subject, data: Buffer.from(data), id: headers?.get('Nats-Msg-Id'), reply: to });
    },
  });
  await connection.flush();
  const sender = connectSocket(server.port, '127.0.0.1');
  sender.on('error', () => undefined);
  sender.write(
    'CONNECT {"verbose":false,"headers":true,"lang":"x","version":"1","protocol":1}\r\n',
  );
  sender.write(encodePublishes(MESSAGES, reply));
  await until('all messages', () => seen.length === MESSAGES.length);
  sender.destroy();
  for (const [i, { subject, id, data }] of MESSAGES.entries())
    expect(seen[i]).toEqual({ subject, id, data, reply: reply(i) });
});

test('nothing to write is nothing', () => {
  expect(encodePublishes([], reply)).toHaveLength(0);
});
