// Every limit of the NATS listener, with its default and the reason for it. Where nats-server has the same limit, the
// default is its own, unless that is no size for a gateway with 1 GiB of memory.

const KIB = 1024;
const MIB = 1024 * KIB;

export interface NatsLimits {
  /** Clients. Beyond it `maximum connections exceeded`. Systemd's usual soft limit is 1,024 files. */
  connectionsMax: number;
  /** WebSockets among them, and requests for one. A begun frame is held whole, up to the largest message, before we see it. */
  webSocketsMax: number;
  /** Sockets that have to log in and have not. Beyond it the oldest is closed: an honest client sends CONNECT at once. */
  halfOpenMax: number;
  /** Time for CONNECT where there are users; one second more with TLS. */
  authTimeoutMs: number;
  /** How long a closed connection may take to read our last words. */
  lingerMs: number;

  /** Headers and data of one message: what a stream takes, and a hub with the usual `max_payload`. */
  payloadBytesMax: number;
  /** The arguments of one protocol line. */
  controlLineBytesMax: number;
  /** Bytes of begun messages of all connections, beyond 4 KiB each. Whoever would exceed it is closed. */
  partialBytesMax: number;

  /** Publishes of one client that wait for the disk. Beyond either we stop reading its socket. */
  publishesInFlightMax: number;
  publishBytesInFlightMax: number;
  /** The same for all clients together: a third of what the store takes before it refuses. */
  publishesInFlightTotalMax: number;
  publishBytesInFlightTotalMax: number;

  /** Subscriptions of one client, and of all. Beyond it `maximum subscriptions exceeded`. */
  subscriptionsMax: number;
  subscriptionsTotalMax: number;
  /** Tokens in the subjects of all subscriptions: each may cost a node of the tree, some 300 bytes. */
  subscriptionTokensTotalMax: number;
  /** Subjects to which a client with `allow_responses` may answer at a time; beyond it the oldest is forgotten. */
  repliesMax: number;

  /** Bytes that one client has not read. Beyond it the client is cut off: a slow consumer. */
  pendingBytesMax: number;
  /** The same over all clients. Beyond it the one with most of them is cut off. */
  pendingBytesTotalMax: number;
  /** A client that takes none of what waits for it for this long is cut off. */
  writeDeadlineMs: number;
  /** How long whoever publishes to a client that is three quarters full is not read. */
  stallMs: number;

  /** A client that was silent for this long is asked whether it is there. */
  pingIntervalMs: number;
  /** Unanswered PINGs; one more and the connection is stale. */
  pingsOutMax: number;
}

export const DEFAULT_LIMITS: Readonly<NatsLimits> = {
  connectionsMax: 1024,
  webSocketsMax: 128,
  halfOpenMax: 256,
  authTimeoutMs: 2000,
  lingerMs: 1000,
  payloadBytesMax: MIB,
  controlLineBytesMax: 4096,
  partialBytesMax: 16 * MIB,
  publishesInFlightMax: 16_384,
  publishBytesInFlightMax: 4 * MIB,
  publishesInFlightTotalMax: 32_768,
  publishBytesInFlightTotalMax: 6 * MIB,
  subscriptionsMax: 20_000,
  subscriptionsTotalMax: 100_000,
  subscriptionTokensTotalMax: 400_000,
  repliesMax: 4096,
  pendingBytesMax: 16 * MIB,
  pendingBytesTotalMax: 64 * MIB,
  writeDeadlineMs: 10_000,
  stallMs: 10,
  pingIntervalMs: 120_000,
  pingsOutMax: 2,
};

/** A number of bytes that all connections share. */
export class Budget {
  readonly max: number;
  #used = 0;

  constructor(max: number) {
    this.max = max;
  }

  get used(): number {
    return this.#used;
  }

  get exceeded(): boolean {
    return this.#used > this.max;
  }

  /** Takes `bytes`, or returns false and takes nothing. */
  take(bytes: number): boolean {
    if (this.#used + bytes > this.max) return false;
    this.#used += bytes;
    return true;
  }

  /** Takes `bytes` (gives them back if negative) even beyond the maximum: somebody is about to do something about it. */
  add(bytes: number): void {
    this.#used += bytes;
  }
}

/** Publishes that wait for the disk, together. Whoever would publish more waits until half of the room is free again. */
export class PublishWindow {
  readonly #messagesMax: number;
  readonly #bytesMax: number;
  #waiting: (() => void)[] = [];
  #messages = 0;
  #bytes = 0;

  constructor(messagesMax: number, bytesMax: number) {
    this.#messagesMax = messagesMax;
    this.#bytesMax = bytesMax;
  }

  get messages(): number {
    return this.#messages;
  }

  get full(): boolean {
    return this.#messages >= this.#messagesMax || this.#bytes >= this.#bytesMax;
  }

  open(bytes: number): void {
    this.#messages++;
    this.#bytes += bytes;
  }

  /** One is answered, or nobody was going to. */
  settle(bytes: number): void {
    this.#messages--;
    this.#bytes -= bytes;
    if (this.#waiting.length === 0) return;
    if (this.#messages * 2 > this.#messagesMax || this.#bytes * 2 > this.#bytesMax) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  /** Calls `resume` once there is room. */
  wait(resume: () => void): void {
    this.#waiting.push(resume);
  }
}
