// The life of the process: starts the agent, tells systemd how it is, reads the configuration again on SIGHUP, ends on a
// signal or a failure, and says by its exit code how it ended.

import { AssertionError } from './assert.ts';
import { systemClock, type Clock } from './clock.ts';
import { ConfigError, EXIT_CONFIG, loadConfig, type Config } from './config.ts';
import { warnings } from './config/summary.ts';
import { startHeartbeat } from './heartbeat.ts';
import { SchemaTooNewError } from './jetstream/schema.ts';
import { createLogger, type Logger } from './log.ts';
import { Notifier, systemdNotify, watchdogMs } from './notify.ts';
import { Reload } from './reload.ts';
import { statusLine, type Parts } from './status.ts';
import { VERSION } from './version.ts';

/** A bug of ours (EX_SOFTWARE). */
const EXIT_SOFTWARE = 70;
/** A listener or the data directory could not be had (EX_OSERR). */
const EXIT_START = 71;
/** The disk failed (EX_IOERR). */
const EXIT_DISK = 74;
const PORT_HINT =
  'another program has this port (ss -tlnp shows which): stop it, or set `listen` to a free one';
const FULL_HINT = 'free space on the disk of data_dir; the next start then goes through';
const DISK_HINT =
  'the kernel log (dmesg) says what the disk reported; check the card, its power and its connection';
/** A stop takes no longer than this; what is not on the disk by then was never acknowledged. */
const STOP_MS = 4_500;
/** By then the hub has been dialled and the sessions are loaded. */
const SETTLED_MS = 2_000;

/** The running agent. */
export interface Agent {
  readonly parts: Parts;
  /** Gets ready for another configuration. Rejects, with nothing changed, when it cannot be put in force. */
  prepare(config: Config): Promise<Prepared>;
  /** Stops in reverse order of the start. Everything taken in is on the disk when it resolves. */
  stop(): Promise<void>;
}

/** A configuration that can be put in force. */
export interface Prepared {
  /** Keys whose change waits for a restart. */
  readonly needRestart: readonly string[];
  /** Puts the rest in force; resolves with what was started, stopped or changed. Must not fail. */
  readonly apply: () => Promise<readonly string[]>;
}

export type StartAgent = (
  config: Config,
  deps: { clock: Clock; log: Logger; onFatal: (error: Error) => void },
) => Promise<Agent>;

/** What the parts of this file share. */
interface Life {
  readonly log: Logger;
  readonly notifier: Notifier;
  /** Why the last reading of the configuration was refused; undefined when it was not. */
  refused: string | undefined;
}

/** Runs the agent until a signal or a failure, and ends the process. */
export async function run(config: Config, startAgent: StartAgent): Promise<void> {
  const log = await createLogger(config.log.level);
  const notifier = new Notifier({ clock: systemClock, log }, systemdNotify(process.env));
  const life: Life = { log, notifier, refused: undefined };
  let agent: Agent | undefined;
  const reload = new Reload(async () => {
    if (agent !== undefined) await readAgain(agent, life);
  });
  process.on('uncaughtException', (error) => crash(error, log));
  process.on('unhandledRejection', (error) => crash(error, log));
  process.on('SIGHUP', () => {
    if (!reload.request()) log.info('the configuration is not read again: the agent is stopping');
  });
  warn(config, log);
  notifier.status('starting: opening the streams');
  agent = await start(config, startAgent, log);
  const running = agent;
  const status = (): string => life.refused ?? statusLine(running.parts);
  notifier.ready(status());
  const stopHeartbeat = startHeartbeat(
    { clock: systemClock, log, notifier },
    { parts: () => running.parts, status, watchdogMs: watchdogMs(process.env, process.pid) },
  );
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      stopHeartbeat();
      void end(running, signal, reload, life);
    });
  }
  const streams = running.parts.jetstream.streams.map(({ name }) => name);
  log.info({ version: VERSION, gateway: config.gateway.name, streams }, 'the agent is running');
  reload.up();
  // What the start left behind, its code above all, would stay for good: 4 MB of an idle agent.
  systemClock.after(SETTLED_MS, () => {
    globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  });
}

