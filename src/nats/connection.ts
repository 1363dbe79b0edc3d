// One client from INFO to its end, on any Duplex. What it says is done in the order in which it says it; what has to wait
// (for the disk, for others who read slowly) stops the reading, so nothing piles up here. A client that breaks the
// protocol hears why, where nats-server says it, and is closed.

import type { Duplex } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import type { Message } from '../message.ts';
import type { NatsUser } from './auth.ts';
import { NO_CONNECT, readConnect, refusal, type ConnectOptions } from './connect.ts';
import { errorLine, infoLine, OK, PONG, wire } from './encoder.ts';
import { info, type Greeting, type Peer } from './info.ts';
import { Liveness } from './liveness.ts';
import { Outbox } from './outbox.ts';
import { Parser, ProtocolError, type Listener } from './parser.ts';
import { Rights } from './permissions.ts';
import { Publishing, type Publisher } from './publishing.ts';
import type { Shared } from './shared.ts';
import { Subscription, Subscriptions } from './subscriptions.ts';

/** Reasons not to read on. */
const Pause = { window: 1, total: 2, stall: 4, stopping: 8 } as const;

/** The listener, which counts its connections. */
export interface Host {
  /** It has logged in, or need not. */
  entered(connection: Connection): void;
  /** No longer a client; its socket may still be open for our last words. */
  closed(connection: Connection): void;
  gone(connection: Connection): void;
  /** All clients together have too much to read. */
  overfull(): void;
}

export class Connection implements Listener, Publisher {
  readonly peer: Peer;
  readonly greeting: Greeting;
  readonly sinceMs: number;
  /** Messages and bytes of this client. */
  readonly counters = { inMsgs: 0, inBytes: 0, outMsgs: 0, outBytes: 0 };
  options: ConnectOptions = NO_CONNECT;
  rights: Rights | undefined;
  user: NatsUser | undefined;
  readonly #stream: Duplex;
  readonly #shared: Shared;
  readonly #host: Host;
  readonly #parser: Parser;
  readonly #outbox: Outbox;
  readonly #subscriptions: Subscriptions;
  readonly #publishing: Publishing;
  readonly #liveness: Liveness;
  #phase: 'entering' | 'open' | 'closed' = 'entering';
  #connected = false;
  /** The second INFO follows the first PONG. */
  #greeted = false;
  #pauses = 0;

