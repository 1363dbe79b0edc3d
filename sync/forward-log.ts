// What the forwarder of one stream tells an operator: each line says what happened, and in `hint` what to do. What
// repeats is said once, then at most every 30 s.

import type { Clock } from '../src/clock.ts';
import { RepeatGuard, type Logger } from '../src/log.ts';
import type { Choice } from './choose-way.ts';
import { LOCAL_ERROR, type HubError } from './hub-error.ts';
import type { Origin } from './hub-message.ts';
import type { HubStream } from './hub.ts';
import type { Remark } from './reconcile.ts';

/** A backlog of this many messages is worth a line when it has been brought to the hub. */
const BACKLOG_MSGS = 10_000;

const LOSS_HINTS = {
  recreated:
    'the hub stream was deleted and created anew; what the grace still holds is sent again, older messages are not',
  'rolled back':
    'the hub lost its newest messages in a crash: set sync_interval: always there, or give the stream three replicas',
  overwritten:
    'the hub lost its newest messages in a crash: set sync_interval: always there, or give the stream three replicas',
} as const;

export class ForwardLog {
  readonly #stream: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #guard: RepeatGuard;
  readonly #said = new Set<string>();
  #failing = false;
  #way = '';
  #sent = 0;
  #sinceMs: number;

  constructor(stream: string, clock: Clock, log: Logger) {
    this.#stream = stream;
    this.#clock = clock;
    this.#log = log;
    this.#guard = new RepeatGuard(clock);
    this.#sinceMs = clock.monotonicMs();
  }

