// The certificate of the NATS listener is replaced while clients are connected, by socket and by WebSocket.

import { connect as connectTls } from 'node:tls';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { chmodSync, copyFileSync } from 'node:fs';
import { loadConfig } from '../../../src/config.ts';
import { certificate } from '../../support/mqtt-doors.ts';
import { NatsClients } from '../../support/nats-clients.ts';

const rig = new NatsClients();
afterEach(rig.end);

function use(name: string): void {
  for (const [from, to] of [
    [name, 'cert.pem'],
    [`${name}-key`, 'key.pem'],
  ] as const) {
    copyFileSync(certificate(from), join(rig.dir.path, to));
    chmodSync(join(rig.dir.path, to), 0o600);
  }
}

function issuer(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, rejectUnauthorized: false };
    const socket = connectTls(options, () => {
      resolve(String(socket.getPeerCertificate().issuer.CN));
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

test('a new certificate is shown to new clients, and the connected ones notice nothing', async () => {
  use('server');
  await rig.start(
    '[nats]\nlisten = "127.0.0.1:0"\n[nats.tls]\ncert = "cert.pem"\nkey = "key.pem"\nhandshake_first = true\n[nats.websocket]\nlisten = "127.0.0.1:0"\n',
  );
  const client = await rig.client({
    tls: { caFile: certificate('ca'), handshakeFirst: true },
    reconnect: false,
  });
  await client.flush();
  const ports = [rig.listener().address?.port ?? 0, rig.listener().websocketAddress?.port ?? 0];
  for (const port of ports) expect(await issuer(port)).toBe('Mangrove test authority');
  const reload = async (): Promise<readonly string[]> => {
    const agent = rig.agent?.agent;
    if (agent === undefined) throw new Error('the agent does not run');
    return (await agent.prepare(loadConfig(rig.dir.file, {}))).apply();
  };
  expect(await reload()).toEqual([]);
  use('other-server');
  expect(await reload()).toEqual(['nats.tls']);
  for (const port of ports) expect(await issuer(port)).toBe('Another authority');
  await client.flush();
  expect(client.isClosed()).toBe(false);
  copyFileSync(certificate('server'), join(rig.dir.path, 'cert.pem'));
  await expect(reload()).rejects.toThrow(/cannot be used together/);
  for (const port of ports) expect(await issuer(port)).toBe('Another authority');
});
