// The mirrors of this gateway: each stream that is one has a feed for as long as it is there. What a feed learns of its
// origin is remembered here, and a mirror whose origin became another stream is filled anew.

import type { Broker } from '../../broker.ts';
import type { Clock } from '../../clock.ts';
import type { Logger } from '../../log.ts';
import { isDeepStrictEqual } from 'node:util';
import { wireExternal, wireMirror } from '../api/stream-mirror.ts';
import { wireNanos } from '../api/decode.ts';
import type { Store } from '../store.ts';
import type { Stream } from '../stream.ts';
import type { Ground, StreamOpener } from '../stream-opener.ts';
import type { MirrorConfig, StreamConfig } from '../stream-types.ts';
import type { Table } from '../table.ts';
import { MirrorFeed } from './feed.ts';
import { likenessOf } from './kv-mirror.ts';
import { Notes, type OriginNote } from './notes.ts';
import { createdOf, type Json } from './origin-request.ts';
import { Renewal } from './renewal.ts';

/** After a copy could not be made or put in place. */
const RENEW_AGAIN_MS = 10_000;

export interface MirrorsParts {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Logger;
  readonly table: () => Table;
  readonly domain: string | undefined;
  readonly streams: () => readonly Stream[];
  readonly ground: () => Ground;
  readonly opener: StreamOpener;
  /** A stream takes the place of one of its name. */
  readonly join: (stream: Stream) => void;
  /** There is garbage. */
  readonly collect: (store: Store) => void;
}

interface Fed {
  readonly stream: Stream;
  readonly mirror: MirrorConfig;
  feed: MirrorFeed;
  renewal: Renewal | undefined;
  isOver: boolean;
}

export class Mirrors {
  readonly #parts: MirrorsParts;
  #notes: Notes | undefined;
  #fed = new Map<string, Fed>();
  #hubDomain: string | undefined;
  #isOpen = false;

  constructor(parts: MirrorsParts) {
    this.#parts = parts;
  }

  /** Begins to feed. */
  open(): void {
    this.#notes = new Notes(this.#parts.table());
    this.#isOpen = true;
    this.follow();
  }

  close(): void {
    this.#isOpen = false;
    for (const fed of this.#fed.values()) this.#stop(fed);
    this.#fed.clear();
  }

  /** The streams may be others than before, or configured otherwise. */
  follow(): void {
    if (!this.#isOpen) return;
    const before = this.#fed;
    this.#fed = new Map();
    for (const stream of this.#parts.streams()) {
      const { mirror } = stream.config;
      const known = before.get(stream.name);
      if (mirror === undefined) continue;
      if (known?.stream === stream && isSame(known.mirror, mirror)) {
        this.#fed.set(stream.name, known);
        before.delete(stream.name);
        this.#liken(stream);
      } else {
        this.#feed(stream, mirror);
      }
    }
    for (const fed of before.values()) {
      this.#stop(fed);
      const isLeft = this.#parts.streams().includes(fed.stream);
      if (!isLeft || fed.stream.config.mirror === undefined) this.#notes?.delete(fed.stream);
    }
  }

  /** The link to the hub is up. `domain` is the hub's. */
  hubIsThere(domain: string | undefined): void {
    this.#hubDomain = domain ?? this.#hubDomain;
    for (const { feed, mirror } of this.#fed.values())
      if (mirror.external !== undefined || mirror.ofHub === true) feed.kick();
  }

  /** The mirror that can answer gets in the place of its origin, which is not here. */
  standIn(origin: string): Stream | undefined {
    for (const { stream, mirror } of this.#fed.values())
      if (mirror.name === origin && stream.config.inert?.['mirror_direct'] === true) return stream;
    return undefined;
  }

  #stop(fed: Fed): void {
    fed.isOver = true;
    fed.feed.stop();
    fed.stream.mirrorInfo = undefined;
    // What is left of it is thrown away by the next start at the latest.
    if (this.#isOpen) void fed.renewal?.drop().catch(() => undefined);
    else fed.renewal?.leave();
  }

  #feed(stream: Stream, mirror: MirrorConfig): void {
    this.#liken(stream);
    const fed: Fed = {
      stream,
      mirror,
      isOver: false,
      renewal: undefined,
      feed: this.#newFeed(stream, {
        known: () => this.#notes?.of(stream)?.created,
        learned: (info) => this.#learned(stream, info),
        replaced: (why) => void this.#renew(fed, why),
      }),
    };
    this.#fed.set(stream.name, fed);
    stream.mirrorInfo = () => this.#info(fed);
    fed.feed.start();
  }

  #newFeed(
    stream: Stream,
    on: {
      known: () => string | undefined;
      learned: (info: Json) => void;
      replaced: (why: string) => void;
      caughtUp?: () => void;
    },
  ): MirrorFeed {
    const { broker, clock, log, domain } = this.#parts;
    return new MirrorFeed(stream, {
      broker,
      clock,
      log,
      domain,
      api: () => this.#api(stream),
      knownCreated: on.known,
      learned: on.learned,
      replaced: on.replaced,
      ...(on.caughtUp === undefined ? {} : { caughtUp: on.caughtUp }),
    });
  }

