// The S2 codec against nats-server's: a leaf made of a socket, a reader and a writer, at hubs of every level of compression.

import { once } from 'node:events';
import { connect as dial, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { S2Reader } from '../../sync/leaf/s2/s2-reader.ts';
import { S2Writer } from '../../sync/leaf/s2/s2-writer.ts';
import { LeafParser } from '../../sync/leaf/leaf-parser.ts';
import { freePort, startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { oldNatsServer } from '../support/old-nats-server.ts';
import { randomBytes, randomInt, seededRandom, type Random } from '../support/random.ts';
import { until } from '../support/until.ts';

const LIMITS = { messageBytesMax: 64 * 1024 * 1024, controlLineBytesMax: 100_000 };
const MESSAGES = 600;
const CRLF = Buffer.from('\r\n');

let server: NatsServer | undefined;
let client: NatsConnection | undefined;
let leaf: Leaf | undefined;

afterEach(async () => {
  leaf?.socket.destroy();
  await client?.close();
  await server?.dispose();
  leaf = client = server = undefined;
});

/** A leaf node that knows just enough to be taken for one. */
class Leaf {
  readonly socket: Socket;
  readonly infos: Record<string, unknown>[] = [];
  readonly interest = new Set<string>();
  readonly messages: Buffer[] = [];
  pongs = 0;
  /** Bytes that came and went on the wire behind the hub's first INFO and our answer. */
  readBytes = 0;
  writtenBytes = 0;
  failure: Error | undefined;
  readonly #reader = new S2Reader();
  readonly #writer = new S2Writer();
  readonly #parser = new LeafParser(
    {
      info: (json) => void this.infos.push(JSON.parse(json) as Record<string, unknown>),
      subscribe: (subject) => void this.interest.add(subject),
      unsubscribe: (subject) => void this.interest.delete(subject),
      message: ({ data }) => void this.messages.push(data),
      ping: () => this.say('PONG\r\n'),
      pong: () => void this.pongs++,
      error: (text) => (this.failure = new Error(text)),
    },
    LIMITS,
  );

  constructor(port: number) {
    this.socket = dial({ port, host: '127.0.0.1' });
    this.socket.on('error', (error) => (this.failure = error));
  }

  /** Says what level it would have, and hears from the hub which it has. */
  async logIn(): Promise<void> {
    const [first] = (await once(this.socket, 'data')) as [Buffer];
    expect(first.toString('latin1', 0, 5)).toBe('INFO ');
    this.#parser.parse(first);
    this.socket.write('INFO {"server_id":"GW7","compression":"s2_fast"}\r\n');
    this.socket.on('data', (bytes: Buffer) => this.#read(bytes));
    await this.sees('the second INFO', () => this.infos.length > 1);
    this.say('CONNECT {"name":"gw7","headers":true,"no_responders":true,"version":"2.15.1"}\r\n');
    await this.settled();
  }

  say(bytes: string | Buffer): void {
    const encoded = this.#writer.encode(Buffer.from(bytes as string, 'latin1'));
    this.writtenBytes += encoded.length;
    this.socket.write(encoded);
  }

  /** What was said before has had its effect. */
  async settled(): Promise<void> {
    const pongs = this.pongs;
    this.say('PING\r\n');
    await this.sees('PONG', () => this.pongs > pongs);
  }

  async sees(what: string, probe: () => boolean): Promise<void> {
    await until(what, () => {
      if (this.failure !== undefined) throw this.failure;
      return probe();
    });
  }

  #read(bytes: Buffer): void {
    this.readBytes += bytes.length;
    try {
      for (const piece of this.#reader.decode(bytes)) this.#parser.parse(piece);
    } catch (error) {
      this.failure = error as Error;
      this.socket.destroy();
    }
  }
}

/** Readings, random bytes, runs and repeats, of all sizes up to a few thousand bytes; some are large. */
function mixed(random: Random): Buffer[] {
  const messages: Buffer[] = [];
  for (let i = 0; i < MESSAGES; i++) {
    const length = i % 60 === 59 ? 100_000 + randomInt(random, 300_000) : randomInt(random, 3000);
    if (i % 4 === 0) messages.push(randomBytes(random, length));
    else if (i % 4 === 1) messages.push(Buffer.alloc(length, randomBytes(random, 1 + i)));
    else messages.push(readings(random, i, length));
  }
  return messages;
}

function readings(random: Random, from: number, length: number): Buffer {
  let text = '';
  for (let i = from; text.length < length; i++)
    text += `{"device":"boiler-${i % 7}","temperature":${(20 + 5 * random()).toFixed(2)},"seq":${i}}\n`;
  return Buffer.from(text.slice(0, length));
}

/** What a hub is told, for what it then calls its mode: auto does not compress where the way to the leaf is short. */
const CONFIGS = {
  s2_auto: '{ mode: s2_auto, rtt_thresholds: [1h] }',
  s2_fast: 's2_fast',
  s2_better: 's2_better',
  s2_best: 's2_best',
} as const;
type Mode = keyof typeof CONFIGS;

async function start(mode: Mode, binary: string | undefined): Promise<NatsConnection> {
  const port = await freePort();
  server = await startNatsServer({
    jetstream: null,
    ...(binary === undefined ? {} : { binary }),
    config: `leafnodes { listen: "127.0.0.1:${port}", compression: ${CONFIGS[mode]} }`,
  });
  client = await connect({ servers: server.url });
  leaf = new Leaf(port);
  await leaf.logIn();
  return client;
}

function theLeaf(): Leaf {
  if (leaf === undefined) throw new Error('no leaf');
  return leaf;
}

describe.each([
  ['the newest nats-server', 'current'],
  ['nats-server 2.10', '2.10'],
] as const)('%s', (_, version) => {
  test.each<Mode>(['s2_auto', 's2_fast', 's2_better', 's2_best'])('at %s', async (mode) => {
    const hub = await start(mode, version === '2.10' ? oldNatsServer(version) : undefined);
    const gw = theLeaf();
    expect(gw.infos[0]).toMatchObject({ compression: mode });
    expect(gw.infos[1]).toMatchObject({ compression: mode });

    const down = mixed(seededRandom(10));
    gw.say('LS+ down\r\n');
    await gw.settled();
    const before = gw.readBytes;
    for (const data of down) hub.publish('down', data);
    await gw.sees('all that went down', () => gw.messages.length === down.length);
    const wrong = down.filter((data, i) => !data.equals(gw.messages[i] as Buffer));
    expect(wrong).toEqual([]);
    const share = (gw.readBytes - before) / sum(down);
    if (mode === 's2_auto') expect(share).toBeGreaterThan(1);
    else expect(share).toBeLessThan(0.7);

    const up = mixed(seededRandom(20));
    const got: Buffer[] = [];
    hub.subscribe('up', { callback: (_error, { data }) => void got.push(Buffer.from(data)) });
    await hub.flush();
    await gw.sees('interest', () => gw.interest.has('up'));
    const written = gw.writtenBytes;
    for (let i = 0; i < up.length;) {
      // Flushes of one message, and of many.
      const lines: Buffer[] = [];
      for (const end = i + 1 + (i % 13); i < end && i < up.length; i++)
        lines.push(Buffer.from(`LMSG up ${up[i]?.length}\r\n`), up[i] as Buffer, CRLF);
      gw.say(Buffer.concat(lines));
    }
    await gw.settled();
    await gw.sees('all that went up', () => got.length === up.length);
    expect(up.filter((data, i) => !data.equals(got[i] as Buffer))).toEqual([]);
    expect((gw.writtenBytes - written) / sum(up)).toBeLessThan(0.7);
    expect(gw.failure).toBeUndefined();
  });
});

function sum(buffers: readonly Buffer[]): number {
  return buffers.reduce((bytes, { length }) => bytes + length, 0);
}
