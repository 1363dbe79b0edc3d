// The Packet Identifiers of QoS 2 PUBLISHes that a client has sent and not released: what comes again under one of them is
// not routed again [MQTT-4.3.3-10]. Those of a session that outlives its connection are rows, written with the message
// itself in one transaction. The connection asks `full` before it takes another, so the set is bounded.

import type { Table } from '../tables.ts';

/** No Client Identifier holds it. */
const SEPARATOR = '\x1f';
/** The key says it all. */
const NOTED = Buffer.alloc(0);

export class ReceivedIds {
  readonly #table: Table | undefined;
  readonly #clientId: string;
  readonly #idsMax: number;
  #ids: Set<number> | undefined;

  /** Without a table the identifiers end with the connection. */
  constructor(clientId: string, idsMax: number, table?: Table) {
    this.#clientId = clientId;
    this.#idsMax = idsMax;
    this.#table = table;
  }

  get size(): number {
    return this.#ids?.size ?? 0;
  }

  /** No further PUBLISH may be taken before one is released. */
  get full(): boolean {
    return this.size >= this.#idsMax;
  }

  has(packetId: number): boolean {
    return this.#ids?.has(packetId) === true;
  }

  /** Remembers an identifier, in the transaction of its message (`together`). False where nothing is written. */
  add(packetId: number): boolean {
    (this.#ids ??= new Set()).add(packetId);
    this.#table?.put(receivedKey(this.#clientId, packetId), NOTED);
    return this.#table !== undefined;
  }

  /** PUBREL has come, or the message was refused. False where it is unknown. */
  delete(packetId: number): boolean {
    if (this.#ids?.delete(packetId) !== true) return false;
    this.#table?.delete(receivedKey(this.#clientId, packetId));
    return true;
  }

  /** A row found at start. */
  recover(packetId: number): void {
    (this.#ids ??= new Set()).add(packetId);
  }

  clear(): void {
    for (const packetId of this.#ids ?? [])
      this.#table?.delete(receivedKey(this.#clientId, packetId));
    this.#ids = undefined;
  }
}

function receivedKey(clientId: string, packetId: number): string {
  return `${clientId}${SEPARATOR}${packetId.toString(16).padStart(4, '0')}`;
}

/** The owner and the identifier of a row. */
export function parseReceivedKey(key: string): { clientId: string; packetId: number } {
  const at = key.lastIndexOf(SEPARATOR);
  return { clientId: key.slice(0, at), packetId: Number.parseInt(key.slice(at + 1), 16) };
}
