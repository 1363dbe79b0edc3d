// An agent that takes the place of the program `nats-server` in the tests of NATS clients: reads a configuration of
// nats-server, starts the parts that it asks for, says in a file which ports they have, and listens to the signals.

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '../../src/clock.ts';
import { PROTOCOL_VERSION } from '../../src/nats/info.ts';
import { NotApplicableError, toLaunch, type Launch } from './agent-config.ts';
import { NatsConfError, parseNatsConf } from './nats-conf.ts';

/** Exit codes: 78 for what an agent cannot do, as `mangrove` has it for a wrong configuration. */
const EXIT_CONFIG = 78;
const EXIT_START = 71;

interface Address {
  readonly host: string;
  readonly port: number;
}

/** A start takes 0.2 s less with it. */
enableCompileCache();

const { values: options } = parseArgs({
  options: {
    config: { type: 'string', short: 'c' },
    port: { type: 'string', short: 'p' },
    addr: { type: 'string', short: 'a' },
    http_port: { type: 'string', short: 'm' },
    jetstream: { type: 'boolean' },
    js: { type: 'boolean' },
    store_dir: { type: 'string' },
    sd: { type: 'string' },
    version: { type: 'boolean', short: 'v' },
    debug: { type: 'boolean', short: 'D' },
    trace: { type: 'boolean', short: 'V' },
  },
});

if (options.version) console.log(`nats-server: v${PROTOCOL_VERSION}`);
else await main();

function read(): Launch {
  const file = options.config ?? '';
  const conf = file === '' ? {} : parseNatsConf(readFileSync(file, 'utf8'));
  const given = {
    ...(options.port === undefined ? {} : { port: Number(options.port) }),
    ...(options.addr === undefined ? {} : { host: options.addr }),
    ...(options.http_port === undefined ? {} : { http_port: Number(options.http_port) }),
    ...(options.jetstream || options.js
      ? { jetstream: { store_dir: options.store_dir ?? options.sd ?? '' } }
      : {}),
    ...(options.debug ? { debug: true } : {}),
    ...(options.trace ? { trace: true } : {}),
  };
  return toLaunch({ ...conf, ...given }, file);
}

function readOrExit(): Launch {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof NotApplicableError || error instanceof NatsConfError)) throw error;
    console.error(`nats-server: ${options.config}: ${error.message}`);
    process.exit(EXIT_CONFIG);
  }
}

async function main(): Promise<void> {
  const { config, portsDir } = readOrExit();
  const [{ pino }, { startAgent }] = await Promise.all([
    import('pino'),
    import('../../src/main.ts'),
  ]);
  const addresses = new Map<string, Address>();
  const log = pino(
    { level: 'debug', base: null },
    { write: (line: string) => note(line, config.log.level === 'debug', addresses) },
  );
  const onFatal = (error: Error): never => fail(error);
  const agent = await startAgent(config, { clock: systemClock, log, onFatal }).catch(fail);
  // Its own level decides what is written; the addresses of the listeners are in lines below it.
  log.level = 'debug';
  const { nats } = agent.parts;
  if (portsDir !== undefined)
    writePorts(portsDir, {
      nats: urls('nats', nats?.address && { host: nats.address.address, port: nats.address.port }),
      monitoring: urls('http', addresses.get('monitoring is listening')),
      websocket: urls(
        config.nats?.tls === undefined ? 'ws' : 'wss',
        nats?.websocketAddress && {
          host: nats.websocketAddress.address,
          port: nats.websocketAddress.port,
        },
      ),
    });
  process.on('SIGHUP', () => {
    const next = readOrExit().config;
    const { gateway, file } = agent.parts.config;
    void agent
      .prepare({ ...next, file, gateway })
      .then(({ apply }) => apply())
      .catch(fail);
  });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGUSR2'] as const)
    process.once(signal, () => void agent.stop().then(() => process.exit(0), fail));
}

/** Keeps the addresses that the agent tells; writes the rest where nats-server writes its log. */
function note(line: string, all: boolean, addresses: Map<string, Address>): void {
  const { msg, address, level } = JSON.parse(line) as {
    msg: string;
    address?: Address;
    level: number;
  };
  if (address !== undefined) addresses.set(msg, address);
  if (all || level >= 40) process.stderr.write(line);
}

function urls(scheme: string, address: Address | undefined): string[] {
  if (address === undefined) return [];
  const host = address.host.includes(':') ? '127.0.0.1' : address.host;
  return [`${scheme}://${host}:${address.port}`];
}

/** The file is there with all of its text, or not at all. */
function writePorts(dir: string, ports: object): void {
  const file = join(dir, `nats-server_${process.pid}.ports`);
  writeFileSync(`${file}.new`, JSON.stringify(ports));
  renameSync(`${file}.new`, file);
}

function fail(error: unknown): never {
  console.error('nats-server:', error);
  process.exit(EXIT_START);
}
