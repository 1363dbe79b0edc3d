// Feeds systemd's watchdog and its status line, three times in the time that the watchdog allows. What must make
// progress, and how long each may take for a step, follows from that time; so one figure of the unit says how patient it is.

import { every, type Cancel, type Clock } from './clock.ts';
import { RepeatGuard, type Logger } from './log.ts';
import type { LeafzStatus } from './monitor/leafz.ts';
import type { Notifier } from './notify.ts';
import type { ForwarderView } from './status.ts';
import { Watchdog, type Watched } from './watchdog.ts';

/** Looks in the time of the watchdog: one may be lost, and it is fed all the same. */
const LOOKS = 3;
/** How often the status line is brought up to date where there is no watchdog. */
const STATUS_MS = 20_000;
/**
 * Times of the watchdog that the disk may take for one step, a sync or a checkpoint of 4 MB with three of them: two
 * minutes at a minute. Cards were seen to take 10 s for a sync, and live.
 */
const DISK_TIMES = 2;
/** Times of the watchdog for one answer of the hub, which may bear 10 minutes of silence for a large message on a slow line. */
const FORWARDER_TIMES = 20;

/** What is looked at: `Parts` is one. */
export interface Progressing {
  readonly jetstream: { readonly store: { readonly busy: boolean; readonly steps: number } };
  readonly forwarders: readonly ForwarderView[];
  readonly hub: { readonly connected: boolean; readonly answers: number } | undefined;
  readonly leaf: { status(): Pick<LeafzStatus, 'hub' | 'steps'> } | undefined;
  readonly config: {
    readonly hub: { readonly keepAliveMs: number } | undefined;
    readonly leaf: { readonly keepAliveMs: number } | undefined;
  };
}

/** Begins to feed, as long as somebody listens. `watchdogMs` undefined: there is no watchdog, only a status line. */
export function startHeartbeat(
  { clock, log, notifier }: { clock: Clock; log: Logger; notifier: Notifier },
  options: {
    readonly parts: () => Progressing;
    readonly status: () => string;
    readonly watchdogMs: number | undefined;
  },
): Cancel {
  if (!notifier.on) return () => undefined;
  const { parts, status, watchdogMs } = options;
  if (watchdogMs === undefined) return every(clock, STATUS_MS, () => notifier.status(status()));
  const intervalMs = watchdogMs / LOOKS;
  const watchdog = new Watchdog(intervalMs);
  const guard = new RepeatGuard(clock);
  return every(clock, intervalMs, () => {
    const stuck = watchdog.look(clock.monotonicMs(), watchedParts(parts(), watchdogMs));
    if (stuck.length === 0) return notifier.alive(status());
    const names = stuck.map(({ part }) => part).join(', ');
    notifier.status(`stuck: ${names}; systemd will restart the agent`);
    guard.run('stuck', () => {
      const hint = 'the agent is killed and starts again, unless it goes on by itself before';
      log.error({ stuck, hint }, 'a part makes no progress: the watchdog is not fed');
    });
  });
}

/** What must make progress at this moment. */
export function watchedParts(parts: Progressing, watchdogMs: number): Watched[] {
  const { store } = parts.jetstream;
  const disk = {
    name: 'disk',
    limitMs: DISK_TIMES * watchdogMs,
    busy: () => store.busy,
    steps: () => store.steps,
  };
  return [
    disk,
    ...parts.forwarders.map((forwarder) => watched(forwarder, parts, watchdogMs)),
    ...watchedLink(parts, watchdogMs),
  ];
}

/** The leafnode link, while something waits for it. Without a connection there is nothing that it could do. */
function watchedLink({ leaf, config }: Progressing, watchdogMs: number): Watched[] {
  if (leaf === undefined) return [];
  const { hub, steps } = leaf.status();
  return [
    {
      name: 'leaf',
      limitMs: FORWARDER_TIMES * watchdogMs + 2 * (config.leaf?.keepAliveMs ?? 0),
      busy: () => (hub?.waitingBytes ?? 0) > 0,
      steps: () => steps,
    },
  ];
}

function watched(
  forwarder: ForwarderView,
  { hub, config }: Progressing,
  watchdogMs: number,
): Watched {
  const { state, pending, steps } = forwarder.status();
  // Waiting for a link, for messages or for an operator is all that it shall do then.
  const idle =
    state === 'stopped' ||
    state === 'conflict' ||
    (state === 'connecting' && hub?.connected !== true) ||
    (state === 'caught up' && pending === 0);
  return {
    name: `forwarder ${forwarder.stream}`,
    limitMs: FORWARDER_TIMES * watchdogMs + 2 * (config.hub?.keepAliveMs ?? 0),
    busy: () => !idle,
    // A long reading, or one large batch, is many answers of the hub and no step of the forwarder's own.
    steps: () => (idle ? `${steps}` : `${steps}/${hub?.answers ?? 0}`),
  };
}
