// Reads a system call trace of the agent (strace -f -yy -xx) and finds whatever left the process too early: a PUBACK, or
// the message itself on any socket, for which no fdatasync of the WAL had returned that began after the commit.
//
// The order of the lines is the order in which the kernel was seen: a call that another thread interrupts is split into
// an "unfinished" line, where it began, and a "resumed" line, where it returned. A commit is complete when the page that
// follows a frame header with a database size has been written; that is SQLite's own rule for what a restart reads.

import { readFileSync } from 'node:fs';

export interface TraceReport {
  /** PUBACKs that left, and messages that left on other sockets. */
  readonly pubacks: number;
  readonly deliveries: number;
  readonly syncs: number;
  readonly commits: number;
  /** Commits that completed while a sync was running: that sync does not cover them. */
  readonly commitsDuringSync: number;
  /** What left too early, as sentences. */
  readonly violations: readonly string[];
}

export interface Senders {
  /** Publisher by its port: its Packet Identifiers and its messages count alike from 1. */
  readonly [port: number]: string;
}

/** Hears of the calls in the order in which the kernel saw them begin and return. */
export interface TraceReader {
  began(call: Call): void;
  returned(call: Call): void;
}

/** One call: where it began, where it returned, and with what. */
export interface Call {
  readonly name: string;
  /** The file or socket of its first argument, as strace -yy shows it. */
  readonly on: string;
  readonly bytes: Buffer;
  readonly result: number;
}

/** What wraps the agent so that `checkTrace` can read it. */
export function straceWrapper(file: string): string[] {
  const calls = 'fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg';
  const trace = ['-e', `trace=${calls}`, '-e', 'signal=none'];
  return [
    'strace',
    '-D',
    '-f',
    '--seccomp-bpf',
    '-yy',
    '-xx',
    '-s',
    '200000',
    '-o',
    file,
    ...trace,
  ];
}

export function checkTrace(file: string, senders: Senders): TraceReport {
  const checker = new Checker(senders);
  readTrace(file, checker);
  return checker.report;
}

/** Reads a whole trace to `checker`. */
export function readTrace(file: string, checker: TraceReader): void {
  const open = new Map<string, Call>();
  for (const line of readFileSync(file, 'latin1').split('\n')) {
    const [, thread = '', rest = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const resumed = /^<\.\.\. \w+ resumed>.*\) += (-?\d+)/.exec(rest);
    if (resumed !== null) {
      const call = open.get(thread);
      open.delete(thread);
      if (call !== undefined)
        checker.returned({ ...call, bytes: stringsIn(rest, call), result: Number(resumed[1]) });
      continue;
    }
    const call = parseCall(rest);
    if (call === undefined) continue;
    checker.began(call);
    if (rest.endsWith('<unfinished ...>')) open.set(thread, call);
    else checker.returned(call);
  }
}

function parseCall(text: string): Call | undefined {
  const [, name = '', on = ''] = /^(\w+)\(\d+<(.*?)>[,) ]/.exec(text) ?? [];
  if (name === '') return undefined;
  const result = Number(/\) += (-?\d+)/.exec(text)?.[1] ?? Number.NaN);
  return { name, on: unescape(on), bytes: strings(text), result };
}

/** One string for write, several for writev and sendmsg. */
function strings(text: string): Buffer {
  const found = [...text.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map(([, hex = '']) =>
    Buffer.from(hex.replaceAll('\\x', ''), 'hex'),
  );
  return Buffer.concat(found);
}

/** What a read returned stands in the line in which it returned. */
function stringsIn(rest: string, { name, bytes }: Call): Buffer {
  return name === 'read' ? strings(rest) : bytes;
}

function unescape(text: string): string {
  return text.replaceAll(/\\x([0-9a-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

class Checker implements TraceReader {
  readonly #senders: Senders;
  /** Finds messages by name: whatever stands before one in a page may look like a letter. */
  readonly #message: RegExp;
  /** Commits completed so far, and how many of them are durable. */
  #commits = 0;
  #durable = 0;
  #syncs = 0;
  /** Commits complete when the running sync of a thread began; there is one sync at a time. */
  #syncCovers: number | undefined;
  #commitsDuringSync = 0;
  /** Messages in pages of the commit that is being written. */
  #writing = new Set<string>();
  #lastFrame = false;
  /** The commit that made each message. */
  readonly #commitOf = new Map<string, number>();
  #pubacks = 0;
  #deliveries = 0;
  readonly #violations: string[] = [];

  constructor(senders: Senders) {
    this.#senders = senders;
    this.#message = new RegExp(`((?:${Object.values(senders).join('|')}):\\d+):\\d+:\\.`, 'g');
  }

  get report(): TraceReport {
    return {
      pubacks: this.#pubacks,
      deliveries: this.#deliveries,
      syncs: this.#syncs,
      commits: this.#commits,
      commitsDuringSync: this.#commitsDuringSync,
      violations: this.#violations,
    };
  }

  began(call: Call): void {
    if (isSync(call)) this.#syncCovers = this.#commits;
    else if (call.on.startsWith('TCP')) this.#leaves(call);
  }

  returned(call: Call): void {
    if (isSync(call)) {
      if (call.result === 0) this.#durable = Math.max(this.#durable, this.#syncCovers ?? 0);
      this.#syncCovers = undefined;
      this.#syncs++;
    } else if (call.name === 'pwrite64' && call.on.endsWith('.db-wal')) this.#walWrite(call.bytes);
  }

  #walWrite(bytes: Buffer): void {
    if (bytes.length === 24) {
      this.#lastFrame = bytes.readUInt32BE(4) !== 0;
      return;
    }
    for (const message of this.#messagesIn(bytes)) {
      if (!this.#commitOf.has(message)) this.#writing.add(message);
    }
    if (!this.#lastFrame) return;
    this.#lastFrame = false;
    this.#commits++;
    if (this.#syncCovers !== undefined) this.#commitsDuringSync++;
    for (const message of this.#writing) this.#commitOf.set(message, this.#commits);
    this.#writing.clear();
  }

  #leaves({ on, bytes }: Call): void {
    const port = Number(/->.*:(\d+)\]/.exec(on)?.[1]);
    const sender = this.#senders[port];
    if (sender === undefined) {
      for (const message of this.#messagesIn(bytes)) {
        this.#deliveries++;
        this.#check(message, `left on ${on}`);
      }
      return;
    }
    for (let at = 0; at + 4 <= bytes.length; at += 4) {
      if (bytes[at] !== 0x40) continue;
      this.#pubacks++;
      this.#check(`${sender}:${bytes.readUInt16BE(at + 2)}`, 'was acknowledged');
    }
  }

  #check(message: string, what: string): void {
    const commit = this.#commitOf.get(message);
    if (commit === undefined) this.#violations.push(`${message} ${what} before it was written`);
    else if (commit > this.#durable)
      this.#violations.push(
        `${message} ${what} after commit ${commit} and sync of ${this.#durable}`,
      );
  }

  /** The messages of the test's publishers in `bytes`, as `publisher:number`. */
  #messagesIn(bytes: Buffer): string[] {
    return [...bytes.toString('latin1').matchAll(this.#message)].map(([, id = '']) => id);
  }
}

export function isSync({ name, on }: Call): boolean {
  return (name === 'fdatasync' || name === 'fsync') && on.endsWith('.db-wal');
}
