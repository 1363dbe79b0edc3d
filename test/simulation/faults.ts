// What befalls the gateway, its disk, its clock, the WAN and the hub. Each fault of a seed comes at random times at its own
// rate, and ends by itself.

import { flipWalBit } from './disk.ts';
import { GATEWAY, PREFIX } from './journal.ts';
import { nonceOf } from './ledger.ts';
import type { Fault } from './options.ts';
import { randomInt, type Random } from '../support/random.ts';
import type { World } from './world.ts';

const YEAR_MS = 365 * 24 * 3_600_000;
/** Longer than any delayed request lives. */
const ZOMBIES_GONE_MS = 10_000;

type Act = (world: World, random: Random) => boolean | void;

const between = (random: Random, least: number, most: number): number =>
  least + randomInt(random, most - least + 1);

/** What each fault does; false when there was nothing to do it to. */
const ACTS: Record<Fault, Act> = {
  kill: (world, random) => world.soon(() => world.die('killed', between(random, 100, 60_000))),
  'power cut': (world, random) =>
    world.soon(() => world.die('power cut', between(random, 1_000, 600_000))),
  'power cut in a checkpoint'(world) {
    world.disk.nextCheckpointCut = true;
    return false;
  },
  stop(world, random) {
    world.stop(between(random, 100, 60_000));
    return false;
  },
  'failed sync'(world) {
    world.disk.nextSyncFails = true;
  },
  'stalled disk'(world, random) {
    world.disk.stalled = true;
    world.clock.after(between(random, 1_000, 60_000), () => (world.disk.stalled = false));
  },
  'full disk': fullDisk,
  'store put back': putBack,
  'bit flip in the WAL'(world, random) {
    world.soon(() =>
      world.die(
        'killed',
        ZOMBIES_GONE_MS + randomInt(random, 10_000),
        (image) => flipWalBit(image, random),
        () => world.excuse(Infinity),
      ),
    );
  },
  'bit flip in a record': flipRecord,
  'clock step'(world, random) {
    switch (world.options.clock) {
      case 'right':
        return false;
      case 'starts in 1970':
        world.loseClock();
        return false;
      case 'steps by years':
        world.clock.stepWall(world.trueMs() + (random() - 0.5) * 60 * YEAR_MS);
        return true;
    }
  },
  'wan cut'({ hub, clock }, random) {
    hub.cut();
    clock.after(between(random, 100, 60_000 * 60 ** random()), () => hub.heal());
  },
  'black hole'({ hub, clock }, random) {
    hub.blackHole();
    clock.after(between(random, 100, 60_000), () => hub.heal());
  },
  'lossy wan'({ hub, clock }, random) {
    hub.faults.lostRequest = random() < 0.5 ? random() * 0.3 : 0;
    hub.faults.lostAck = random() < 0.6 ? random() * 0.4 : 0;
    hub.faults.zombie = random() < 0.6 ? random() * 0.4 : 0;
    clock.after(between(random, 5_000, 120_000), () => calm(hub));
  },
  election: ({ hub }, random) => hub.changeLeader(randomInt(random, 4_000)),
  'cut after a confirmation'(world, random) {
    world.onLate = () => {
      world.onLate = () => undefined;
      cutLateMark(world, random);
    };
    return false;
  },
  ambush(world, random) {
    const { hub } = world;
    hub.line.onAppend = () => {
      hub.line.onAppend = () => undefined;
      ambush(world, random);
    };
    return false;
  },
  'hub restart': ({ hub }) => hub.restart(),
  'hub rolled back': (world, random) =>
    quietly(world, () => {
      const { hub, journal } = world;
      const { lastSeq } = hub.model;
      const left = Math.max(0, lastSeq - 1 - randomInt(random, random() < 0.5 ? 5 : 100));
      journal.lost(left);
      hub.rollBack(lastSeq - left);
      world.count('hub rolled back');
    }),
  'hub stream recreated': (world) =>
    quietly(world, () => {
      world.journal.lost(0);
      world.hub.recreate();
      world.count('hub stream recreated');
    }),
  'hub purged': purge,
  'hub full'({ hub, clock }, random) {
    const { model } = hub;
    const before = model.config;
    if (before.maxMsgs > 0) return false;
    const maxMsgs = model.messages.size + 1 + randomInt(random, 5);
    model.config = { ...before, discard: 'new', maxMsgs };
    clock.after(between(random, 5_000, 300_000), () => (model.config = before));
    return true;
  },
  'hub removes'({ hub: { model } }, random) {
    if (model.config.retention !== 'workqueue') return false;
    const ours = model.under(`${PREFIX}.${GATEWAY}.*.>`);
    const some = ours.slice(0, random() < 0.5 ? ours.length : randomInt(random, ours.length + 1));
    for (const { seq } of some) model.remove(seq);
    return some.length > 0;
  },
  'other gateways': ({ hub, journal }, random) =>
    journal.byHand(() => {
      for (let i = 1 + randomInt(random, 20); i > 0; i--) hub.storeForeign('edge.gw8.plant.data.x');
    }),
  'message by hand': ({ hub, journal }) =>
    journal.byHand(() => void hub.storeForeign(`${PREFIX}.${GATEWAY}.plant.by.hand`)),
  impostor(world, random) {
    const epoch = `other${randomInt(random, 1e6)}`;
    const id = `${GATEWAY}:plant:${epoch}:${1 + randomInt(random, 100)}`;
    world.journal.byHand(
      () => void world.hub.storeForeign(`${PREFIX}.${GATEWAY}.plant.data.x`, id),
    );
    // The operator finds out, takes the other one off, and restarts ours.
    world.clock.after(between(random, 10_000, 300_000), () =>
      world.soon(() => world.die('killed', 1_000)),
    );
  },
  unplug(world, random) {
    if (world.meter === null) return false;
    world.meter.unplug();
    world.clock.after(between(random, 10, 30_000), () => world.meter?.plugIn());
    return true;
  },
};

