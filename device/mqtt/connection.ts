// One connection from its first byte to its end, on any Duplex: when it is read, how it is let in, what its silence means
// and how it is closed. What the client says is the dialog's (dialog.ts). A peer that breaks the protocol is closed; 5.0 is
// told why.

import type { Duplex } from 'node:stream';
import { assert } from '../../src/assert.ts';
import type { Peer } from './access/types.ts';
import { termsOf, type Refusal } from './connect.ts';
import { Dialog, type Line } from './dialog.ts';
import { Entry, type Client, type Entrance } from './entry.ts';
import { Flow, Pause } from './flow.ts';
import { Outbox } from './outbox.ts';
import { disconnectPacket, faultOf, refusalPacket } from './reasons.ts';
import type { Closing, Link } from './session/types.ts';
import type { Shared } from './shared.ts';
import { decodeConnect } from './wire/connect-packet.ts';
import { FrameReader, type FrameTaker } from './wire/frames.ts';
import { PacketType } from './wire/packet-type.ts';
import { ProtocolError } from './wire/protocol-error.ts';
import { ReasonCode } from './wire/reason-codes.ts';
import { remainingMax } from './wire/remaining-max.ts';
import type { Version } from './wire/types.ts';

const DISCARD_WILL: Closing = { will: 'discard' };
const PUBLISH_WILL: Closing = { will: 'publish' };
/** A client that has said nothing for so long may wait for what it says next. */
const REST_MS = 10_000;
const NOTHING = Buffer.alloc(0);
const NO_TRAFFIC: Dialog['traffic'] = Object.freeze({
  inMsgs: 0,
  inBytes: 0,
  outMsgs: 0,
  outBytes: 0,
});

/** The listener, which counts its connections. */
export interface Host {
  /** Whether one more client may connect; `instead` of another connection of the same client. */
  admits(instead: boolean): boolean;
  /** Its CONNECT has come. */
  entering(connection: Connection): void;
  connected(connection: Connection): void;
  /** No longer a client; its socket may still be open for our last words. */
  closed(connection: Connection): void;
  gone(connection: Connection): void;
}

type Phase = 'connecting' | 'entering' | 'connected' | 'closed';

export class Connection implements Entrance, FrameTaker, Line {
  readonly peer: Peer;
  /** Given by the listener when it has connected. */
  id = 0;
  readonly openedMs: number;
  readonly flow: Flow;
  readonly outbox: Outbox;
  readonly #stream: Duplex;
  readonly #shared: Shared;
  readonly #host: Host;
  readonly #reader: FrameReader;
  #phase: Phase = 'connecting';
  /** From CONNECT on. */
  #dialog: Dialog | undefined;
  #entry: Entry | undefined;
  /** When the last bytes came; before CONNECT, when the socket was opened; once closed, when we closed it. */
  #sinceMs: number;
  #cut = false;
  /** A write has gone to the system since the last look. */
  #hasRead = true;

