// What an operator does with a source of a Debian mosquitto: users, TLS, versions, other topics, messages without
// acknowledgement.

import { connectAsync } from 'mqtt';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readDisk } from '../../crash/audit.ts';
import { AgentProcess } from '../../support/agent-process.ts';
import { Mosquitto } from '../../support/mosquitto.ts';
import { until } from '../../support/until.ts';
import { audit, Device, messages, source, stats, subscribed, TEST_MS } from './source-agent.ts';

test(
  'what is said at QoS 0, as zigbee2mqtt does, is kept by a mosquitto that is told so',
  { timeout: TEST_MS },
  async () => {
    await using broker = await Mosquitto.start({ config: 'queue_qos0_messages true' });
    await using agent = await AgentProcess.create(source(broker));
    await agent.start();
    await subscribed(agent, broker);
    await agent.stop();
    const bridge = await connectAsync(broker.url);
    await bridge.publishAsync('plant1/Living Room/lamp', '{"state":"ON"}', { qos: 0 });
    await bridge.publishAsync('plant1/door', '{"contact":true}', { qos: 0 });
    // Behind it, so that the broker has them all.
    await bridge.publishAsync('plant1/door', '{"contact":false}', { qos: 1 });
    await bridge.endAsync();
    await agent.start();
    await until('all of it', async () => (await stats(agent)).stored === 3);
    await agent.stop();
    const stored = readDisk(agent.dataDir).messages;
    expect(stored.map(({ subject, data }) => `${subject} ${data.toString()}`)).toEqual([
      'plant1.Living/20Room.lamp {"state":"ON"}',
      'plant1.door {"contact":true}',
      'plant1.door {"contact":false}',
    ]);
  },
);

test(
  'topics that change while the agent runs are subscribed and unsubscribed in the same session, and nothing is lost',
  { timeout: TEST_MS },
  async () => {
    await using broker = await Mosquitto.start();
    const streams = `[[stream]]
name = "DATA"
subjects = ["plant1.*"]
[[stream]]
name = "END"
subjects = ["plant1.other.>"]
`;
    await using agent = await AgentProcess.create(source(broker, '', streams));
    await agent.start();
    await subscribed(agent, broker);
    const device = await Device.connect(broker, 'meter');
    const publishing = device.publish(10_000);
    await until('traffic', async () => (await stats(agent)).stored > 500);
    const before = readFileSync(agent.configFile, 'utf8');
    const topics = '["plant1/meter", "plant1/other/#"]';
    writeFileSync(agent.configFile, before.replace('["plant1/#"]', topics));
    process.kill(agent.pid ?? 0, 'SIGHUP');
    await until('the new subscriptions', () => broker.log.includes('plant1/other/# (QoS 1)'));
    await until('the old one to go', () => broker.log.includes('Received UNSUBSCRIBE'));
    await publishing;
    await device.end();
    const last = await connectAsync(broker.url);
    await last.publishAsync('plant1/elsewhere', 'not wanted', { qos: 1 });
    await last.publishAsync('plant1/other/end', 'end 1000000', { qos: 1 });
    await last.endAsync();
    await until('the last message', async () => (await messages(agent, 'END')) === 1);
    await agent.stop();
    const subjects = new Set(readDisk(agent.dataDir).messages.map(({ subject }) => subject));
    expect([...subjects]).toEqual(['plant1.meter']);
    expect(audit(agent, device.accepted)).toMatchObject({ missing: [], inOrder: true });
  },
);

test(
  'a broker with users: a wrong password is named, and the right one is used without a restart',
  { timeout: TEST_MS },
  async () => {
    await using broker = await Mosquitto.start({
      access: 'allow_anonymous false\npassword_file DIR/passwords',
      files: { passwords: PASSWORDS },
    });
    const secret = broker.file('gw7.secret', 'not-the-word\n');
    await using agent = await AgentProcess.create(
      source(broker, `user = "gw7"\npassword_file = "${secret}"`),
    );
    await agent.start();
    await until('the refusal', async () => (await agent.monitor('/healthz')).status === 503);
    expect((await stats(agent)).problem).toMatch(/user name or password|does not authorize/);
    broker.file('gw7.secret', 'mangrove\n');
    await until('the source to be connected', async () => (await stats(agent)).connected);
    expect((await agent.monitor('/healthz')).status).toBe(200);
    expect(agent.output).not.toContain('not-the-word');
  },
);

test(
  'TLS with a certificate of our own; one from an authority that is not trusted is no broker of ours',
  { timeout: TEST_MS },
  async () => {
    await using broker = await Mosquitto.start({
      config: `cafile ${tls('ca.pem')}
certfile ${tls('server.pem')}
keyfile ${tls('server-key.pem')}
require_certificate true`,
    });
    const files = `[mqtt_source.tls]
ca = "${tls('ca.pem')}"
cert = "${tls('client.pem')}"
key = "${broker.file('client-key.pem', readFileSync(tls('client-key.pem'), 'utf8'))}"
`;
    const url = broker.url.replace('mqtt://', 'mqtts://');
    const options = source(broker, files);
    const config = options.config?.replace(broker.url, url) ?? '';
    {
      await using agent = await AgentProcess.create({ config });
      await agent.start();
      await until('the source to be connected', async () => (await stats(agent)).connected);
    }
    await using stranger = await AgentProcess.create({ config: config.replace(files, '') });
    await stranger.start();
    await until('the refusal', async () => (await stats(stranger)).problem !== null);
    expect((await stats(stranger)).problem).toMatch(/^TLS with the broker failed: /);
  },
);

function tls(name: string): string {
  return join(import.meta.dirname, '../../fixtures/hub-certificates', name);
}

test(
  'with 3.1.1 the session lasts too, and a shared subscription brings its share',
  { timeout: TEST_MS },
  async () => {
    await using broker = await Mosquitto.start();
    const shared = source(broker, 'protocol = "3.1.1"').config?.replace(
      '"plant1/#"',
      '"$share/gateways/plant1/#"',
    );
    await using agent = await AgentProcess.create({ config: shared ?? '' });
    await agent.start();
    await subscribed(agent, broker);
    const device = await Device.connect(broker, 'meter');
    await device.publish(500);
    await until('all PUBACKs', async () => (await stats(agent)).acked === 500);
    await agent.kill();
    await device.publish(500);
    await agent.start();
    await until('the rest', async () => (await stats(agent)).acked >= 500);
    expect(await stats(agent)).toMatchObject({ protocol: '3.1.1', session_present: true });
    await device.end();
    await agent.stop();
    expect(audit(agent, device.accepted)).toMatchObject({ missing: [], inOrder: true });
  },
);

/** sha512-pbkdf2 of "mangrove", 101 rounds. */
const PASSWORDS =
  'gw7:$7$101$xeb+1aC2nrLBqyaP$uhGa3798XlxeecGmLyPjzXH4ALiXNANzgLS+xEvMmSDLgMkj+GdnGEcFt5aPjDmWetOq3d9g4uw/bpI2t0KDIA==\n';
