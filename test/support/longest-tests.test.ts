import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LONGEST_TESTS } from './longest-tests.ts';

const ROOT = join(import.meta.dirname, '../..');

test('each of the longest tests is there, once', () => {
  expect(LONGEST_TESTS.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  expect(new Set(LONGEST_TESTS).size).toBe(LONGEST_TESTS.length);
});
