// Makes many streams, or many consumers of one stream, that then do nothing. Prints {"count"}.

import { connect } from '@nats-io/transport-node';

export interface JetStreamManyOptions {
  readonly port: number;
  readonly kind: 'streams' | 'consumers';
  readonly count: number;
}

const AT_ONCE = 50;
const { port, kind, count } = JSON.parse(process.argv[2] ?? '') as JetStreamManyOptions;
const nc = await connect({ servers: `127.0.0.1:${port}` });
if (kind === 'consumers') await ask('STREAM.CREATE.MANY', streamConfig('MANY'));
for (let made = 0; made < count; made += AT_ONCE) {
  const numbers = Array.from({ length: Math.min(AT_ONCE, count - made) }, (_, i) => made + i);
  await Promise.all(numbers.map((n) => (kind === 'streams' ? stream(n) : consumer(n))));
}
await nc.close();
console.log(JSON.stringify({ count }));

function stream(n: number): Promise<void> {
  return ask(`STREAM.CREATE.MANY${n}`, streamConfig(`MANY${n}`));
}

function streamConfig(name: string): object {
  return { name, subjects: [`${name}.>`], storage: 'file', retention: 'limits', num_replicas: 1 };
}

function consumer(n: number): Promise<void> {
  const name = `c${n}`;
  const config = { name, durable_name: name, ack_policy: 'explicit', filter_subject: `MANY.${n}` };
  return ask(`CONSUMER.CREATE.MANY.${name}.MANY.${n}`, { stream_name: 'MANY', config });
}

async function ask(subject: string, request: object): Promise<void> {
  const answer = await nc.request(`$JS.API.${subject}`, JSON.stringify(request), {
    timeout: 20_000,
  });
  if (answer.string().includes('"error"')) throw new Error(answer.string());
}
