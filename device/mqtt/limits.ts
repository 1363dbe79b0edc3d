// Every limit of the listener, with its default and the reason for it. A gateway has some 1 GiB of memory and an SD card;
// its devices are tens to hundreds, not millions.

const KIB = 1024;
const MIB = 1024 * KIB;

export interface MqttLimits {
  /** Connected clients. Beyond it CONNACK 0x89 (3 before 5.0). Idle ones cost some 10 KiB each: 100 MiB of a gateway's memory. */
  connectionsMax: number;
  /** Sockets without a whole CONNECT yet. Beyond it the oldest is closed: an honest client sends CONNECT at once. */
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

  /**
   * PUBLISHes of one client that wait for the disk: its Receive Maximum. Beyond either we stop reading its socket until acks
   * return; a 5.0 client that leaves as many QoS 2 messages unreleased is closed with 0x93.
   */
  publishesInFlightMax: number;
  publishBytesInFlightMax: number;
  /** The same for all clients together: a third of what the store takes before it refuses. */
  publishesInFlightTotalMax: number;
  publishBytesInFlightTotalMax: number;

  /**
   * QoS 2 messages of one session that were taken and not released. A client before 5.0 may send all it has before its
   * PUBRELs: beyond it gets no PUBREC, and sends them again when it connects again.
   */
  receivedMax: number;

  /** Topic Aliases of one connection, each way: devices have few topics, and each costs a string. */
  topicAliasesMax: number;
  /** The longest keep-alive of a 5.0 client, which is told so; 0: its own holds. */
  keepAliveSecondsMax: number;

  /** Bytes in a Client Identifier: generous, but it is a key in three places. */
  clientIdBytesMax: number;
  /** Persistent sessions, away or not. Beyond it a new one gets CONNACK 3: an old one may still come back for its messages. */
  sessionsMax: number;
  /** The longest that a session outlives its connection; 0xFFFFFFFF: for ever, where the client wishes it. */
  sessionExpirySecondsMax: number;
  /**
   * Subscriptions of one session, and of all; one with many levels, or a long one, counts as many. Beyond it SUBACK 0x97
   * (0x80 before 5.0).
   */
  sessionSubscriptionsMax: number;
  subscriptionsMax: number;

  /** Unread output of one client. Beyond it QoS 0 is dropped and QoS 1 stays queued. */
  outputBytesMax: number;
  /** Unread output at which the connection is closed: the client reads nothing at all. */
  outputBytesCut: number;
  /**
   * Unread output of all clients: 256 that do not read. Beyond it each has room for `outputBytesFair` only; with more than
   * `outputBytesMax` it is closed where it reads nothing from one tick to the next. When these shares are used up, too,
   * nobody is sent more until others have read, and more than its share is enough to be closed for.
   */
  outputBytesTotalMax: number;
  outputBytesFair: number;

  /** Deliveries sent and not yet acknowledged by one client. */
  deliveriesInFlightMax: number;
  deliveryBytesInFlightMax: number;
  /** Deliveries at QoS 2 to a client older than 5.0, which cannot say what it takes: mosquitto's default, and its bridges lose more. */
  deliveriesInFlightTwiceMax: number;
  /** Queued QoS 1 messages of a persistent session; beyond it the newest is dropped. A day of one message in 9 s. */
  queuedMessagesMax: number;
  queuedBytesMax: number;
  /** What goes when a queue is full: the message that comes, or the oldest that wait. */
  queueDiscard: 'new' | 'old';
  /** Messages of all queues together: the smallest row has 4 bytes, and costs 100 more in the table or in memory. */
  queuedMessagesTotalMax: number;
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
  connectionsMax: 10_000,
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
  receivedMax: 10_000,
  topicAliasesMax: 32,
  keepAliveSecondsMax: 0,
  clientIdBytesMax: 256,
  sessionsMax: 10_000,
  sessionExpirySecondsMax: 0xffff_ffff,
  sessionSubscriptionsMax: 500,
  subscriptionsMax: 100_000,
  outputBytesMax: 256 * KIB,
  outputBytesCut: 4 * MIB,
  outputBytesTotalMax: 64 * MIB,
  outputBytesFair: 8 * KIB,
  deliveriesInFlightMax: 100,
  deliveryBytesInFlightMax: 256 * KIB,
  deliveriesInFlightTwiceMax: 20,
  queuedMessagesMax: 10_000,
  queuedBytesMax: 16 * MIB,
  queueDiscard: 'new',
  queuedMessagesTotalMax: 500_000,
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

  /**
   * Whether an owner of `own` bytes may have so many more: no owner gets more than it leaves to the others. One alone has half,
   * two have a third each; so who does not read never takes the room of who does.
   */
  allows(own: number, bytes: number): boolean {
    return own + bytes <= this.max - this.#used;
  }

  /** Takes `bytes` even beyond the maximum: for what is on the disk already. */
  force(bytes: number): void {
    this.#used += bytes;
  }

  give(bytes: number): void {
    this.#used -= bytes;
  }
}
