// The way out of a pull consumer: requests that wait for messages. Every status that ends or refuses one is nats-server's,
// to the letter: clients compare them.

import type { Broker } from '../../broker.ts';
import type { Cancel, Clock } from '../../clock.ts';
import type { ConsumerEvents } from './consumer-events.ts';
import { formatGoDuration } from './go-duration.ts';
import { Pin } from './pin.ts';
import { PullQueue } from './pull-queue.ts';
import { parsePull, WaitingPull, type PullOrder } from './pull-request.ts';
import type { ConsumerConfig, Outlet, OutletHost, PullConfig, Target } from './types.ts';

/** A full queue is looked through for requests that nobody waits for any more, no more often than this. */
const FULL_SWEEP_MS = 1_000;
/** Requests that wait at one consumer, whatever its max_waiting says: some 300 bytes each. */
const PULLS_MAX = 16_384;
/** Requests that may wait where the configuration does not say. */
const WAITING_DEFAULT = 512;
const EMPTY = Buffer.alloc(0);

export interface PullDeps {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly events: ConsumerEvents;
}

export class PullOutlet implements Outlet {
  readonly bound = false;
  readonly messageBytesMax = Infinity;
  readonly pin: Pin;
  readonly #host: OutletHost;
  readonly #deps: PullDeps;
  #queue: PullQueue;
  #cancelTimer: Cancel | undefined;
  #timerMs = Infinity;
  #sweptMs = Number.NEGATIVE_INFINITY;
  /** Requests that end when there is nothing to deliver. */
  #noWaits = 0;
  #isClosed = false;

  constructor(host: OutletHost, deps: PullDeps) {
    this.#host = host;
    this.#deps = deps;
    this.#queue = new PullQueue(this.#policy === 'prioritized');
    this.pin = new Pin(deps.clock, deps.events, () => host.wake());
  }

