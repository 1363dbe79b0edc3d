// What an operator is told of the permissions of the hub: the listed subjects of which nothing at all may cross.

import { expect, test } from 'vitest';
import { linkError } from '../../sync/link-error.ts';
import { shutOut } from '../../sync/leaf/hub-rights.ts';

test.each([
  ['a hub without permissions', undefined, []],
  ['neither list', {}, []],
  ['a part of one filter', { allow: ['alarm.fire'] }, ['meter.>']],
  ['more than the filters', { allow: ['>'] }, []],
  ['nothing', { allow: [] }, ['alarm.>', 'meter.>']],
  ['all but one', { deny: ['meter.>'] }, ['meter.>']],
  ['a part denied', { deny: ['meter.secret'] }, []],
  ['all denied', { deny: ['>'] }, ['alarm.>', 'meter.>']],
  ['allowed and denied', { allow: ['alarm.fire', 'meter.>'], deny: ['alarm.>'] }, ['alarm.>']],
  ['a queue group only', { allow: ['alarm.> crew', 'meter.>'] }, ['alarm.>']],
])('what is shut out where the hub allows %s', (_, rights, expected) => {
  expect(shutOut(rights, ['alarm.>', 'meter.>'])).toEqual(expected);
});

test('an error of TLS says what is wrong, without the advice that Node has for its own users', () => {
  const code = 'UNABLE_TO_VERIFY_LEAF_SIGNATURE';
  const advice = '; if the root CA is installed locally, try running Node.js with --use-system-ca';
  const error = Object.assign(new Error(`unable to verify the first certificate${advice}`), {
    code,
  });
  expect(linkError(error, 'hub:7422')).toMatchObject({
    kind: 'tls',
    message: 'hub:7422: unable to verify the first certificate',
  });
});
