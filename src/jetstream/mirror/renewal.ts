// Fills a mirror anew whose origin has become another stream. The new copy grows beside the old one, under a name that no
// stream can have, and takes its place in one transaction when it has all that the origin has: until then the old one is
// read, and nobody ever finds the mirror empty. A start in between finds the old one and throws the half of a copy away.

import { assert } from '../../assert.ts';
import type { Clock } from '../../clock.ts';
import { Catalog } from '../catalog.ts';
import { durable } from '../slices.ts';
import type { Store } from '../store.ts';
import type { Stream } from '../stream.ts';
import type { Ground, StreamOpener } from '../stream-opener.ts';

/** No client can ask for a stream with a dot in its name. */
const SUFFIX = '.renewed';

/** Whether a row of the catalogue is half of a copy that an earlier run has left. */
export function isLeftOver(name: string): boolean {
  return name.endsWith(SUFFIX);
}

export interface RenewalParts {
  readonly ground: Ground;
  readonly opener: StreamOpener;
  readonly clock: Clock;
  /** The new stream is there instead of the old one, which is closed. */
  readonly join: (renewed: Stream) => void;
  /** There is garbage. */
  readonly collect: (store: Store) => void;
}

export class Renewal {
  readonly #old: Stream;
  readonly #parts: RenewalParts;
  #copy: Stream | undefined;

  constructor(old: Stream, parts: RenewalParts) {
    this.#old = old;
    this.#parts = parts;
  }

  /** Makes the empty copy. Rejects where there is no room for it. */
  async begin(): Promise<Stream> {
    const { ground, opener, clock } = this.#parts;
    const { home, config, origin, name } = this.#old;
    const renewed = { ...config, name: `${name}${SUFFIX}` };
    this.#copy = await home.alone(() => {
      const catalog = new Catalog(home.db);
      const left = catalog.find(renewed.name);
      if (left !== undefined) catalog.remove({ ...left, origin: 'api' });
      const row = catalog.create(renewed, 'api', clock.wallMs());
      return opener.open(ground, row, renewed, origin);
    });
    return this.#copy;
  }

  /** Puts the copy in the place of the old stream, whose consumers end. Rejects where the disk does not take it. */
  async finish(): Promise<Stream> {
    const copy = this.#copy;
    assert(copy !== undefined, 'a renewal that ends has begun');
    const { ground, opener, clock, join, collect } = this.#parts;
    const { home, name, origin, id, config } = this.#old;
    copy.saveAll();
    await durable(home, clock);
    this.#close(copy);
    const renewed = await home.alone(() => {
      const catalog = new Catalog(home.db);
      catalog.remove({ id, name, origin: 'api' });
      catalog.rename(copy, config, origin);
      const row = catalog.find(name);
      assert(row !== undefined, 'what was renamed is found');
      const tellDeleted = opener.consumers.get(name)?.close('deleted');
      opener.consumers.delete(name);
      const stream = opener.open(ground, row, config, origin);
      tellDeleted?.();
      return stream;
    });
    this.#copy = undefined;
    this.#old.close();
    join(renewed);
    collect(home);
    return renewed;
  }

  /** It is wanted no more. */
  async drop(): Promise<void> {
    const copy = this.#copy;
    if (copy === undefined) return;
    this.#copy = undefined;
    this.#close(copy);
    const { home, name, id } = copy;
    await durable(home, this.#parts.clock);
    await home.alone(() => new Catalog(home.db).remove({ id, name, origin: 'api' }));
    this.#parts.collect(home);
  }

  /** The process ends; the next start throws away what there is. */
  leave(): void {
    if (this.#copy !== undefined) this.#close(this.#copy);
    this.#copy = undefined;
  }

  #close(copy: Stream): void {
    const { opener } = this.#parts;
    opener.consumers.get(copy.name)?.close('deleted');
    opener.consumers.delete(copy.name);
    copy.close();
  }
}