/** An operator empties the hub's stream. */
function purge({ hub, journal, durableMarks }: World): void {
  if (hub.model.describe().removes) return hub.model.purge(`${PREFIX}.${GATEWAY}.*.>`);
  journal.forget(durableMarks);
  hub.model.purge();
}

/** The power goes, or the process, while the disk may not have the mark; where purges are on, one comes in between. */
function cutLateMark(world: World, random: Random): void {
  const { clock, options } = world;
  clock.after(random() < 0.3 ? 0 : randomInt(random, 12_000), () =>
    world.soon(async () => {
      const downMs = between(random, 100, 120_000);
      await world.die(random() < 0.7 ? 'power cut' : 'killed', downMs);
      world.count('cut after a confirmation');
      if (options.faults['hub purged'] === undefined || random() < 0.7) return;
      purge(world);
      world.count('hub purged after a cut');
    }),
  );
}

/** Something happens while messages of a fast batch are on their way. */
function ambush(world: World, random: Random): void {
  const { hub, clock } = world;
  const luck = random();
  clock.after(random() * 3 * world.options.latencyMs, () => {
    world.count('ambush');
    if (luck < 0.25) return hub.changeLeader(randomInt(random, 500));
    if (luck < 0.35) return hub.restart();
    if (luck < 0.45) return world.soon(() => world.die('killed', between(random, 100, 2_000)));
    // The link breaks, and what was on its way arrives late; the leader may have changed by then.
    const { zombie } = hub.faults;
    hub.faults.zombie = 1;
    hub.reconnect('an ambush');
    hub.faults.zombie = zombie;
    if (luck < 0.7) return undefined;
    return clock.after(between(random, 200, 4_000), () => hub.changeLeader(randomInt(random, 500)));
  });
}

function calm(hub: World['hub']): void {
  Object.assign(hub.faults, { lostRequest: 0, lostAck: 0, zombie: 0 });
}

/** Waits until no delayed request is on its way: one that outlives the hub's memory is beyond what a fence can refuse. */
function quietly(world: World, act: () => void): false {
  const { hub, clock } = world;
  const forbid = (leftMs: number): void => {
    hub.faults.zombie = 0;
    if (leftMs <= 0) return act();
    clock.after(50, () => forbid(leftMs - 50));
  };
  forbid(ZOMBIES_GONE_MS);
  return false;
}

function fullDisk(world: World, random: Random): boolean {
  const { gateway, disk, clock } = world;
  if (gateway?.up !== true) return false;
  disk.othersBytes = Math.max(
    0,
    disk.totalBytes - gateway.disk.usedBytes - randomInt(random, 700_000),
  );
  clock.after(between(random, 5_000, 600_000), () => (disk.othersBytes = 0));
  return true;
}

function putBack(world: World, random: Random): false {
  const { snapshot } = world;
  if (snapshot !== undefined)
    world.soon(async () => {
      await world.die(
        'killed',
        ZOMBIES_GONE_MS + randomInt(random, 60_000),
        () => snapshot.image,
        () => world.excuse(snapshot.atMs),
      );
      world.count('store put back');
    });
  world.clock.after(randomInt(random, 1_200_000), () =>
    world.soon(() => {
      world.snapshot = { image: world.image(), atMs: world.clock.monotonicMs() };
    }),
  );
  return false;
}

function flipRecord(world: World, random: Random): boolean {
  const { gateway } = world;
  if (gateway?.up !== true || gateway.jetstream.store.failed !== undefined) return false;
  world.soon(() => {
    if (!gateway.alive || gateway.jetstream.store.failed !== undefined) return;
    const { db } = gateway.jetstream.store;
    const stream = gateway.forwarded[0];
    if (stream === undefined) return;
    const { firstSeq, durableSeq } = stream;
    const seq = firstSeq + randomInt(random, Math.max(1, durableSeq - firstSeq + 1));
    const row = db
      .prepare<[number], { data: Buffer }>(`SELECT data FROM m_${stream.id} WHERE seq = ?`)
      .get(seq);
    if (row === undefined || row.data.length === 0) return;
    const sent = world.ledger.sent.get(nonceOf(row.data));
    if (sent !== undefined) sent.corrupted = true;
    const data = Buffer.from(row.data);
    const at = randomInt(random, data.length);
    data[at] = (data[at] ?? 0) ^ (1 << randomInt(random, 8));
    db.prepare(`UPDATE m_${stream.id} SET data = ? WHERE seq = ?`).run(data, seq);
  });
  return true;
}

/** Lets the faults of the seed come until the returned function is called. */
export function unleash(world: World, random: Random): () => void {
  let over = false;
  for (const [fault, perHour] of Object.entries(world.options.faults) as [Fault, number][]) {
    const next = (): void => {
      const waitMs = (-Math.log(1 - random()) * 3_600_000) / perHour;
      world.clock.after(waitMs, () => {
        if (over) return;
        if (ACTS[fault](world, random) !== false) world.count(fault);
        next();
      });
    };
    next();
  }
  return () => {
    over = true;
  };
}

/** Everything works again. */
export function heal(world: World): void {
  const { hub, disk, meter } = world;
  calm(hub);
  hub.heal();
  if (hub.model.config.discard === 'new') hub.model.config = { ...hub.model.config, maxMsgs: 0 };
  Object.assign(disk, {
    othersBytes: 0,
    nextSyncFails: false,
    nextCheckpointCut: false,
    stalled: false,
  });
  world.setClock();
  meter?.plugIn();
}
