// What the listeners for plain sockets, TLS and WebSocket have in common: an address, and an end.

import type { AddressInfo, Server } from 'node:net';

export function addressOf(
  server: { address(): AddressInfo | string | null } | undefined,
): AddressInfo | undefined {
  const address = server?.address();
  return typeof address === 'object' && address !== null ? address : undefined;
}

/** Resolves when `server` has the address; rejects with the system's error. */
export function listen(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Resolves when the last connection is gone; at once where it never listened. */
export function close(server: Server | undefined): Promise<void> {
  if (server?.listening !== true) return Promise.resolve();
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
