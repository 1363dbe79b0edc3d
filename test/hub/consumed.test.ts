// Consumers at the hub take messages away for good by acknowledging them. That is no loss: nothing is sent again. Where
// the hub also lost its newest messages in a crash, those alone are.

import { expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { audit, verdict } from '../support/audit.ts';
import { EDGE, LONGER_THAN_WINDOW_MS } from './hub-admin.ts';
import { rollBack, snapshot } from './hub-stores.ts';
import { lasting, Rig } from './rig.ts';
import { burst } from './traffic.ts';

const TEST_MS = 180_000;
const FILTER = 'edge.gw7.SENSORS.>';
const REFILL = 'the hub lost messages that it had confirmed; sending them again';

test.concurrent.each([
  ['work queue', 'workqueue', {}],
  ['work queue with checkpoints', 'workqueue', { allow_msg_ttl: true }],
  ['stream of interest', 'interest', {}],
  ['stream of interest with checkpoints', 'interest', { allow_msg_ttl: true }],
])(
  'what consumers of a %s have acknowledged is not sent again, whatever happens to link and hub',
  { timeout: TEST_MS },
  async (_, retention, more) => {
    await using rig = await Rig.start({ stream: null });
    await rig.admin.create({ ...EDGE, ...more, retention });
    await rig.admin.consumer(FILTER);
    await burst(rig.agent, rig.ledger, 100);
    const seen = await rig.admin.consume(60);
    await rig.agent.drained();
    // All is taken while nobody is connected, and the hub restarted.
    await rig.proxy.refuse();
    rig.proxy.resetAll();
    await until('the link to be down', () => !rig.link.connected);
    seen.push(...(await rig.admin.consume(40)));
    await burst(rig.agent, rig.ledger, 50);
    await lasting(LONGER_THAN_WINDOW_MS);
    await rig.hub.stop();
    await rig.hub.restart();
    await rig.admin.answers();
    await rig.proxy.restore();
    seen.push(...(await rig.admin.consume(50)));
    await rig.agent.drained();
    // And while all is well.
    await burst(rig.agent, rig.ledger, 50);
    seen.push(...(await rig.admin.consume(50)));
    await rig.agent.drained();
    expect(verdict(audit(rig.ledger, seen))).toEqual([]);
    expect(await rig.admin.isEmpty(FILTER)).toBe(true);
    expect(rig.agent.status().refills).toBe(0);
  },
);

test.concurrent.each([
  ['some', 60],
  ['all', 100],
])(
  'a work queue of which consumers had %s loses what came after a copy: that alone is sent again',
  { timeout: TEST_MS },
  async (_, taken) => {
    await using rig = await Rig.start({ stream: null });
    await rig.admin.create({ ...EDGE, retention: 'workqueue', allow_msg_ttl: true });
    await rig.admin.consumer(FILTER);
    await burst(rig.agent, rig.ledger, 100);
    const seen = await rig.admin.consume(taken);
    await rig.agent.drained();
    await snapshot([rig.hub]);
    await rig.admin.answers();
    await burst(rig.agent, rig.ledger, 200);
    await rig.admin.consume(300 - taken);
    await rig.agent.drained();
    await rollBack([rig.hub]);
    await rig.admin.answers();
    await burst(rig.agent, rig.ledger, 50);
    // The hub has forgotten that the later ones were taken.
    seen.push(...(await rig.admin.consume(350 - taken)));
    await rig.agent.drained();
    expect(verdict(audit(rig.ledger, seen))).toEqual([]);
    expect(await rig.admin.isEmpty(FILTER)).toBe(true);
    expect(rig.agent.said(REFILL)).toMatchObject([{ from_seq: 101, to_seq: 300 }]);
  },
);
