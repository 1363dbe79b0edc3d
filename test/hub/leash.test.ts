// The servers of these tests end with the process that started them, also where that is killed in mid-test.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { until } from '../support/until.ts';

const SUPPORT = join(import.meta.dirname, '../support/nats-server.ts');

/** Starts a server, and says which process it is. */
const CHILD = `
import { readFileSync, readdirSync } from 'node:fs';
import { startNatsServer } from ${JSON.stringify(SUPPORT)};
const { storeDir } = await startNatsServer();
const config = storeDir.replace(/jetstream$/, 'nats.conf');
const line = (pid) => { try { return readFileSync('/proc/' + pid + '/cmdline', 'utf8'); } catch { return ''; } };
console.log(readdirSync('/proc').find((pid) => /^[0-9]+$/.test(pid) && line(pid).includes(config)));
`;

test('a nats-server ends with a killed test process', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '-e', CHILD], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [pid] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  expect(existsSync(`/proc/${pid}`)).toBe(true);
  child.kill('SIGKILL');
  await until('the server to end', () => !existsSync(`/proc/${pid}`));
});