  /** After each reading of the hub: what it is like, where that matters. */
  checked(hub: HubStream, pending: number): void {
    const stream = this.#stream;
    const level = this.#said.has('checked') ? 'debug' : 'info';
    this.#said.add('checked');
    this.#log[level]({ stream, hub_stream: hub.name, pending }, 'forwarding to the hub');
    this.#once(hub.mayDiffer, 'replicas', () => {
      const hint = `upgrade all servers of the hub to nats-server 2.10.27 or later; docs/hub.md says what may happen to ${hub.name}`;
      this.#log.warn(
        { stream, hint },
        'the servers of the hub may come to hold different messages: what they acknowledged may be missing on one of them',
      );
    });
    this.#once(hub.removes && !hub.checkpoints, 'checkpoints', () => {
      const hint = `set allow_atomic and allow_msg_ttl on the hub stream ${hub.name}, and deny_delete = false`;
      this.#log.warn(
        { stream, hint },
        'the hub stream removes messages and keeps no checkpoint: what it removes while the link is down may be sent twice',
      );
    });
  }

  /** The way that was chosen, when it is another one than before. */
  way({ base, acceleration, order, why }: Choice): void {
    const way = `${base} ${acceleration} ${order} ${why}`;
    if (this.#way === way) return;
    this.#way = way;
    const facts = { stream: this.#stream, base, acceleration, order, why };
    if (order === 'relaxed')
      this.#log.warn(
        { ...facts, hint: 'give this gateway a hub stream of its own, or upgrade the hub to 2.12' },
        'forwarding without the promise of order: exactly once holds only inside the duplicate window of the hub stream',
      );
    else if (base === 'single' && acceleration === null)
      this.#log.warn(
        { ...facts, hint: 'set allow_atomic on the hub stream (nats-server 2.12 or later)' },
        'forwarding one message at a time',
      );
    else this.#log.info(facts, 'the way to the hub');
  }

  /** An accelerator failed; the base goes on. */
  fellBack(acceleration: string, error: HubError, restMs: number): void {
    const { message, errCode, hint } = error;
    this.#guard.run(`fell back ${errCode}`, (times) =>
      this.#log.info(
        {
          stream: this.#stream,
          acceleration,
          error: message,
          err_code: errCode,
          times,
          rest_ms: restMs,
          hint,
        },
        'going on without acceleration for a while',
      ),
    );
  }

  sent(messages: number): void {
    this.#sent += messages;
  }

  caughtUp(): void {
    const seconds = Math.round((this.#clock.monotonicMs() - this.#sinceMs) / 1000);
    if (this.#failing || this.#sent >= BACKLOG_MSGS)
      this.#log.info(
        { stream: this.#stream, messages: this.#sent, seconds },
        'everything stored is at the hub',
      );
    this.#failing = false;
    this.#sent = 0;
    this.#sinceMs = this.#clock.monotonicMs();
  }

  failed(error: HubError, waitMs: number): void {
    this.#failing = true;
    const { message, errCode, hint, kind } = error;
    const facts = { stream: this.#stream, error: message, err_code: errCode, hint };
    // The link has said so itself.
    if (errCode === LOCAL_ERROR.linkDown) return this.#log.debug(facts, 'the link is down');
    this.#guard.run(`${kind} ${errCode}`, (times) => {
      if (kind === 'configuration')
        this.#log.error(
          { ...facts, times },
          'the hub cannot be forwarded to as it is; data is kept here, and the hub looked at again',
        );
      else
        this.#log.warn(
          { ...facts, times, wait_ms: waitMs },
          'a publish to the hub failed; reading back what it holds',
        );
    });
  }

  setAside(seq: number, reason: string): void {
    const stream = this.#stream;
    const hint =
      'it stays in the stream dead_letter (docs/operations/incidents.md says how to read it); a gap record takes its place at the hub';
    this.#guard.run('set aside', (times) =>
      this.#log.warn(
        { stream, seq, reason, times, hint },
        'the hub will never take a message: it is set aside',
      ),
    );
  }

  notSetAside(seq: number, error: Error): void {
    const stream = this.#stream;
    const hint = 'give the disk or the dead-letter stream room; forwarding of this stream waits';
    this.#guard.run('not set aside', () =>
      this.#log.error({ stream, seq, error: error.message, hint }, 'no room for a dead letter'),
    );
  }

  checkpointsLost(hubStream: string, filter: string): void {
    const hint = `let consumers of ${hubStream} filter "${filter}", which leaves the checkpoints to their gateways`;
    this.#once(true, 'checkpoints lost', () =>
      this.#log.warn(
        { stream: this.#stream, hint },
        'consumers at the hub remove the checkpoints of this gateway: going on without',
      ),
    );
  }

  checkpointsNotDeleted({ message: error }: HubError): void {
    this.#once(true, 'not deleted', () =>
      this.#log.warn(
        {
          stream: this.#stream,
          error,
          hint: 'allow $JS.API.STREAM.MSG.DELETE for this gateway at the hub',
        },
        'old checkpoints cannot be deleted at the hub',
      ),
    );
  }

  conflict(origin: Origin, found: { epoch: string; id: string }): void {
    const { gateway } = origin;
    const hint = `two machines run as gateway "${gateway}", one of them perhaps from a copied card: give one another gateway.name, then restart this one`;
    this.#log.error(
      { stream: this.#stream, ...found, hint },
      'another gateway sends under our name: forwarding of this stream has stopped, storing goes on',
    );
  }

  /** Something that the reading of the hub has shown. */
  remark(remark: Remark): void {
    const stream = this.#stream;
    switch (remark.kind) {
      case 'lost ack':
      case 'removed':
        return this.#log.debug({ stream, ...remark }, 'read back');
      case 'refill':
        return this.#log.error(
          {
            stream,
            from_seq: remark.fromSeq,
            to_seq: remark.markSeq,
            hint: LOSS_HINTS[remark.why],
          },
          'the hub lost messages that it had confirmed; sending them again',
        );
      case 'unknown epoch':
        return this.#log.warn(
          {
            stream,
            epochs: remark.epochs,
            hint: 'was this store put back from an older image, or the card replaced? Then all is well. If not, another gateway has the same name: rename one',
          },
          'the hub holds messages of this gateway that this store never had; going on behind what both have',
        );
      case 'beyond':
        return this.#log.warn(
          {
            stream,
            id: remark.id,
            last_of_ours: remark.ours,
            hint: 'this store lost what it had sent, with an older image or a damaged card: check the card',
          },
          'the hub holds later messages of this gateway than this store',
        );
      case 'no id':
        return this.#once(true, 'no id', () =>
          this.#log.warn(
            {
              stream,
              hub_seq: remark.seq,
              hint: 'somebody publishes there by hand: let the hub allow these subjects to this gateway only',
            },
            'a message among ours at the hub is not ours; going on behind it',
          ),
        );
    }
  }

  /** Says something once, and again when it has come back. */
  #once(holds: boolean, what: string, say: () => void): void {
    if (!holds) return void this.#said.delete(what);
    if (this.#said.has(what)) return;
    this.#said.add(what);
    say();
  }
}
