// What a hub says of itself, at first and later.

import { expect, test } from 'vitest';
import { isAllowed, mergeInfo, readInfo } from '../../sync/leaf/leaf-info.ts';

const FIRST = {
  server_id: 'NHUB',
  server_name: 'hub1',
  version: '2.15.1',
  headers: true,
  jetstream: true,
  domain: 'hub',
  client_id: 7,
  nonce: 'abc',
  max_payload: 1_048_576,
  leafnode_urls: ['10.0.0.1:7422', 5],
  auth_required: true,
  later_invention: { a: 1 },
};

const read = (info: object): ReturnType<typeof readInfo> => readInfo(JSON.stringify(info), 'hub');

test('the first INFO of a leafnode port', () => {
  expect(read(FIRST)).toMatchObject({
    serverId: 'NHUB',
    serverName: 'hub1',
    domain: 'hub',
    cluster: undefined,
    payloadBytesMax: 1_048_576,
    nonce: 'abc',
    leafnodeUrls: ['10.0.0.1:7422'],
    leafnodePort: true,
    connectInfo: false,
    tlsRequired: false,
    mayImport: undefined,
    systemAccount: false,
  });
  expect(read({ ...FIRST, leafnode_urls: undefined }).leafnodePort).toBe(false);
  expect(read({ ...FIRST, client_id: undefined }).leafnodePort).toBe(false);
  const quiet = { ...FIRST, leafnode_urls: undefined, info_on_connect: true };
  expect(read(quiet)).toMatchObject({ leafnodePort: true, leafnodeUrls: undefined });
});

test('strange values are as good as none', () => {
  const info = { ...FIRST, domain: 5, client_id: -1, nonce: '', max_payload: 'x', import: 'all' };
  expect(read({ ...info, export: { allow: 'x', deny: ['a', 1] } })).toMatchObject({
    domain: undefined,
    nonce: undefined,
    payloadBytesMax: 0,
    leafnodePort: false,
    mayImport: undefined,
    mayExport: { allow: undefined, deny: ['a'] },
  });
  for (const json of ['', '[]', '5', 'null', '{"server_id":5}', '{'])
    expect(() => readInfo(json, 'hub')).toThrow('no nats-server');
});

test('the INFO behind the login says what is allowed; what it leaves out is', () => {
  const before = read({ ...FIRST, import: { allow: ['a'] } });
  const next = read({ ...FIRST, connect_info: true, nonce: undefined, export: { deny: ['b'] } });
  expect(mergeInfo(before, next)).toMatchObject({
    connectInfo: true,
    nonce: 'abc',
    mayImport: undefined,
    mayExport: { deny: ['b'] },
  });
});

test('a later INFO changes what it speaks of, and nothing else', () => {
  const login = { ...FIRST, connect_info: true, remote_account: 'ACME', import: { allow: ['a'] } };
  const before = mergeInfo(read(FIRST), read(login));
  const later = { server_id: 'NHUB', leafnode_urls: ['10.0.0.2:7422'], ldm: true };
  expect(mergeInfo(before, read(later))).toMatchObject({
    leafnodeUrls: ['10.0.0.2:7422'],
    lameDuck: true,
    remoteAccount: 'ACME',
    mayImport: { allow: ['a'] },
    connectInfo: true,
    leafnodePort: true,
    nonce: 'abc',
  });
  expect(mergeInfo(before, read({ server_id: 'NHUB' })).leafnodeUrls).toEqual(['10.0.0.1:7422']);
});

test('what the lists let pass', () => {
  expect(isAllowed(undefined, 'a.b')).toBe(true);
  expect(isAllowed({}, 'a.b')).toBe(true);
  expect(isAllowed({ allow: ['a.*'] }, 'a.b')).toBe(true);
  expect(isAllowed({ allow: ['a.*'] }, 'b.b')).toBe(false);
  expect(isAllowed({ allow: ['a.*'], deny: ['*.b'] }, 'a.b')).toBe(false);
  expect(isAllowed({ allow: [] }, 'a.b')).toBe(false);
});
