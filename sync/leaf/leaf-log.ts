// What a leafnode link says in the log: each condition once, then at most every now and then.

import { RepeatGuard, type Logger } from '../../src/log.ts';
import type { Clock } from '../../src/clock.ts';
import type { LeafLine } from './leaf-dial.ts';
import type { LeafError } from './leaf-error.ts';
import type { LeafInfo } from './leaf-info.ts';

/** Shorter pauses are the link's ordinary back-off, and need no word. */
const PAUSE_LEAST_MS = 1_000;

export class LeafLog {
  readonly #log: Logger;
  readonly #guard: RepeatGuard;

  constructor(log: Logger, clock: Clock) {
    this.#log = log;
    this.#guard = new RepeatGuard(clock);
  }

  /** The hub has let us in. */
  connected(server: string, info: LeafInfo, { encrypted, compression }: LeafLine): void {
    const { version, serverName: hub, remoteAccount: account } = info;
    const compressed = compression !== undefined;
    const fields = { server, hub, version, account, encrypted, compressed };
    this.#log.info(fields, 'connected to the hub as a leaf node');
  }

  leaving(server: string): void {
    this.#log.info({ server }, 'the hub server is about to stop: another one is dialled');
  }

  /** There is no connection, or no longer. */
  failed({ kind, message: error, hint }: LeafError, pauseMs: number): void {
    this.#guard.run(`down ${kind}`, (times) => {
      const pause = pauseMs < PAUSE_LEAST_MS ? {} : { pauseMs };
      this.#log.warn({ kind, error, times, ...pause, hint }, 'no leafnode connection to the hub');
    });
  }

  sharedName(name: string, { hint }: LeafError, pauseMs: number): void {
    this.#guard.run('name', (times) => {
      const fields = { name, times, pauseMs, hint };
      this.#log.error(
        fields,
        'another gateway with the name of this one takes its place at the hub',
      );
    });
  }

  sharedDomain(domain: string | undefined, other: string): void {
    const hint = 'give each gateway a domain of its own in [leaf], and never change it again';
    this.#log.error(
      { domain, other, hint },
      'another gateway has the JetStream domain of this one: both answer what is asked of one',
    );
  }

  hubsDomain(domain: string | undefined): void {
    const hint = 'give [leaf] domain here, or jetstream { domain } at the hub, another name';
    this.#guard.run('domain', (times) =>
      this.#log.warn(
        { domain, times, hint },
        'the hub has the JetStream domain of this gateway: nothing of JetStream crosses',
      ),
    );
  }

  /** Filters of [leaf] of which the permissions at the hub let nothing cross, which nobody would notice otherwise. */
  shutOut(send: readonly string[], get: readonly string[]): void {
    if (send.length + get.length === 0) return;
    const hint =
      'at the hub let the user of this gateway publish what is in `send` and subscribe to what is in `get`, or take it out of [leaf]';
    this.#guard.run('rights', (times) =>
      this.#log.warn(
        { send, get, times, hint },
        'the hub has no permission for subjects of [leaf]: nothing of them crosses',
      ),
    );
  }

  /** The hub goes on with us. */
  complained({ kind, message: error, hint }: LeafError): void {
    this.#guard.run(`complaint ${kind}`, (times) => {
      const fields = { kind, error, times, hint };
      this.#log.warn(fields, 'the hub complains of the leafnode link');
    });
  }

  /** `mode` as chmod takes it. */
  readonly exposed = (file: string, mode: string): void => {
    this.#guard.run(`exposed ${file}`, (times) => {
      const fields = { file, mode, times, hint: `chmod 600 ${file}` };
      this.#log.warn(fields, 'a secret for the hub can be read by others');
    });
  };
}
