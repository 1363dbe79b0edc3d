// The little of MQTT 3.1.1 that the load programs speak: CONNECT, and PUBLISH with QoS 1, as bytes.

import { connect, type Socket } from 'node:net';

const CONNACK_BYTES = 4;
export const PUBACK_BYTES = 4;

/** Connects with a clean session; rejects when the broker refuses. */
export function openMqtt(port: number, clientId: string): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const id = Buffer.from(clientId);
  socket.write(
    Buffer.concat([
      Buffer.from([0x10, 12 + id.length, 0, 4]),
      Buffer.from('MQTT'),
      Buffer.from([4, 2, 0, 0, 0, id.length]),
      id,
    ]),
  );
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('data', (connack: Buffer) => {
      if (connack.length !== CONNACK_BYTES || connack[3] !== 0)
        return reject(new Error(`refused: ${connack.toString('hex')}`));
      resolve(socket);
    });
  });
}

/** A PUBLISH with QoS 1; its packet identifier goes to `idAt`, its data follows that. */
export function publishFrame(topic: string, dataBytes: number): { bytes: Buffer; idAt: number } {
  const name = Buffer.from(topic);
  const remaining = 2 + name.length + 2 + dataBytes;
  const length = remaining < 128 ? [remaining] : [(remaining & 0x7f) | 0x80, remaining >> 7];
  const head = Buffer.from([0x32, ...length, name.length >> 8, name.length & 0xff]);
  const bytes = Buffer.concat([head, name, Buffer.alloc(2), Buffer.alloc(dataBytes, 'x')]);
  return { bytes, idAt: head.length + name.length };
}
