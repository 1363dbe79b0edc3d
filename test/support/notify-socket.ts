// systemd's end of $NOTIFY_SOCKET, which Node cannot be: a datagram socket of a small Python program that prints what comes.

import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { until } from './until.ts';

/** Closing what systemd-notify passes with BARRIER=1 tells it that its message was read. */
const LISTENER = `
import array, json, os, socket, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(sys.argv[1])
print("[]", flush=True)
while True:
    data, ancillary, _, _ = listener.recvmsg(8192, 1024)
    for level, kind, value in ancillary:
        if kind == socket.SCM_RIGHTS:
            descriptors = array.array("i")
            descriptors.frombytes(value)
            for descriptor in descriptors:
                os.close(descriptor)
    print(json.dumps(data.decode().split("\\n")), flush=True)
`;

export class NotifySocket {
  readonly path: string;
  readonly #dir: string;
  readonly #child: ChildProcessByStdio<null, Readable, null>;
  #output = '';

  private constructor() {
    this.#dir = mkdtempSync(join(tmpdir(), 'mangrove-notify-'));
    this.path = join(this.#dir, 'socket');
    this.#child = spawn('python3', ['-c', LISTENER, this.path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#child.stdout
      .setEncoding('utf8')
      .on('data', (chunk: string) => void (this.#output += chunk));
  }

  static async listen(): Promise<NotifySocket> {
    const listener = new NotifySocket();
    await until('the socket to listen', () => listener.#output.startsWith('[]'));
    return listener;
  }

  /** Every message since the start, each a list of assignments. */
  get messages(): string[][] {
    const lines = this.#output.split('\n').slice(1, -1);
    return lines
      .map((line) => JSON.parse(line) as string[])
      .filter(([first]) => first !== 'BARRIER=1');
  }

  /** How often `assignment` was heard. */
  count(assignment: string): number {
    return this.messages.filter((message) => message.includes(assignment)).length;
  }

  /** The latest status line. */
  get status(): string | undefined {
    const line = this.messages.flat().findLast((assignment) => assignment.startsWith('STATUS='));
    return line?.slice('STATUS='.length);
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
