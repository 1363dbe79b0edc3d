// The store in the words of the MQTT listener: its tables, and when what it wrote is safe.

import type { JetStream } from './jetstream/jetstream.ts';
import type { Table } from './jetstream/table.ts';

export interface MqttTables {
  readonly sessions: Table;
  readonly queue: Table;
  readonly retained: Table;
  readonly received: Table;
  readonly wills: Table;
  together<T>(body: () => T): T;
  whenDurable(this: void, done: (error: Error | null) => void): void;
  nowMs(): number;
  hasRoom(this: void): boolean;
}

export function mqttStore(jetstream: JetStream): MqttTables {
  const { store, timeline } = jetstream;
  return {
    sessions: jetstream.table('mqtt.sessions'),
    queue: jetstream.table('mqtt.queue'),
    retained: jetstream.table('mqtt.retained'),
    received: jetstream.table('mqtt.received'),
    wills: jetstream.table('mqtt.wills'),
    together: (body) => store.together(body),
    whenDurable: (done) => store.whenDurable(done),
    nowMs: () => timeline.now(),
    hasRoom: () => store.full === null,
  };
}
