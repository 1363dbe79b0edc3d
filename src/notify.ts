// Tells systemd how the agent is: ready, reading its configuration again, stopping, alive, and a line for `systemctl
// status`. Node has no unix datagram sockets, so a `systemd-notify` carries each message: one at a time, in order,
// killed when it hangs. Without $NOTIFY_SOCKET nobody listens, and nothing is run.

import { spawn } from 'node:child_process';
import type { Cancel, Clock } from './clock.ts';
import { RepeatGuard, type Logger } from './log.ts';

/** It waits up to 5 s by itself for systemd to have taken the message. */
const CARRY_MS = 10_000;
/** Messages that wait for the one before; beyond it the oldest is lost. Each kind is in it once, so it is never reached. */
const WAITING_MAX = 8;
/** Characters of a status line; systemd takes more, `systemctl status` shows it on one line. */
const STATUS_CHARS_MAX = 300;

/** Runs `systemd-notify` with these assignments; `done` is called once. Returns how to kill it. */
export type Carry = (
  assignments: readonly string[],
  done: (error: Error | null) => void,
) => () => void;

/** What a message says: READY, RELOADING, MONOTONIC_USEC, STOPPING, WATCHDOG, STATUS. */
type Message = Readonly<Record<string, string>>;

export class Notifier {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #carry: Carry | undefined;
  readonly #guard: RepeatGuard;
  readonly #waiting: Message[] = [];
  #busy = false;
  #status = '';

  /** `carry` undefined: nobody listens. */
  constructor({ clock, log }: { clock: Clock; log: Logger }, carry: Carry | undefined) {
    this.#clock = clock;
    this.#log = log;
    this.#carry = carry;
    this.#guard = new RepeatGuard(clock);
  }

  /** Whether somebody listens. */
  get on(): boolean {
    return this.#carry !== undefined;
  }

  ready(status: string): void {
    this.#send({ READY: '1', ...this.#line(status) });
  }

  /** `monotonicUs` is the kernel's monotonic clock, which Type=notify-reload (systemd 253) asks for. `ready` ends it. */
  reloading(monotonicUs: bigint): void {
    this.#send({
      RELOADING: '1',
      MONOTONIC_USEC: String(monotonicUs),
      ...this.#line('reading the configuration again'),
    });
  }

  stopping(): void {
    this.#send({ STOPPING: '1', ...this.#line('stopping') });
  }

  /** Feeds the watchdog. */
  alive(status: string): void {
    this.#send({ WATCHDOG: '1', ...this.#line(status) });
  }

  /** Changes the status line alone; the same one again costs nothing. */
  status(status: string): void {
    const message = this.#line(status);
    if (Object.keys(message).length > 0) this.#send(message);
  }

  #line(status: string): Message {
    const text = status.replaceAll(/\s+/g, ' ').slice(0, STATUS_CHARS_MAX);
    if (text === this.#status) return {};
    this.#status = text;
    return { STATUS: text };
  }

  #send(message: Message): void {
    if (this.#carry === undefined) return;
    const last = this.#waiting.at(-1);
    // A ping or a status that still waits is only replaced; READY and the like must be heard one after the other.
    const plain = (one: Message): boolean =>
      Object.keys(one).every((key) => key === 'WATCHDOG' || key === 'STATUS');
    if (last !== undefined && plain(last) && plain(message))
      this.#waiting[this.#waiting.length - 1] = { ...last, ...message };
    else this.#waiting.push(message);
    if (this.#waiting.length > WAITING_MAX) this.#waiting.shift();
    this.#next();
  }

  #next(): void {
    if (this.#busy || this.#carry === undefined) return;
    const message = this.#waiting.shift();
    if (message === undefined) return;
    this.#busy = true;
    let over = false;
    let cancel: Cancel = () => undefined;
    const done = (error: Error | null): void => {
      if (over) return;
      over = true;
      cancel();
      this.#busy = false;
      if (error !== null) this.#failed(error);
      this.#next();
    };
    const assignments = Object.entries(message).map(([key, value]) => `${key}=${value}`);
    const kill = this.#carry(assignments, done);
    if (over) return;
    cancel = this.#clock.after(CARRY_MS, () => {
      kill();
      done(new Error(`systemd-notify did not end within ${CARRY_MS} ms`));
    });
  }

  #failed(error: Error): void {
    // A ping follows with the next look; a status that was lost is said again.
    this.#status = '';
    this.#guard.run('failed', (times) => {
      const hint = 'is systemd-notify installed, and does the unit have NotifyAccess=all?';
      this.#log.warn({ error: error.message, times, hint }, 'systemd could not be told');
    });
  }
}

/** Carries by the program `systemd-notify`; undefined where `env` says that nobody listens. */
export function systemdNotify(env: NodeJS.ProcessEnv): Carry | undefined {
  if ((env['NOTIFY_SOCKET'] ?? '') === '') return undefined;
  return (assignments, done) => {
    const child = spawn('systemd-notify', ['--', ...assignments], { stdio: 'ignore', env });
    child.once('error', done);
    child.once('exit', (code, signal) =>
      done(code === 0 ? null : new Error(`systemd-notify ended with ${code ?? signal}`)),
    );
    return () => void child.kill('SIGKILL');
  };
}

/** How often systemd wants to hear from us, in ms; undefined when it does not, or means another process. */
export function watchdogMs(env: NodeJS.ProcessEnv, pid: number): number | undefined {
  const { WATCHDOG_USEC: us = '', WATCHDOG_PID: of } = env;
  if (!/^[1-9]\d*$/.test(us) || (of !== undefined && of !== String(pid))) return undefined;
  return Number(us) / 1000;
}
