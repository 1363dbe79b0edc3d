// The leafnode link: at most one connection to the hub, made again for ever, each time anew. It decides when to dial what,
// and says in words of an operator why there is none. What crosses is decided by the interest, how it leaves by the lanes.

import { delay, type Cancel, type Clock } from '../../src/clock.ts';
import type { Broker } from '../../src/broker.ts';
import type { Logger } from '../../src/log.ts';
import { Backoff, type Random } from '../backoff.ts';
import {
  readCredentials,
  readTls,
  type Credentials,
  type Secret,
  type TlsFiles,
} from '../credentials.ts';
import { hungUp, linkError } from '../link-error.ts';
import { randomToken } from '../random-token.ts';
import { Hello } from './hello.ts';
import { LeafAddresses, type LeafAddress } from './leaf-addresses.ts';
import { LEVEL, type Compression } from './leaf-compression.ts';
import { dialLeaf, type LeafLine } from './leaf-dial.ts';
import { asLeafError, isLateLogin, LeafError, leafError, systemAccount } from './leaf-error.ts';
import { shutOut } from './hub-rights.ts';
import { isAllowed, type LeafInfo } from './leaf-info.ts';
import { LeafLog } from './leaf-log.ts';
import { LeafInterest } from './leaf-interest.ts';
import { loginLine } from './leaf-login.ts';
import { LeafSession, type LeafTraffic, type SessionHost } from './leaf-session.ts';
import { LeafTotals } from './leaf-totals.ts';
import { LeafTroubles } from './leaf-troubles.ts';
import type { PacedOutbound } from './paced-outbound.ts';
import type { BoundaryConfig, HubInfo, LeafHubView, LeafStatus } from './types.ts';

/** The longest time to reach a server, TLS included, and then for its answer to the login. */
const DIAL_MS = 10_000;
/** Of the keep-alive, so that a hub that never answers is not taken for a hole in the WAN. */
const LOGIN_SHARE = 2 / 3;
/** The first delay before dialling again is drawn from this. */
const RECONNECT_BASE_MS = 500;
/** A connection that lasted this long was a good one: the next delays begin anew. */
const GOOD_MS = 10_000;
/** What waits in the live lane has this long to leave when the link is stopped. */
const STOP_MS = 1_000;

export interface LeafConfig {
  /** `host:port`, with or without a scheme; `tls:` asks for TLS there. */
  readonly urls: readonly string[];
  readonly credentials?: Credentials | undefined;
  /** Undefined: no TLS, unless the hub asks for it, or its URL says tls:// */
  readonly tls?: TlsFiles | undefined;
  /** Of the gateway: one connection of a name at a hub. */
  readonly name: string;
  /** Nobody else's, and the same as long as the process lives. */
  readonly serverId: string;
  readonly boundary: BoundaryConfig;
  /** A hole in the WAN is noticed within this time. */
  readonly keepAliveMs: number;
  readonly reconnectMaxMs: number;
  readonly compression: Compression;
  /** Whether a consumer of a stream is ours to be acknowledged over the link. */
  readonly ownsConsumer?: ((stream: string, consumer: string) => boolean) | undefined;
}

export interface LeafParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: Random;
  readonly broker: Broker;
  /** Told when what is published can cross, and when no longer. */
  readonly onConnected?: ((hub: HubInfo) => void) | undefined;
  readonly onLost?: (() => void) | undefined;
}

export class LeafLink {
  readonly #config: LeafConfig;
  readonly #parts: LeafParts;
  readonly #log: LeafLog;
  readonly #backoff: Backoff;
  readonly #addresses: LeafAddresses;
  readonly #troubles: LeafTroubles;
  readonly #interest: LeafInterest;
  readonly #hello: Hello | undefined;
  readonly #stopped = new AbortController();
  readonly #totals = new LeafTotals();
  #connects = 0;
  #running: Promise<void> | undefined;
  #session: LeafSession | undefined;
  /** Of the present connection: the hub has let us in. */
  #stands = false;
  #detail = 'not started';
  /** Not dialled next, where there is another. */
  #avoid: LeafAddress | undefined;
  #settled: Cancel = () => undefined;
  /** The hub has no time for a login behind an agreement on compression. */
  #plainly = false;
  /** What the hub let us do when it last said so. */
  #terms = '';

  constructor(config: LeafConfig, parts: LeafParts) {
    const { clock, random } = parts;
    this.#config = config;
    this.#parts = parts;
    this.#log = new LeafLog(parts.log, clock);
    const bounds = { baseMs: RECONNECT_BASE_MS, capMs: config.reconnectMaxMs };
    this.#backoff = new Backoff(bounds, random);
    this.#addresses = new LeafAddresses(config.urls, random);
    this.#troubles = new LeafTroubles(config.name, { clock, random });
    const { name, boundary, ownsConsumer } = config;
    const { broker, log } = parts;
    const owns = ownsConsumer === undefined ? {} : { ownsConsumer };
    this.#interest = new LeafInterest(boundary, { broker, clock, log, ...owns });
    const { domain } = boundary;
    const found = (other: string): void => this.#log.sharedDomain(domain, other);
    // The ID of a card that was copied is no longer one's own.
    const id = randomToken(random);
    if (domain !== undefined) this.#hello = new Hello({ domain, name, id, found }, clock);
  }