async function start(config: Config, startAgent: StartAgent, log: Logger): Promise<Agent> {
  const onFatal = (error: Error): void => {
    log.fatal(
      { err: error, hint: hintOf(error) ?? DISK_HINT },
      'the disk can no longer be trusted: the agent ends',
    );
    process.exit(EXIT_DISK);
  };
  try {
    return await startAgent(config, { clock: systemClock, log, onFatal });
  } catch (error) {
    if (error instanceof AssertionError) return crash(error, log);
    log.fatal({ err: error, hint: hintOf(error) }, 'the agent cannot start');
    return process.exit(error instanceof SchemaTooNewError ? EXIT_CONFIG : EXIT_START);
  }
}

/** Reads the configuration again and puts it in force, or leaves everything as it is and says why. */
async function readAgain(agent: Agent, life: Life): Promise<void> {
  const { log, notifier } = life;
  // The kernel's monotonic clock, as systemd reads it.
  notifier.reloading(process.hrtime.bigint() / 1000n);
  const prepared = await prepare(agent, life);
  if (prepared !== undefined) {
    const { needRestart } = prepared;
    const changed = await prepared.apply();
    log.info({ changed }, 'the configuration was read again and is in force');
    if (needRestart.length > 0)
      log.warn(
        { keys: needRestart, hint: 'systemctl restart agent' },
        'some changes of the configuration need a restart; the others are in force',
      );
    warn(agent.parts.config, log);
  }
  notifier.ready(life.refused ?? statusLine(agent.parts));
}

/** Undefined: refused, and said so. */
async function prepare(agent: Agent, life: Life): Promise<Prepared | undefined> {
  try {
    const prepared = await agent.prepare(loadConfig(agent.parts.config.file, process.env));
    life.refused = undefined;
    return prepared;
  } catch (error) {
    if (error instanceof AssertionError) throw error;
    const wrong = error instanceof ConfigError;
    const problems = error instanceof Error ? error.message.split('\n') : [String(error)];
    life.refused = `configuration refused, the one before is in force: ${problems[0] ?? ''}`;
    life.log.error(
      {
        problems,
        hint: wrong ? 'correct the file, then systemctl reload agent' : hintOf(error),
        ...(wrong ? {} : { err: error }),
      },
      'the configuration is refused: nothing of it is applied, the one before stays in force',
    );
    return undefined;
  }
}

function warn(config: Config, log: Logger): void {
  for (const text of warnings(config, systemClock.wallMs())) log.warn(text);
}

async function end(
  agent: Agent,
  signal: string,
  reload: Reload,
  { log, notifier }: Life,
): Promise<void> {
  log.info({ signal }, 'stopping');
  notifier.stopping();
  systemClock.after(STOP_MS, () => {
    log.warn('something did not stop in time; everything acknowledged is on the disk');
    process.exit(0);
  });
  await reload.stop();
  await agent.stop();
  log.info('stopped');
  process.exit(0);
}

function crash(error: unknown, log: Logger): never {
  log.fatal({ err: error }, 'a bug: the agent ends and starts again');
  process.exit(EXIT_SOFTWARE);
}

/** What the operator can do about `error`, where the error or its code tells. */
function hintOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('hint' in error) return String(error.hint);
  const code = 'code' in error ? String(error.code) : '';
  if (/^(SQLITE_FULL|ENOSPC)/.test(code)) return FULL_HINT;
  if (code === 'EADDRINUSE') return PORT_HINT;
  if (/^(SQLITE_(IOERR|READONLY|CANTOPEN)|EIO$|EROFS$)/.test(code)) return DISK_HINT;
  return undefined;
}
