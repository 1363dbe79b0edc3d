// A broker for a whole suite, on a port of its own: what `--broker` names, with a configuration of mosquitto.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort } from '../support/nats-server.ts';
import { until } from '../support/until.ts';
import { keep, type SuiteOptions } from './suite.ts';

export interface SuiteBroker {
  readonly port: number;
  readonly stop: () => Promise<void>;
}

/** Starts it; `config` are further lines, in which DIR stands for its directory, and `files` lie there. */
export async function startBroker(
  options: SuiteOptions,
  config: string,
  files: Readonly<Record<string, string>> = {},
): Promise<SuiteBroker> {
  const dir = mkdtempSync(join(options.dir, 'broker-'));
  const port = await freePort();
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  const conf = join(dir, 'mosquitto.conf');
  writeFileSync(
    conf,
    `listener ${port} 127.0.0.1
allow_anonymous true
${config.replaceAll('DIR', dir)}
${process.getuid?.() === 0 ? 'user root' : ''}
`,
  );
  const broker = spawn(options.broker, ['-c', conf], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, MQTT_SUITES_DIR: dir },
  });
  let log = '';
  for (const stream of [broker.stdout, broker.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => void (log = (log + text).slice(-1e6)));
  const gone = once(broker, 'exit');
  const stop = async (): Promise<void> => {
    broker.kill();
    await gone;
    keep(options.out, `broker-${port}`, log);
  };
  try {
    await until('the broker to listen', () => {
      if (broker.exitCode !== null) throw new Error(`the broker ended:\n${log}`);
      return answers(port);
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, stop };
}

function answers(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      done(true);
    });
    socket.once('error', () => done(false));
  });
}
