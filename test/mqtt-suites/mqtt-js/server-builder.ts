// Takes the place of `test/node/server_helpers_for_client_tests.ts` in the tests of MQTT.js: the server that answers as every
// broker does is a broker.

import { MqttServer } from './server.ts';

type Listener = ConstructorParameters<typeof MqttServer>[0];

// The suite imports a default.
// oxlint-disable-next-line import/no-default-export
export default function serverBuilder(_protocol: string, handler?: Listener): MqttServer {
  const server = new MqttServer(handler);
  const close = server.close.bind(server);
  server.close = (done?: (error?: Error) => void) => {
    for (const tap of server.connectionList) tap.destroy();
    return close(done);
  };
  return server;
}
