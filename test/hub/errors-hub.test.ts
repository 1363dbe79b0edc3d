// The hub itself is not as it should be: it has no JetStream, its process hangs, it denies what the gateway needs, takes
// smaller messages than yesterday, or more gateways send batches than it allows.

import { createInbox, headers } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { EDGE } from './hub-admin.ts';
import {
  Accounts,
  FAILED,
  MISCONFIGURED,
  NO_CONNECTION,
  restartHub,
  suffer,
  told,
  type Mishap,
} from './mishaps.ts';
import { lasting, Rig } from './rig.ts';
import { burst } from './traffic.ts';

const TEST_MS = 180_000;

const accountsOf = new WeakMap<Rig, Accounts>();

/** The hub is started anew with other permissions or limits of the gateway's account. */
function rewrite(change: Parameters<Accounts['write']>[0]) {
  return (rig: Rig): Promise<void> => restartHub(rig, () => accountsOf.get(rig)?.write(change));
}

const MISHAPS: readonly (Mishap & { readonly what: string })[] = [
  {
    what: 'has no JetStream any more',
    wrong: (rig) => restartHub(rig, () => rig.hub.configure({ jetstream: null })),
    says: FAILED,
    remedy: /JetStream is not enabled/,
    passing: true,
    mend: (rig) => restartHub(rig, () => rig.hub.configure({ jetstream: '' })),
  },
  {
    what: 'has taken JetStream from the account',
    wrong: rewrite({ jetstream: 'disabled' }),
    says: MISCONFIGURED,
    remedy: /enable JetStream for the account/,
    mend: rewrite({}),
  },
  {
    what: 'hangs',
    wrong: ({ hub }) => hub.freeze(),
    says: NO_CONNECTION,
    remedy: /WAN|nats-server/,
    shown: /nothing heard|no answer/,
    passing: true,
    mend: ({ hub }) => hub.thaw(),
  },
  {
    what: 'denies replies to the gateway',
    wrong: rewrite({ denySubscribe: '_INBOX.>' }),
    says: NO_CONNECTION,
    remedy: /_INBOX/,
    shown: /denies us its answers/,
    passing: true,
    mend: rewrite({}),
  },
  {
    what: 'denies publishes of the gateway',
    wrong: rewrite({ deny: 'edge.gw7.>' }),
    says: MISCONFIGURED,
    remedy: /allow this gateway to publish/,
    mend: rewrite({}),
  },
  {
    what: 'denies a description of the stream',
    wrong: rewrite({ deny: '$JS.API.STREAM.INFO.>' }),
    says: MISCONFIGURED,
    remedy: /allow this gateway to publish to "\$JS\.API\.STREAM\.INFO/,
    mend: rewrite({}),
  },
  {
    what: 'denies to read back',
    wrong: rewrite({ deny: '$JS.API.STREAM.MSG.GET.>' }),
    says: MISCONFIGURED,
    remedy: /allow this gateway to publish to "\$JS\.API\.STREAM\.MSG\.GET/,
    mend: rewrite({}),
  },
  {
    what: 'denies all of the API of JetStream',
    wrong: rewrite({ deny: '$JS.API.>' }),
    says: MISCONFIGURED,
    remedy: /allow this gateway to publish to "\$JS/,
    mend: rewrite({}),
  },
];

test.concurrent.each(MISHAPS)(
  'the hub $what, and then all is well',
  { timeout: TEST_MS },
  async (mishap) => {
    using accounts = new Accounts();
    await using rig = await Rig.start({
      server: { config: accounts.config },
      auth: Accounts.admin,
      agent: { hub: accounts.login },
    });
    accountsOf.set(rig, accounts);
    await suffer(rig, mishap);
  },
);

