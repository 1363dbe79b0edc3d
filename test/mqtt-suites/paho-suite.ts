// The Paho interoperability tests (client_test.py for 3.1.1, client_test5.py for 5.0). They want a broker that limits the
// keep-alive to a minute, and refuses a subscription to `test/nosubscribe`. Each test runs alone, as some never end.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startBroker } from './broker.ts';
import { inLanes, keep, toTheEnd, type Outcome, type SuiteOptions } from './suite.ts';

/** The longest takes 20 s. */
const TEST_MS = 60_000;
/** Stands before a line of unittests.py. */
const MARK = '@@@ ';
const CONFIG = `acl_file DIR/acl
max_keepalive 60`;
const ACL = `topic deny test/nosubscribe
topic readwrite #
topic readwrite $TopicA/B
`;

export async function runPaho(file: string, options: SuiteOptions): Promise<Outcome[]> {
  const text = readFileSync(join(options.checkout, 'interoperability', file), 'utf8');
  const names = [...text.matchAll(/^ {4}def (test\w*)\(self/gm)]
    .map(([, name = '']) => name)
    .filter(options.wanted);
  const lanes = await Promise.all(
    Array.from({ length: options.jobs }, () => startBroker(options, CONFIG, { acl: ACL })),
  );
  try {
    return await inLanes(names, options.jobs, (name, lane) =>
      runTest(file, name, lanes[lane]?.port ?? 0, options),
    );
  } finally {
    await Promise.all(lanes.map(({ stop }) => stop()));
  }
}

async function runTest(
  file: string,
  name: string,
  port: number,
  { python, checkout, dir, out }: SuiteOptions,
): Promise<Outcome> {
  const script = join(import.meta.dirname, 'python/unittests.py');
  const { text } = await toTheEnd(
    [python, script, join(checkout, 'interoperability', file), '127.0.0.1', String(port), name],
    { cwd: dir, env: { PYTHONDONTWRITEBYTECODE: '1' }, ms: TEST_MS },
  );
  keep(out, `${file}-${name}`, text);
  const line = text.split('\n').find((each) => each.startsWith(MARK));
  if (line === undefined) return { name, why: 'it did not end' };
  const { why } = JSON.parse(line.slice(MARK.length)) as { why: string | null };
  return { name, why: why ?? undefined };
}
