// What the [[mqtt_source]] tables must be to each other and to our own listener: no message is read twice, no session is
// fought over, and nothing goes round in a circle.

import { networkInterfaces } from 'node:os';
import { sharedFilter } from './mqtt-source-values.ts';
import type { Problems } from './problems.ts';
import type { ConfigDraft } from './rules.ts';
import { formatListen, isLoopback, type Listen } from './values.ts';

type SourceDraft = ConfigDraft['mqtt_source'][number];

/** The Client Identifier of a source that has none of its own: the same at every start, and no other gateway's. */
export function defaultClientId(gateway: string, source: string): string {
  return `mangrove-${gateway}-${source}`;
}

/** Checks all sources. */
export function checkSources(draft: ConfigDraft, problems: Problems): void {
  const sessions = new Map<string, string>();
  for (const [i, source] of draft.mqtt_source.entries()) {
    const at = `mqtt_source[${i + 1}]`;
    checkTopics(source, at, problems);
    checkLogin(source, at, problems);
    for (const door of [draft.mqtt?.listen, draft.mqtt?.tls?.listen])
      checkLoop(source, door, at, problems);
    checkSession(source, draft.gateway?.name, at, sessions, problems);
  }
}

function checkTopics(source: SourceDraft, at: string, problems: Problems): void {
  const topics = source.topics ?? [];
  for (const [i, topic] of topics.entries()) {
    const path = `${at}.topics[${i + 1}]`;
    if (sharedFilter(topic).startsWith('$') && source.prefix === undefined)
      problems.add(
        path,
        `found "${topic}", a topic of the broker itself, expected one that does not begin with $, ` +
          'or a prefix to put before it',
      );
    const other = topics.slice(0, i).findIndex((earlier) => overlap(earlier, topic));
    if (other >= 0)
      problems.add(
        path,
        `found "${topic}", which overlaps with "${topics[other]}", expected each topic under one ` +
          'filter only: what both match would come twice',
      );
  }
}

/** Whether some Topic Name falls under both filters. */
function overlap(a: string, b: string): boolean {
  const [left, right] = [sharedFilter(a).split('/'), sharedFilter(b).split('/')];
  for (let i = 0; ; i++) {
    const [x, y] = [left[i], right[i]];
    if (x === '#' || y === '#') {
      // Leading wildcards keep away from the topics of the broker itself [MQTT-4.7.2-1].
      return !(i === 0 && (x?.startsWith('$') === true || y?.startsWith('$') === true));
    }
    if (x === undefined || y === undefined) return x === y;
    if (x !== '+' && y !== '+' && x !== y) return false;
    if (i === 0 && x !== y && `${x}${y}`.includes('$')) return false;
  }
}

function checkLogin(source: SourceDraft, at: string, problems: Problems): void {
  for (const [one, other] of [
    [`${at}.password_file`, `${at}.user`],
    [`${at}.tls.cert`, `${at}.tls.key`],
    [`${at}.tls.key`, `${at}.tls.cert`],
  ] as const)
    if (problems.isWritten(one) && !problems.isWritten(other))
      problems.add(one, `found without ${other}, expected both or neither`);
  if (source.tls !== undefined && source.url?.tls === false)
    problems.add(`${at}.tls`, 'found with a url without TLS, expected mqtts:// in the url');
}

/** Our own listener as a broker: each message would come back as a new one, for ever. */
function checkLoop(
  { url }: SourceDraft,
  listen: Listen | undefined,
  at: string,
  problems: Problems,
): void {
  if (url === undefined || listen === undefined || url.port !== listen.port) return;
  const everywhere = listen.host === '0.0.0.0' || listen.host === '::';
  const same = url.host === listen.host || (isLoopback(url.host) && isLoopback(listen.host));
  if (!same && !(everywhere && isOurs(url.host))) return;
  problems.add(
    `${at}.url`,
    `found the agent's own MQTT listener, "${formatListen(listen)}" (${problems.where('mqtt')}), ` +
      'expected another broker: every message would go round for ever',
  );
}

function isOurs(host: string): boolean {
  if (isLoopback(host)) return true;
  return Object.values(networkInterfaces()).some((addresses) =>
    addresses?.some(({ address }) => address === host),
  );
}

/** Two clients with one identifier throw each other out of the broker for ever. */
function checkSession(
  { url, name, client_id: written }: SourceDraft,
  gateway: string | undefined,
  at: string,
  seen: Map<string, string>,
  problems: Problems,
): void {
  if (url === undefined || name === undefined) return;
  const clientId = written ?? defaultClientId(gateway ?? '', name);
  const session = `${url.host}:${url.port} ${clientId}`;
  const first = seen.get(session);
  if (first === undefined) seen.set(session, at);
  else
    problems.add(
      `${at}.client_id`,
      `found "${clientId}" again for the same broker (first in ${problems.where(first)}), ` +
        'expected a client_id of its own for each source',
    );
}
