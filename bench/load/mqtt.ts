// The little of MQTT 3.1.1 that the load programs speak, as bytes.

import { connect, type Socket } from 'node:net';

const CONNACK_BYTES = 4;
/** A PUBACK, PUBREC, PUBREL or PUBCOMP. */
export const ACK_BYTES = 4;
export const PUBREC = 0x50;
export const PUBREL = 0x62;
export const PUBCOMP = 0x70;
export const PINGREQ = Buffer.from([0xc0, 0]);
export const PINGRESP_BYTES = 2;

export type QoS = 0 | 1 | 2;

/** Connects; rejects when the broker refuses. `clean` false: a session that stays. */
export function openMqtt(port: number, clientId: string, clean = true): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const id = Buffer.from(clientId);
  socket.write(
    Buffer.concat([
      Buffer.from([0x10, 12 + id.length, 0, 4]),
      Buffer.from('MQTT'),
      Buffer.from([4, clean ? 2 : 0, 0, 0, 0, id.length]),
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

/** Subscribes and waits for the SUBACK; rejects when it is refused. */
export function subscribeMqtt(socket: Socket, filter: string, qos: QoS): Promise<void> {
  const name = Buffer.from(filter);
  const head = Buffer.from([0x82, 5 + name.length, 0, 1, name.length >> 8, name.length & 0xff]);
  socket.write(Buffer.concat([head, name, Buffer.of(qos)]));
  return new Promise((resolve, reject) => {
    socket.once('data', (suback: Buffer) => {
      if (suback[0] === 0x90 && suback[4] === qos) resolve();
      else reject(new Error(`not subscribed: ${suback.toString('hex')}`));
    });
  });
}

/** A PUBLISH; its packet identifier goes to `idAt` (none with QoS 0), its data follows that. */
export function publishFrame(
  topic: string,
  dataBytes: number,
  qos: QoS = 1,
): { bytes: Buffer; idAt: number; dataAt: number } {
  const name = Buffer.from(topic);
  const idBytes = qos === 0 ? 0 : 2;
  const remaining = 2 + name.length + idBytes + dataBytes;
  const length = remaining < 128 ? [remaining] : [(remaining & 0x7f) | 0x80, remaining >> 7];
  const head = Buffer.from([0x30 | (qos << 1), ...length, name.length >> 8, name.length & 0xff]);
  const bytes = Buffer.concat([head, name, Buffer.alloc(idBytes), Buffer.alloc(dataBytes, 'x')]);
  const idAt = head.length + name.length;
  return { bytes, idAt, dataAt: idAt + idBytes };
}

/** Pre-built frames, one behind the other, with the packet identifiers 1 to `count`. */
export function publishFrames(
  { bytes, idAt }: { bytes: Buffer; idAt: number },
  count: number,
  qos: QoS,
): Buffer {
  const frames = Buffer.alloc(bytes.length * count);
  for (let id = 1; id <= count; id++) {
    const at = (id - 1) * bytes.length;
    bytes.copy(frames, at);
    if (qos > 0) frames.writeUInt16BE(id, at + idAt);
  }
  return frames;
}
