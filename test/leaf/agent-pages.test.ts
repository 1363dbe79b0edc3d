// The configurations of docs/hub.md for a hub that sources, as they are, with gateways that run.

import { jetstream } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { oldNatsServer } from '../support/old-nats-server.ts';
import { until } from '../support/until.ts';
import type { AgentGateway } from './gateway.ts';
import { PageHub, type Page } from './page-hub.ts';

const TEST_MS = 300_000;
const MESSAGES = 2_000;
/** Enough that flow control is needed: without it a source stands still after some megabytes. */
const PADDING = '.'.repeat(4_000);

interface Stored {
  readonly seq: number;
  readonly subject: string;
  readonly text: string;
}

/** Stores messages at a gateway, as a local program does. */
async function fill(gateway: AgentGateway): Promise<void> {
  const nc = await connect({ servers: `127.0.0.1:${gateway.port}` });
  const js = jetstream(nc);
  for (let i = 0; i < MESSAGES; i += 100)
    await Promise.all(
      Array.from({ length: 100 }, (_, k) =>
        js.publish(`plant.${k % 7}`, `message ${i + k} ${PADDING}`),
      ),
    );
  await nc.close();
}

/** All of a stream of the hub, in its order. */
async function readAll(hub: PageHub, name: string, count: number): Promise<Stored[]> {
  const consumer = await jetstream(hub.fleet).consumers.get(name);
  const found: Stored[] = [];
  for await (const each of await consumer.fetch({ max_messages: count, expires: 20_000 }))
    found.push({
      seq: each.seq,
      subject: each.subject,
      text: each.string().replace(` ${PADDING}`, ''),
    });
  return found;
}

async function has(hub: PageHub, name: string, count: number): Promise<void> {
  const state = async (): Promise<number> => {
    const info = await hub.api<{ state: { messages: number } }>(`$JS.API.STREAM.INFO.${name}`);
    return info.state.messages;
  };
  await until(`${name} to have ${count}`, async () => (await state()) >= count, 120_000).catch(
    async (error: unknown) => {
      const info = await hub.api(`$JS.API.STREAM.INFO.${name}`);
      throw new Error(`${String(error)}: ${JSON.stringify(info)}\n${hub.server.output}`);
    },
  );
}

/** A program of the hub works on a stream of a gateway: a consumer, its messages and acknowledgements, and one message alone. */
async function reads(hub: PageHub, domain: string, stream: string): Promise<void> {
  const api = `$JS.${domain}.API`;
  const config = { durable_name: 'tool', ack_policy: 'explicit' };
  const name = `${stream}.tool`;
  await hub.api(`${api}.CONSUMER.DURABLE.CREATE.${name}`, { stream_name: stream, config });
  const consumer = await jetstream(hub.fleet, { domain }).consumers.get(stream, 'tool');
  for (let i = 0; i < 3; i++) {
    const message = await consumer.next({ expires: 5_000 });
    expect(message?.string()).toBe(`${EXPECTED[i]} ${PADDING}`);
    expect(await message?.ackAck()).toBe(true);
  }
  const { message } = await hub.api<{ message: { subject: string } }>(
    `${api}.STREAM.MSG.GET.${stream}`,
    { seq: 9 },
  );
  expect(message.subject).toBe('plant.1');
}

/** What the gateway `name` sent, as the stream of the fleet has it. */
function ofGateway(stored: readonly Stored[], name: string): string[] {
  const begins = `site.${name}.plant.`;
  return stored.filter(({ subject }) => subject.startsWith(begins)).map(({ text }) => text);
}

const EXPECTED = Array.from({ length: MESSAGES }, (_, i) => `message ${i}`);

interface Kind {
  readonly sourced: string;
  readonly streamOf: (gateway: string) => string;
  readonly exports: (gateway: string) => readonly string[];
}

const PAGES: Readonly<Record<Page, Kind>> = {
  'leaf-fleet': { sourced: 'sourced.json', streamOf: () => 'SITE', exports: () => [] },
  'leaf-accounts': {
    sourced: 'sourced-accounts.json',
    streamOf: (gateway) => `SITE_${gateway}`,
    exports: (gateway) => [`to.fleet.${gateway}.>`],
  },
};

test.concurrent.each([
  ['leaf-fleet', '2.15'],
  ['leaf-accounts', '2.15'],
  ['leaf-fleet', '2.10'],
  ['leaf-accounts', '2.10'],
] as const)(
  '%s.conf, nats-server %s: the stream of the fleet has what each gateway stored, once and in order, and nobody complains',
  { timeout: TEST_MS },
  async (page, version) => {
    const { sourced, streamOf, exports } = PAGES[page];
    const binary = version === '2.15' ? undefined : oldNatsServer(version);
    await using hub = await PageHub.start(page, binary);
    const start = async (name: 'gw7' | 'gw8'): Promise<AgentGateway> => {
      const stream = `[[stream]]\nname = "${streamOf(name)}"\nsubjects = ["plant.>"]\n`;
      const gateway = await hub.gateway(name, stream, exports(name));
      await fill(gateway);
      return gateway;
    };
    await using gw7 = await start('gw7');
    await using gw8 = await start('gw8');
    await hub.make(sourced);
    await has(hub, 'FLEET', 2 * MESSAGES);
    const stored = await readAll(hub, 'FLEET', 2 * MESSAGES);
    expect(ofGateway(stored, 'gw7')).toEqual(EXPECTED);
    expect(ofGateway(stored, 'gw8')).toEqual(EXPECTED);
    expect(stored).toHaveLength(2 * MESSAGES);
    if (page === 'leaf-fleet') {
      await hub.make('mirrored.json');
      await has(hub, 'COPY_gw7', MESSAGES);
      const copy = await readAll(hub, 'COPY_gw7', MESSAGES);
      expect(copy.map(({ seq, text }) => `${seq} ${text}`)).toEqual(
        EXPECTED.map((text, i) => `${i + 1} ${text}`),
      );
    }
    if (page === 'leaf-fleet') await reads(hub, 'gw7', 'SITE');
    for (const gateway of [gw7, gw8]) {
      expect(gateway.complaints).toEqual([]);
      expect(await gateway.problem()).toBe('');
    }
    expect(hub.server.output).not.toMatch(/Violation|\[ERR\]/);
  },
);