  #api(stream: Stream): string | undefined {
    const { mirror } = stream.config;
    if (mirror?.ofHub === true && this.#hubDomain !== undefined && !isFixed(mirror))
      return `$JS.${this.#hubDomain}.API`;
    if (mirror?.external !== undefined) return mirror.external.api || '$JS.API';
    return mirror?.ofHub === true ? undefined : '$JS.API';
  }

  #learned(stream: Stream, info: Json): void {
    const api = this.#api(stream) ?? '';
    this.#notes?.put(stream, noteOf(stream, info, api));
    this.#liken(stream);
  }

  /** A bucket of the hub is kept here as it is kept there. */
  #liken(stream: Stream): void {
    const note = this.#notes?.of(stream);
    const { config } = stream;
    if (note === undefined || config.mirror?.ofHub !== true) return;
    const wanted = likened(config, note);
    if (isDeepStrictEqual(wanted, config)) return;
    stream.reconfigure(wanted, null);
    stream.keepLimits();
  }

  // --- another origin ---

  async #renew(fed: Fed, why: string): Promise<void> {
    const { log, clock } = this.#parts;
    const { stream } = fed;
    log.warn(
      { stream: stream.name, why, hint: 'what it has is read until the new copy is complete' },
      'the origin of a mirror is another stream than before: it is copied anew',
    );
    try {
      await fed.renewal?.drop();
      if (fed.isOver) return;
      fed.renewal = this.#renewal(stream);
      this.#copy(fed, await fed.renewal.begin());
    } catch (error) {
      if (fed.isOver) return;
      log.warn(
        { err: error, stream: stream.name, hint: 'it is tried again by itself' },
        'a mirror could not be copied anew',
      );
      clock.after(RENEW_AGAIN_MS, () => {
        if (!fed.isOver) void this.#renew(fed, why);
      });
    }
  }

  #renewal(stream: Stream): Renewal {
    const { ground, opener, clock, join, collect } = this.#parts;
    return new Renewal(stream, { ground: ground(), opener, clock, join, collect });
  }

  #copy(fed: Fed, copy: Stream): void {
    if (fed.isOver) return;
    let note: OriginNote | undefined;
    fed.feed = this.#newFeed(copy, {
      known: () => note?.created,
      learned: (info) => void (note = noteOf(copy, info, this.#api(copy) ?? '')),
      replaced: (why) => void this.#renew(fed, why),
      caughtUp: () => void this.#finish(fed, note),
    });
    fed.feed.start();
  }

  async #finish(fed: Fed, note: OriginNote | undefined): Promise<void> {
    const { renewal, stream } = fed;
    const { log } = this.#parts;
    fed.feed.stop();
    if (fed.isOver || renewal === undefined) return;
    try {
      fed.isOver = true;
      stream.mirrorInfo = undefined;
      this.#notes?.delete(stream);
      const renewed = await renewal.finish();
      if (note !== undefined) this.#notes?.put(renewed, note);
      log.info({ stream: renewed.name, lastSeq: renewed.acceptedSeq }, 'a mirror is copied anew');
      this.#fed.delete(renewed.name);
      this.follow();
    } catch (error) {
      log.warn(
        { err: error, stream: stream.name, hint: 'it is tried again by itself' },
        'a mirror could not be copied anew',
      );
      this.#fed.delete(stream.name);
      this.follow();
    }
  }

  // --- showing ---

  /** nats-server's StreamSourceInfo. */
  #info({ feed, stream, mirror }: Fed): object {
    const { lag, silentMs, error } = feed.status;
    const shown = wireMirror(stream.config.mirror ?? mirror) as Json;
    return {
      name: mirror.name,
      ...wireExternal(stream.config.mirror ?? mirror),
      lag,
      active: silentMs === undefined ? -1 : wireNanos(silentMs),
      ...(error === undefined
        ? {}
        : { error: { code: error.code, err_code: error.errCode, description: error.text } }),
      ...('filter_subject' in shown ? { filter_subject: shown['filter_subject'] } : {}),
      ...('subject_transforms' in shown ? { subject_transforms: shown['subject_transforms'] } : {}),
    };
  }
}

function noteOf(stream: Stream, info: Json, api: string): OriginNote {
  const created = createdOf(info);
  return stream.config.mirror?.ofHub === true
    ? { created, api, likeness: likenessOf(info) }
    : { created, api };
}

/** The domain stands in the configuration. */
function isFixed({ external, learned }: MirrorConfig): boolean {
  return external !== undefined && learned !== true;
}

/** The same order; what was learned since does not count. */
function isSame(a: MirrorConfig, b: MirrorConfig): boolean {
  return isDeepStrictEqual(ordered(a), ordered(b));
}

function ordered({ learned, external, ...order }: MirrorConfig): object {
  return learned === true ? order : { ...order, external };
}

function likened(config: StreamConfig, { api, likeness = {} as never }: OriginNote): StreamConfig {
  const { mirror } = config;
  if (mirror === undefined) return config;
  const isOpen = !isFixed(mirror);
  return {
    ...config,
    ...likeness,
    // A history of its own stands in the configuration.
    maxMsgsPerSubject: mirror.history ?? likeness.maxMsgsPerSubject,
    mirror: isOpen ? { ...mirror, external: { api }, learned: true } : mirror,
  };
}
