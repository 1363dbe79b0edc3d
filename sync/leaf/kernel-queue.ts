// What of our bytes the peer's kernel has not acknowledged: the send queue of one TCP socket, as /proc/self/net/tcp shows it
// (under the unit's ProcSubset=pid there is no /proc/net). Only Linux has that; elsewhere nothing is known. A look reads the
// table of all sockets of this machine, off the event loop.

import { readFile } from 'node:fs/promises';

/** The two ends of a connected socket. */
export interface Ends {
  readonly localPort?: number | undefined;
  readonly remotePort?: number | undefined;
  readonly remoteFamily?: string | undefined;
}

export class KernelQueue {
  readonly #file: string;
  readonly #ports: RegExp | undefined;
  #key: string | undefined;

  /** Of `socket`, which must be connected; of anything else nothing is known. */
  constructor({ localPort, remotePort, remoteFamily }: Ends) {
    this.#file = remoteFamily === 'IPv6' ? '/proc/self/net/tcp6' : '/proc/self/net/tcp';
    if (localPort !== undefined && remotePort !== undefined)
      this.#ports = new RegExp(
        `: ([0-9A-F]+:${hex(localPort)} [0-9A-F]+:${hex(remotePort)} 01) `,
        'g',
      );
  }

  /** Bytes that wait here or are not acknowledged; undefined where that cannot be known. */
  async bytes(): Promise<number | undefined> {
    if (this.#ports === undefined) return undefined;
    const table = await readFile(this.#file, 'latin1').catch(() => '');
    this.#key ??= this.#find(this.#ports, table);
    if (this.#key === undefined) return undefined;
    const at = table.indexOf(this.#key);
    if (at < 0) return undefined;
    const from = at + this.#key.length + 1;
    return Number.parseInt(table.slice(from, from + 8), 16);
  }

  /** The addresses as the table has them; undefined where two sockets have the same ports. */
  #find(ports: RegExp, table: string): string | undefined {
    const found = [...table.matchAll(ports)];
    return found.length === 1 ? found[0]?.[1] : undefined;
  }
}

function hex(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, '0');
}
