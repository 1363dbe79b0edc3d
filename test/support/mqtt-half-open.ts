// Run as a process of its own: opens many sockets to a listener and never completes a CONNECT on any of them. Every
// second one sends the beginning of a large one. `node mqtt-half-open.ts <port> <count>` prints `done` and stays.

import { connect, type Socket } from 'node:net';

const [port = 0, count = 0] = process.argv.slice(2).map(Number);
const BATCH = 200;
// A CONNECT of 64 KiB, of which 4,000 bytes come.
const beginning = Buffer.concat([
  Buffer.from('1080800400044d515454040200', 'hex'),
  Buffer.alloc(3987),
]);

for (let opened = 0; opened < count; opened += BATCH) {
  const batch = Array.from({ length: Math.min(BATCH, count - opened) }, (_, i) =>
    open(i % 2 === 0),
  );
  await Promise.all(batch);
}
console.log('done');

/** Resolves when the socket is connected, or was refused. */
function open(talks: boolean): Promise<void> {
  return new Promise((resolve) => {
    const socket: Socket = connect(port, '127.0.0.1', () => {
      if (talks) socket.write(beginning);
      resolve();
    });
    socket.on('error', () => resolve());
    socket.resume();
  });
}
