// Every limit of the listener, with its default and the reason for it. A gateway has some 1 GiB of memory and an SD card;
// its devices are tens to hundreds, not millions.

const KIB = 1024;
const MIB = 1024 * KIB;

export interface MqttLimits {
  /** Connected clients. Beyond it CONNACK 3. Each costs 10 to 20 KiB, and systemd's usual soft limit is 1,024 files. */
  connectionsMax: number;
  /** Sockets without a CONNECT yet. Beyond it the oldest is closed: an honest client sends CONNECT at once. */
  halfOpenMax: number;
  /** Time for the whole CONNECT to arrive. */
  connectTimeoutMs: number;
  /** How long a refused or ended connection may take to read our last words before it is destroyed. */
  lingerMs: number;

  /** Remaining Length of a PUBLISH: nats-server's default max_payload, and more than sensors send. */
  packetBytesMax: number;
  /** Remaining Length of a CONNECT: a whole Will (64 KiB) with its topic, identifier and credentials. */
  connectBytesMax: number;
  /** Remaining Length of a SUBSCRIBE or UNSUBSCRIBE: hundreds of filters. */
  controlBytesMax: number;
  /** Bytes of begun packets of all connections, beyond 4 KiB each. Whoever would exceed it is closed. */
  partialBytesMax: number;

  /** PUBLISHes of one client that wait for the disk. Beyond either we stop reading its socket until acks return. */
  publishesInFlightMax: number;
  publishBytesInFlightMax: number;
  /** The same for all clients together: a third of what the store takes before it refuses. */
  publishesInFlightTotalMax: number;
  publishBytesInFlightTotalMax: number;

  /** Bytes in a Client Identifier: generous, but it is a key in three places. */
  clientIdBytesMax: number;
  /** Persistent sessions, away or not. Beyond it a new one gets CONNACK 3: an old one may still come back for its messages. */
  sessionsMax: number;
  /** Subscriptions of one session, and of all; beyond it SUBACK 0x80. */
  sessionSubscriptionsMax: number;
  subscriptionsMax: number;

  /** Unread output of one client. Beyond it QoS 0 is dropped and QoS 1 stays queued. */
  outputBytesMax: number;
  /** Unread output at which the connection is closed: the client reads nothing at all. */
  outputBytesCut: number;

  /** Deliveries sent and not yet acknowledged by one client. */
  deliveriesInFlightMax: number;
  deliveryBytesInFlightMax: number;
  /** Queued QoS 1 messages of a persistent session; beyond it the newest is dropped. A day of one message in 9 s. */
  queuedMessagesMax: number;
  queuedBytesMax: number;
  /** All persistent queues together, on the disk. They are read through once at start. */
  queuedBytesTotalMax: number;
  /** Queued QoS 1 messages of a clean session (in memory); beyond it the newest is dropped. */
  cleanQueuedMessagesMax: number;
  /** Queued bytes in memory: all clean sessions, and what persistent ones keep at hand. */
  memoryBytesTotalMax: number;

  /** Retained messages. Beyond either a message is routed but not retained. */
  retainedMax: number;
  retainedBytesMax: number;
}

export const DEFAULT_LIMITS: Readonly<MqttLimits> = {
  connectionsMax: 1024,
  halfOpenMax: 256,
  connectTimeoutMs: 5000,
  lingerMs: 1000,
  packetBytesMax: MIB,
  connectBytesMax: 80 * KIB,
  controlBytesMax: 64 * KIB,
  partialBytesMax: 16 * MIB,
  publishesInFlightMax: 1024,
  publishBytesInFlightMax: MIB,
  publishesInFlightTotalMax: 32_768,
  publishBytesInFlightTotalMax: 4 * MIB,
  clientIdBytesMax: 256,
  sessionsMax: 1000,
  sessionSubscriptionsMax: 500,
  subscriptionsMax: 10_000,
  outputBytesMax: 256 * KIB,
  outputBytesCut: 4 * MIB,
  deliveriesInFlightMax: 100,
  deliveryBytesInFlightMax: 256 * KIB,
  queuedMessagesMax: 10_000,
  queuedBytesMax: 16 * MIB,
  queuedBytesTotalMax: 64 * MIB,
  cleanQueuedMessagesMax: 1000,
  memoryBytesTotalMax: 16 * MIB,
  retainedMax: 10_000,
  retainedBytesMax: 16 * MIB,
};

/** A number of bytes that several owners share. */
export class Budget {
  readonly max: number;
  #used = 0;

  constructor(max: number) {
    this.max = max;
  }

  get used(): number {
    return this.#used;
  }

  /** Takes `bytes`, or returns false and takes nothing. */
  take(bytes: number): boolean {
    if (this.#used + bytes > this.max) return false;
    this.#used += bytes;
    return true;
  }

  /** Takes `bytes` even beyond the maximum: for what is on the disk already. */
  force(bytes: number): void {
    this.#used += bytes;
  }

  give(bytes: number): void {
    this.#used -= bytes;
  }
}
