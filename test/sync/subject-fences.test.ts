import { expect, test } from 'vitest';
import type { Hub } from '../../sync/hub.ts';
import { SubjectFences } from '../../sync/subject-fences.ts';

const FILTER = 'edge.gw7.S.>';

/** A hub that counts what it is asked. */
function hubWith(last: Record<string, number>): { hub: Hub; asked: string[] } {
  const asked: string[] = [];
  const lastBySubject: Hub['lastBySubject'] = (_stream, subject) => {
    if (subject !== FILTER) asked.push(subject);
    const seq = last[subject];
    return Promise.resolve(seq === undefined ? null : { seq, subject, id: undefined });
  };
  return { hub: { lastBySubject } as unknown as Hub, asked };
}

test('a subject is asked for once, and known from then on', async () => {
  const { hub, asked } = hubWith({ [FILTER]: 9, 'edge.gw7.S.a': 7 });
  const fences = new SubjectFences(hub, 'EDGE', FILTER);
  expect(await fences.fence('edge.gw7.S.a', 9)).toEqual({ kind: 'subject', seq: 7 });
  expect(await fences.fence('edge.gw7.S.b', 9)).toEqual({ kind: 'subject', seq: 0 });
  fences.stored('edge.gw7.S.b', 8);
  expect(await fences.fence('edge.gw7.S.a', 9)).toEqual({ kind: 'subject', seq: 7 });
  expect(await fences.fence('edge.gw7.S.b', 9)).toEqual({ kind: 'subject', seq: 8 });
  expect(asked).toEqual(['edge.gw7.S.a', 'edge.gw7.S.b']);
});

test('after a failure everything is asked for again', async () => {
  const { hub, asked } = hubWith({ [FILTER]: 9, a: 7 });
  const fences = new SubjectFences(hub, 'EDGE', FILTER);
  fences.stored('a', 5);
  fences.drop();
  expect(await fences.fence('a', 9)).toEqual({ kind: 'subject', seq: 7 });
  expect(asked).toEqual(['a']);
});

test('of more subjects than there is room for the longest unused one is forgotten', async () => {
  const { hub, asked } = hubWith({ [FILTER]: 9 });
  const fences = new SubjectFences(hub, 'EDGE', FILTER, 2);
  for (const subject of ['a', 'b', 'a', 'c', 'a', 'b']) await fences.fence(subject, 9);
  expect(asked).toEqual(['a', 'b', 'c', 'b']);
});

test('a last message that came after the reading is no fence: it may be the very one to be sent', async () => {
  const { hub, asked } = hubWith({ [FILTER]: 10, a: 10 });
  const fences = new SubjectFences(hub, 'EDGE', FILTER);
  expect(await fences.fence('a', 9)).toBeNull();
  expect(await fences.fence('a', 10)).toEqual({ kind: 'subject', seq: 10 });
  expect(asked).toEqual(['a', 'a']);
});

test('a new subject has no fence where the hub stream may be another one by now', async () => {
  const { hub } = hubWith({});
  const fences = new SubjectFences(hub, 'EDGE', FILTER);
  expect(await fences.fence('a', 9)).toBeNull();
  expect(await fences.fence('a', 0)).toEqual({ kind: 'subject', seq: 0 });
});