test.concurrent(
  'the hub lets the gateway create no stream, and then it does',
  { timeout: TEST_MS },
  async () => {
    using accounts = new Accounts();
    accounts.write({ deny: '$JS.API.STREAM.CREATE.>' });
    await using rig = await Rig.start({
      stream: null,
      server: { config: accounts.config },
      auth: Accounts.admin,
      agent: { hub: `${accounts.login}\ncreate = true` },
    });
    await burst(rig.agent, rig.ledger, 20);
    await told(rig.agent, MISCONFIGURED, /publish to "\$JS\.API\.STREAM\.CREATE/);
    await restartHub(rig, () => accounts.write());
    expect(await rig.audit()).toEqual([]);
  },
);

test.concurrent(
  'the hub hangs for moments under load, longer and shorter than it takes to notice',
  { timeout: TEST_MS },
  async () => {
    await using rig = await Rig.start();
    rig.startTraffic(300);
    for (const ms of [300, 1_500, 700, 2_500]) {
      await rig.confirmed(50);
      rig.hub.freeze();
      await lasting(ms);
      rig.hub.thaw();
    }
    await rig.confirmed(50);
    expect(await rig.audit()).toEqual([]);
    expect(rig.agent.status().refills).toBe(0);
  },
);

test.concurrent(
  'the hub takes smaller messages than yesterday: larger ones are set aside, the others arrive',
  { timeout: TEST_MS },
  async () => {
    await using rig = await Rig.start();
    await burst(rig.agent, rig.ledger, 30);
    await burst(rig.agent, rig.ledger, 1, { source: 'large', bytes: 5_000 });
    await rig.agent.drained();
    await rig.proxy.refuse();
    rig.proxy.resetAll();
    await burst(rig.agent, rig.ledger, 30);
    await burst(rig.agent, rig.ledger, 1, { source: 'poison', bytes: 5_000 });
    await burst(rig.agent, rig.ledger, 30);
    await restartHub(rig, () => rig.hub.configure({ config: 'max_payload: 2KB' }));
    await rig.proxy.restore();
    const excused = (key: string): boolean => key.startsWith('poison');
    expect(await rig.audit({ excused })).toEqual([]);
    expect(rig.agent.status()).toMatchObject({ rejected: 1, gaps: 1 });
    await told(rig.agent, 'the hub will never take a message', /stream dead_letter/);
  },
);

/** Opens a batch by hand, as another gateway's that is slow, and returns what keeps it open. */
function openBatch({ admin }: Rig, id: string): () => void {
  let seq = 0;
  const more = (): void => {
    const lines = headers();
    lines.set('Nats-Batch-Id', id);
    lines.set('Nats-Batch-Sequence', String(++seq));
    admin.nc.publish('edge.other.SENSORS.x', 'theirs', { headers: lines });
  };
  more();
  return more;
}

test.concurrent(
  'fifty batches of others are open: messages go one by one, and in batches again when there is room',
  { timeout: TEST_MS },
  async () => {
    await using rig = await Rig.start({
      server: { jetstream: 'limits { batch { timeout: "3s" } }' },
    });
    await burst(rig.agent, rig.ledger, 30);
    await rig.agent.drained();
    const batches = Array.from({ length: 50 }, (_, i) => openBatch(rig, `other${i}`));
    await rig.admin.nc.flush();
    const keep = setInterval(() => batches.forEach((more) => more()), 500);
    try {
      await burst(rig.agent, rig.ledger, 15);
      await told(rig.agent, FAILED, /max_inflight_per_stream/);
      await rig.agent.drained();
    } finally {
      clearInterval(keep);
    }
    await until('batches again', async () => {
      const { batches } = rig.agent.status();
      await burst(rig.agent, rig.ledger, 100);
      await rig.agent.drained();
      return rig.agent.status().batches - batches < 20;
    });
    expect(await rig.audit()).toEqual([]);
    expect(rig.agent.status()).toMatchObject({ rejected: 0, problem: null });
  },
);

test.concurrent(
  'a thousand fast batches of others are open: the backlog arrives without one',
  { timeout: TEST_MS },
  async () => {
    await using rig = await Rig.start({
      stream: { ...EDGE, allow_batched: true },
      forward: { mode: 'fast' },
      server: { jetstream: 'limits { batch { timeout: "3s" } }' },
    });
    await rig.proxy.refuse();
    rig.proxy.resetAll();
    for (let i = 0; i < 3; i++) await burst(rig.agent, rig.ledger, 5_000);
    const inbox = createInbox();
    const open = (): void => {
      // The reply subject carries batch, flow, what to do at a gap, sequence and operation.
      for (let i = 0; i < 1_000; i++)
        rig.admin.nc.publish('edge.other.SENSORS.x', 'theirs', {
          reply: `${inbox}.other${i}.100.fail.1.0.$FI`,
        });
    };
    open();
    await rig.admin.nc.flush();
    await rig.proxy.restore();
    await until('the operator to be told why it is slower', () =>
      rig.agent.log.some(
        ({ msg, hint = '' }) =>
          msg.includes('going on without acceleration') && hint.includes('max_inflight_per_stream'),
      ),
    );
    await rig.agent.drained(60_000);
    const ours = (await rig.admin.readAll()).filter(({ subject }) => !subject.includes('.other.'));
    expect(await rig.audit({}, ours)).toEqual([]);
    expect(rig.agent.status()).toMatchObject({ rejected: 0, problem: null });
  },
);

test.concurrent('the hub takes only small batches', { timeout: TEST_MS }, async () => {
  await using rig = await Rig.start({
    stream: { ...EDGE },
    server: { jetstream: 'limits { batch { max_msgs: 10 } }' },
  });
  rig.startTraffic(100);
  await rig.confirmed(200);
  expect(await rig.audit()).toEqual([]);
  expect(rig.agent.status()).toMatchObject({ rejected: 0, problem: null });
});
