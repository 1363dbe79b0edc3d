// The same topics and filters to the MQTT listener of a real nats-server and to our mapping: the subjects are the same. What
// nats-server does not map, or maps to what no subject can carry, is ours alone.

import mqtt, { type MqttClient } from 'mqtt';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  filterToSubject,
  levelUp,
  subjectToTopic,
  topicToSubject,
} from '../../device/mqtt/topic.ts';
import { matches } from '../../src/subject.ts';
import { freePort, startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { randomInt, seededRandom, type Random } from '../support/random.ts';
import { until } from '../support/until.ts';

const TOPICS = 400;
const FILTERS = 60;
const PIECES = ['/', '/', '/', '.', '.', 'a', 'b', 'é', 'a*', '>b', '2a', '%', '$', '°'];

let server: NatsServer;
let nats: NatsConnection;
let device: MqttClient;
let watcher: MqttClient;
let url: string;

beforeAll(async () => {
  const port = await freePort();
  server = await startNatsServer({
    config: `server_name: hub\nmqtt { listen: "127.0.0.1:${port}" }\n`,
  });
  nats = await connect({ servers: server.url });
  url = `mqtt://127.0.0.1:${port}`;
  device = await mqtt.connectAsync(url, { protocolVersion: 4, clientId: 'device' });
  watcher = await mqtt.connectAsync(url, { protocolVersion: 4, clientId: 'watcher' });
}, 120_000);

afterAll(async () => {
  await device.endAsync(true);
  await watcher.endAsync(true);
  await nats.close();
  await server.dispose();
});

function randomTopic(random: Random): string {
  const length = 1 + randomInt(random, 7);
  return Array.from({ length }, () => PIECES[randomInt(random, PIECES.length)]).join('');
}

/** Topics that nats-server publishes as they are; our own `$` topics and inboxes aside. */
function randomTopics(seed: number, count: number): string[] {
  const random = seededRandom(seed);
  const topics = new Set<string>();
  while (topics.size < count) topics.add(`t${randomTopic(random)}`).add(randomTopic(random));
  return [...topics].filter((topic) => !topic.startsWith('$') && topic !== '>b');
}

test('every topic has the subject that it has at a nats-server', async () => {
  const topics = randomTopics(11, TOPICS);
  const seen = new Map<string, string>();
  const subscription = nats.subscribe('>', {
    callback: (_error, message) => {
      if (!message.subject.startsWith('$MQTT.')) seen.set(message.string(), message.subject);
    },
  });
  await nats.flush();
  for (const [i, topic] of topics.entries())
    await device.publishAsync(topic, `m${i}`, { qos: i % 2 === 0 ? 1 : 0 });
  await until('all messages', () => topics.every((_, i) => seen.has(`m${i}`)));
  subscription.unsubscribe();
  for (const [i, topic] of topics.entries())
    expect(topicToSubject(topic), topic).toBe(seen.get(`m${i}`));
});

test('every subject of a topic has the topic that it has at a nats-server', async () => {
  const topics = randomTopics(12, TOPICS);
  const seen = new Map<string, string>();
  await watcher.subscribeAsync('#');
  const listen = (topic: string, data: Buffer): void => void seen.set(data.toString(), topic);
  watcher.on('message', listen);
  for (const [i, topic] of topics.entries()) nats.publish(topicToSubject(topic), `n${i}`);
  await until('all messages', () => topics.every((_, i) => seen.has(`n${i}`)));
  watcher.off('message', listen);
  await watcher.unsubscribeAsync('#');
  for (const [i, topic] of topics.entries()) {
    expect(seen.get(`n${i}`)).toBe(topic);
    expect(subjectToTopic(topicToSubject(topic))).toBe(topic);
  }
});

test('every filter matches what it matches at a nats-server', async () => {
  const random = seededRandom(13);
  const topics = randomTopics(14, 100);
  const filters = new Set<string>(['#', '+', '/+', '+/+', '/#', '+/#']);
  while (filters.size < FILTERS) {
    const topic = topics[randomInt(random, topics.length)] ?? '';
    const levels = topic.split('/').map((level) => (randomInt(random, 3) === 0 ? '+' : level));
    if (randomInt(random, 3) === 0) levels.push('#');
    else if (randomInt(random, 4) === 0) levels.splice(-1, 1, '#');
    filters.add(levels.join('/'));
  }
  const known = new Set(topics);
  for (const [i, filter] of [...filters].entries()) {
    const end = `end-${i}`;
    const subject = filterToSubject(filter);
    const theirs: string[] = [];
    // A client for each: a nats-server goes on to deliver `a` after an UNSUBSCRIBE of `a/#`.
    const client = await mqtt.connectAsync(url, { protocolVersion: 4 });
    await client.subscribeAsync(filter);
    await client.subscribeAsync(end);
    client.on('message', (topic) => void theirs.push(topic));
    for (const topic of topics) nats.publish(topicToSubject(topic), '');
    nats.publish(end, '');
    await nats.flush();
    await until('the end', () => theirs.includes(end));
    await client.endAsync(true);
    const subjects = topics.map((topic) => topicToSubject(topic));
    // With `a/#` nats-server matches `a` by a second subscription, as we do.
    const above = levelUp(subject) ?? subject;
    expect([...new Set(theirs)].filter((each) => known.has(each)).toSorted(), filter).toEqual(
      topics
        .filter((_, n) => matches(subject, subjects[n] ?? '') || matches(above, subjects[n] ?? ''))
        .toSorted(),
    );
  }
}, 120_000);