  get #config(): PullConfig {
    return this.#host.config.pull ?? { maxWaiting: WAITING_DEFAULT };
  }

  get #policy(): string | undefined {
    return this.#config.priority?.policy;
  }

  get ready(): boolean {
    return this.#queue.length > 0;
  }

  /** Requests whose client is still there. */
  get waiting(): number {
    this.#sweep(false);
    return this.#queue.length;
  }

  // --- requests ---

  /**
   * A request has come; its messages and statuses go to `reply`. Where it is not known yet what there is (`isCounted`
   * false), one that does not wait is answered when it is.
   */
  request(reply: string, data: Buffer, isCounted: boolean): void {
    if (this.#isClosed) return;
    const nowMs = this.#deps.clock.monotonicMs();
    const order = parsePull(data, nowMs);
    if ('problem' in order) return this.#status(reply, `400 Bad Request - ${order.problem}`);
    const refusal = this.#refusal(order, nowMs);
    if (refusal !== undefined) return this.#status(reply, refusal);
    this.#host.used();
    const most = Math.min(this.#config.maxWaiting, PULLS_MAX);
    const full = this.#queue.length >= most;
    if (full && nowMs - this.#sweptMs > FULL_SWEEP_MS) this.#sweep(false);
    if (order.noWait && isCounted && this.#answerAtOnce(reply, order)) return;
    if (this.#queue.length >= most) {
      // Who asked for heartbeats will miss them; told at once, it would ask again at once.
      if (order.heartbeatMs === undefined) this.#status(reply, '409 Exceeded MaxWaiting');
      return;
    }
    const pull = new WaitingPull(reply, order, nowMs);
    this.#queue.add(pull);
    if (pull.noWait) this.#noWaits++;
    this.#arm(pull);
    this.#host.wake();
  }

  /** Why the request is not taken, as a status. */
  #refusal(order: PullOrder, nowMs: number): string | undefined {
    const { maxBatch = 0, maxExpiresMs = 0, maxBytes = 0 } = this.#config;
    if (maxBatch > 0 && order.batch > maxBatch)
      return `409 Exceeded MaxRequestBatch of ${maxBatch}`;
    if (order.expiresMs !== undefined && maxExpiresMs > 0 && order.expiresMs > nowMs + maxExpiresMs)
      return `409 Exceeded MaxRequestExpires of ${formatGoDuration(maxExpiresMs)}`;
    if (maxBytes > 0 && order.bytesMax > maxBytes)
      return `409 Exceeded MaxRequestMaxBytes of ${maxBytes}`;
    return this.#priorityRefusal(order);
  }

  #priorityRefusal({ priority }: PullOrder): string | undefined {
    if (priority === undefined) return undefined;
    const { group, id, minPending, minAckPending } = priority;
    const policy = this.#policy;
    if ((minPending !== 0 || minAckPending !== 0) && policy !== 'overflow')
      return '400 Bad Request - Not a Overflow Priority consumer';
    if (id !== '' && policy !== 'pinned_client')
      return '400 Bad Request - Not a Pinned Client Priority consumer';
    if (priority.priority < 0 || priority.priority > 9)
      return '400 Bad Request - Priority must be between 0 and 9';
    if (policy === undefined) return undefined;
    if (group === '') return '400 Bad Request - Priority Group missing';
    if (this.#config.priority?.groups.includes(group) !== true)
      return '400 Bad Request - Invalid Priority Group';
    if (this.pin.id === '') return undefined;
    if (id === this.pin.id) this.pin.renew(this.#config.priority.timeoutMs);
    else if (id !== '') return '423 Nats-Pin-Id mismatch';
    return undefined;
  }

  /** A request that does not wait, and has nothing to get. */
  #answerAtOnce(reply: string, { expiresMs }: PullOrder): boolean {
    const pending = this.#host.pending + this.#host.redeliveries;
    if (pending === 0) {
      if (expiresMs === undefined) this.#status(reply, '404 No Messages');
      return expiresMs === undefined;
    }
    this.#sweep(false);
    const promised = this.#queue.all.reduce((sum, { left }) => sum + left, 0);
    if (pending >= promised) return false;
    this.#status(reply, '408 Requests Pending');
    return true;
  }

  // --- messages ---

  target(bytes: number): Target | undefined {
    const queue = this.#queue;
    const nowMs = this.#deps.clock.monotonicMs();
    for (let passed = 0; ;) {
      const pull = queue.first;
      if (pull === undefined) return undefined;
      if (pull.isExpired(nowMs)) {
        this.#end(pull, '408 Request Timeout');
        continue;
      }
      const turn = this.#policy === undefined ? 'serve' : this.#turnOf(pull);
      if (turn === 'end') continue;
      if (turn === 'pass') {
        queue.pass();
        if (++passed >= queue.length) return undefined;
        continue;
      }
      if (pull.bytesLeft > 0 && bytes > pull.bytesLeft) {
        this.#end(pull, '409 Message Size Exceeds MaxBytes');
        if (turn === 'pinned') this.pin.drop();
        continue;
      }
      return pull;
    }
  }

  /** Whether it is the turn of `pull`, by the policy of its group. */
  #turnOf(pull: WaitingPull): 'serve' | 'pinned' | 'pass' | 'end' {
    const { priority } = pull;
    if (this.#policy === 'overflow') return isOverflow(pull, this.#host) ? 'serve' : 'pass';
    if (this.#policy !== 'pinned_client') return 'serve';
    if (pull.pin === this.pin.id && pull.pin !== '') return 'serve';
    if (pull.pin !== '') {
      this.#end(pull, '423 Nats-Wrong-Pin-Id');
      return 'end';
    }
    if (this.pin.id !== '') return 'pass';
    if (priority === undefined || priority.group === '') return 'serve';
    pull.pin = this.pin.give(priority.group, this.#config.priority?.timeoutMs);
    pull.headers = [['Nats-Pin-Id', pull.pin]];
    return 'pinned';
  }

  sent(target: Target, bytes: number, routed: 'delivered' | 'nobody'): void {
    const pull = this.#queue.first;
    if (pull === undefined || pull !== target) return;
    if (routed === 'nobody') {
      if (pull.pin !== '' && pull.pin === this.pin.id && pull.delivered === 0) this.pin.drop();
      return this.#remove(pull);
    }
    pull.delivered++;
    pull.left--;
    if (pull.bytesLeft > 0) {
      pull.bytesLeft -= bytes;
      if (pull.bytesLeft <= 0) pull.left = 0;
    }
    if (pull.left <= 0) {
      if (pull.bytesLeft > 0) this.#end(pull, '409 Batch Completed');
      else this.#remove(pull);
      return;
    }
    if (pull.heartbeatMs !== undefined)
      pull.nextHeartbeatMs = this.#deps.clock.monotonicMs() + pull.heartbeatMs;
    if (this.#queue.length > 1) this.#queue.rotate();
  }

  exhausted(): void {
    if (this.#noWaits > 0) this.#sweep(true);
  }

  // --- waiting ---

  /** Ends what is over, sends heartbeats, drops what nobody waits for. `atEnd`: nothing is left to deliver. */
  #sweep(atEnd: boolean): void {
    const nowMs = this.#deps.clock.monotonicMs();
    this.#sweptMs = nowMs;
    const { length } = this.#queue;
    if (length === 0) return;
    this.#queue.filter((pull) => {
      const keeps = this.#keeps(pull, nowMs, atEnd);
      if (!keeps && pull.noWait) this.#noWaits--;
      return keeps;
    });
  }

  #keeps(pull: WaitingPull, nowMs: number, atEnd: boolean): boolean {
    if (pull.isExpired(nowMs)) {
      this.#status(pull.subject, '408 Request Timeout', pull);
      return false;
    }
    if (atEnd && pull.noWait && (pull.expiresMs === undefined || pull.delivered > 0)) {
      this.#status(pull.subject, '404 No Messages');
      return false;
    }
    if (!this.#deps.broker.hasInterest(pull.subject)) return false;
    if (pull.nextHeartbeatMs !== undefined && nowMs >= pull.nextHeartbeatMs) {
      this.#heartbeat(pull.subject);
      pull.nextHeartbeatMs = nowMs + (pull.heartbeatMs ?? 0);
    }
    return true;
  }

  #arm(pull: WaitingPull): void {
    const { expiresMs = Infinity, nextHeartbeatMs = Infinity } = pull;
    const dueMs = Math.min(expiresMs, nextHeartbeatMs);
    if (dueMs >= this.#timerMs) return;
    this.#cancelTimer?.();
    this.#timerMs = dueMs;
    const nowMs = this.#deps.clock.monotonicMs();
    // Rounded up: a timer that comes a moment early would find nothing to do.
    const waitMs = Math.max(1, Math.ceil(dueMs - nowMs));
    this.#cancelTimer = this.#deps.clock.after(waitMs, () => {
      this.#timerMs = Infinity;
      this.#sweep(false);
      for (const each of this.#queue.all) this.#arm(each);
    });
  }

  #end(pull: WaitingPull, status: string): void {
    this.#status(pull.subject, status, pull);
    this.#remove(pull);
  }

  #remove(pull: WaitingPull): void {
    if (pull.noWait) this.#noWaits--;
    this.#queue.remove(pull);
  }

  #status(reply: string, status: string, pull?: WaitingPull): void {
    const pending =
      pull === undefined
        ? ''
        : `Nats-Pending-Messages: ${pull.left}\r\nNats-Pending-Bytes: ${pull.bytesLeft}\r\n`;
    // It may quote what was asked, in any letters: of some of them latin1 would make the end of a line.
    const headers = Buffer.from(`NATS/1.0 ${status}\r\n${pending}\r\n`, 'utf8');
    this.#host.send(reply, { headers, data: EMPTY });
  }

  #heartbeat(reply: string): void {
    const { consumerSeq, streamSeq } = this.#host.delivered;
    const lasts = `Nats-Last-Consumer: ${consumerSeq}\r\nNats-Last-Stream: ${streamSeq}\r\n`;
    const headers = Buffer.from(`NATS/1.0 100 Idle Heartbeat\r\n${lasts}\r\n`, 'latin1');
    this.#host.send(reply, { headers, data: EMPTY });
  }

  reconfigure(_config: ConsumerConfig): void {
    const queue = new PullQueue(this.#policy === 'prioritized');
    for (const pull of this.#queue.clear()) queue.add(pull);
    this.#queue = queue;
    if (this.#policy !== 'pinned_client') this.pin.drop();
  }

  close(reason: 'deleted' | 'shutdown'): void {
    this.#isClosed = true;
    this.#cancelTimer?.();
    this.pin.drop();
    this.#noWaits = 0;
    for (const pull of this.#queue.clear()) {
      if (reason === 'deleted') this.#status(pull.subject, '409 Consumer Deleted');
      else this.#status(pull.subject, '409 Server Shutdown', pull);
    }
  }
}

/** Whether a request that takes what overflows is served: where as much waits as it says. */
function isOverflow({ priority }: WaitingPull, host: OutletHost): boolean {
  const { minPending = 0, minAckPending = 0 } = priority ?? {};
  if (minPending <= 0 && minAckPending <= 0) return true;
  return (
    (minPending > 0 && minPending <= host.pending) ||
    (minAckPending > 0 && minAckPending <= host.ackPending)
  );
}
