// The pages of operations explain every line that the log can have at level warn, error or fatal, word for word, and no
// line that it cannot have; and so the causes that such a line names, and the exit codes.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { operationsText } from '../support/operations-pages.ts';

const ROOT = join(import.meta.dirname, '../..');
const PAGE = operationsText();

const SOURCES = new Map(
  ['src', 'device', 'sync'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file): [string, string] => [
        `${folder}/${file}`,
        readFileSync(join(ROOT, folder, file), 'utf8'),
      ]),
  ),
);

/** Calls that get their message from elsewhere: from `warnings` (config-docs.test.ts looks at those), and from the callers of `warn`. */
const INDIRECT = [
  'src/run.ts: log.warn(text)',
  'device/mqtt/base.ts: log.warn({ ...fields, times }, condition)',
  'src/nats/shared.ts: log.warn({ ...fields, times }, condition)',
];

interface Call {
  readonly file: string;
  /** Whose function is called: `log`, `base`. */
  readonly on: string;
  readonly name: string;
  readonly args: readonly string[];
}

/** The calls of functions and constructors named `names` in a file, or in all. */
function calls(names: string, only?: string): Call[] {
  const found: Call[] = [];
  for (const [file, text] of SOURCES) {
    if (only !== undefined && file !== only) continue;
    for (const match of text.matchAll(new RegExp(`(?:(\\w+)\\??\\.)?#?\\b(${names})\\(`, 'g'))) {
      const [whole, on = '', name = ''] = match;
      found.push({ file, on, name, args: argumentsAt(text, match.index + whole.length) });
    }
  }
  return found;
}

