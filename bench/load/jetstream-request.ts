// One request to a JetStream server, so that a bench need not speak the protocol itself. Prints the answer.

import { connect } from '@nats-io/transport-node';

/** A purge of millions takes seconds. */
const TIMEOUT_MS = 60_000;

const { port, subject, data } = JSON.parse(process.argv[2] ?? '') as {
  readonly port: number;
  readonly subject: string;
  readonly data?: string;
};
const nc = await connect({ servers: `127.0.0.1:${port}` });
const answer = await nc.request(subject, data, { timeout: TIMEOUT_MS });
console.log(answer.string());
await nc.close();
