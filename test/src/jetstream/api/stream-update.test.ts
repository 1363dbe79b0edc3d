// What a stream may become: nats-server 2.15's rules for an update, in its words.

import { expect, test } from 'vitest';
import { ApiError } from '../../../../src/jetstream/api/api-error.ts';
import { decode } from '../../../../src/jetstream/api/decode.ts';
import {
  STREAM_CONFIG_REQUEST,
  wireStreamConfig,
  type StreamConfigRequest,
} from '../../../../src/jetstream/api/stream-config.ts';
import { checkedStreamConfig } from '../../../../src/jetstream/api/stream-rules.ts';
import { updatedStreamConfig } from '../../../../src/jetstream/api/stream-update.ts';

const S = 1_000_000_000;

function read(request: object): StreamConfigRequest {
  return decode(STREAM_CONFIG_REQUEST, Buffer.from(JSON.stringify(request)));
}

/** What becomes of a stream `before` that is asked to be `after`. */
function updated(before: object, after: object): object {
  const request = read({ name: 'B', ...after });
  const old = checkedStreamConfig(read({ name: 'B', ...before }));
  return wireStreamConfig(updatedStreamConfig(old, checkedStreamConfig(request), request));
}

function refusal(step: () => unknown): string {
  try {
    step();
  } catch (error) {
    if (error instanceof ApiError) return `${error.code} ${error.errCode} ${error.message}`;
    throw error;
  }
  return 'none';
}

const CANNOT = '500 10052 stream configuration update can not';

test.each<[object, object, string]>([
  [{}, { storage: 'memory' }, `${CANNOT} change storage type`],
  [{}, { retention: 'workqueue' }, `${CANNOT} change retention policy to/from workqueue`],
  [{ retention: 'workqueue' }, {}, `${CANNOT} change retention policy to/from workqueue`],
  [{}, { retention: 'interest' }, 'none'],
  [{ sealed: true }, {}, `${CANNOT} unseal a sealed stream`],
  [{ deny_delete: true }, {}, `${CANNOT} cancel deny message deletes`],
  [{ deny_purge: true }, {}, `${CANNOT} cancel deny purge`],
  [{ allow_msg_ttl: true }, {}, '500 10052 message TTL status can not be disabled'],
  [{}, { allow_msg_counter: true }, `${CANNOT} change message counter setting`],
  [{}, { persist_mode: 'async' }, `${CANNOT} change persist mode`],
  [{}, { num_replicas: 3 }, '500 10074 replicas > 1 not supported in non-clustered mode'],
  [{}, { mirror: { name: 'A' } }, '400 10055 stream mirror configuration can not be updated'],
  [{}, { max_msgs: 5, max_consumers: 3, allow_direct: true, subjects: ['z'] }, 'none'],
])('a stream %j that shall become %j: %s', (before, after, words) => {
  expect(refusal(() => updated(before, after))).toBe(words);
});

test('a stream that is sealed keeps everything for ever', () => {
  const config = updated({}, { sealed: true, max_age: 5 * S, allow_rollup_hdrs: true });
  expect(config).toMatchObject({
    sealed: true,
    max_age: 0,
    discard: 'new',
    deny_delete: true,
    deny_purge: true,
    allow_rollup_hdrs: false,
    duplicate_window: 5 * S,
  });
});
