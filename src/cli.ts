// The command line: what was asked for, and the answers that need no running agent.

import { systemClock } from './clock.ts';
import { ConfigError, EXIT_CONFIG, loadConfig, type Config } from './config.ts';
import { summary, warnings } from './config/summary.ts';
import { VERSION } from './version.ts';

/** The exit code for a command line that cannot be understood (EX_USAGE of sysexits.h). */
export const EXIT_USAGE = 64;

export const CONFIG_FILE = '/etc/mangrove/agent.toml';

export const HELP = `Mangrove ${VERSION}: an edge gateway agent

  mangrove [run] [--config FILE]    runs the agent
  mangrove check [--config FILE]    checks the configuration and says what it would run
  mangrove --version
  mangrove --help

  -c, --config FILE   the configuration (default ${CONFIG_FILE})

Values of the configuration can be given in the environment: MANGROVE_GATEWAY_NAME is the key
\`name\` of the table [gateway]. Exit codes: 0 done, 64 wrong usage, 78 wrong configuration;
all are in docs/operations.md.
`;

export interface CommandLine {
  readonly command: 'run' | 'check' | 'help' | 'version';
  readonly config: string;
}

/** The command line cannot be understood; the caller prints the message and exits with EXIT_USAGE. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** Reads the arguments that follow the program's name (`process.argv.slice(2)`). Throws a UsageError. */
export function parseArgs(argv: readonly string[]): CommandLine {
  let command: CommandLine['command'] | undefined;
  let config: string | undefined;
  const rest = [...argv];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === '--help' || arg === '-h') return { command: 'help', config: CONFIG_FILE };
    if (arg === '--version' || arg === '-V') return { command: 'version', config: CONFIG_FILE };
    const [, inline] = /^--config=(.*)$/s.exec(arg) ?? [];
    if (arg === '--config' || arg === '-c' || inline !== undefined) {
      if (config !== undefined) throw new UsageError('--config is given twice');
      config = inline ?? rest.shift();
      if (config === undefined || config === '') throw new UsageError('--config needs a file');
    } else if (arg.startsWith('-')) {
      throw new UsageError(`unknown option ${arg}`);
    } else {
      if (arg !== 'run' && arg !== 'check')
        throw new UsageError(`unknown command ${arg}, expected run or check`);
      if (command !== undefined)
        throw new UsageError(`found ${arg} after ${command}, expected one command`);
      command = arg;
    }
  }
  return { command: command ?? 'run', config: config ?? CONFIG_FILE };
}

/** Where the command line writes: whole texts, ended by a newline. */
export interface Output {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

/**
 * Carries out everything but `run`, and answers with the exit code; for `run` it answers with the checked
 * configuration. What is wrong goes to `err`.
 */
export function commandLine(
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
  { out, err }: Output,
): { readonly run: Config } | { readonly exitCode: number } {
  try {
    const { command, config: file } = parseArgs(argv);
    if (command === 'help') out(HELP);
    else if (command === 'version') out(`mangrove ${VERSION} (node ${process.version})\n`);
    else {
      const config = loadConfig(file, env);
      if (command === 'run') return { run: config };
      out(checked(file, config));
    }
    return { exitCode: 0 };
  } catch (error) {
    if (error instanceof UsageError) {
      err(`mangrove: ${error.message}; see mangrove --help\n`);
      return { exitCode: EXIT_USAGE };
    }
    if (!(error instanceof ConfigError)) throw error;
    err(`${error.report()}\n`);
    return { exitCode: EXIT_CONFIG };
  }
}

function checked(file: string, config: Config): string {
  const remarks = warnings(config, systemClock.wallMs()).map((text) => `warning: ${text}\n`);
  return `${file}: ok\n${summary(config)}\n${remarks.join('')}`;
}
