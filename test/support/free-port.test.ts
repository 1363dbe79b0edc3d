import { execFile } from 'node:child_process';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { freePort } from './free-port.ts';

const run = promisify(execFile);
const MODULE = join(import.meta.dirname, 'free-port.ts');
const COUNT = 400;
const PROGRAM = `
const { freePort } = await import(process.argv[1]);
const ports = [];
while (ports.length < ${COUNT}) ports.push(await freePort());
console.log(JSON.stringify(ports));
`;

test('no two processes draw the same port, and none draws one twice', async () => {
  const drawn = [await freePort()];
  // More than one share has, and nobody listens at them.
  while (drawn.length < 2 * COUNT) drawn.push(await freePort());
  const others = await Promise.all(
    [1, 2, 3].map(async () => {
      const args = ['--input-type=module', '-e', PROGRAM, MODULE];
      const { stdout } = await run(process.execPath, args);
      return JSON.parse(stdout) as number[];
    }),
  );
  for (const ports of [drawn, ...others]) {
    expect(new Set(ports).size).toBe(ports.length);
    for (const port of ports) expect(port).toBeLessThan(32_768);
  }
  // Ours alone are held for as long as we live: those may have come after each other.
  const theirs = new Set(others.flat());
  expect(drawn.filter((port) => theirs.has(port))).toEqual([]);
});

test('a port at which somebody listens is passed over', async () => {
  const server = createServer();
  // They are drawn in turn; at the end of a share the next one is not ours to listen at.
  let next: number;
  do {
    const [first, second] = [await freePort(), await freePort()];
    next = Math.abs(second - first) === 1 ? 2 * second - first : 0;
  } while (next === 0 || !(await listens(server, next)));
  try {
    expect(await freePort()).not.toBe(next);
  } finally {
    server.close();
  }
});

function listens(server: Server, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => resolve(true));
  });
}
