// A stand-in for a hub where no nats-server can be had: it speaks the NATS protocol on a real socket and keeps one stream
// in memory, with what forwarding needs of JetStream (create, info, reads by sequence and by subject, fenced publishes,
// atomic batches), decided by the same model that the tests compare with a real server. It is for showing, not for use.

import { createServer, type Server, type Socket } from 'node:net';
import { headerValue } from '../../src/headers.ts';
import { matches } from '../../src/subject.ts';
import { HubError } from '../../sync/hub-error.ts';
import { BATCH_MESSAGES_MAX, type Fence } from '../../sync/hub.ts';
import { HubModel, MODEL_DEFAULTS, type ModelMessage, type Write } from '../support/hub-model.ts';
import { encodeMessage, PAYLOAD_BYTES_MAX, WireReader, type ClientOp } from './nats-wire.ts';

/** Batches begun and not committed; beyond it the oldest is given up, as nats-server gives them up after 10 s. */
const OPEN_BATCHES_MAX = 16;

/** The level of nats-server whose answers it gives. */
const VERSION = '2.12.0';

type Pub = ClientOp & { op: 'pub' };

interface Request {
  readonly seq?: number;
  readonly last_by_subj?: string;
  readonly next_by_subj?: string;
}

interface CreateRequest {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly allow_atomic?: boolean;
  readonly allow_msg_ttl?: boolean;
}

export class StandInHub {
  readonly #server: Server;
  readonly #clients = new Set<Client>();
  readonly #batches = new Map<string, Write[]>();
  #model: HubModel | undefined;
  #created = '';
  #bytes = 0;

  constructor() {
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** Resolves with its port on the loopback. */
  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.socket.destroy();
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }

  #accept(socket: Socket): void {
    socket.setNoDelay(true);
    const client: Client = { socket, subscriptions: new Map() };
    this.#clients.add(client);
    const reader = new WireReader();
    socket.on('error', () => undefined);
    socket.on('close', () => this.#clients.delete(client));
    socket.on('data', (bytes: Buffer) => {
      try {
        for (const operation of reader.read(bytes)) this.#do(client, operation);
      } catch (error) {
        socket.end(`-ERR '${error instanceof Error ? error.message : String(error)}'\r\n`);
      }
    });
    const info = {
      server_id: 'STANDIN',
      server_name: 'stand-in',
      version: VERSION,
      proto: 1,
      headers: true,
      jetstream: true,
      max_payload: PAYLOAD_BYTES_MAX,
    };
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
  }

