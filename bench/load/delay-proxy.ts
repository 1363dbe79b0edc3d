// A long line: a TCP proxy that hands every byte on `delayMs` later, each way, whatever else is under way. It stores
// what is in flight, so its own buffers set no limit to the rate. A process of its own, run by bench/long-line.ts; it says
// "listening" when it does, and ends when its standard input does.

import { connect, createServer, type Socket } from 'node:net';

export interface DelayProxyOptions {
  readonly host: string;
  readonly port: number;
  readonly toHost: string;
  readonly toPort: number;
  /** One way; a round trip takes twice as long. */
  readonly delayMs: number;
}

/** In flight on one connection and direction; beyond it the sender waits. 1 Gbit/s for half a second is 62 MB. */
const HELD_BYTES_MAX = 256 * 1024 * 1024;

const { host, port, toHost, toPort, delayMs } = JSON.parse(
  process.argv[2] ?? '',
) as DelayProxyOptions;

/** Hands what comes from one socket to the other, later. */
function carry(from: Socket, to: Socket): void {
  const late: { dueMs: number; bytes: Buffer | undefined }[] = [];
  let held = 0;
  let armed = false;
  const release = (): void => {
    armed = false;
    const nowMs = performance.now();
    let sent = 0;
    for (const { dueMs, bytes } of late) {
      if (dueMs > nowMs) break;
      sent++;
      if (bytes === undefined) to.end();
      else {
        held -= bytes.length;
        if (!to.destroyed) to.write(bytes);
      }
    }
    late.splice(0, sent);
    if (held <= HELD_BYTES_MAX) from.resume();
    arm();
  };
  const arm = (): void => {
    const [head] = late;
    if (armed || head === undefined) return;
    armed = true;
    setTimeout(release, Math.max(0, head.dueMs - performance.now()));
  };
  const hold = (bytes: Buffer | undefined): void => {
    late.push({ dueMs: performance.now() + delayMs, bytes });
    held += bytes?.length ?? 0;
    if (held > HELD_BYTES_MAX) from.pause();
    arm();
  };
  from.on('data', hold);
  from.on('end', () => hold(undefined));
  from.on('error', () => to.destroy());
  from.on('close', () => setTimeout(() => to.destroy(), delayMs + 1_000));
}

createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
  const target = connect({ host: toHost, port: toPort, noDelay: true, allowHalfOpen: true });
  carry(client, target);
  carry(target, client);
}).listen(port, host, () => console.log('listening'));
process.stdin.on('end', () => process.exit(0)).resume();
