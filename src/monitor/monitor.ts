// The monitoring listener: GET /healthz, /varz, /connz, /mqttz, /leafz, /subsz, /jsz and /metrics, each computed when it is asked for. It only reads, knows no
// secrets, and sends no CORS header: a web page that happens to be open on this machine cannot read it.

import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Listen } from '../config/types.ts';
import { formatListen } from '../config/values.ts';
import { connz, type ConnzInput, type ConnzOptions } from './connz.ts';
import { healthz, type Health } from './health.ts';
import { jsz, type JszInput, type JszOptions } from './jsz.ts';
import { leafz, type LeafzInput } from './leafz.ts';
import { metrics, type MetricsInput } from './metrics.ts';
import { mqttz, type MqttzInput } from './mqttz.ts';
import { subsz, type SubszInput } from './subsz.ts';
import { varz, type VarzInput } from './varz.ts';

// An `import` of values from node:http reads every export, a WebSocket client among them: 7 MB for nothing.
const { createServer } = process.getBuiltinModule('node:http');

/** A scraper or two, and people. More are closed at once; each connection costs some 20 KB. */
const CONNECTIONS_MAX = 32;
/** A request without cookies needs less than 1 KB. Beyond it: 431. */
const HEADER_BYTES_MAX = 8 * 1024;
/** Time for a whole request to arrive. Beyond it: 408. */
const REQUEST_MS = 5000;
/** How long a connection may be silent, or not read its answer, before it is closed. */
const IDLE_MS = 10_000;
/** Clients in one answer of /connz, as in nats-server, and sessions in one of /mqttz; `limit` and `offset` give others. */
const LIST_LIMIT = 1024;
/** Of the text format that Prometheus reads. */
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** What main supplies; each is called for every request that needs it. */
export interface MonitorSources {
  readonly health: () => Health;
  readonly varz: () => VarzInput;
  readonly jsz: () => JszInput;
  readonly connz: () => ConnzInput;
  readonly subsz: () => SubszInput;
  readonly mqttz: () => MqttzInput;
  readonly leafz: () => LeafzInput;
  readonly metrics: () => MetricsInput;
}

/** The listener could not start. */
export class MonitorError extends Error {
  override name = 'MonitorError';
  readonly hint: string;

  constructor(message: string, hint: string, cause: unknown) {
    super(message, { cause });
    this.hint = hint;
  }
}

interface Answer {
  readonly status: number;
  /** Text is /metrics. */
  readonly body: object | string;
}

export class Monitor {
  readonly #listen: Listen;
  readonly #sources: MonitorSources;
  readonly #server: Server;
  /** Requests since start, by path: /varz shows them as nats-server does. Bounded: only paths that exist. */
  readonly #requests: Record<string, number> = {};