  /** Greets the client, unless it has been `greeted` before its TLS began. */
  constructor(
    stream: Duplex,
    shared: Shared,
    host: Host,
    { peer, greeting, greeted }: { peer: Peer; greeting: Greeting; greeted: boolean },
  ) {
    this.#stream = stream;
    this.#shared = shared;
    this.#host = host;
    this.peer = peer;
    this.greeting = greeting;
    this.sinceMs = shared.clock.monotonicMs();
    const { broker, limits, budgets } = shared;
    this.#parser = new Parser(this, limits, shared.partials);
    this.#outbox = new Outbox(stream, shared, (left) => this.#written(left));
    this.#subscriptions = new Subscriptions(broker, limits, budgets);
    this.#publishing = new Publishing(this, shared, this.#subscriptions);
    this.#liveness = new Liveness(limits, this.sinceMs, peer.tls);
    stream.on('data', (chunk: Buffer) => this.#read(chunk));
    stream.on('end', () => this.close('the client closed the connection'));
    stream.on('error', (error) => this.close(error.message));
    stream.on('close', () => {
      this.close('the client closed the connection');
      host.gone(this);
    });
    this.#parser.awaitsConnect = shared.users.required;
    if (!greeted) this.send(infoLine(info(shared, greeting, peer)));
  }

  get isClosed(): boolean {
    return this.#phase === 'closed';
  }

  get echo(): boolean {
    return this.options.echo;
  }

  get pendingBytes(): number {
    return this.#outbox.pendingBytes;
  }

  /** See Receiver. */
  get unreadBytes(): number {
    return this.#outbox.pendingBytes;
  }

  get subscriptions(): Subscriptions {
    return this.#subscriptions;
  }

  get publishesInFlight(): number {
    return this.#publishing.inFlight;
  }

  /** Round-trip time of the last PING, and since when nothing came; milliseconds. */
  get rttMs(): number | undefined {
    return this.#liveness.rttMs;
  }

  get lastInMs(): number {
    return this.#liveness.lastInMs;
  }

  /** It may begin: nobody has to log in. */
  enter(): void {
    this.#phase = 'open';
    this.#host.entered(this);
  }

  // --- what the client says ---

  connect(json: string): void {
    const options = readConnect(json, this.options);
    const { users, counters } = this.#shared;
    if (this.#connected) this.#subscriptions.clear();
    const user = users.check(options.login, this.greeting.nonce);
    if (user === 'refused') {
      counters.authErrors++;
      this.#shared.warn('a NATS client was refused: wrong login', { ip: this.peer.ip });
      throw new ProtocolError('wrong login', 'Authorization Violation');
    }
    const wrong = refusal(options);
    if (wrong !== undefined) throw new ProtocolError(wrong, wrong);
    this.options = options;
    this.#admit(user);
    this.#connected = true;
    this.#parser.awaitsConnect = false;
    if (this.#phase === 'entering') this.enter();
    if (options.verbose) this.send(OK);
  }

  #admit(user: NatsUser | undefined): void {
    this.user = user;
    const { limits, clock } = this.#shared;
    this.rights =
      user?.permissions === undefined
        ? undefined
        : new Rights(user.permissions, limits.repliesMax, () => clock.monotonicMs());
  }

  announced(headerBytes: number, totalBytes: number, subject: string): void {
    if (headerBytes >= 0 && !this.options.headers)
      throw new ProtocolError('HPUB of a client without headers');
    if (totalBytes > this.#shared.limits.payloadBytesMax)
      throw new ProtocolError(`a message of ${totalBytes} bytes`, 'Maximum Payload Violation');
    if (this.options.pedantic && !isLiteral(subject))
      this.send(errorLine('Invalid Publish Subject'));
  }

  publish(
    subject: string,
    reply: string | undefined,
    headers: Buffer | undefined,
    data: Buffer,
  ): void {
    const bytes = data.length + (headers?.length ?? 0);
    this.counters.inMsgs++;
    this.counters.inBytes += bytes;
    this.#shared.counters.inMsgs++;
    this.#shared.counters.inBytes += bytes;
    this.#publishing.publish(subject, reply, headers, data);
  }

  subscribe(subject: string, queue: string | undefined, sid: string): void {
    if (this.rights?.maySubscribe(subject, queue) === false)
      return this.deny(subscriptionViolation(subject, queue));
    const sifted = this.rights?.isSifted(subject, queue) ?? false;
    const refused = this.#subscriptions.add(
      new Subscription(this, subject, queue, { sid, sifted }),
    );
    if (refused !== undefined) this.send(errorLine(refused));
    else if (this.options.verbose) this.send(OK);
  }

  unsubscribe(sid: string, max: number): void {
    if (this.options.verbose) this.send(OK);
    this.#subscriptions.remove(sid, max);
  }

  ping(): void {
    this.send(PONG);
    if (this.#greeted || !this.#connected) return;
    this.#greeted = true;
    if (this.options.protocol < 1) return;
    const more = { connect_info: true, remote_account: '$G' };
    this.send(infoLine(info(this.#shared, this.greeting, this.peer, more)));
  }

  pong(): void {
    this.#liveness.answered(this.#shared.clock.monotonicMs());
  }

  // --- what the client gets ---

  send(text: string): void {
    this.#outbox.send(text);
  }

  deny(text: string): void {
    this.#shared.counters.permissionViolations++;
    this.send(errorLine(text));
    const { user, peer } = this;
    this.#shared.warn('NATS clients try what they may not do', {
      user: user?.user,
      ip: peer.ip,
      error: text,
    });
  }

  mayReceive(subject: string, queue: string | undefined): boolean {
    return this.rights?.mayReceive(subject, queue) ?? true;
  }

  receive(subscription: Subscription, message: Message, from: object | undefined): void {
    const { encoder, counters } = this.#shared;
    const { verb, bytes, text, buffers } = encoder.tail(message, this.options.headers);
    this.counters.outMsgs++;
    this.counters.outBytes += bytes;
    counters.outMsgs++;
    counters.outBytes += bytes;
    if (message.reply !== undefined) this.rights?.received(message.reply);
    const outbox = this.#outbox;
    outbox.send(verb + subscription.prefix(message.subject, wire) + text);
    if (buffers !== undefined) {
      for (const buffer of buffers) outbox.sendBuffer(buffer);
      outbox.send('\r\n');
    }
    if (outbox.congested && from instanceof Connection) from.#stall();
  }

  receiveText(subscription: Subscription, subject: string, text: string): void {
    const { counters } = this.#shared;
    const bytes = text.length;
    this.counters.outMsgs++;
    this.counters.outBytes += bytes;
    counters.outMsgs++;
    counters.outBytes += bytes;
    this.#outbox.send(`MSG ${subject}${subscription.middle(bytes, wire)}${text}\r\n`);
  }

  /** The server stops: clients look for another one, where they have one. */
  announceStop(): void {
    if (this.#phase !== 'open' || this.options.protocol < 1) return;
    this.send(infoLine(info(this.#shared, this.greeting, this.peer, { ldm: true })));
  }

  #written(left: boolean): void {
    if (left) this.#liveness.left();
    const { limits, pending } = this.#shared;
    if (this.#outbox.pendingBytes > limits.pendingBytesMax) this.cut('too much waits for it');
    else if (pending.exceeded) this.#host.overfull();
  }

  // --- reading ---

  #read(chunk: Buffer): void {
    if (this.#phase === 'closed') return;
    this.#liveness.heard(this.#shared.clock.monotonicMs());
    this.#guard(() => this.#parser.parse(chunk));
  }

  /** Closes the connection when `step` finds the client at fault. */
  #guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#shared.counters.protocolErrors++;
      this.#shared.log.debug(
        { cid: this.greeting.clientId, reason: error.message },
        'a NATS client broke the protocol',
      );
      this.close(error.message, error.answer ?? '');
    }
  }

  crowded(): void {
    const { window } = this.#shared;
    if (this.#publishing.full) this.#pause(Pause.window);
    if (!window.full || (this.#pauses & Pause.total) !== 0) return;
    this.#pause(Pause.total);
    window.wait(() => this.#unpause(Pause.total));
  }

  settled(): void {
    if (this.#publishing.roomy) this.#unpause(Pause.window);
    this.#closeWhenAnswered();
  }

  #stall(): void {
    if ((this.#pauses & Pause.stall) !== 0 || this.#phase === 'closed') return;
    this.#shared.counters.stalls++;
    this.#pause(Pause.stall);
    this.#shared.clock.after(this.#shared.limits.stallMs, () => this.#unpause(Pause.stall));
  }

  #pause(reason: number): void {
    this.#pauses |= reason;
    this.#parser.pause();
    this.#stream.pause();
  }

  #unpause(reason: number): void {
    if ((this.#pauses & reason) === 0) return;
    this.#pauses &= ~reason;
    if (this.#pauses !== 0 || this.#phase === 'closed') return;
    // In a turn of its own: this may be a callback of the disk, no place to publish from.
    this.#shared.clock.soon(() => {
      if (this.#phase === 'closed' || this.#pauses !== 0) return;
      this.#guard(() => this.#parser.resume());
      if (this.#pauses === 0 && !this.isClosed) this.#stream.resume();
    });
  }

  // --- its end ---

  /** Looks at the time: CONNECT, PING, our last words. */
  tick(nowMs: number): void {
    const { counters } = this.#shared;
    if (this.#phase !== 'closed' && this.#pauses !== 0) this.#liveness.heard(nowMs);
    const phase = this.#phase;
    switch (this.#liveness.look(nowMs, phase, this.#outbox.pendingBytes)) {
      case 'late':
        counters.authTimeouts++;
        return this.close('no CONNECT in time', 'Authentication Timeout');
      case 'stale':
        counters.staleConnections++;
        return this.close('it answers no PING', 'Stale Connection');
      case 'stuck':
        return this.cut('it reads nothing');
      case 'ping':
        return this.send('PING\r\n');
      case 'linger':
        this.#stream.destroy();
        return;
      case 'fine':
    }
  }

  /** Closes a client whose user is gone; ends the subscriptions that its user may not have any more. */
  checkUser(): void {
    if (this.#phase !== 'open') return;
    const { users } = this.#shared;
    const next = this.user === undefined ? undefined : users.successor(this.user);
    if (next === undefined && (this.user !== undefined || users.required))
      return this.close('its user may no longer connect', 'Authorization Violation');
    if (isDeepStrictEqual(next?.permissions, this.user?.permissions)) return;
    this.#admit(next);
    for (const subscription of this.#subscriptions.all) {
      const { subject, queue, sid } = subscription;
      subscription.sifted = this.rights?.isSifted(subject, queue) ?? false;
      if (this.rights?.maySubscribe(subject, queue) !== false) continue;
      subscription.end();
      this.deny(`${subscriptionViolation(subject, queue)} (sid "${sid}")`);
    }
  }

  /** Reads no more, lets the answers to what was taken leave, and closes. */
  drain(): void {
    if (this.#phase === 'closed') return;
    this.#pause(Pause.stopping);
    this.#closeWhenAnswered();
  }

  #closeWhenAnswered(): void {
    if ((this.#pauses & Pause.stopping) === 0 || this.#publishing.inFlight > 0) return;
    this.close('stopping', '');
  }

  destroy(): void {
    this.close('destroyed');
    this.#stream.destroy();
  }

  /** A client that does not read what it gets is closed without a word: it would not read that either. */
  cut(reason: string): void {
    if (this.#phase === 'closed') return;
    this.#shared.counters.slowConsumers++;
    this.#shared.warn('a NATS client reads too slowly and was cut off (slow consumer)', {
      reason,
      name: this.options.name,
      ip: this.peer.ip,
      pendingBytes: this.#outbox.pendingBytes,
    });
    this.destroy();
  }

  /** Ends the connection. With `farewell`, the text of a last -ERR or nothing, what was sent still reaches the client. */
  close(reason: string, farewell?: string): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    this.#shared.log.debug({ cid: this.greeting.clientId, reason }, 'NATS connection closed');
    this.#liveness.heard(this.#shared.clock.monotonicMs());
    this.#parser.close();
    this.#subscriptions.clear();
    this.#host.closed(this);
    if (farewell !== undefined && farewell !== '') this.send(errorLine(farewell));
    this.#outbox.close(farewell !== undefined);
    if (farewell === undefined) this.#stream.destroy();
    else this.#stream.end();
    // What still comes is read and dropped: a reset would take our last words from the client.
    this.#stream.resume();
  }
}

function subscriptionViolation(subject: string, queue: string | undefined): string {
  const group = queue === undefined ? '' : ` using queue "${queue}"`;
  return `Permissions Violation for Subscription to "${subject}"${group}`;
}

/** Whether `subject` could be published to, with no look at its length. */
function isLiteral(subject: string): boolean {
  return subject.split('.').every((token) => token !== '' && token !== '*' && token !== '>');
}
