// The JetStream API over the streams of a GatewayStore, asked by messages on the broker as any client asks.

import { pino } from 'pino';
import { Advisories } from '../../src/jetstream/advisories.ts';
import { accountEndpoint } from '../../src/jetstream/api/account.ts';
import { JetStreamApi } from '../../src/jetstream/api/api.ts';
import { clusterEndpoints } from '../../src/jetstream/api/cluster-endpoints.ts';
import type { JetStreamView } from '../../src/jetstream/api/jetstream-view.ts';
import { streamEndpoints } from '../../src/jetstream/api/stream-endpoints.ts';
import type { GatewayStore } from './gateway-store.ts';

/** An answer as a client reads it. */
export interface ApiAnswer {
  readonly type?: string;
  readonly error?: { code: number; err_code: number; description: string };
  readonly [field: string]: unknown;
}

/** A client's question on its way: more than one may be. */
export interface Asked {
  readonly answer: ApiAnswer | undefined;
}

export class ApiGateway {
  readonly at: GatewayStore;
  readonly api: JetStreamApi;
  /** What was told on `$JS.EVENT.>`: subject and message. */
  readonly told: { subject: string; event: Record<string, unknown> }[] = [];
  readonly logged: { level: number; msg: string }[] = [];
  #replies = 0;

  /** `domain` undefined: none. */
  constructor(at: GatewayStore, domain?: string, view: JetStreamView = at.jetstream) {
    this.at = at;
    const { broker, clock } = at;
    const advisories = new Advisories(broker, clock, domain);
    const log = pino({}, { write: (line: string) => void this.logged.push(JSON.parse(line)) });
    this.api = new JetStreamApi({ broker, clock, log, advisories }, { domain, serverName: 'gw' });
    const parts = { clock, advisories, serverName: 'gw', domain, version: '2.14.0' };
    const limits = { memoryBytesMax: -1, fileBytesMax: -1, streamsMax: 256 };
    this.api.add([
      ...streamEndpoints(view, parts),
      ...clusterEndpoints(view),
      accountEndpoint(view, this.api, { domain, limits }),
    ]);
    this.api.open();
  }

  /** Notes advisories from now on. */
  listen(): void {
    this.at.broker.subscribe('$JS.EVENT.>', {
      deliver: ({ subject, data }) =>
        void this.told.push({ subject, event: JSON.parse(data.toString()) }),
    });
  }

  /** Asks `$JS.API.<subject>` and lets nobody have a turn; the answer is filled in when it comes. */
  send(subject: string, body: unknown = '', headers?: string, from?: object): Asked {
    const asked: { answer: ApiAnswer | undefined } = { answer: undefined };
    const reply = `_INBOX.api.${++this.#replies}`;
    const cancel = this.at.broker.subscribe(reply, {
      deliver: ({ data }) => {
        cancel();
        asked.answer = JSON.parse(data.toString()) as ApiAnswer;
      },
    });
    const data =
      typeof body === 'string'
        ? Buffer.from(body)
        : Buffer.isBuffer(body)
          ? body
          : Buffer.from(JSON.stringify(body));
    const to = subject.startsWith('$') ? subject : `$JS.API.${subject}`;
    const block = headers === undefined ? undefined : Buffer.from(`NATS/1.0\r\n${headers}\r\n\r\n`);
    const message = {
      subject: to,
      reply,
      data,
      ...(block === undefined ? {} : { headers: block }),
    };
    this.at.broker.publish(message, undefined, from ?? this);
    return asked;
  }

  /** Asks and waits, while the disk does its work. */
  async ask(subject: string, body: unknown = '', headers?: string): Promise<ApiAnswer> {
    const asked = this.send(subject, body, headers);
    await this.settle(() => asked.answer !== undefined);
    if (asked.answer === undefined) throw new Error(`no answer to ${subject}`);
    return asked.answer;
  }

  /** Lets the disk and everybody else have turns until `isOver`. */
  async settle(isOver: () => boolean): Promise<void> {
    for (let i = 0; i < 200 && !isOver(); i++) {
      this.at.settle();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
