// Where our answers shall not be nats-server's: the one table of what is different on purpose, with the reasons.

import type { Deliberate } from './jetstream-compare.ts';

/** A never-written file stream of nats-server counts sequence 0 as a deleted one. */
const DELETED_ZERO = /"deleted":\[0\],|,"num_deleted":1/g;

/** Every store has an end, and says so. */
const LIMITS = /"(max_memory|max_storage|max_streams)":-?\d+/g;

/** The sequence of the message before, which a limit may have taken away meanwhile. */
const LAST_SEQUENCE = /Nats-Last-Sequence: \d+/g;

/** What a consumer with ack_policy all says of its acknowledgements. */
const ACKED = /"ack_floor":\{[^}]*\},|"num_ack_pending":\d+,|"num_redelivered":\d+,/g;

export const DELIBERATE: readonly Deliberate[] = [
  {
    reason:
      'A message that is stored already is answered as a duplicate, whatever it expects besides: a publisher that repeats itself gets the answer it missed. nats-server does so on replicated streams only.',
    is: ({ step, theirs, ours }) =>
      step.do === 'publish' &&
      ours.length === 1 &&
      (ours[0] ?? '').includes('"duplicate":true') &&
      /"err_code":(10071|10193)/.test(theirs[0] ?? ''),
  },
  {
    reason:
      'A request that nobody knows is answered as a bad one. nats-server says nothing, and its client waits for its timeout.',
    is: ({ step, theirs, ours }) =>
      step.do === 'api' &&
      theirs.length === 0 &&
      /"err_code":10003.*system_response/.test(ours[0] ?? ''),
  },
  {
    reason:
      'A reset of a consumer that does not exist is refused. nats-server says nothing, and its client waits for its timeout.',
    is: ({ step, theirs, ours }) =>
      step.do === 'api' &&
      step.subject.startsWith('CONSUMER.RESET.') &&
      theirs.length === 0 &&
      /"err_code":(10014|10059)/.test(ours[0] ?? ''),
  },
  {
    reason:
      'Sequence 0 was never there and is no deleted message. nats-server lists it where a file stream was never written.',
    is: ({ step, theirs, ours }) =>
      step.do === 'api' &&
      (theirs[0] ?? '').includes('"deleted":[0]') &&
      (theirs[0] ?? '').replaceAll(DELETED_ZERO, '') === ours[0],
  },
  {
    reason:
      'up_to_seq beyond the last message is the last message. nats-server does so in memory streams; in its file streams nothing is found then.',
    is: ({ step, theirs, ours }) =>
      step.do === 'fetch' &&
      JSON.stringify(step.body ?? '').includes('up_to_seq') &&
      (theirs[0] ?? '').startsWith('NATS/1.0 404 No Results') &&
      (ours.at(-1) ?? '').includes('204 EOB'),
  },
  {
    reason:
      'A message that a limit takes away while others wait for their acknowledgement acknowledges itself. With ack_policy all nats-server takes it for an acknowledgement of all before it, which then never come again.',
    is: ({ step, theirs, ours }) =>
      step.do === 'api' &&
      step.subject.startsWith('CONSUMER.') &&
      (ours[0] ?? '').includes('"ack_policy":"all"') &&
      (theirs[0] ?? '').replaceAll(ACKED, '') === (ours[0] ?? '').replaceAll(ACKED, ''),
  },
  {
    reason:
      'A republished message of a batch names the one before it on its subject also where the batch itself makes a limit take that one away.',
    is: ({ step, theirs, ours }) =>
      step.do === 'subscribe' &&
      theirs.length === ours.length &&
      theirs.every(
        (line, i) =>
          line === ours[i] ||
          (line.includes('Nats-Last-Sequence: 0') &&
            line.replaceAll(LAST_SEQUENCE, '') === ours[i]?.replaceAll(LAST_SEQUENCE, '')),
      ),
  },
  {
    reason: 'What the gateway may keep has a limit, also where nobody set one.',
    is: ({ step, theirs, ours }) =>
      step.do === 'api' &&
      step.subject === 'INFO' &&
      (theirs[0] ?? '').replaceAll(LIMITS, '$1') === (ours[0] ?? '').replaceAll(LIMITS, '$1'),
  },
];
