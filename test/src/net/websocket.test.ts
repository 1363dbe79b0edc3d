import { afterEach, expect, test } from 'vitest';
import { WebSocket, type ClientOptions } from 'ws';
import { WebSocketDoor } from '../../../src/net/websocket.ts';
import { NatsClients } from '../../support/nats-clients.ts';

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

/** A door on loopback, and who was refused there. */
async function open(protocols?: readonly string[]) {
  const refused: string[] = [];
  const door = new WebSocketDoor(
    { listen: { host: '127.0.0.1', port: 0 }, origins: ['https://panel.example.com'] },
    { tls: undefined, ...(protocols && { protocols }), messageBytesMax: 1024, connectionsMax: 8 },
    (stream) => void stream.on('error', () => undefined).end(),
    (reason, ip) => refused.push(`${ip}: ${reason}`),
  );
  await door.start();
  ends.push(() => door.stop());
  return { refused, port: door.address?.port ?? 0 };
}

/** `open`, or the message of the error. */
function dial(port: number, offered: string[], options: ClientOptions = {}): Promise<string> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, offered, options);
  return new Promise((resolve) => {
    socket.on('open', () => resolve('open'));
    socket.on('error', (error) => resolve(error.message));
  });
}

test('who is refused is told, with the address and the reason; who comes in is not', async () => {
  const { port, refused } = await open(['mqtt']);
  expect(await dial(port, ['mqtt'], { origin: 'https://panel.example.com' })).toBe('open');
  expect(refused).toEqual([]);
  expect(await dial(port, ['mqtt'], { origin: 'http://evil.example' })).toContain('403');
  expect(await dial(port, ['mqtt'], { origin: `http://${'e'.repeat(4000)}` })).toContain('403');
  expect(await dial(port, [])).toContain('400');
  expect(await dial(port, ['chat', 'mqttv5'])).toContain('400');
  expect(refused).toEqual([
    '127.0.0.1: a page of http://evil.example, which is not among origins',
    `127.0.0.1: a page of http://${'e'.repeat(121)}…, which is not among origins`,
    '127.0.0.1: it offers no sub-protocol, not mqtt',
    '127.0.0.1: it offers chat, mqttv5, not mqtt',
  ]);
});

test('where no sub-protocol is asked for none is missed', async () => {
  const { port, refused } = await open();
  expect(await dial(port, [])).toBe('open');
  expect(refused).toEqual([]);
});

test('a page that NATS refuses leaves a line in the log, and the next one none', async () => {
  const rig = new NatsClients();
  ends.push(() => rig.end());
  await rig.start('[nats]\nlisten = "127.0.0.1:0"\n[nats.websocket]\nlisten = "127.0.0.1:0"\n');
  const port = rig.listener().websocketAddress?.port ?? 0;
  for (let i = 0; i < 2; i++)
    expect(await dial(port, [], { origin: 'http://evil.example' })).toContain('403');
  expect(rig.agent?.said('a NATS client was refused its WebSocket')).toEqual([
    expect.objectContaining({
      level: 40,
      ip: '127.0.0.1',
      reason: 'a page of http://evil.example, which is not among origins',
      times: 1,
    }),
  ]);
});
