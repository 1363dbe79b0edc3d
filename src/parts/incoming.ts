// What is read: existing brokers and serial ports. Loaded only where there are some.

import type { MqttSource } from '../../device/mqtt/source/source.ts';
import type { SerialPort } from '../../device/serial/port.ts';
import type { MqttSourceConfig, SerialConfig } from '../config.ts';
import type { JetStream } from '../jetstream/jetstream.ts';
import type { Running } from '../roster.ts';
import type { Deps } from './follower.ts';

/** The first delay before a broker is dialled again is drawn from this. */
const SOURCE_RETRY_MS = 500;
/** Of the time for a stop, for brokers to get the acknowledgements of what they sent. */
const SOURCE_STOP_MS = 1_500;

export type RunningSource = Running & Pick<MqttSource, 'stats'>;

export async function startSource(
  order: MqttSourceConfig,
  jetstream: JetStream,
  deps: Deps,
): Promise<RunningSource> {
  const { MqttSource } = await import('../../device/mqtt/source/source.ts');
  const { Backoff, systemRandom } = await import('../../sync/backoff.ts');
  const delays = { baseMs: SOURCE_RETRY_MS, capMs: order.reconnectMaxMs };
  const source = new MqttSource(order, {
    ...deps,
    table: jetstream.table('mqtt.sources'),
    pauses: new Backoff(delays, systemRandom),
  });
  source.start();
  return { stats: () => source.stats(), stop: () => source.stop(SOURCE_STOP_MS) };
}

export async function startPort(order: SerialConfig, deps: Deps): Promise<SerialPort> {
  const { SerialPort } = await import('../../device/serial/port.ts');
  const port = new SerialPort(order, deps);
  port.start();
  return port;
}
