// The streams of the leaf tests: one of each retention on the gateway, with its publishers, and what the hub makes of them
// by itself through the gateway's JetStream domain. In the end it is held against each other.

import { until } from '../support/until.ts';
import { mirrorFindings, sourceFindings, sourceSeq, type Allowed } from './audit.ts';
import { Ledger, type Kept } from './ledger.ts';
import { Publisher } from './publisher.ts';
import { fromGateway, type LeafRig } from './rig.ts';

/** A hub waits for an answer, then backs off, and a leader elsewhere is not told that the gateway is back. */
const DRAINED_MS = 180_000;
const FILTERED = 'lim.a.>';

export type Retention = 'limits' | 'interest' | 'workqueue';

export interface PlantOptions {
  /** Which of them; all by default. */
  readonly retentions?: readonly Retention[];
  /** Messages a second for each stream. */
  readonly rate?: number;
  /** Copies of the hub's streams. */
  readonly replicas?: number;
  readonly seed?: number;
  /** Further configuration of the gateway's stream with limits. */
  readonly limits?: Readonly<Record<string, unknown>>;
}

interface Line {
  readonly retention: Retention;
  /** The gateway's stream, and the hub's that has it as its source. */
  readonly stream: string;
  readonly source: string;
  readonly prefix: string;
  readonly ledger: Ledger;
  publisher?: Publisher;
}

const NAMES = { limits: 'LIM', interest: 'INT', workqueue: 'WQ' } as const;

/**
 * A hub before 2.12 asks again when it likes: two and a half minutes at most. What one before 2.14 has left behind goes three
 * minutes after it has asked again.
 */
const EMPTY_MS = 240_000;

export class Plant {
  readonly rig: LeafRig;
  readonly lines: readonly Line[];
  readonly #options: PlantOptions;

  private constructor(rig: LeafRig, options: PlantOptions) {
    this.rig = rig;
    this.#options = options;
    const { retentions = ['limits', 'interest', 'workqueue'] } = options;
    this.lines = retentions.map((retention) => ({
      retention,
      stream: NAMES[retention],
      source: `S_${NAMES[retention]}`,
      prefix: NAMES[retention].toLowerCase(),
      ledger: new Ledger(),
    }));
  }

  /** Makes all streams; resolves when the hub has asked for each of them. */
  static async build(rig: LeafRig, options: PlantOptions = {}): Promise<Plant> {
    const plant = new Plant(rig, options);
    const { replicas: num_replicas = 1, limits = {} } = options;
    const hub = { storage: 'file', num_replicas };
    for (const { stream, source, prefix, retention } of plant.lines) {
      const own = retention === 'limits' ? limits : {};
      const config = {
        name: stream,
        subjects: [`${prefix}.>`],
        storage: 'file',
        retention,
        ...own,
      };
      await rig.local.create(config);
      // The hub's stream listens itself, too: what were to come past its source would be stored beside it.
      const both = { subjects: [`${prefix}.>`], sources: [fromGateway(stream)] };
      await rig.hub.create({ ...hub, ...both, name: source });
      if (retention !== 'limits') continue;
      await rig.hub.create({ ...hub, name: 'M_LIM', mirror: fromGateway(stream) });
      const filtered = { ...fromGateway(stream), filter_subject: FILTERED };
      await rig.hub.create({ ...hub, name: 'S_FILTER', sources: [filtered] });
    }
    await plant.asked();
    return plant;
  }

  /** Resolves when the hub's consumers are there: before, a stream of interest keeps nothing. */
  async asked(): Promise<void> {
    for (const { stream, retention } of this.lines) {
      const wanted = retention === 'limits' ? 3 : 1;
      await until(
        `${wanted} consumers of ${stream}`,
        async () => {
          const info = await this.rig.local.api<{ state: { consumer_count: number } }>(
            `STREAM.INFO.${stream}`,
          );
          if (info.state.consumer_count >= wanted) return true;
          // Where a server does not count them, messages tell.
          return retention === 'limits' && (await this.#flows());
        },
        DRAINED_MS,
      );
    }
  }

  async #flows(): Promise<boolean> {
    const { mirror } = await this.rig.hub.info('M_LIM');
    return mirror !== undefined && mirror.active >= 0;
  }

  async publish(): Promise<void> {
    const { rate = 100, seed = 1 } = this.#options;
    const { port } = this.rig.gateway;
    for (const line of this.lines)
      line.publisher = await Publisher.start(line.ledger, {
        port,
        prefix: line.prefix,
        rate,
        seed: seed + line.ledger.tried.size,
      });
  }