  readonly #paths: Readonly<Record<string, (query: URLSearchParams) => Answer>> = {
    '/healthz': () => healthz(this.#sources.health()),
    '/varz': () => ({ status: 200, body: this.#varz() }),
    '/connz': (query) => this.#connz(query),
    '/mqttz': (query) => this.#mqttz(query),
    '/leafz': (query) => this.#leafz(query),
    '/subsz': () => ({ status: 200, body: subsz(this.#sources.subsz()) }),
    '/jsz': (query) => this.#jsz(query),
    '/metrics': () => ({ status: 200, body: metrics(this.#sources.metrics()) }),
  };

  constructor({ listen }: { listen: Listen }, sources: MonitorSources) {
    this.#listen = listen;
    this.#sources = sources;
    const options = {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: REQUEST_MS,
      requestTimeout: REQUEST_MS,
      keepAliveTimeout: IDLE_MS,
      connectionsCheckingInterval: 1000,
    };
    this.#server = createServer(options, (request, response) => this.#answer(request, response));
    this.#server.maxConnections = CONNECTIONS_MAX;
    this.#server.timeout = IDLE_MS;
  }

  /** Resolves with the address once the listener accepts connections; rejects with a MonitorError. */
  start(): Promise<Listen> {
    const { host, port } = this.#listen;
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause: NodeJS.ErrnoException) => {
        const hint =
          cause.code === 'EADDRINUSE'
            ? 'Another program has this port (ss -tlnp shows which): set [monitor] listen to a free one.'
            : 'Set [monitor] listen to an address of this machine.';
        const address = formatListen(this.#listen);
        const message = `cannot listen on ${address} for monitoring (${cause.code ?? cause.message})`;
        reject(new MonitorError(message, hint, cause));
      });
      this.#server.listen({ host, port }, () => {
        // Later errors are failed accepts (no descriptors left): they must not end the agent.
        this.#server.on('error', () => {});
        const address = this.#server.address() as AddressInfo;
        resolve({ host: address.address, port: address.port });
      });
    });
  }

  /** Closes the listener and its connections. */
  stop(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    request.resume(); // A body means nothing here.
    const { status, body } = this.#route(request);
    const isText = typeof body === 'string';
    const text = isText ? body : `${JSON.stringify(body, undefined, 2)}\n`;
    response.writeHead(status, {
      'Content-Type': isText ? METRICS_TYPE : 'application/json',
      'Content-Length': Buffer.byteLength(text),
      'Cache-Control': 'no-store',
      ...(status === 405 ? { Allow: 'GET, HEAD' } : {}),
    });
    response.end(text); // Node leaves the body out for HEAD.
  }

  #route(request: IncomingMessage): Answer {
    const url = URL.parse(request.url ?? '/', 'http://localhost');
    if (url === null) return { status: 400, body: { error: 'invalid request target' } };
    const path = url.pathname;
    const answer = this.#paths[path];
    if (answer === undefined)
      return { status: 404, body: { error: 'no such path', paths: Object.keys(this.#paths) } };
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return { status: 405, body: { error: 'only GET and HEAD' } };
    this.#requests[path] = (this.#requests[path] ?? 0) + 1;
    return answer(url.searchParams);
  }

  #varz(): object {
    const { address: host, port } = this.#server.address() as AddressInfo;
    const http = { http_host: host, http_port: port, http_req_stats: this.#requests };
    return { ...varz(this.#sources.varz()), ...http };
  }

  #connz(query: URLSearchParams): Answer {
    const flags = { subs: false };
    const detailed = query.get('subs') === 'detail';
    const wrong = detailed ? undefined : readFlags(query, flags);
    if (wrong !== undefined) return wrong;
    const numbers = { cid: 0, offset: 0, limit: LIST_LIMIT };
    const wrongNumber = readNumbers(query, numbers);
    if (wrongNumber !== undefined) return wrongNumber;
    const { cid } = numbers;
    const chosen: ConnzOptions = {
      ...numbers,
      subs: detailed ? 'detail' : flags.subs,
      cid: cid === 0 ? undefined : cid,
      mqttClient: query.get('mqtt_client') ?? undefined,
    };
    return { status: 200, body: connz(this.#sources.connz(), chosen) };
  }

  #mqttz(query: URLSearchParams): Answer {
    const numbers = { offset: 0, limit: LIST_LIMIT };
    const wrong = readNumbers(query, numbers);
    if (wrong !== undefined) return wrong;
    const state = query.get('state') ?? undefined;
    if (state !== undefined && state !== 'connected' && state !== 'away')
      return {
        status: 400,
        body: { error: `state: found "${state}", expected connected or away` },
      };
    const clientId = query.get('client_id') ?? undefined;
    return { status: 200, body: mqttz(this.#sources.mqttz(), { ...numbers, clientId, state }) };
  }

  #leafz(query: URLSearchParams): Answer {
    const flags = { subs: false };
    const wrong = readFlags(query, flags);
    return wrong ?? { status: 200, body: leafz(this.#sources.leafz(), flags) };
  }

  #jsz(query: URLSearchParams): Answer {
    const options: Record<keyof JszOptions, boolean> = {
      streams: false,
      consumers: false,
      config: false,
      accounts: false,
    };
    const wrong = readFlags(query, options);
    if (wrong !== undefined) return wrong;
    return { status: 200, body: jsz(this.#sources.jsz(), options) };
  }
}

/** Reads what `numbers` names from the query; an answer where one is no whole number. */
function readNumbers(query: URLSearchParams, numbers: Record<string, number>): Answer | undefined {
  for (const name of Object.keys(numbers)) {
    const text = query.get(name);
    if (text === null) continue;
    const value = Number(text);
    if (text === '' || !Number.isSafeInteger(value) || value < 0)
      return { status: 400, body: { error: `${name}: expected a whole number` } };
    numbers[name] = value;
  }
  return undefined;
}

/** Reads what `flags` names from the query; an answer where one is neither true nor false. */
function readFlags(query: URLSearchParams, flags: Record<string, boolean>): Answer | undefined {
  for (const name of Object.keys(flags)) {
    const text = query.get(name) ?? '';
    const on = /^(1|t|true)$/i.test(text);
    if (!on && !/^(|0|f|false)$/i.test(text))
      return { status: 400, body: { error: `${name}: found "${text}", expected true or false` } };
    flags[name] = on;
  }
  return undefined;
}
