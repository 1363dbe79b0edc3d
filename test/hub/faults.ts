// What a WAN and a hub do to a gateway, for campaign.ts: each fault is one round of it, drawn from the rig's seed.

import { randomInt } from '../support/random.ts';
import { until } from '../support/until.ts';
import { auditFleet, cloneCard, SITUATIONS, type Situation } from './clones.ts';
import type { ClusterRig } from './cluster-rig.ts';
import { LONGER_THAN_WINDOW_MS } from './hub-admin.ts';
import { lasting, type Rig } from './rig.ts';

/** What a round is told, and tells: a remark for the line that is printed of it. */
export interface Round {
  readonly number: number;
  readonly rate: number;
  /** How long a majority of the cluster is gone. */
  readonly quorumMs: number;
}

type Fault<R> = (rig: R, round: Round) => Promise<string | void>;

const outageMs = ({ random }: Rig): number => LONGER_THAN_WINDOW_MS + randomInt(random, 3_000);

/** One hub server behind a WAN. */
export const WAN_FAULTS: Readonly<Record<string, Fault<Rig>>> = {
  async refuse(rig) {
    await rig.proxy.refuse();
    rig.proxy.resetAll();
    await lasting(outageMs(rig));
  },

  async resets(rig) {
    for (let i = 0; i < 20; i++) {
      rig.proxy.resetAll();
      await lasting(randomInt(rig.random, 200));
    }
  },

  async hole(rig) {
    rig.proxy.blackHole();
    await lasting(outageMs(rig));
  },

  /** Only what the hub answers is swallowed. */
  async mute(rig) {
    rig.proxy.blackHole('down');
    await lasting(outageMs(rig));
  },

  async zombie(rig) {
    const { connects } = rig.link.status();
    const ms = 2_000 + randomInt(rig.random, 7_000);
    rig.proxy.delayOld(ms);
    if (rig.random() < 0.5) rig.link.reconnect('for the campaign');
    await until('another connection', () => rig.link.status().connects > connects);
    await lasting(ms);
  },

  async cut(rig) {
    const { connects } = rig.link.status();
    const up = rig.random() < 0.5;
    rig.proxy.cutAfter(up ? 'up' : 'down', 1 + randomInt(rig.random, up ? 100_000 : 500));
    await until('a cut', () => !rig.link.connected || rig.link.status().connects > connects);
    await rig.proxy.refuse();
    await lasting(outageMs(rig));
  },

  /** The hub's process stands still, for longer or shorter than it takes to notice. */
  async freeze(rig) {
    rig.hub.freeze();
    await lasting(randomInt(rig.random, 3_000));
    rig.hub.thaw();
  },

  async 'hub-killed'(rig) {
    await rig.hub.kill();
    await lasting(randomInt(rig.random, 3_000));
    await rig.hub.restart();
  },

  /** The agent is restarted while there is no way through. */
  async restart(rig, { rate }) {
    rig.proxy.delayOld(randomInt(rig.random, 5_000));
    await rig.stopTraffic();
    await rig.stopAgent();
    await rig.startAgent();
    rig.startTraffic(rate);
  },
};

/** Three hub servers. */
export const CLUSTER_FAULTS: Readonly<Record<string, Fault<ClusterRig>>> = {
  async stepdown(rig) {
    await rig.stepDown();
    await lasting(1_000);
  },

  async kill(rig) {
    await rig.killLeader(randomInt(rig.random, 1_000));
    await lasting(randomInt(rig.random, 1_000));
  },

  async rolling(rig) {
    await rig.roll(rig.random() < 0.5);
  },

  async quorum(rig, { quorumMs }) {
    const { acked } = rig.ledger;
    await rig.loseQuorum(quorumMs);
    if (rig.ledger.acked === acked) throw new Error('storing stopped without a quorum');
  },

  async rollback(rig) {
    await rig.snapshot();
    await rig.moved();
    await lasting(randomInt(rig.random, 2_000));
    const refills = rig.agent.status().refills;
    await rig.rollBack();
    await until('a refill', () => rig.agent.status().refills > refills, 40_000);
    return `refilled ${rig.agent.status().refills} times in all`;
  },
};

/** Rounds of cloned cards; each leaves one gateway more that has a name of its own. */
export class Clones {
  readonly #names = ['gw7'];
  readonly #shared = new Set<string>();
  noticedMaxMs = 0;

  /** Clones the card of `rig`, in this situation or one by chance. */
  async round(rig: Rig, only?: Situation): Promise<string> {
    const newName = `clone${this.#names.length}`;
    const situation = only ?? SITUATIONS[randomInt(rig.random, SITUATIONS.length)] ?? 'load';
    await rig.stopTraffic();
    const outcome = await cloneCard(rig, { newName, situation });
    this.#names.push(newName);
    for (const key of outcome.shared) this.#shared.add(key);
    this.noticedMaxMs = Math.max(this.noticedMaxMs, outcome.noticedMs);
    return `${outcome.stopped.join(' and ')} stopped after ${Math.round(outcome.noticedMs)} ms (${situation})`;
  }

  async audit(rig: Rig): Promise<string[]> {
    await rig.stopTraffic();
    await rig.agent.drained();
    return auditFleet(rig.ledger, await rig.admin.readAll(), this.#names, this.#shared);
  }
}
