import { expect, test } from 'vitest';
import { ForwardState, type ForwardNotes, type ForwardTable } from '../../sync/forward-state.ts';

class MemoryTable implements ForwardTable {
  readonly #rows = new Map<string, Buffer>();

  get(key: string): Buffer | undefined {
    return this.#rows.get(key);
  }

  put(key: string, value: Buffer): void {
    this.#rows.set(key, value);
  }
}

const atOnce = (done: (error: Error | null) => void): void => done(null);

const NOTHING: ForwardNotes = { window: null, batchId: null };
const OPEN = { afterId: 'gw7:S:e:9', fromSeq: 12, created: '2026' };

test('notes are there again after a restart, each stream its own', async () => {
  const table = new MemoryTable();
  const before = new ForwardState('SENSORS', table, atOnce);
  expect(before.value).toEqual(NOTHING);
  await before.save({ window: OPEN, batchId: 'b1' });
  await before.save({ ...before.value, batchId: 'b2' });
  expect(before.value).toEqual({ window: OPEN, batchId: 'b2' });
  const value = (stream: string): unknown => new ForwardState(stream, table, atOnce).value;
  expect(value('SENSORS')).toEqual({ window: OPEN, batchId: 'b2' });
  expect(value('ALARMS')).toEqual(NOTHING);
  await before.save(NOTHING);
  expect(value('SENSORS')).toEqual(NOTHING);
});

test('notes count only when they are on the disk', async () => {
  const table = new MemoryTable();
  const waiting: ((error: Error | null) => void)[] = [];
  const state = new ForwardState('S', table, (done) => void waiting.push(done));
  let saved = false;
  const saving = state.save({ window: OPEN, batchId: null }).then(() => (saved = true));
  await Promise.resolve();
  expect([saved, state.value.window]).toEqual([false, null]);
  waiting.shift()?.(null);
  await saving;
  expect([saved, state.value.window]).toEqual([true, OPEN]);
  // What is there already needs no disk.
  await state.save({ window: { ...OPEN }, batchId: null });
  expect(waiting).toEqual([]);
});

test('notes that the disk refuses are not taken for saved', async () => {
  const full = new ForwardState('S', new MemoryTable(), (done) => done(new Error('disk full')));
  await expect(full.save({ window: null, batchId: 'b1' })).rejects.toThrow('full');
  expect(full.value).toEqual(NOTHING);
});

test('a row that cannot be read is taken for an open window', () => {
  const rows = [
    '',
    '{',
    '{}',
    '{"window":null}',
    '{"batch_id":null}',
    '{"window":1,"batch_id":null}',
  ];
  for (const row of rows) {
    const table = new MemoryTable();
    table.put('S', Buffer.from(row));
    const { value } = new ForwardState('S', table, atOnce);
    expect(value).toEqual({ window: { afterId: '', fromSeq: 1, created: '' }, batchId: null });
  }
});