  constructor(stream: Duplex, peer: Peer, shared: Shared, host: Host) {
    this.#stream = stream;
    this.peer = peer;
    this.#shared = shared;
    this.#host = host;
    this.openedMs = this.#sinceMs = shared.clock.monotonicMs();
    this.#reader = new FrameReader(this, shared.partials);
    this.flow = new Flow(shared, stream, this.#reader, (step) => this.#guard(step));
    this.outbox = new Outbox(stream, shared.clock, shared.output, () => {
      this.#hasRead = true;
      if (this.connected) this.client?.session.pump();
    });
    stream.on('data', (chunk: Buffer) => this.#read(chunk));
    stream.on('end', () => this.close('the client closed the connection'));
    stream.on('error', (error) => this.close(error.message));
    stream.on('close', () => {
      this.close('the client closed the connection');
      this.#host.gone(this);
    });
  }

  get connected(): boolean {
    return this.#phase === 'connected';
  }

  /** Who it is; undefined before its session is open. */
  get client(): Client | undefined {
    return this.#dialog?.client;
  }

  get clientId(): string | undefined {
    return this.client?.session.clientId;
  }

  /** Undefined before CONNECT. */
  get version(): Version | undefined {
    return this.#dialog?.version;
  }

  get traffic(): Dialog['traffic'] {
    return this.#dialog?.traffic ?? NO_TRAFFIC;
  }

  /** When the last bytes came, of a client that is connected. */
  get lastInMs(): number {
    return this.#sinceMs;
  }

  /** Bytes that the client has not read, as far as we can know. */
  get unreadBytes(): number {
    return this.outbox.bytes;
  }

  /** Looks at the time: CONNECT, keep-alive, our last words. */
  tick(nowMs: number): void {
    const { limits, counters } = this.#shared;
    const idleMs = nowMs - this.#sinceMs;
    if (this.#phase === 'connected') this.#tickConnected(nowMs, idleMs);
    else if (this.#phase === 'connecting' && idleMs >= limits.connectTimeoutMs) {
      counters.connectTimeouts++;
      this.close('no CONNECT in time');
    } else if (this.#phase === 'closed' && idleMs >= limits.lingerMs) this.destroy();
  }

  #tickConnected(nowMs: number, idleMs: number): void {
    const { counters, store } = this.#shared;
    // A client whose window is full of refused messages sends nothing more; it sends them again when it reconnects.
    if (this.#dialog?.isRefusedByDisk === true && store.hasRoom?.() === true)
      return this.close('what was refused may be taken now');
    if (this.#isHog()) {
      counters.slowReaders++;
      return this.close('the client does not read');
    }
    this.#dialog?.feed();
    if (this.flow.paused) {
      this.#sinceMs = nowMs; // It is we who do not read.
      return;
    }
    if (idleMs >= REST_MS) this.#dialog?.rest();
    const keepAliveMs = this.#dialog?.terms.keepAliveMs ?? 0;
    if (keepAliveMs === 0 || idleMs <= 1.5 * keepAliveMs) return;
    counters.keepAliveTimeouts++;
    this.disconnect(ReasonCode.keepAliveTimeout, 'keep-alive timeout'); // [MQTT-3.1.2-22]
  }

  /** Whether it has read nothing since the last look, of so much that others have to wait. */
  #isHog(): boolean {
    const unread = this.outbox.bytes;
    const isDeaf = !this.#hasRead && unread > this.#shared.output.hogBytes;
    this.#hasRead = unread === 0;
    return isDeaf;
  }

  /** Other users or rules are in force: closes a client that could not connect any more. */
  renewAccess(): void {
    const { client } = this;
    if (client === undefined || this.#shared.logins.renew(client.admitted)) return;
    this.disconnect(ReasonCode.notAuthorized, 'its user may no longer connect');
  }

  /** Reads no more, lets the answers to what was taken leave, and closes. */
  drain(): void {
    if (this.#phase === 'closed') return;
    if (this.client === undefined) return this.close('stopping');
    this.flow.pause(Pause.stopping);
    this.answered();
  }

  destroy(): void {
    this.close('destroyed');
    this.#stream.destroy();
  }

  /** Ends the connection; its Will is published unless `closing` says otherwise. With `farewell` the peer gets to read it. */
  close(reason: string, farewell?: Buffer, closing: Closing = PUBLISH_WILL): void {
    if (this.#phase === 'closed') return;
    const { clock, log, sessions, counters } = this.#shared;
    log.debug({ clientId: this.clientId, reason }, 'MQTT connection closed');
    const wasConnected = this.#phase === 'connected';
    this.#phase = 'closed';
    this.#sinceMs = clock.monotonicMs();
    this.#entry?.close();
    this.#entry = undefined;
    const session = this.client?.session;
    // Who never got a CONNACK leaves no Will.
    if (session !== undefined)
      sessions.close(
        session,
        this.link,
        wasConnected && this.#mayLeaveWill() ? closing : { ...closing, ...DISCARD_WILL },
      );
    this.#host.closed(this);
    if (farewell !== undefined) {
      if (farewell.length > 0) {
        counters.outPackets++;
        counters.outPacketBytes += farewell.length;
        this.outbox.send(farewell);
      }
      this.outbox.flush();
    }
    this.outbox.close();
    if (farewell === undefined) this.#stream.destroy();
    else this.#stream.end();
    this.flow.close();
  }

  /** It was permitted at CONNECT; the rules may have changed since. */
  #mayLeaveWill(): boolean {
    const { client } = this;
    const will = client?.session.will;
    return will === undefined || client?.access.mayPublish(will.message.subject) === true;
  }

  disconnect(reasonCode: number, reason: string): void {
    const terms = this.connected ? this.#dialog?.terms : undefined;
    if (terms?.version !== 5) return this.close(reason);
    this.close(reason, disconnectPacket(reasonCode, reason, terms.packetBytesMax));
  }

  remainingMax(first: number): number {
    return remainingMax(first, this.version, this.#shared.limits);
  }

  take(frame: Buffer, start: number): void {
    this.#shared.counters.inPackets++;
    if (this.#dialog !== undefined) this.#dialog.take(frame, start);
    else if ((frame[0] ?? 0) >> 4 === PacketType.connect) this.#connect(frame, start);
  }

  #connect(frame: Buffer, start: number): void {
    const connect = decodeConnect(frame, start);
    const terms = termsOf(connect, this.#shared.limits);
    this.#dialog = new Dialog(this.#shared, terms, this);
    this.#phase = 'entering';
    this.#host.entering(this);
    this.flow.pause(Pause.entry);
    this.#entry = new Entry(this.#shared, connect, terms, this);
    this.#entry.begin();
  }

  admits(instead: boolean): boolean {
    return this.#host.admits(instead);
  }

  /** From CONNECT on. */
  get link(): Link {
    assert(this.#dialog !== undefined, 'a connection has a link from CONNECT on');
    return this.#dialog;
  }

  entered(client: Client): void {
    this.#dialog?.entered(client);
  }

  welcome(connack: Buffer): void {
    this.#shared.counters.connects++;
    this.#phase = 'connected';
    this.#entry = undefined;
    this.#sinceMs = this.#shared.clock.monotonicMs();
    this.#host.connected(this);
    this.#dialog?.send(connack);
    this.#dialog?.start();
    this.flow.unpause(Pause.entry);
    this.answered();
  }

  refuse(
    { reasonCode, reason }: Refusal,
    client: { clientId: string; user: string | undefined },
  ): void {
    this.#shared.counters.connectsRefused++;
    const fields = { ...client, ip: this.peer.ip };
    this.#shared.warn(`an MQTT client was refused: ${reason}`, fields);
    const terms = this.#dialog?.terms;
    if (terms === undefined) return this.close(reason);
    this.close(reason, refusalPacket(terms.version, reasonCode, reason, terms.packetBytesMax));
  }

  #read(chunk: Buffer): void {
    if (this.#phase === 'closed') return;
    this.#shared.counters.inPacketBytes += chunk.length;
    if (this.#phase === 'connected') {
      this.#sinceMs = this.#shared.clock.monotonicMs();
      this.flow.yieldToOthers();
    }
    this.#guard(() => this.#reader.read(chunk));
  }

  /** Closes the connection when `step` finds the peer at fault. */
  #guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      const reasonCode = faultOf(error);
      if (reasonCode === undefined || !(error instanceof Error)) throw error;
      this.#shared.counters.protocolErrors++;
      const { clientId } = this;
      const { ip } = this.peer;
      const reason = error.message;
      this.#shared.warn('an MQTT client broke the protocol and was closed', {
        clientId,
        ip,
        reason,
      });
      if (this.connected) this.disconnect(reasonCode, reason);
      else this.close(reason, this.#answerToFault(error, reasonCode));
    }
  }

  /** The CONNACK for a CONNECT that is at fault, where there is one. */
  #answerToFault(error: Error, reasonCode: number): Buffer | undefined {
    const isOfPacket = error instanceof ProtocolError;
    const version = isOfPacket ? error.connackVersion : this.version;
    if (version === undefined || (version !== 5 && !isOfPacket)) return undefined;
    const packetBytesMax = this.#dialog?.terms.packetBytesMax ?? Infinity;
    return refusalPacket(version, reasonCode, error.message, packetBytesMax);
  }

  sent(bytes: number): void {
    const { counters, limits } = this.#shared;
    counters.outPackets++;
    counters.outPacketBytes += bytes;
    if (this.#cut || this.outbox.bytes <= limits.outputBytesCut) return;
    this.#cut = true;
    // In a turn of its own: this may be the middle of a session's work.
    this.#shared.clock.soon(() => {
      if (this.#phase === 'closed') return;
      counters.slowReaders++;
      this.close('the client does not read');
    });
  }

  /** Closes a connection that is to end, once nothing is owed to its client. */
  answered(): void {
    if (!this.flow.has(Pause.stopping) || this.flow.has(Pause.entry | Pause.disk)) return;
    if ((this.#dialog?.waiting ?? 0) > 0 || this.#phase === 'closed') return;
    if (this.version === 5)
      this.disconnect(ReasonCode.serverShuttingDown, 'the server is stopping');
    else this.close('stopping', NOTHING);
  }
}
