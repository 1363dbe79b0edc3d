// The JSON of requests is read as nats-server 2.15 reads it: the table holds its answers, word for word.

import { expect, test } from 'vitest';
import { ApiError } from '../../../../src/jetstream/api/api-error.ts';
import { decode, isEmptyRequest, isObjectOrArray } from '../../../../src/jetstream/api/decode.ts';
import { JsonError, parseJson, type JsonNode } from '../../../../src/jetstream/api/json.ts';
import { STREAM_CONFIG_REQUEST } from '../../../../src/jetstream/api/stream-config.ts';
import { randomInt, seededRandom, type Random } from '../../../support/random.ts';

function refusal(text: string): string {
  try {
    decode(STREAM_CONFIG_REQUEST, Buffer.from(text));
  } catch (error) {
    if (error instanceof ApiError) return `${error.errCode} ${error.message}`;
    throw error;
  }
  return 'none';
}

const FIELD = 'json: cannot unmarshal';
const INTO = 'into Go struct field StreamConfigRequest';

test.each([
  ['x', "invalid character 'x' looking for beginning of value at offset 1"],
  ['{', 'unexpected EOF'],
  ['{"name"', 'unexpected EOF'],
  ['{"name":', 'unexpected EOF'],
  ['[1,2', 'unexpected EOF'],
  ['nul', 'unexpected EOF'],
  ['{name:1}', "invalid character 'n' looking for beginning of object key string at offset 2"],
  [
    "{'name':'B'}",
    "invalid character '\\'' looking for beginning of object key string at offset 2",
  ],
  [
    '{"name":"B",}',
    "invalid character '}' looking for beginning of object key string at offset 13",
  ],
  ['{"a":1,,}', "invalid character ',' looking for beginning of object key string at offset 8"],
  ['{"name" 5}', "invalid character '5' after object key at offset 9"],
  ['{"name":"B"} x', "invalid character 'x' looking for beginning of value at offset 14"],
  ['nulx', "invalid character 'x' in literal null (expecting 'l') at offset 4"],
  ['{"sealed":truE}', "invalid character 'E' in literal true (expecting 'e') at offset 14"],
  ['{"name":"B" "x"}', "invalid character '\"' after object key:value pair at offset 13"],
  ['{"name":"B"]', "invalid character ']' after object key:value pair at offset 12"],
  ['[1 2]', "invalid character '2' after array element at offset 4"],
  ['{"name":"B","description":"\\x"}', 'invalid escape sequence `\\x` in string at offset 29'],
  [
    '{"name":"B","description":"\\u12"}',
    'invalid escape sequence `\\u12"}` in string at offset 33',
  ],
  ['{"name":"B","description":"a\nb"}', "invalid character '\\n' in string at offset 29"],
  ['{"name":"B","max_msgs":01}', "invalid character '1' after object key:value pair at offset 25"],
  ['{"name":"B","max_msgs":1.}', "invalid character '}' in numeric literal at offset 26"],
  ['{"name":"B","max_msgs":1e+}', "invalid character '}' in numeric literal at offset 27"],
  ['{"name":"B","max_msgs":1.', 'unexpected EOF'],
  ['{"name":"B","max_msgs":-}', "invalid character '}' in numeric literal at offset 25"],
  [
    '{"name":"B","max_msgs":+1}',
    "invalid character '+' looking for beginning of value at offset 24",
  ],
  [
    '{"name":"B","max_msgs":NaN}',
    "invalid character 'N' looking for beginning of value at offset 24",
  ],
  ['\ufeff{"name":"B"}', "invalid character '\\ufeff' looking for beginning of value at offset 3"],
  ['[]', `${FIELD} array into Go value of type server.StreamConfigRequest`],
  ['5', `${FIELD} number into Go value of type server.StreamConfigRequest`],
  ['{"name":5}', `${FIELD} number ${INTO}.name of type string`],
  ['{"max_msgs":1.5}', `${FIELD} number 1.5 ${INTO}.max_msgs of type int64`],
  ['{"max_msgs":1e2}', `${FIELD} number 1e2 ${INTO}.max_msgs of type int64`],
  ['{"max_msgs":"5"}', `${FIELD} string ${INTO}.max_msgs of type int64`],
  [
    '{"max_msgs":99999999999999999999}',
    `${FIELD} number 99999999999999999999 ${INTO}.max_msgs of type int64`,
  ],
  ['{"max_msg_size":3000000000}', `${FIELD} number 3000000000 ${INTO}.max_msg_size of type int32`],
  ['{"max_age":"1h"}', `${FIELD} string ${INTO}.max_age of type time.Duration`],
  ['{"first_seq":-1}', `${FIELD} number -1 ${INTO}.first_seq of type uint64`],
  ['{"subjects":"x"}', `${FIELD} string ${INTO}.subjects of type []string`],
  ['{"subjects":[1,"y"]}', `${FIELD} number into StreamConfigRequest.subjects.0 of type string`],
  ['{"metadata":{"a":5}}', `${FIELD} number ${INTO}.metadata.a of type string`],
  ['{"metadata":[]}', `${FIELD} array ${INTO}.metadata of type map[string]string`],
  [
    '{"consumer_limits":5}',
    `${FIELD} number ${INTO}.consumer_limits of type server.StreamConsumerLimits`,
  ],
  [
    '{"consumer_limits":{"max_ack_pending":"x"}}',
    `${FIELD} string ${INTO}.consumer_limits.max_ack_pending of type int`,
  ],
  [
    '{"sources":[5]}',
    `${FIELD} number into StreamConfigRequest.sources.0 of type server.StreamSource`,
  ],
  [
    '{"sources":[{"name":"A","subject_transforms":[{"src":5}]}]}',
    `${FIELD} number ${INTO}.sources.0.subject_transforms.0.src of type string`,
  ],
  ['{"mirror":{"name":5}}', `${FIELD} number ${INTO}.mirror.name of type string`],
  ['{"retention":"foo"}', 'can not unmarshal "\\"foo\\""'],
  ['{"retention":null}', 'can not unmarshal "null"'],
  ['{"storage":["a"]}', 'can not unmarshal "[\\"a\\"]"'],
  ['{"compression":"x"}', 'unknown compression algorithm'],
  ['{"bogus":1,"max_msgs":"x"}', 'json: unknown field "bogus"'],
  ['{"max_msgs":"x","bogus":1}', `${FIELD} string ${INTO}.max_msgs of type int64`],
  ['{"__proto__":1}', 'json: unknown field "__proto__"'],
  ['{"constructor":{}}', 'json: unknown field "constructor"'],
  ['{"hasOwnProperty":1}', 'json: unknown field "hasOwnProperty"'],
])('a body %j is refused in the words of nats-server', (text, words) => {
  expect(refusal(text)).toBe(`10025 invalid JSON: ${words}`);
});

