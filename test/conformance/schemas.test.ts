// The schemas themselves: that they are there for what a server without a cluster says, and that they tell right from
// wrong. What our agent answers is held against them in jetstream-differential.test.ts.

import { expect, test } from 'vitest';
import { schemaFaults, schemaTypes } from '../support/jetstream-schemas.ts';

const PREFIX = 'io.nats.jetstream.';

test('there is a schema for every kind of answer, advisory and metric', () => {
  const types = schemaTypes();
  for (const kind of [
    'create',
    'update',
    'info',
    'list',
    'names',
    'delete',
    'purge',
    'msg_get',
    'msg_delete',
  ])
    expect(types).toContain(`${PREFIX}api.v1.stream_${kind}_response`);
  for (const kind of ['create', 'info', 'list', 'names', 'delete', 'pause'])
    expect(types).toContain(`${PREFIX}api.v1.consumer_${kind}_response`);
  for (const kind of [
    'stream_action',
    'consumer_action',
    'consumer_pause',
    'max_deliver',
    'nak',
    'terminated',
  ])
    expect(types).toContain(`${PREFIX}advisory.v1.${kind}`);
  expect(types).toContain(`${PREFIX}metric.v1.consumer_ack`);
});

test('an answer that fits has no faults, and one that does not names them', () => {
  const type = `${PREFIX}api.v1.stream_delete_response`;
  expect(schemaFaults({ type, success: true })).toEqual([]);
  expect(schemaFaults({ type, success: 'yes' }).join()).toContain('/success must be boolean');
  expect(schemaFaults({ type, error: { code: 404, description: 'no', err_code: 10059 } })).toEqual(
    [],
  );
  expect(schemaFaults({ type: `${PREFIX}api.v1.nothing` })).toEqual([
    `there is no schema for ${PREFIX}api.v1.nothing`,
  ]);
  expect(schemaFaults({ success: true })).toEqual(['there is no type']);
});

test('a time has nanoseconds and a zone', () => {
  const answer = (time: string): object => ({
    type: `${PREFIX}api.v1.stream_msg_get_response`,
    message: { subject: 'a', seq: 1, data: 'eA==', time },
  });
  expect(schemaFaults(answer('2026-11-21T08:00:00.123456789Z'))).toEqual([]);
  expect(schemaFaults(answer('2026-11-21 08:00:00')).join()).toContain('/message/time');
});
