// A disk that reports an error: what it then holds is unknown, and asking it again would get a lie for an answer.

import { join } from 'node:path';
import { expect, test } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { until } from '../support/until.ts';
import { readDisk, violations } from './audit.ts';
import { Publisher } from './publisher.ts';
import { checkTrace, straceWrapper } from './trace.ts';

/** Lets the system call fail at its n-th use, counted per thread, and writes down what happens. */
function failing(file: string, call: string, error: string, when: string): string[] {
  return [...straceWrapper(file), '-e', `inject=${call}:error=${error}:when=${when}`];
}

test.for([
  { call: 'fdatasync', error: 'EIO', when: '40' },
  { call: 'fdatasync', error: 'EIO', when: '40+' },
  { call: 'pwrite64', error: 'EIO', when: '400' },
  { call: 'pwrite64', error: 'EROFS', when: '400+' },
] as const)(
  'after $error from $call (use $when) the agent acknowledges nothing and ends with 74',
  async ({ call, error, when }) => {
    await using agent = await AgentProcess.create();
    const file = join(agent.dir, 'trace');
    agent.options = { wrapper: failing(file, call, error, when) };
    const publishers = [
      new Publisher('one', agent.mqttPort, { window: 1, bytes: 64 }),
      new Publisher('many', agent.mqttPort, { window: 50, bytes: 64 }),
    ];
    for (const publisher of publishers) publisher.life = 1;
    await agent.start();
    for (const publisher of publishers) publisher.start();
    const { code } = await agent.exited;
    expect({ code, log: agent.output }).toMatchObject({ code: 74 });
    const last = agent.log.at(-1);
    expect(last).toMatchObject({
      level: 60,
      msg: 'the disk can no longer be trusted: the agent ends',
    });
    expect(last?.hint).toBeTruthy();
    await until('all connections to end', () => publishers.every(({ connected }) => !connected));
    const senders = publishers.flatMap(({ name, localPorts }) =>
      localPorts.map((port) => [port, name]),
    );
    expect(checkTrace(file, Object.fromEntries(senders)).violations).toEqual([]);
    // Systemd starts it again, on a disk that works.
    for (const publisher of publishers) publisher.life = 2;
    agent.options = {};
    await agent.start();
    const before = publishers.map(({ acked }) => acked.length);
    await until('PUBACKs again', () =>
      publishers.every(({ acked }, i) => acked.length > (before[i] ?? 0)),
    );
    for (const publisher of publishers) publisher.stop();
    await agent.stop();
    expect(violations(readDisk(agent.dataDir), publishers)).toEqual([]);
  },
);