test('what is allowed is read: any case, the last of two keys, null for nothing, one object after the other', () => {
  const read = (text: string): unknown => decode(STREAM_CONFIG_REQUEST, Buffer.from(text));
  expect(read('')).toEqual({});
  expect(read('null')).toEqual({});
  expect(read(' {"NAME":"B","Subjects":["b",null]} ')).toEqual({ name: 'B', subjects: ['b', ''] });
  expect(read('{"name":"B","name":"C","sealed":null}')).toEqual({ name: 'C' });
  expect(read('{"name":"B"}{"description":"two"}')).toEqual({ name: 'B', description: 'two' });
  expect(read('{"description":"\\ud800\\u00e4\\/"}')).toEqual({ description: '\ufffdä/' });
  expect(read('{"metadata":{"__proto__":"x","a":"b"}}')).toEqual({
    metadata: JSON.parse('{"__proto__":"x","a":"b"}') as unknown,
  });
  expect(({} as Record<string, unknown>)['x']).toBeUndefined();
});

test('numbers beyond what a double counts are taken as the largest that it does', () => {
  const text = '{"max_bytes":9223372036854775807,"max_msgs":-9223372036854775808}';
  expect(decode(STREAM_CONFIG_REQUEST, Buffer.from(text))).toEqual({
    max_bytes: Number.MAX_SAFE_INTEGER,
    max_msgs: -Number.MAX_SAFE_INTEGER,
  });
  const durations = '{"max_age":123456789,"duplicate_window":31536000000000000}';
  expect(decode(STREAM_CONFIG_REQUEST, Buffer.from(durations))).toEqual({
    max_age: 123.456789,
    duplicate_window: 31_536_000_000,
  });
});

