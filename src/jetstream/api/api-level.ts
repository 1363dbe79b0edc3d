// The level of the JetStream API that is spoken here (ADR-44): 4 is that of nats-server 2.14. A request may ask for one,
// and an answer says in the metadata of an asset which level it needs and which is spoken.

import { headerValue } from '../../headers.ts';
import { ApiError } from './api-error.ts';

export const API_LEVEL = 4;

const REQUIRED = 'Nats-Required-Api-Level';
const KEYS = ['_nats.level', '_nats.req.level', '_nats.ver'];

export type Metadata = Readonly<Record<string, string>>;

/** The level of requests that may name the incarnation of a stream, as hubs from 2.15 on do. */
export const IDENTITY_LEVEL = 5;

/** Whether a request with these headers asks for more than `level`, or for no number at all. */
export function asksTooMuch(headers: Buffer | undefined, level = API_LEVEL): boolean {
  const wanted = headerValue(headers, REQUIRED);
  if (wanted === undefined || wanted === '') return false;
  return !/^[+-]?[0-9]{1,18}$/.test(wanted) || Number(wanted) > level;
}

/** The answer to such a request. */
export function levelError(): ApiError {
  return new ApiError(412, 10185, 'JetStream minimum api level required');
}

/** What a client gave, without what is for us to say; undefined for nothing. */
export function ownMetadata(metadata: Metadata | undefined): Metadata | undefined {
  const own = Object.entries(metadata ?? {}).filter(([key]) => !KEYS.includes(key));
  return own.length === 0 ? undefined : Object.fromEntries(own);
}

/** What stands in an answer: the client's own, the level that the asset needs, and who speaks; keys in order. */
export function shownMetadata(
  metadata: Metadata | undefined,
  requiredLevel: number,
  version: string | undefined,
): Metadata {
  const all: [string, string][] = [
    ...Object.entries(metadata ?? {}),
    ['_nats.req.level', String(requiredLevel)],
  ];
  if (version !== undefined) all.push(['_nats.level', String(API_LEVEL)], ['_nats.ver', version]);
  return Object.fromEntries(all.sort(([a], [b]) => (a < b ? -1 : 1)));
}
