// What a gateway may do at the hub, as docs/hub.md gives it: enough for everything, nothing to spare, and nothing of
// another gateway.

import { expect, test } from 'vitest';
import type { NatsConnection } from '@nats-io/transport-node';
import { audit, verdict } from '../support/audit.ts';
import { until } from '../support/until.ts';
import { api, entriesOf, pageText, PermissionRig, readAll, type User } from './permission-rig.ts';
import { burst } from './traffic.ts';

/** Waiting for the backlog and then for the fleet takes up to 60 s each, on a machine that does other work. */
const TEST_MS = 180_000;

/** The streams of docs/hub.md, made by the administrator. */
async function makeStreams(rig: PermissionRig): Promise<NatsConnection> {
  const fleet = await rig.as('FLEET');
  const edge = pageText('edge.json');
  if (rig.page === 'shared-stream') {
    // Nothing may remove messages there: see the page.
    const shared = {
      ...(JSON.parse(edge) as object),
      name: 'EDGE',
      subjects: ['edge.>'],
      max_age: 0,
    };
    await api(fleet, '$JS.API.STREAM.CREATE.EDGE', shared);
    return fleet;
  }
  for (const gateway of ['gw7', 'gw8']) {
    const own = edge.replaceAll('gw7', gateway);
    await api(fleet, `JS.${gateway}.API.STREAM.CREATE.EDGE_${gateway}`, JSON.parse(own));
  }
  await api(fleet, '$JS.API.STREAM.CREATE.FLEET', JSON.parse(pageText('fleet.json')));
  return fleet;
}

/** Resolves when the fleet has all that was acknowledged, once, in order and unchanged. */
async function complete(rig: PermissionRig, fleet: NatsConnection): Promise<void> {
  const stream = rig.page === 'shared-stream' ? 'EDGE' : 'FLEET';
  const look = async (): Promise<string[]> => {
    const records = await readAll(fleet, stream);
    const ours = records.filter(({ subject }) => subject.startsWith('edge.gw7.SENSORS.'));
    return verdict(audit(rig.ledger, ours, { restored: true }));
  };
  let problems = ['nothing was read'];
  // After a restart the hub itself may wait for some seconds before it goes on, and then answers nobody.
  const isThere = async (): Promise<boolean> => {
    problems = await look().catch((error: unknown) => [`the fleet was not read: ${String(error)}`]);
    return problems.length === 0;
  };
  await until('the fleet to have it all', isThere, 60_000).catch(() => undefined);
  expect(problems).toEqual([]);
}

/** gw7's stream, as the administrator names it. */
function edgeOf(rig: PermissionRig, gateway = 'gw7'): string {
  return rig.page === 'shared-stream' ? '$JS.API' : `JS.${gateway}.API`;
}

async function subjectsIn(nc: NatsConnection, prefix: string, stream = 'EDGE'): Promise<string[]> {
  const { state } = await api<{ state: { subjects?: object } }>(
    nc,
    `${prefix}.STREAM.INFO.${stream}`,
    {
      subjects_filter: '>',
    },
  );
  return Object.keys(state.subjects ?? {});
}

test.concurrent.each([
  ['account-per-gateway', 'atomic'],
  ['account-per-gateway', 'fast'],
  ['account-per-gateway', 'auto'],
  ['shared-stream', 'atomic'],
  ['shared-stream', 'auto'],
] as const)(
  '%s, mode %s: everything works, and nothing is complained of',
  { timeout: TEST_MS },
  async (page, mode) => {
    await using rig = await PermissionRig.start(page);
    rig.forward = `mode = "${mode}"`;
    const fleet = await makeStreams(rig);
    await rig.startAgent();
    await burst(rig.agent, rig.ledger, 1);
    await rig.agent.drained();
    await burst(rig.agent, rig.ledger, 500);
    await rig.agent.drained();
    // A restart reads back.
    await rig.stopAgent();
    await rig.startAgent();
    await burst(rig.agent, rig.ledger, 500);
    await rig.agent.drained();
    expect(rig.agent.said('')).toEqual([]);
    // An epoch that it does not know makes it look through what it has sent.
    await rig.restoreCard();
    await rig.startAgent();
    await burst(rig.agent, rig.ledger, 500);
    await rig.agent.drained();
    expect(rig.agent.said('').map(({ msg }) => msg)).toEqual([
      'the hub holds messages of this gateway that this store never had; going on behind what both have',
    ]);
    await complete(rig, fleet);
  },
);

