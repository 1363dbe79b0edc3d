// Where the hub can be reached: what is configured, and what the hub says of its other leafnode ports. One after the other
// is tried; the first is drawn, for a fleet shall not fill the first server first.

import { isIP } from 'node:net';
import type { Random } from '../backoff.ts';

/** Addresses that a hub tells beyond this are not kept: a cluster has a handful. */
const TOLD_MAX = 64;

export interface LeafAddress {
  readonly host: string;
  readonly port: number;
  /** `host:port` for people. */
  readonly text: string;
  /** Asked for by the URL itself, or known of the server that told the address. */
  readonly tls: boolean;
  /** A configured name, which may stand in the certificate of an address that the hub told. */
  readonly tlsName: string | undefined;
}

/**
 * What is configured is tried first, also after a loss: behind a tunnel or a proxy the hub's own addresses may lead nowhere,
 * and take their time. When all of it has failed, what the hub told is tried in turn with it.
 */
export class LeafAddresses {
  readonly #configured: readonly LeafAddress[];
  #told: readonly LeafAddress[] = [];
  #next: number;
  #nextTold = 0;
  /** Configured ones to try before one that was told. */
  #first: number;

  /** `urls` are `host:port`, IPv6 in brackets, with or without a scheme, of which only `tls:` counts. */
  constructor(urls: readonly string[], random: Random) {
    this.#configured = urls.map((url) => parse(url)).filter((address) => address !== undefined);
    this.#next = Math.floor(random() * this.#configured.length);
    this.#first = this.#configured.length;
  }

  get count(): number {
    return this.#configured.length + this.#told.length;
  }

  /** The next one to dial; another than `not`, where there is another. Undefined where there is none at all. */
  next(not?: LeafAddress): LeafAddress | undefined {
    for (let left = 2 * this.count; left > 0; left--) {
      const address = this.#take();
      if (address?.text !== not?.text) return address;
    }
    return this.#configured[0];
  }

  #take(): LeafAddress | undefined {
    if (this.#first <= 0 && this.#told.length > 0) {
      this.#first = 1;
      return this.#told[this.#nextTold++ % this.#told.length];
    }
    this.#first--;
    return this.#configured[this.#next++ % this.#configured.length];
  }

  /** The hub has let us in there: should it be lost, what is configured comes first. */
  reached({ text }: LeafAddress): void {
    const index = this.#configured.findIndex((address) => address.text === text);
    this.#next = (index + 1) % this.#configured.length;
    this.#first = this.#configured.length;
  }

  /**
   * What a hub says it can be reached at, `host:port`: all there is to know of it, and no less safe than `from`, the
   * connection that it came by.
   */
  told(urls: readonly string[], from: LeafAddress, encrypted: boolean): void {
    const known = new Set(this.#configured.map(({ text }) => text));
    const tlsName = isIP(from.host) === 0 ? from.host : from.tlsName;
    const told: LeafAddress[] = [];
    for (const url of urls.slice(0, TOLD_MAX)) {
      const address = parse(url);
      if (address === undefined || known.has(address.text)) continue;
      known.add(address.text);
      told.push({ ...address, tls: encrypted || from.tls, tlsName });
    }
    this.#told = told;
  }
}

function parse(url: string): LeafAddress | undefined {
  const [, scheme = '', rest = ''] = /^(?:([a-z-]+):\/\/)?([^/]*)\/?$/i.exec(url) ?? [];
  const [, host = '', digits = ''] = /^(\[[^\]]+\]|[^:]+):(\d+)$/.exec(rest) ?? [];
  const port = Number(digits);
  if (host === '' || port < 1 || port > 65_535) return undefined;
  const tls = scheme.toLowerCase() === 'tls';
  const bare = host.replaceAll(/^\[|\]$/g, '');
  return { host: bare, port, text: `${host}:${port}`, tls, tlsName: undefined };
}
