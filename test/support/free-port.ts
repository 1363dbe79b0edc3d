// TCP ports of the loopback for servers of tests. Whoever has drawn one may listen late, or stop for a while and listen
// again: no other test process of this machine gets it meanwhile. For that each process has a share of the ports to
// itself, and holds it by listening at the share's first port for as long as it lives, however it ends.

import { createServer, type Server } from 'node:net';

const LOOPBACK = '127.0.0.1';
/**
 * Below the range that the kernel gives to the near ends of connections: those would come in between, and a client that
 * tries again and again would one day be connected to itself.
 */
const PORTS_FROM = 10_240;
const PORTS_TO = 32_000;
/** More than there are workers and campaigns on one machine; a share is enough for every test file. */
const SHARES = 32;
const SHARE = Math.floor((PORTS_TO - PORTS_FROM) / SHARES);

/** What is left of the shares of this process. */
let ports: number[] = [];
/** One share is taken at a time. */
let taking: Promise<void> | undefined;

/** A TCP port that is free and is given to nobody else. Throws where all shares are taken. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = ports.pop();
    if (port === undefined) await (taking ??= takeShare().finally(() => (taking = undefined)));
    else if (await isFree(port)) return port;
  }
}

async function takeShare(): Promise<void> {
  for (let i = 0; i < SHARES; i++) {
    const first = PORTS_FROM + ((process.pid + i) % SHARES) * SHARE;
    const holder = await listen(first);
    if (holder === undefined) continue;
    holder.unref();
    // Not in the same order each time: somebody may still knock at what an earlier process has left.
    const start = Math.floor(Math.random() * (SHARE - 1));
    ports = Array.from({ length: SHARE - 1 }, (_, j) => first + 1 + ((start + j) % (SHARE - 1)));
    return;
  }
  throw new Error(`no free ports: all ${SHARES} shares are taken`);
}

async function isFree(port: number): Promise<boolean> {
  const probe = await listen(port);
  if (probe === undefined) return false;
  await new Promise((resolve) => probe.close(resolve));
  return true;
}

function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, LOOPBACK, () => resolve(server));
  });
}