  /** Begins to connect, for ever. */
  start(): void {
    if (this.#running !== undefined) return;
    this.#detail = 'connecting';
    this.#running = this.#run();
  }

  /** Lets what waits leave, for a moment, and drops the connection. Resolves soon. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#session?.close(STOP_MS);
    await this.#running;
    this.#detail = 'stopped';
  }

  status(): LeafStatus {
    const session = this.#session;
    const { lines, ...counted } = this.#totals.with(session);
    const { deniedOutMsgs, deniedInMsgs, oversizeMsgs } = this.#interest.counters;
    const connects = this.#connects;
    return {
      connected: this.#stands,
      detail: this.#detail,
      problem: this.#troubles.problem ?? this.#otherProblem(),
      steps: connects + lines + counted.inMsgs + counted.outMsgs,
      hub: session !== undefined && this.#stands ? this.#view(session) : undefined,
      counters: { connects, ...counted, deniedOutMsgs, deniedInMsgs, oversizeMsgs },
    };
  }

  // --- dialling ---

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    const { clock } = this.#parts;
    while (!signal.aborted) {
      const pauseMs = await this.#connectOnce();
      // A timer may run before its time is up by a fraction; the loop must not spin whatever the delay.
      const ms = Math.max(1, this.#backoff.nextMs()) + pauseMs;
      if (!signal.aborted) await delay(clock, ms, signal);
    }
  }

  /** One connection from dialling to its end. Returns for how many ms at least to keep still. */
  async #connectOnce(): Promise<number> {
    const address = this.#addresses.next(this.#avoid);
    this.#avoid = undefined;
    let secret: Secret = { kind: 'none' };
    let stood = false;
    let line: LeafLine | undefined;
    let error: unknown;
    try {
      if (address === undefined) throw leafError('configuration', 'url in [leaf] names no address');
      secret = await readCredentials(this.#config.credentials, this.#log.exposed);
      line = await this.#dial(address);
      this.#session = this.#begin(line, address, secret);
      if (this.#stopped.signal.aborted) void this.#session.close(0);
      error = await this.#session.ended;
      stood = this.#over(this.#session);
      const hung = !stood && line.encrypted && error !== undefined && !(error instanceof LeafError);
      if (hung) error = hungUp(linkError(error, address.text));
    } catch (thrown) {
      line?.tcp.destroy();
      error = thrown;
    }
    if (error === undefined || this.#stopped.signal.aborted) return 0;
    const nowMs = this.#parts.clock.wallMs();
    const failure = asLeafError(error, address?.text ?? '', secret, nowMs);
    if (isLateLogin(failure)) this.#plainly = true;
    return this.#failed(failure, stood);
  }

  #dial(address: LeafAddress): Promise<LeafLine> {
    const { tls: files, keepAliveMs, compression, serverId } = this.#config;
    const options = {
      address,
      tls: () => readTls(files ?? {}, this.#log.exposed),
      tlsRequired: files !== undefined || address.tls,
      handshakeFirst: files?.handshakeFirst === true,
      compression: this.#plainly ? 'off' : compression,
      serverId,
      timeoutMs: Math.min(DIAL_MS, keepAliveMs),
      signal: this.#stopped.signal,
    };
    return dialLeaf(options, this.#parts.clock);
  }

  #begin(line: LeafLine, address: LeafAddress, secret: Secret): LeafSession {
    const { name, serverId, boundary, keepAliveMs } = this.#config;
    const { clock, random } = this.#parts;
    const domain = isShared(line.info, boundary.domain) ? undefined : boundary.domain;
    const options = {
      server: address.text,
      connect: loginLine({ name, serverId, domain }, secret, line.info),
      mark: randomToken(random),
      advertise: domain === undefined ? [] : [`$JS.${domain}.API.>`],
      loginMs: Math.min(DIAL_MS, keepAliveMs * LOGIN_SHARE),
      keepAliveMs,
    };
    const host: SessionHost = {
      up: (info, outbound) => this.#up(info, outbound, address, line),
      changed: (info) => this.#changed(info, address, line),
      complained: (error) => this.#complained(error),
    };
    return new LeafSession(line, options, host, clock);
  }

  // --- a connection stands, and ends ---

  #up(info: LeafInfo, outbound: PacedOutbound, address: LeafAddress, line: LeafLine): LeafTraffic {
    const { clock, onConnected } = this.#parts;
    const { domain } = this.#config.boundary;
    if (info.systemAccount) throw systemAccount(address.text);
    const shared = isShared(info, domain);
    this.#stands = true;
    this.#connects++;
    this.#addresses.reached(address);
    this.#takeTerms(info);
    this.#troubles.up(shared ? domain : undefined);
    this.#settled = clock.after(GOOD_MS, () => {
      this.#backoff.reset();
      this.#troubles.settled();
    });
    const { serverName: hub, remoteAccount: account } = info;
    const server = address.text;
    const since = new Date(clock.wallMs()).toISOString();
    this.#detail = `connected to ${hub} (${server}), account ${account ?? 'unknown'}, since ${since}`;
    this.#log.connected(server, info, line);
    if (shared) this.#log.hubsDomain(domain);
    this.#heardOf(info, address, line);
    this.#interest.open(outbound, info, { jetstream: !shared });
    this.#greet(info, outbound);
    onConnected?.(info);
    return {
      subscribe: (subject, queue) => this.#interest.subscribe(subject, queue),
      unsubscribe: (subject, queue) => this.#interest.unsubscribe(subject, queue),
      message: (message, queues) => {
        if (this.#hello?.take(message) !== true) this.#interest.message(message, queues);
      },
      denied: ({ what, subject }) => this.#interest.denied(what, subject),
    };
  }

  /** An operator who mends a permission of the hub need not restart us. Which server says it does not matter. */
  #takeTerms({ mayImport, mayExport }: LeafInfo): void {
    const terms = JSON.stringify([mayImport, mayExport]);
    if (terms === this.#terms) return;
    this.#terms = terms;
    this.#troubles.forgiven();
    this.#interest.forgive();
    const { domain, exports, imports } = this.#config.boundary;
    // Who is let send flow control has mirrors of the hub's streams; he may be meant to be reached by nobody.
    const mirrors = mayExport?.allow !== undefined && shutOut(mayExport, ['$JS.FC.>']).length === 0;
    const api = domain === undefined || mirrors ? [] : [`$JS.${domain}.API.>`];
    this.#log.shutOut(shutOut(mayExport, exports), shutOut(mayImport, [...api, ...imports]));
  }

  /** Says hello, where the hub lets us and the domain is ours. */
  #greet(info: LeafInfo, outbound: PacedOutbound): void {
    const hello = this.#hello;
    if (hello === undefined || isShared(info, this.#config.boundary.domain)) return;
    hello.open((subject, data) => {
      if (!isAllowed(info.mayExport, subject)) return;
      const frame = {
        subject,
        reply: undefined,
        headers: undefined,
        data,
        plain: true,
        queues: [],
      };
      outbound.message(frame, 'live');
    });
  }

  #changed(info: LeafInfo, address: LeafAddress, line: LeafLine): void {
    this.#heardOf(info, address, line);
    this.#takeTerms(info);
    this.#interest.changed(info);
    if (!info.lameDuck || this.#addresses.count < 2) return;
    this.#log.leaving(address.text);
    this.#avoid = address;
    void this.#session?.close(STOP_MS);
  }

  #heardOf(info: LeafInfo, address: LeafAddress, { encrypted }: LeafLine): void {
    if (info.leafnodeUrls !== undefined && info.leafnodeUrls.length > 0)
      this.#addresses.told(info.leafnodeUrls, address, encrypted);
  }

  /** A session has ended. Returns whether the hub had let us in. */
  #over(session: LeafSession): boolean {
    this.#totals.add(session);
    this.#session = undefined;
    const stood = this.#stands;
    this.#stands = false;
    this.#settled();
    if (!stood) return false;
    this.#detail = 'the connection has ended';
    this.#hello?.close();
    this.#interest.close();
    this.#parts.onLost?.();
    return true;
  }