test('a body that is deep or big is refused before it costs anything', () => {
  expect(refusal('['.repeat(200_000))).toBe('10025 invalid JSON: exceeded max depth at offset 65');
  expect(refusal('{"metadata":'.repeat(20_000))).toMatch(/^10025 .*(max depth|cannot unmarshal)/);
  expect(refusal(`{"description":"${'x'.repeat(256 * 1024)}"}`)).toBe(
    '10054 message size exceeds maximum allowed',
  );
  expect(refusal(`{"max_msgs":${'9'.repeat(200_000)}}`)).toMatch(/of type int64$/);
});

test('a body that need not be there is empty, or an object without fields', () => {
  for (const text of ['', '{}', ' { }\n']) expect(isEmptyRequest(Buffer.from(text))).toBe(true);
  for (const text of ['x', '[]', '{"a":1}', 'null'])
    expect(isEmptyRequest(Buffer.from(text))).toBe(false);
  for (const text of ['{', '  [', '\n{}']) expect(isObjectOrArray(Buffer.from(text))).toBe(true);
  for (const text of ['', '  ', '"x"', 'hello {}'])
    expect(isObjectOrArray(Buffer.from(text))).toBe(false);
});

/** The plain value of a node. */
function plain(node: JsonNode): unknown {
  if (node.kind === 'number') return Number(node.text);
  if (node.kind === 'array') return node.items.map(plain);
  if (node.kind === 'object')
    return Object.fromEntries(node.entries.map(([key, value]) => [key, plain(value)]));
  return node.kind === 'null' ? null : node.value;
}

const KEYS = [
  'name',
  'subjects',
  'retention',
  'max_age',
  'metadata',
  'mirror',
  '__proto__',
  'toString',
  'é',
  '',
];
const TEXTS = [
  '',
  'a',
  '\\',
  '"',
  '\n',
  '\u0000',
  'ä',
  '😀',
  '__proto__',
  'limits',
  'x'.repeat(50),
];

function randomJson(random: Random, depth: number): unknown {
  const pick = randomInt(random, depth > 4 ? 4 : 6);
  if (pick === 0) return [null, true, false][randomInt(random, 3)];
  if (pick === 1) return [0, -1, 1.5, 1e300, -1e-7, 2 ** 53][randomInt(random, 6)];
  if (pick === 2 || pick === 3) return TEXTS[randomInt(random, TEXTS.length)];
  const length = randomInt(random, 5);
  const items = Array.from({ length }, () => randomJson(random, depth + 1));
  if (pick === 4) return items;
  return Object.fromEntries(items.map((item) => [KEYS[randomInt(random, KEYS.length)], item]));
}

const NOISE = [
  '"',
  '\\',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '0',
  '-',
  'e',
  '.',
  't',
  'null',
  ' ',
  '\u0001',
  '\ud800',
  '\\u12',
];

function mutated(random: Random, text: string): string {
  const at = randomInt(random, text.length + 1);
  const cut = randomInt(random, 3);
  return text.slice(0, at) + (NOISE[randomInt(random, NOISE.length)] ?? '') + text.slice(at + cut);
}

test('what JSON.parse takes is taken and means the same, and nothing else is', () => {
  const random = seededRandom(4);
  for (let i = 0; i < 20_000; i++) {
    let text = JSON.stringify(randomJson(random, 0), null, randomInt(random, 2));
    for (let n = randomInt(random, 3); n > 0; n--) text = mutated(random, text);
    let wanted: unknown;
    try {
      wanted = JSON.parse(text.toWellFormed());
    } catch {
      wanted = JsonError;
    }
    let found: unknown;
    try {
      const values = [...parseJson(text.toWellFormed())].map(plain);
      found = values.length === 1 ? values[0] : JsonError;
    } catch (error) {
      if (!(error instanceof JsonError)) throw error;
      found = JsonError;
    }
    expect(found, text).toEqual(wanted);
  }
});

test('no body makes the reading of a configuration fail in any other way', () => {
  const random = seededRandom(5);
  for (let i = 0; i < 20_000; i++) {
    let text = JSON.stringify(randomJson(random, 0));
    for (let n = randomInt(random, 4); n > 0; n--) text = mutated(random, text);
    expect(() => refusal(text)).not.toThrow();
  }
});
