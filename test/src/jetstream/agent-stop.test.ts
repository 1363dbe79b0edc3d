// What a client of JetStream hears of it that the agent stops.

import { expect, test } from 'vitest';
import { ClientAgent } from '../../support/client-agent.ts';
import { until } from '../../support/until.ts';

test('a client that waits for messages is told that the agent stops, before its connection ends', async () => {
  const gateway = await ClientAgent.start();
  try {
    const client = await gateway.client({ reconnect: false });
    const ask = async (subject: string, body: object): Promise<string> =>
      (await client.request(`$JS.API.${subject}`, JSON.stringify(body))).string();
    await ask('STREAM.CREATE.WORK', { name: 'WORK', subjects: ['work.>'] });
    const config = { name: 'c', durable_name: 'c', ack_policy: 'explicit' };
    await ask('CONSUMER.CREATE.WORK.c', { stream_name: 'WORK', config });
    const heard: (string | undefined)[] = [];
    client.subscribe('pull', {
      callback: (_error, { headers }) =>
        void heard.push(`${headers?.code} ${headers?.description}`),
    });
    const pull = JSON.stringify({ batch: 5, expires: 30e9 });
    client.publish('$JS.API.CONSUMER.MSG.NEXT.WORK.c', pull, { reply: 'pull' });
    await client.flush();
    const stopped = gateway.agent.stop();
    await until('it is told', () => heard.length > 0);
    expect(heard).toEqual(['409 Server Shutdown']);
    await stopped;
  } finally {
    await gateway.dispose();
  }
});
