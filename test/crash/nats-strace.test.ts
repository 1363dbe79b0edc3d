// What NATS clients are told, by the kernel's own account: PubAcks, deliveries, and the answers to acknowledgements.

import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FrameClient, type Frame } from '../support/frame-client.ts';
import { natsAgentProcess } from '../support/nats-agent-process.ts';
import { NO_FDATASYNC } from './mutants.ts';
import { checkNatsTrace, type NatsTraceReport } from './nats-trace.ts';
import { straceWrapper } from './trace.ts';

/** Messages in flight in one part of the publishes, and acknowledgements in one round. */
const WINDOWS = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 40, 40, 100, 100, 1, 1, 1, 1, 1, 1];
const MESSAGES = WINDOWS.reduce((sum, window) => sum + window, 0);
/** A sync as a card takes it. */
const SLOW_SYNC = ['-e', 'inject=fdatasync:delay_enter=15000'];
const WAIT_MS = 30_000;

test('no PubAck, no delivery and no answer to an ack leaves before the fdatasync that covers it', async () => {
  const report = await traced({});
  expect(report.violations).toEqual([]);
  expect(report.pubacks).toBe(MESSAGES);
  expect(report.ackAnswers).toBe(MESSAGES);
  // To the consumer that pulls, and to the one that is pushed.
  expect(report.deliveries).toBeGreaterThanOrEqual(2 * MESSAGES);
  expect(report.syncs).toBeGreaterThan(2 * WINDOWS.length);
}, 120_000);

test('the same trace of an agent without the fdatasync is full of violations', async () => {
  const report = await traced(NO_FDATASYNC);
  const acks = report.violations.filter((text) => text.startsWith('ack '));
  expect(acks.length).toBeGreaterThan(MESSAGES / 2);
  expect(report.violations.length - acks.length).toBeGreaterThan(MESSAGES);
}, 120_000);

async function traced(env: Readonly<Record<string, string>>): Promise<NatsTraceReport> {
  const { agent, port } = await natsAgentProcess({ env });
  try {
    const file = join(agent.dir, 'trace');
    agent.options = { ...agent.options, wrapper: [...straceWrapper(file), ...SLOW_SYNC] };
    await agent.start();
    const client = await FrameClient.to(port);
    await work(client);
    client.close();
    await agent.stop();
    return checkNatsTrace(file);
  } finally {
    await agent.dispose();
  }
}

async function work(client: FrameClient): Promise<void> {
  const api = client.subscribe('_INBOX.api').box;
  const ask = async (subject: string, body: object): Promise<void> => {
    const before = api.length;
    client.publish(`$JS.API.${subject}`, { reply: '_INBOX.api', data: JSON.stringify(body) });
    await came(client, api, before + 1);
    expect(api.at(-1)?.data).not.toContain('"error"');
  };
  const config = (more: object) => ({ stream_name: 'T', config: { ...more } });
  await ask('STREAM.CREATE.T', { name: 'T', subjects: ['t.>'] });
  await ask(
    'CONSUMER.CREATE.T.pull',
    config({ name: 'pull', durable_name: 'pull', ack_policy: 'explicit' }),
  );
  client.subscribe('pushed');
  await ask(
    'CONSUMER.CREATE.T.push',
    config({ name: 'push', durable_name: 'push', deliver_subject: 'pushed', ack_policy: 'none' }),
  );
  await publishAll(client);
  await acknowledgeAll(client);
}

async function publishAll(client: FrameClient): Promise<void> {
  const pubacks = client.subscribe('_INBOX.p.*').box;
  let sent = 0;
  for (const window of WINDOWS) {
    for (let i = 0; i < window; i++, sent++)
      client.publish('t.x', { reply: `_INBOX.p.${sent}`, data: `m:${sent}:.` });
    await came(client, pubacks, sent);
  }
}

async function acknowledgeAll(client: FrameClient): Promise<void> {
  const { box } = client.subscribe('_INBOX.m');
  const answers = client.subscribe('_INBOX.a.*.*').box;
  client.publish('$JS.API.CONSUMER.MSG.NEXT.T.pull', {
    reply: '_INBOX.m',
    data: JSON.stringify({ batch: MESSAGES, expires: WAIT_MS * 1e6 }),
  });
  await came(client, box, MESSAGES);
  let acked = 0;
  for (const [round, window] of WINDOWS.entries()) {
    for (let i = 0; i < window; i++, acked++)
      client.publish(box[acked]?.reply ?? '', {
        reply: `_INBOX.a.${round + 1}.${i}`,
        data: '+ACK',
      });
    await came(client, answers, acked);
  }
}

async function came(client: FrameClient, box: readonly Frame[], count: number): Promise<void> {
  expect(await client.until(() => box.length >= count, WAIT_MS), `${count} came`).toBe(true);
}