test.concurrent(
  'account-per-gateway: checkpoints are kept, and the old ones deleted',
  { timeout: TEST_MS },
  async () => {
    await using rig = await PermissionRig.start('account-per-gateway');
    const fleet = await makeStreams(rig);
    await rig.startAgent();
    for (let i = 0; i < 5; i++) {
      await burst(rig.agent, rig.ledger, 20);
      await rig.agent.drained();
    }
    await until('one checkpoint to be left', async () => {
      const { state } = await api<{ state: { subjects: Record<string, number> } }>(
        fleet,
        `${edgeOf(rig)}.STREAM.INFO.EDGE_gw7`,
        { subjects_filter: 'edge.gw7.SENSORS' },
      );
      return state.subjects['edge.gw7.SENSORS'] === 1;
    });
    await complete(rig, fleet);
    expect(await subjectsIn(fleet, '$JS.API', 'FLEET')).toEqual(['edge.gw7.SENSORS.serial.burst']);
    expect(rig.agent.said('')).toEqual([]);
  },
);

test.concurrent(
  'account-per-gateway: the hub is killed again and again, and the fleet has each message once',
  { timeout: TEST_MS },
  async () => {
    await using rig = await PermissionRig.start('account-per-gateway');
    const fleet = await makeStreams(rig);
    await rig.startAgent();
    for (let kills = 0; kills < 4; kills++) {
      const sent = burst(rig.agent, rig.ledger, 2_000);
      const before = rig.agent.status().confirmedSeq;
      await until('some to be at the hub', () => rig.agent.status().confirmedSeq > before);
      await rig.hub.kill();
      await sent;
      await rig.hub.restart();
    }
    await rig.agent.drained(60_000);
    await complete(rig, fleet);
  },
);

test.concurrent(
  'account-per-gateway: a fast batch gets its answers under the inbox of the gateway',
  { timeout: TEST_MS },
  async () => {
    await using rig = await PermissionRig.start('account-per-gateway');
    const fleet = await makeStreams(rig);
    const nc = await rig.as('GW7');
    const answers: string[] = [];
    nc.subscribe('_INBOX.gw7.x.>', {
      callback: (_, message) => void answers.push(message.string()),
    });
    const send = (n: number, operation: number): void =>
      nc.publish('edge.gw7.S.a', `${n}`, {
        reply: `_INBOX.gw7.x.batch.10.fail.${n}.${operation}.$FI`,
      });
    send(1, 0);
    await until('the batch to be open', () => answers.length > 0);
    for (let n = 2; n < 100; n++) send(n, 1);
    send(100, 2);
    await until('its end', () => answers.some((answer) => answer.includes('"count":100')));
    await until('all in the fleet', async () => (await readAll(fleet, 'FLEET')).length === 100);
  },
);

/** What makes the agent need an entry. */
const NEEDS: Record<string, RegExp> = {
  'edge.gw7.>': /publish to "edge\.gw7\.SENSORS\.serial\.burst"/,
  '$JS.API.STREAM.INFO.EDGE_gw7': /publish to "\$JS\.API\.STREAM\.INFO\.EDGE_gw7"/,
  '$JS.API.STREAM.MSG.GET.EDGE_gw7': /publish to "\$JS\.API\.STREAM\.MSG\.GET\.EDGE_gw7"/,
  '$JS.API.STREAM.MSG.DELETE.EDGE_gw7': /allow \$JS\.API\.STREAM\.MSG\.DELETE/,
  '$JS.API.CONSUMER.MSG.NEXT.EDGE_gw7.*':
    /publish to "\$JS\.API\.CONSUMER\.MSG\.NEXT\.EDGE_gw7\.mangrove-\w+"/,
  '_INBOX.gw7.>': /subscribe to "_INBOX\.gw7\.>"/,
};
/** Without these it is slower, or leaves something behind for a minute, and says nothing. */
const CAN_DO_WITHOUT = [
  '$JS.API.CONSUMER.CREATE.EDGE_gw7.*.edge.gw7.>',
  '$JS.API.CONSUMER.DELETE.EDGE_gw7.*',
];