  // --- what is said of it ---

  /** Returns for how many ms at least to keep still. */
  #failed(error: LeafError, stood: boolean): number {
    const pauseMs = Math.round(this.#troubles.failed(error, stood));
    this.#detail = error.message;
    if (error.kind === 'twin' && this.#troubles.twin !== undefined)
      this.#log.sharedName(this.#config.name, error, pauseMs);
    else this.#log.failed(error, pauseMs);
    return pauseMs;
  }

  #complained(error: LeafError): void {
    this.#troubles.complained(error);
    this.#log.complained(error);
  }

  #otherProblem(): string | null {
    const other = this.#hello?.other;
    if (other === undefined) return null;
    return `the gateway "${other}" has the JetStream domain "${this.#config.boundary.domain}" too: both answer what is asked of one. Give each gateway a domain of its own`;
  }

  #view({ hub, line, outbound }: LeafSession): LeafHubView {
    const { advertised, wanted, wantedSubjects } = this.#interest;
    return {
      name: hub.serverName,
      version: hub.version,
      domain: hub.domain,
      account: hub.remoteAccount ?? '',
      ip: line.tcp.remoteAddress ?? '',
      port: line.tcp.remotePort ?? 0,
      tls: line.encrypted,
      compression: line.compression === undefined ? 'off' : LEVEL,
      rttMs: outbound.rttMs,
      advertised,
      wanted,
      wantedSubjects,
      waitingBytes: outbound.waitingBytes,
    };
  }
}

/** The hub cannot reach our JetStream by a domain that is its own. */
function isShared({ domain }: LeafInfo, ours: string | undefined): boolean {
  return ours !== undefined && domain === ours;
}
