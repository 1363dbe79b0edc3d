// The repository's own manners: what no linter looks at.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
/** Not written here: dependencies, results, recordings of devices. */
const FOREIGN = /^(node_modules|dist|coverage|\.git|\.cache|test\/fixtures)(\/|$)/;

interface File {
  readonly path: string;
  readonly text: string;
}

const FILES: readonly File[] = walk(ROOT)
  .toSorted()
  .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
const SOURCES = FILES.filter(({ path }) => /^(src|device|sync)\/.*\.ts$/.test(path));
const TESTS = FILES.filter(({ path }) => /^(test|bench)\/.*\.ts$/.test(path));
const PAGES = FILES.filter(({ path }) => path.endsWith('.md'));

/** Not into what is foreign: other tests build there at the same time. */
function walk(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = relative(ROOT, join(dir, entry.name));
    if (FOREIGN.test(path)) return [];
    return entry.isDirectory() ? walk(join(dir, entry.name)) : entry.isFile() ? [path] : [];
  });
}

/** `path:line: text` of each line that `pattern` matches. */
function lines(files: readonly File[], pattern: RegExp): string[] {
  return files.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, i) => (pattern.test(line) ? `${path}:${i + 1}: ${line}` : [])),
  );
}

/** A page without its code. */
function prose(text: string): string {
  return text.replace(/^```.*?^```/gms, '');
}

test('there is something to look at', () => {
  expect(SOURCES.length).toBeGreaterThan(50);
  expect(PAGES.length).toBeGreaterThan(8);
});

test('no file is longer than 500 lines', () => {
  const generated = new Set(['package-lock.json']);
  const long = FILES.filter(
    ({ path, text }) => !generated.has(path) && text.split('\n').length > 501,
  );
  expect(long.map(({ path }) => path)).toEqual([]);
});

test('every page has one title, and it comes first', () => {
  const wrong = PAGES.filter(({ text }) => {
    const titles = prose(text).match(/^# .+$/gm) ?? [];
    return titles.length !== 1 || !text.startsWith('# ');
  });
  expect(wrong.map(({ path }) => path)).toEqual([]);
});

test('every link of a page leads somewhere', () => {
  const dead = PAGES.flatMap(({ path, text }) =>
    [...prose(text).matchAll(/\]\((?!https?:)([^)#]*)(#[^)]*)?\)/g)]
      .filter(([, file = '', anchor]) => {
        const target = file === '' ? join(ROOT, path) : resolve(ROOT, dirname(path), file);
        if (!existsSync(target)) return true;
        return anchor !== undefined && !anchors(readFileSync(target, 'utf8')).has(anchor);
      })
      .map(([link]) => `${path}: ${link}`),
  );
  expect(dead).toEqual([]);
});

/** The anchors of a page's headings, as GitHub makes them. */
function anchors(text: string): Set<string> {
  const headings = prose(text).match(/^#+ .+$/gm) ?? [];
  return new Set(
    headings.map((heading) => {
      const words = heading.replace(/^#+ /, '').toLowerCase();
      return `#${words.replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-')}`;
    }),
  );
}

test('every source file that a page names is there', () => {
  const missing = PAGES.filter(({ path }) => path !== 'CHANGELOG.md').flatMap(({ path, text }) =>
    [...text.matchAll(/`((?:src|device|sync|test|bench|bin|scripts|systemd|docs)\/[\w./-]*)`/g)]
      .filter(([, file = '']) => !existsSync(join(ROOT, file)))
      .map(([, file]) => `${path}: ${file}`),
  );
  expect(missing).toEqual([]);
});

test('decisions are numbered once each, without a hole', () => {
  const names = readdirSync(join(ROOT, 'docs/decisions')).toSorted();
  const expected = names.map((_, i) => String(i + 1).padStart(4, '0'));
  expect(names.map((name) => name.slice(0, 4))).toEqual(expected);
  for (const name of names) {
    const text = readFileSync(join(ROOT, 'docs/decisions', name), 'utf8');
    expect(text.slice(2, 6), name).toBe(name.slice(0, 4));
  }
});

test('nothing is left to do, and no test is left out', () => {
  expect(
    lines(FILES, new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX'].join('|')})\\b`)),
  ).toEqual([]);
  expect(
    lines(TESTS, /\b(test|it|describe|suite)(\.\w+)*\.(only|skip|todo|skipIf|fails)\b/),
  ).toEqual([]);
  // Cutting the power of a disk needs root and a loop device, which no package brings.
  const elsewhere = TESTS.filter(({ path }) => !path.startsWith('test/crash/'));
  expect(lines(elsewhere, /\b(test|it|describe|suite)(\.\w+)*\.runIf\b/)).toEqual([]);
});

test('nothing names the machine that it was written on', () => {
  const here = new RegExp(
    [`/wo${'rk'}/`, `/tmp/br${'ief'}`, '/home/\\w', `regis${'try'}\\.`].join('|'),
  );
  expect(lines(FILES, here)).toEqual([]);
});

test('the time of day comes from the clock', () => {
  expect(lines(SOURCES, /\bnew Date\(\)/)).toEqual([]);
});

// Types are erased: only what is loaded counts.
test('each package is imported in one file', () => {
  const importers = new Map<string, Set<string>>();
  for (const { path, text } of SOURCES)
    for (const [, name = ''] of text.matchAll(
      /(?:^(?:import|export)\b(?! type\b)[^'"]*?\bfrom |^import |\bimport\()'((?:@[\w-]+\/)?[\w-]+)(?:\/[^']*)?'/gm,
    ))
      importers.set(name, (importers.get(name) ?? new Set()).add(path));
  const shared = [...importers].filter(([, paths]) => paths.size > 1);
  expect(Object.fromEntries(shared.map(([name, paths]) => [name, [...paths]]))).toEqual({});
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  expect([...importers.keys()].toSorted()).toEqual(Object.keys(dependencies).toSorted());
});