test('every entry of the pages is tested below', () => {
  const entries = [...Object.keys(NEEDS), ...CAN_DO_WITHOUT].toSorted();
  expect(entriesOf('account-per-gateway').toSorted()).toEqual(entries);
  for (const entry of entriesOf('shared-stream'))
    expect(entries).toContain(entry.replace(/EDGE$/, 'EDGE_gw7'));
});

test.concurrent.each(Object.entries(NEEDS))(
  'without %s it says what to allow, keeps storing, and goes on when it is allowed',
  { timeout: TEST_MS },
  async (entry, hint) => {
    await using rig = await PermissionRig.start('account-per-gateway');
    const fleet = await makeStreams(rig);
    await rig.startAgent();
    await burst(rig.agent, rig.ledger, 20);
    await rig.agent.drained();
    // What needs the entry: an older store, a read-back, or just a message.
    const restored = entry.includes('CONSUMER');
    if (restored) await rig.restoreCard();
    await rig.without(entry);
    if (restored) await rig.startAgent();
    else if (!entry.startsWith('edge')) rig.link.reconnect('a test');
    await until(`a hint ${String(hint)}`, async () => {
      await burst(rig.agent, rig.ledger, 1);
      return rig.told(hint);
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}; it said ${JSON.stringify(rig.agent.said(''))}`);
    });
    rig.whole();
    await burst(rig.agent, rig.ledger, 10);
    await rig.agent.drained();
    await complete(rig, fleet);
  },
);

test.concurrent.each(CAN_DO_WITHOUT)(
  'without %s it works all the same',
  { timeout: TEST_MS },
  async (entry) => {
    await using rig = await PermissionRig.start('account-per-gateway');
    const fleet = await makeStreams(rig);
    await rig.startAgent();
    await burst(rig.agent, rig.ledger, 50);
    await rig.agent.drained();
    await rig.restoreCard();
    await rig.without(entry);
    await rig.startAgent();
    await burst(rig.agent, rig.ledger, 50);
    await rig.agent.drained();
    await complete(rig, fleet);
  },
);

test.concurrent(
  'create = true needs one entry more, and says which',
  { timeout: TEST_MS },
  async () => {
    await using rig = await PermissionRig.start('account-per-gateway');
    await rig.startAgent({ hub: 'create = true' });
    await burst(rig.agent, rig.ledger, 10);
    const hint = /publish to "\$JS\.API\.STREAM\.CREATE\.EDGE_gw7"/;
    await until('the hint', () => rig.told(hint));
    // The administrator makes it instead.
    await makeStreams(rig);
    await rig.agent.drained();
  },
);

/** What the server says to each attempt, and what is under gw8's name afterwards. */
async function attempt(
  rig: PermissionRig,
  user: User,
): Promise<{ denied: string[]; nc: NatsConnection }> {
  const nc = await rig.as(user);
  const denied: string[] = [];
  void (async () => {
    for await (const status of nc.status())
      if (status.type === 'error') denied.push(status.error.message);
  })();
  return { denied, nc };
}

test.concurrent(
  'account-per-gateway: one gateway can neither write under the name of another nor read of it',
  { timeout: TEST_MS },
  async () => {
    await using rig = await PermissionRig.start('account-per-gateway');
    const fleet = await makeStreams(rig);
    const gw8 = await rig.as('GW8');
    await gw8.request('edge.gw8.S.a', 'secret of gw8');
    const { denied, nc } = await attempt(rig, 'GW7');
    // Plainly.
    nc.publish('edge.gw8.S.forged', 'x');
    for (const subject of ['edge.gw8.>', '_INBOX.gw8.>', '_INBOX.>', '>', 'to.fleet.>'])
      nc.subscribe(subject);
    await nc.flush();
    await until('all refusals', () => denied.length === 6);
    // By the hub's hand: answers go where the one who asks wants them.
    await nc.request('edge.gw7.S.a', 'x');
    nc.publish('edge.gw7.S.b', 'x', { reply: 'edge.gw8.S.ack' });
    nc.publish('$JS.API.STREAM.INFO.EDGE_gw7', '', { reply: 'edge.gw8.S.info' });
    const get = JSON.stringify({ seq: 1 });
    nc.publish('$JS.API.STREAM.MSG.GET.EDGE_gw7', get, { reply: 'edge.gw8.S.get' });
    const config = { name: 'c', filter_subject: 'edge.gw7.>', ack_policy: 'none' };
    await api(nc, '$JS.API.CONSUMER.CREATE.EDGE_gw7.c.edge.gw7.>', {
      stream_name: 'EDGE_gw7',
      config,
    });
    nc.publish('$JS.API.CONSUMER.MSG.NEXT.EDGE_gw7.c', '', { reply: 'edge.gw8.S.next' });
    const push = { ...config, name: 'p', deliver_subject: 'edge.gw8.S.push' };
    await api(nc, '$JS.API.CONSUMER.CREATE.EDGE_gw7.p.edge.gw7.>', {
      stream_name: 'EDGE_gw7',
      config: push,
    });
    // What it can read is its own.
    const found = await api<{ message: { subject: string } }>(
      nc,
      '$JS.API.STREAM.MSG.GET.EDGE_gw7',
      {
        seq: 1,
      },
    );
    expect(found.message.subject).toBe('edge.gw7.S.a');
    const none = api(nc, '$JS.API.STREAM.MSG.GET.EDGE_gw7', { last_by_subj: 'edge.gw8.>' });
    await expect(none).rejects.toThrow('no message found');
    await nc.flush();
    await until('both in the fleet', async () => (await readAll(fleet, 'FLEET')).length >= 3);
    expect(await subjectsIn(fleet, edgeOf(rig, 'gw8'), 'EDGE_gw8')).toEqual(['edge.gw8.S.a']);
    expect(await subjectsIn(fleet, '$JS.API', 'FLEET')).toEqual(
      expect.not.arrayContaining([expect.stringMatching(/^edge\.gw8\.(?!S\.a$)/)]),
    );
  },
);

test.concurrent(
  'shared-stream: a gateway can read the fleet, and have the hub write under the name of another',
  { timeout: TEST_MS },
  async () => {
    await using rig = await PermissionRig.start('shared-stream');
    const fleet = await makeStreams(rig);
    const gw8 = await rig.as('GW8');
    await gw8.request('edge.gw8.S.a', 'secret of gw8');
    const { denied, nc } = await attempt(rig, 'GW7');
    nc.publish('edge.gw8.S.forged', 'x');
    nc.publish('$JS.API.STREAM.MSG.DELETE.EDGE', '{"seq":1}');
    nc.publish('$JS.API.CONSUMER.MSG.NEXT.EDGE.app', '');
    for (const subject of ['edge.gw8.>', '_INBOX.gw8.>', '>']) nc.subscribe(subject);
    await nc.flush();
    await until('all refusals', () => denied.length === 6);
    // The page says so: this is what the other layout is for.
    const found = await api<{ message: { data: string } }>(nc, '$JS.API.STREAM.MSG.GET.EDGE', {
      seq: 1,
    });
    expect(Buffer.from(found.message.data, 'base64').toString()).toBe('secret of gw8');
    nc.publish('edge.gw7.S.b', 'x', { reply: 'edge.gw8.S.ack' });
    await until('the forged message', async () =>
      (await subjectsIn(fleet, '$JS.API')).includes('edge.gw8.S.ack'),
    );
  },
);

test('the page explains every entry', () => {
  const page = pageText('../hub.md');
  for (const entry of [...Object.keys(NEEDS), ...CAN_DO_WITHOUT]) {
    const kind = entry.startsWith('_INBOX') ? 'subscribe' : 'publish';
    expect(page).toContain(`| \`${entry.replace('EDGE_gw7', 'EDGE')}\` | ${kind} |`);
  }
});