  #do(client: Client, operation: ClientOp): void {
    switch (operation.op) {
      case 'ping':
        client.socket.write('PONG\r\n');
        break;
      case 'sub':
        client.subscriptions.set(operation.sid, operation.subject);
        break;
      case 'unsub':
        client.subscriptions.delete(operation.sid);
        break;
      case 'pub':
        this.#publish(operation);
        break;
      case 'connect':
      case 'pong':
        break;
    }
  }

  #publish(message: Pub): void {
    if (message.subject.startsWith('$JS.API.')) return this.#answerApi(message);
    const model = this.#model;
    if (model?.config.subjects.some((filter) => matches(filter, message.subject)))
      return this.#store(model, message);
    if (!this.#deliver(message.subject, message.data, message) && message.reply !== undefined)
      this.#deliver(message.reply, Buffer.alloc(0), {
        headers: Buffer.from('NATS/1.0 503\r\n\r\n'),
      });
  }

  #deliver(
    subject: string,
    data: Buffer,
    { headers, reply }: { headers?: Buffer | undefined; reply?: string | undefined } = {},
  ): boolean {
    let delivered = false;
    for (const { socket, subscriptions } of this.#clients)
      for (const [sid, filter] of subscriptions)
        if (matches(filter, subject)) {
          socket.write(encodeMessage({ subject, sid, reply }, data, headers));
          delivered = true;
        }
    return delivered;
  }

  #answer(reply: string | undefined, answer: object): void {
    if (reply !== undefined) this.#deliver(reply, Buffer.from(JSON.stringify(answer)));
  }

  // --- the stream ---

  #store(model: HubModel, message: Pub): void {
    const { reply, headers } = message;
    const batch = headerValue(headers, 'Nats-Batch-Id');
    try {
      let writes = [writeOf(message)];
      if (batch !== undefined) {
        const n = Number(headerValue(headers, 'Nats-Batch-Sequence'));
        writes = this.#stage(batch, n, writes);
        if (headerValue(headers, 'Nats-Batch-Commit') !== '1') {
          if (reply !== undefined) this.#deliver(reply, Buffer.alloc(0));
          return;
        }
        this.#batches.delete(batch);
      }
      const nowMs = performance.now();
      const known = model.check(writes, nowMs);
      const { seq, duplicate } = known ?? model.store(writes, nowMs);
      if (known === undefined)
        for (const { message: stored } of writes) this.#bytes += stored.data.length;
      this.#answer(reply, {
        stream: model.config.name,
        seq,
        ...(duplicate ? { duplicate } : {}),
        ...(batch === undefined ? {} : { batch, count: writes.length }),
      });
    } catch (error) {
      if (batch !== undefined) this.#batches.delete(batch);
      if (!(error instanceof HubError)) throw error;
      this.#answer(reply, { stream: model.config.name, seq: 0, ...refusal(error) });
    }
  }

  /** Adds to an open batch, which must have no hole. */
  #stage(batch: string, n: number, write: Write[]): Write[] {
    const open = n === 1 ? [] : this.#batches.get(batch);
    if (open?.length !== n - 1 || n > BATCH_MESSAGES_MAX)
      throw new HubError('retry', 'atomic publish batch is incomplete', { errCode: 10176 });
    open.push(...write);
    this.#batches.set(batch, open);
    if (this.#batches.size > OPEN_BATCHES_MAX) {
      const oldest = this.#batches.keys().next();
      if (!oldest.done) this.#batches.delete(oldest.value);
    }
    return open;
  }

  // --- JetStream's API ---

  #answerApi({ subject, reply, data }: Pub): void {
    const [, operation = '', stream = ''] =
      /^\$JS\.API\.STREAM\.(.+)\.([^.]+)$/.exec(subject) ?? [];
    const request = data.length === 0 ? {} : (JSON.parse(data.toString('utf8')) as Request);
    if (operation === 'CREATE') this.#create(request as unknown as CreateRequest);
    const model = this.#model;
    if (operation === '') {
      const description = `the stand-in has no ${subject}`;
      return this.#answer(reply, { error: { code: 400, err_code: 10025, description } });
    }
    if (model?.config.name !== stream) {
      const error = { code: 404, err_code: 10059, description: 'stream not found' };
      return this.#answer(reply, { error });
    }
    switch (operation) {
      case 'CREATE':
      case 'INFO':
        return this.#answer(reply, this.#info(model));
      case 'MSG.GET':
        return this.#answer(reply, messageAnswer(find(model, request)));
      case 'MSG.DELETE':
        return this.#answer(reply, { success: model.remove(request.seq ?? 0) });
      default: {
        const description = `the stand-in has no ${operation}`;
        return this.#answer(reply, { error: { code: 400, err_code: 10025, description } });
      }
    }
  }

  #create({ name, subjects, allow_atomic: atomic, allow_msg_ttl: ttl }: CreateRequest): void {
    if (this.#model !== undefined) return;
    const config = {
      ...MODEL_DEFAULTS,
      name,
      subjects,
      atomic: atomic === true,
      ttl: ttl === true,
    };
    this.#model = new HubModel(config);
    this.#created = new Date().toISOString();
  }

  #info(model: HubModel): object {
    const { name, subjects, atomic, ttl, retention, discard } = model.config;
    return {
      config: {
        name,
        subjects,
        retention,
        discard,
        storage: 'memory',
        allow_atomic: atomic,
        allow_msg_ttl: ttl,
        metadata: { '_nats.ver': VERSION },
      },
      created: this.#created,
      state: {
        messages: model.messages.size,
        bytes: this.#bytes,
        first_seq: model.messages.keys().next().value ?? model.lastSeq + 1,
        last_seq: model.lastSeq,
      },
    };
  }
}

interface Client {
  readonly socket: Socket;
  /** Filters by subscription ID. */
  readonly subscriptions: Map<string, string>;
}

/** A publish with the expectations in its headers; the whole block is kept, as nats-server keeps it. */
function writeOf({ subject, headers, data }: Pub): Write {
  const id = headerValue(headers, 'Nats-Msg-Id');
  const expectedStream = headerValue(headers, 'Nats-Expected-Stream');
  const seq = headerValue(headers, 'Nats-Expected-Last-Subject-Sequence');
  const filter = headerValue(headers, 'Nats-Expected-Last-Subject-Sequence-Subject');
  const headerLines =
    headers?.toString('latin1').slice('NATS/1.0\r\n'.length, -'\r\n'.length) ?? '';
  return {
    // The socket's buffer is not ours to keep.
    message: { subject, headerLines, data: Buffer.from(data), ...(id === undefined ? {} : { id }) },
    ...(expectedStream === undefined ? {} : { expectedStream }),
    ...(seq === undefined ? {} : { expected: fenceAt(Number(seq), filter) }),
  };
}

function fenceAt(seq: number, filter: string | undefined): Fence {
  return filter === undefined ? { kind: 'subject', seq } : { kind: 'filter', filter, seq };
}

function find(model: HubModel, request: Request): ModelMessage | undefined {
  const { seq = 0, last_by_subj: last, next_by_subj: next } = request;
  const found =
    last !== undefined
      ? model.last(last)
      : next !== undefined
        ? model.next(next, seq)
        : model.at(seq);
  return found === null ? undefined : model.messages.get(found.seq);
}

function messageAnswer(message: ModelMessage | undefined): object {
  if (message === undefined)
    return { error: { code: 404, err_code: 10037, description: 'no message found' } };
  const { subject, seq, headerLines, data } = message;
  const hdrs = Buffer.from(`NATS/1.0\r\n${headerLines}\r\n`, 'latin1').toString('base64');
  return { message: { subject, seq, hdrs, data: data.toString('base64') } };
}

function refusal({ errCode, message }: HubError): object {
  const description = message.replace(/ \(\d+\)$/, '');
  return { error: { code: 400, err_code: errCode, description } };
}
