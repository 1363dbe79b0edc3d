// A local program that publishes by NATS into a stream, each message once, whatever becomes of it: which of them the agent
// has acknowledged is all that it remembers.

import { connect, type Socket } from 'node:net';

const RECONNECT_MS = 20;
const INBOX = '_INBOX.crash';

export class NatsPublisher {
  readonly name = 'nats';
  readonly subject = 'data.nats';
  readonly #port: number;
  readonly #window: number;
  readonly #perLife: number;
  #socket: Socket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = true;
  #heard = '';
  #waiting = 0;
  #sentInLife = 0;
  #life = 0;
  sent = 0;
  readonly acked = new Set<number>();
  readonly complaints: string[] = [];

  constructor(port: number, window: number, perLife: number) {
    this.#port = port;
    this.#window = window;
    this.#perLife = perLife;
  }

  get closed(): boolean {
    return this.#socket === undefined || this.#socket.destroyed;
  }

  set life(life: number) {
    this.#life = life;
    this.#sentInLife = 0;
  }

  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#connect();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#socket?.removeAllListeners('data').destroy();
  }

  finish(): void {
    this.#sentInLife = Infinity;
  }

  #connect(): void {
    const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
    this.#socket = socket;
    this.#heard = '';
    this.#waiting = 0;
    socket.on('connect', () => {
      socket.write(`CONNECT {"verbose":false,"headers":true}\r\nSUB ${INBOX}.* 1\r\n`);
      this.#pump();
    });
    socket.on('data', (chunk: Buffer) => this.#read(chunk.toString('latin1')));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (!this.#stopped) this.#timer = setTimeout(() => this.#connect(), RECONNECT_MS);
    });
  }

  #read(text: string): void {
    this.#heard += text;
    const answer = /MSG _INBOX\.crash\.(\d+) 1 \d+\r\n(.*)\r\n/g;
    let end = 0;
    for (let found = answer.exec(this.#heard); found !== null; found = answer.exec(this.#heard)) {
      const [, n, json = ''] = found;
      end = answer.lastIndex;
      this.#waiting--;
      if (json.includes('"error"')) this.complaints.push(`nats: ${json}`);
      else this.acked.add(Number(n));
    }
    this.#heard = this.#heard.slice(end);
    this.#pump();
  }

  #pump(): void {
    let text = '';
    while (this.#waiting < this.#window && this.#sentInLife < this.#perLife) {
      this.#sentInLife++;
      this.#waiting++;
      const n = ++this.sent;
      const data = `nats:${n}:${this.#life}:`.padEnd(60, '.');
      text += `PUB ${this.subject} ${INBOX}.${n} ${data.length}\r\n${data}\r\n`;
    }
    if (text !== '') this.#socket?.write(text);
  }
}
