import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { isExposed } from '../../src/config/files.ts';
import { loadConfig, type Problem } from '../../src/config.ts';
import { ConfigDir, refusal } from '../support/config-dir.ts';

const configs = new ConfigDir();
afterAll(() => configs.remove());

const NAME = '[gateway]\nname = "plant1"\n'; // Two lines: what follows begins at line 3.
const STREAM = '[[stream]]\nname = "PLANT"\nsubjects = ["plant.>"]\n';

/** One case of the fixture: a file, its environment, and the problems that it must be reported with. */
interface Mistake {
  readonly title: string;
  readonly toml: string;
  readonly env: Record<string, string>;
  readonly mode: number;
  readonly expected: readonly Expected[];
}

interface Expected {
  /** The line, or the variable. */
  readonly at: number | string;
  readonly key: string;
  readonly words: readonly string[];
}

/** Reads the cases; the fixture itself says how they are written. */
function readMistakes(): Mistake[] {
  const text = readFileSync(new URL('../fixtures/config-mistakes.txt', import.meta.url), 'utf8');
  const groups = text.split(/^##### /m).slice(1);
  return groups.flatMap((group) => {
    const [head = '', ...cases] = group.split(/^=== /m);
    return cases.map((lines) => readMistake(head.trim(), lines.trimEnd().split('\n')));
  });
}

function readMistake(group: string, [name = '', ...lines]: string[]): Mistake {
  const env: Record<string, string> = {};
  const expected: Expected[] = [];
  const toml: string[] = [];
  let mode = 0o600;
  for (const line of lines) {
    const [, command, rest = ''] = /^\$(env|mode|!) (.*)$/.exec(line) ?? [];
    const [, variable = '', value = ''] = /^(\S+?)[= ](.*)$/.exec(rest) ?? [];
    if (command === 'env') env[variable] = value;
    else if (command === 'mode') mode = parseInt(rest, 8);
    else if (command === '!') expected.push(readMark(variable, value));
    else {
      const [source = '', mark] = line.split(/ ?#! /);
      toml.push(source);
      if (mark !== undefined) expected.push(readMark(toml.length, mark));
    }
  }
  return { title: `${group}: ${name}`, toml: `${toml.join('\n')}\n`, env, mode, expected };
}

function readMark(at: number | string, mark: string): Expected {
  const [, key = '', words = ''] = /^(\S*): (.*)$/.exec(mark) ?? [];
  return { at, key, words: words.split(' | ') };
}

describe('a mistake is reported with its place, its key and what was expected', () => {
  const mistakes = readMistakes();

  test.each(mistakes)('$title', ({ toml, env, mode, expected }) => {
    const error = configs.refusal(toml, env, mode);
    const text = error.report();
    for (const { at, key, words } of expected) {
      const found = error.problems.find((problem) => problem.key === key && isAt(problem, at));
      expect(found, `${key} at ${at} in:\n${text}`).toBeDefined();
      for (const part of words) expect(found?.message).toContain(part);
      expect(text).toContain(typeof at === 'string' ? `${at}: ` : `${configs.file}:${at}:`);
    }
    expect(error.problems, text).toHaveLength(expected.length);
  });

  test('the cases are all there', () => {
    expect(mistakes.length).toBeGreaterThan(120);
    for (const { expected } of mistakes) expect(expected.length).toBeGreaterThan(0);
  });
});

function isAt(problem: Problem, at: number | string): boolean {
  return typeof at === 'string' ? problem.variable === at : problem.line === at;
}

test('brackets inside each other by the thousand are refused, not followed', () => {
  const text = `a = ${'['.repeat(100_000)}${']'.repeat(100_000)}`;
  expect(configs.refusal(text).report()).toContain('nested too deeply');
});

test('more tables than there can be are refused', () => {
  const streams = Array.from(
    { length: 513 },
    (_, i) => `[[stream]]\nname = "S${i}"\nsubjects = ["s.${i}"]\n`,
  );
  expect(configs.refusal(NAME + streams.join('')).problems).toMatchObject([
    { line: 3, key: 'stream', message: 'found 513 of them, expected at most 512' },
  ]);
});

test('a device is found again behind its link', () => {
  const link = join(configs.path, 'by-id');
  const error = configs.refusal(
    `${NAME}[[serial]]\nname = "a"\npath = "/dev/null"\n[[serial]]\nname = "b"\npath = "${link}"\n`,
  );
  expect(error.problems).toMatchObject([{ line: 8, key: 'serial[2].path' }]);
});

test("a file of root's may be open to its group, any other file to its owner only", () => {
  expect(isExposed(0o100640, 0)).toBe(false);
  expect(isExposed(0o100440, 0)).toBe(false);
  expect(isExposed(0o100660, 0)).toBe(true);
  expect(isExposed(0o100604, 0)).toBe(true);
  expect(isExposed(0o100600, 1000)).toBe(false);
  expect(isExposed(0o100640, 1000)).toBe(true);
});

test('all problems of a file are reported at once, in its order, and counted', () => {
  const error = configs.refusal(
    `[gateway]\nname = "a b"\n[mqtt]\nlisten = "x"\n${STREAM}max_age = 5\n[[forward]]\nstream = "X"\n`,
    {
      MANGROVE_X: 'y',
    },
  );
  expect(error.problems.map(({ line, variable, key }) => [line ?? variable, key])).toEqual([
    [2, 'gateway.name'],
    [4, 'mqtt.listen'],
    [8, 'stream[1].max_age'],
    [9, 'forward[1]'],
    [10, 'forward[1].stream'],
    ['MANGROVE_X', ''],
  ]);
  const file = configs.file;
  const lines = error.report().split('\n');
  expect(lines[0]).toBe(
    `${file}:2: gateway.name: found "a b", expected a name of letters, digits, "-" and "_"`,
  );
  expect(lines.at(-1)).toBe('6 problems; nothing was started');
});

test('a report shows the first fifty problems and counts the others', () => {
  const keys = Array.from({ length: 60 }, (_, i) => `zz${i} = 1\n`).join('');
  const lines = configs
    .refusal(NAME + keys)
    .report()
    .split('\n');
  expect(lines).toHaveLength(52);
  expect(lines.slice(-2)).toEqual(['… and 10 more', '60 problems; nothing was started']);
});

test('a syntax error has its column', () => {
  const error = configs.refusal('[gateway]\nname = plant1\n');
  expect(error.problems[0]).toMatchObject({ line: 2, column: 8 });
  expect(error.report()).toContain('agent.toml:2:8: name: not valid TOML');
});

test('no message repeats a secret', () => {
  const toml = `${NAME}[mqtt]\nusers = [{ user = "a", password = 987654 }]\n[hub]\nservers = ["nats://joe:swordfish@hub"]\n`;
  const text = configs.refusal(toml, { MANGROVE_MQTT_USERS_A_PASSWORD: '' }).report();
  expect(text).toContain('mqtt.users[1].password: found a value, expected a password');
  expect(text).toContain('found "nats://…@hub"');
  expect(text).toContain('credentials have keys of their own');
  expect(text).not.toMatch(/987654|joe|swordfish/);
});

test('a file that cannot be read at all is a problem of its own', () => {
  const missing = refusal(() => loadConfig(join(configs.path, 'nowhere.toml'), {}));
  expect(missing.problems).toMatchObject([
    { file: join(configs.path, 'nowhere.toml'), line: undefined, key: '' },
  ]);
  expect(missing.report()).toContain(
    'nowhere.toml: cannot read the configuration: there is no such file',
  );
  expect(refusal(() => loadConfig(configs.path, {})).report()).toContain('it is a directory');
  expect(configs.refusal(Buffer.from([0x61, 0xff, 0xfe])).report()).toContain('not valid UTF-8');
  expect(configs.refusal('#'.repeat(1024 * 1024 + 1)).report()).toContain('more than 1MiB');
});
