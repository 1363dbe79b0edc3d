import { expect, test } from 'vitest';
import { IdTable } from '../../../src/jetstream/id-table.ts';

test('every ID keeps its own sequence, however alike they are and however many', () => {
  const table = new IdTable();
  const ids = [
    '',
    '\0',
    '\0\0',
    'a',
    'a\0',
    'ab',
    'ba',
    'ä',
    'Ā',
    '\u4e00',
    'x'.repeat(1000),
    `${'x'.repeat(999)}y`,
  ];
  for (let i = 0; i < 30_000; i++)
    ids.push(`plant1:SENSORS:Ab3dEf:${i}`, `${i}`, `${i}.0`, String.fromCharCode(256 + i));
  const unique = [...new Set(ids)];
  const early = unique.filter((id, i) => {
    const found = table.get(id);
    table.set(id, i + 1);
    return found !== undefined;
  });
  expect(early).toEqual([]);
  expect(table.size).toBe(unique.length);
  const wrong = unique.filter((id, i) => table.get(id) !== i + 1);
  expect(wrong).toEqual([]);
  expect(table.get('plant1:SENSORS:Ab3dEf:30000')).toBeUndefined();
});

test('an ID that was removed is gone, can come again, and makes room for others', () => {
  const table = new IdTable();
  for (let seq = 1; seq <= 1000; seq++) table.set(`kept ${seq}`, seq);
  for (let round = 0; round < 200; round++) {
    for (let i = 0; i < 20; i++) table.set(`passing ${round} ${i}`, 5000 + round);
    for (let i = 0; i < 20; i++) table.remove(`passing ${round} ${i}`);
  }
  table.remove('never there');
  expect(table.size).toBe(1000);
  expect(table.get('passing 3 4')).toBeUndefined();
  const seqs = Array.from({ length: 1000 }, (_, i) => i + 1);
  expect(seqs.filter((seq) => table.get(`kept ${seq}`) !== seq)).toEqual([]);
  table.set('passing 3 4', 2 ** 40);
  expect(table.get('passing 3 4')).toBe(2 ** 40);
  expect(table.countAfter(990)).toBe(11);
  table.set('kept 1', 7000);
  expect(table.get('kept 1'), 'the later one counts').toBe(7000);
  expect(table.size).toBe(1001);
});