/** The arguments of a call, as they are written; `at` is behind its parenthesis. */
function argumentsAt(text: string, at: number): string[] {
  const args: string[] = [];
  let depth = 0;
  let from = at;
  for (let i = at; i < text.length; i++) {
    const char = text.charAt(i);
    if (/['"`]/.test(char)) i = literalEnd(text, i);
    else if (text.startsWith('//', i)) i = text.indexOf('\n', i);
    else if (/[([{]/.test(char)) depth++;
    else if ((char === ',' && depth === 0) || (/[)\]}]/.test(char) && depth-- === 0)) {
      args.push(text.slice(from, i).trim().replaceAll(/\s+/g, ' '));
      from = i + 1;
      if (char !== ',') return args.filter((arg) => arg !== '');
    }
  }
  throw new Error('a call has no end');
}

/** Where the string or template that begins at `at` ends. */
function literalEnd(text: string, at: number): number {
  const quote = text.charAt(at);
  for (let i = at + 1; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === quote) return i;
    else if (quote === '`' && text.startsWith('${', i)) {
      for (i += 2; text[i] !== '}'; i++) if (text[i] === '`') i = literalEnd(text, i);
    }
  }
  throw new Error('a string has no end');
}

/** The text of a string or template as the page writes it, with `…` for what varies; undefined for another expression. */
function wording(arg: string | undefined): string | undefined {
  const [, quote, text] = /^(['"`])(.*)\1$/s.exec(arg ?? '') ?? [];
  if (quote === undefined || text === undefined) return undefined;
  const plain = quote === '`' ? text.replaceAll(/\$\{[^}]*\}/g, '…') : text;
  return plain.replaceAll(/\\(.)/g, '$1');
}

function show({ file, on, name, args }: Call): string {
  return `${file}: ${on}.${name}(${args.join(', ')})`;
}

/** The first cells of all tables of the page whose first column has this heading. */
function cells(heading: string): string[] {
  return PAGE.split(/\n(?!\|)/).flatMap((block) => {
    const rows = [...block.matchAll(/^\| (.*?) \|/gm)].map(([, cell = '']) => cell);
    return rows[0] === heading ? rows.slice(1) : [];
  });
}

/** The single terms of such cells. */
function terms(heading: string): string[] {
  return cells(heading).flatMap((cell) => cell.replaceAll('`', '').split(', '));
}

function textOf(file: string): string {
  return SOURCES.get(file) ?? '';
}

function captured(file: string, pattern: RegExp): string[] {
  return [...textOf(file).matchAll(pattern)].map(([, text = '']) => text);
}

/** Calls that write a line; `on` leaves out what happens to have the same name. A parser's listener hears of errors, too. */
const LOGGING = calls('warn|error|fatal').filter(({ on }) => on !== '' && on !== 'listener');

test('every warning and error of the source stands on a page, and no other', () => {
  const messages = LOGGING.flatMap(({ args }) => args.map(wording)).filter(
    (text) => text !== undefined,
  );
  expect(messages.length).toBeGreaterThan(40);
  expect(cells('message').toSorted()).toEqual([...new Set(messages)].toSorted());
});

test('every line of the log has its message in the call, once', () => {
  const others = LOGGING.filter(
    ({ args }) => args.map(wording).filter((text) => text !== undefined).length !== 1,
  );
  expect(others.map(show).toSorted()).toEqual(INDIRECT.toSorted());
});

test('the log is written to by plain calls only', () => {
  const text = [...SOURCES.values()].join('\n');
  const levels = [...text.matchAll(/\blog\[(.*?)\]/gi)].map(([, level]) => level);
  expect(levels).toEqual(['level']);
  expect(textOf('sync/forward-log.ts')).toMatch(/const level = .* \? 'debug' : 'info';/);
  expect(text).not.toMatch(/\blog(ger)?\.(warn|error|fatal)\b(?!\()/i);
  expect(text).not.toMatch(/\.(warn|fatal)\b(?!\()/);
  expect(text).not.toMatch(/\{[^{}\n]*\b(warn|fatal)\b[^{}\n]*\} = /);
  expect(text).not.toMatch(/\bconsole\./);
});

test('every reason to refuse an MQTT client is explained', () => {
  const reasons = [
    ...calls('refuse').map(({ args }) => args),
    ...captured('device/mqtt/connect.ts', /\breason: ('[^']+')/g).map((reason) => ['', reason]),
  ]
    .flatMap((args) => [wording(args[0]), wording(args[1])])
    .filter((text) => text?.includes(' ') === true)
    .map(String);
  expect(reasons.length).toBeGreaterThan(8);
  const explained = terms('reason');
  expect(explained.toSorted()).toEqual([...new Set(reasons)].toSorted());
});

test('every reason why a serial port cannot be opened or the hub not be reached is explained', () => {
  const codes = captured('device/serial/port-error.ts', /^ {2}(E[A-Z]+):/gm);
  expect(codes.length).toBeGreaterThan(5);
  expect(terms('`code`').toSorted()).toEqual(codes.toSorted());
  const kinds = ['sync/link-error.ts', 'sync/leaf/leaf-error.ts'].flatMap((file) =>
    captured(file, /^ {2}'?([a-z][a-z ]*)'?:\s+'/gm),
  );
  expect(kinds.length).toBeGreaterThan(14);
  expect(terms('`kind`').toSorted()).toEqual([...new Set(kinds)].toSorted());
});

test('everything that an operator must mend at the hub is explained', () => {
  const errors = [
    ...calls('HubError')
      .filter(({ args }) => !/^'(retry|poison)'$/.test(args[0] ?? ''))
      .map(({ args }) => args[1]),
    ...calls('localError')
      .filter(({ args }) => /^'(permission|unfitStream|hubTooOld)'$/.test(args[0] ?? ''))
      .map(({ args }) => args[1]),
    ...calls('fail', 'sync/read-back.ts').map(({ args }) => args[0]),
  ].map(wording);
  const texts = errors.filter((text) => text !== undefined);
  expect(texts.length).toBeGreaterThan(5);
  expect(cells('`error`').toSorted()).toEqual([...new Set(texts)].toSorted());
  for (const reason of captured('sync/hub-stream.ts', /\breason: '([^']+)'/g))
    expect(PAGE).toContain(reason);
  const numbers = captured(
    'sync/hub-error.ts',
    /^ {2}(\d{5}): (?:configuration|retry|standing)\(/gm,
  );
  expect(numbers.length).toBeGreaterThan(12);
  expect(terms('number').toSorted()).toEqual(numbers.toSorted());
});

test('every exit code is explained', () => {
  const codes = [...SOURCES.keys()].flatMap((file) =>
    captured(file, /\b(?:EXIT_\w+ = |exit\()(\d+)/g),
  );
  const script = readFileSync(join(ROOT, 'bin/mangrove'), 'utf8');
  codes.push(...[...script.matchAll(/\bexit (\d+)/g)].map(([, code = '']) => code));
  expect(cells('exit code').toSorted()).toEqual([...new Set(codes)].toSorted());
});