  /** Resolves when the hub has something of each of the gateway's streams. */
  async begun(): Promise<void> {
    for (const line of this.lines)
      await until(
        `${line.source} to have a message`,
        async () => (await this.sourced(line)) > 0,
        DRAINED_MS,
      );
  }

  async stop(): Promise<void> {
    await Promise.all(this.lines.map(async ({ publisher }) => publisher?.stop()));
  }

  get acked(): number {
    return this.lines.reduce((sum, { ledger }) => sum + ledger.acked.size, 0);
  }

  get failed(): number {
    return this.lines.reduce((sum, { ledger }) => sum + ledger.failed, 0);
  }

  /** The last sequence of the gateway's stream that the hub's source has; 0 for none. */
  async sourced({ source }: Line): Promise<number> {
    const state = await this.rig.hub.state(source);
    if (state === undefined || state.messages === 0) return 0;
    const got = await this.rig.hub
      .api<{ message: { hdrs?: string } }>(`STREAM.MSG.GET.${source}`, { seq: state.last_seq })
      .catch(() => undefined);
    const lines = Buffer.from(got?.message.hdrs ?? '', 'base64').toString();
    const value = /^Nats-Stream-Source: (.*)\r$/m.exec(lines)?.[1] ?? '';
    return sourceSeq({ headers: [['Nats-Stream-Source', [value]]] }) ?? 0;
  }

  /** Resolves when the hub has all that the gateway's streams have ever taken. Publishers have stopped. */
  async drained(timeoutMs = DRAINED_MS): Promise<void> {
    const { local, hub } = this.rig;
    for (const line of this.lines) {
      const last = await until(`${line.stream} to answer`, () => local.state(line.stream));
      let got = 0;
      await until(
        `${line.source} to have ${last.last_seq}`,
        async () => (got = await this.sourced(line)) >= last.last_seq,
        timeoutMs,
      ).catch((error: unknown) => {
        throw new Error(`${String(error)}; it has ${got}`);
      });
      if (line.retention !== 'limits') continue;
      const mirrored = async (): Promise<boolean> =>
        (await hub.state('M_LIM'))?.last_seq === last.last_seq;
      await until(`M_LIM to have ${last.last_seq}`, mirrored, timeoutMs);
    }
  }

  /** What does not hold, after all has been drained; empty for nothing. */
  async audit(allowed: Allowed = {}): Promise<string[]> {
    const { hub, local } = this.rig;
    const findings: string[] = [];
    for (const { retention, stream, source, ledger } of this.lines) {
      const told = (text: string): string => `${source}: ${text}`;
      const found = await hub.readAll(source);
      findings.push(...sourceFindings(ledger, found, allowed).map(told));
      if (retention === 'limits') findings.push(...(await this.#limitsFindings(found)));
      else if ((await local.info(stream)).state.messages > 0)
        await until(
          `${stream} to be empty`,
          async () => (await local.state(stream))?.messages === 0,
          EMPTY_MS,
        ).catch((error: unknown) => void findings.push(String(error)));
    }
    return findings;
  }

  /** The mirror, and what came through a filter. */
  async #limitsFindings(sourced: readonly Kept[]): Promise<string[]> {
    const { hub, local } = this.rig;
    const limited = this.#options.limits !== undefined;
    const [ours, mirror] = [await local.readAll('LIM'), await hub.readAll('M_LIM')];
    const mirrored = limited ? mirror.filter(({ seq }) => seq >= (ours[0]?.seq ?? 1)) : mirror;
    const wanted = sourced.filter(({ subject }) => subject.startsWith('lim.a.')).length;
    const filtered = await until(
      `${wanted} messages in S_FILTER`,
      async () => ((await hub.state('S_FILTER'))?.messages ?? 0) >= wanted,
    ).then(
      () => hub.readAll('S_FILTER'),
      () => hub.readAll('S_FILTER'),
    );
    const seqs = (of: readonly Kept[]): (number | undefined)[] =>
      of.filter(({ subject }) => subject.startsWith('lim.a.')).map((one) => sourceSeq(one));
    const same = JSON.stringify(seqs(filtered)) === JSON.stringify(seqs(sourced));
    return [
      ...mirrorFindings(ours, mirrored).map((text) => `M_LIM: ${text}`),
      ...(limited || (same && filtered.length === wanted)
        ? []
        : [`S_FILTER has ${filtered.length} of ${wanted} messages, or others`]),
    ];
  }
}
