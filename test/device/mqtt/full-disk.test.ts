import { duplexPair } from 'node:stream';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { MqttListener } from '../../../device/mqtt/listener.ts';
import { mqttStore } from '../../../src/mqtt-store.ts';
import { GatewayStore } from '../../support/gateway-store.ts';
import { TestClient } from '../../support/mqtt-client.ts';
import { LOCAL_PEER } from '../../support/mqtt-gateway.ts';

const ROUNDS = 15;
const BURST = 100;

test('on a real database that becomes full, every message with a PUBACK is in the queue of the session that waits for it', async () => {
  await using gateway = new GatewayStore();
  await gateway.open();
  const { jetstream, broker, clock } = gateway;
  const store = mqttStore(jetstream);
  const { queue } = store;
  const mqtt = new MqttListener(
    { listen: { host: '127.0.0.1', port: 0 }, allowAnonymous: true },
    {
      broker,
      clock,
      log: pino({ level: 'silent' }),
      store,
    },
  );
  mqtt.load();
  const idle = async (): Promise<void> => {
    gateway.settle();
    await new Promise((resolve) => setImmediate(resolve));
  };
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 30; i++) await idle();
  };
  const client = (): TestClient => {
    const [near, far] = duplexPair();
    mqtt.accept(near, LOCAL_PEER);
    return new TestClient(far, idle);
  };
  const away = client();
  await away.connect({ clientId: 'away', clean: false });
  await away.subscribe({ '#': 1 });
  away.stream.destroy();
  await settle();

  const { db } = jetstream.store;
  const pages = Number(db.pragma('page_count', { simple: true }));
  db.pragma(`max_page_count = ${pages + 60}`);
  const publisher = client();
  await publisher.connect({ clientId: 'publisher' });
  let sent = 0;
  const acknowledged: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (let i = 0; i < BURST; i++) {
      const topic = i % 7 === 0 ? 'data/stored' : 'elsewhere';
      publisher.publish(topic, `m${++sent} ${'x'.repeat(200)}`, sent);
    }
    await settle();
    for (const packet of publisher.received.splice(0)) acknowledged.push(`m${packet.messageId}`);
  }
  const rows = queue.range('', '\u{10ffff}', sent + 1).map(({ value }) => value.toString('latin1'));
  const queued = new Set(rows.map((row) => /m\d+/.exec(row)?.[0]));
  expect(acknowledged.filter((message) => !queued.has(message))).toEqual([]);
  expect(acknowledged.length).toBeGreaterThan(BURST);
  expect(acknowledged.length).toBeLessThan(sent);
  // The counters agree with the table.
  const bytes = rows.reduce((sum, row) => sum + row.length, 0);
  expect(mqtt.stats()).toMatchObject({ queuedBytes: bytes });
  expect(gateway.fatal).toBeUndefined();
  publisher.stream.destroy();
});
