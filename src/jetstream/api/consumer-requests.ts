// Reads the small requests about consumers: those that nats-server reads strictly, and two that it does not.

import { ApiError } from './api-error.ts';
import {
  checkSize,
  decode,
  int,
  isObjectOrArray,
  string,
  struct,
  uint64,
  type Shape,
} from './decode.ts';
import { JsonError, parseJson } from './json.ts';
import { timeText } from '../consumers/wire.ts';

const PAGE = struct('JSApiConsumersRequest', { offset: int });
const PAUSE = struct('JSApiConsumerPauseRequest', { pause_until: timeText });

/** Where a page begins; a body that is no JSON is as good as none. */
export function readOffset(data: Buffer): number {
  if (!isObjectOrArray(data)) return 0;
  return Math.max(0, decode(PAGE, data).offset ?? 0);
}

/** RFC 3339; empty where none is given. */
export function readPause(data: Buffer): string {
  return isObjectOrArray(data) ? (decode(PAUSE, data).pause_until ?? '') : '';
}

/** The sequence to go on with; 0 for none. */
export function readReset(data: Buffer): number {
  return data.length === 0 ? 0 : readField(data, 'JSApiConsumerResetRequest', 'seq', uint64);
}

/** The priority group to free. */
export function readUnpin(data: Buffer): string {
  const group = readField(data, 'JSApiConsumerUnpinRequest', 'group', string);
  if (group === '') throw invalid('consumer group not specified');
  return group;
}

/** One field of an object that may have others. Throws an ApiError 10025. */
function readField<T>(data: Buffer, type: string, field: string, shape: Shape<T>): T {
  checkSize(data);
  const text = data.toString('utf8');
  let read = shape.zero;
  try {
    const [node] = parseJson(text);
    if (node === undefined) throw new JsonError('unexpected EOF');
    if (node.kind !== 'object' && node.kind !== 'null')
      throw new JsonError(
        `json: cannot unmarshal ${node.kind} into Go value of type server.${type}`,
      );
    const entries = node.kind === 'object' ? node.entries : [];
    for (const [key, value] of entries)
      if (key.toLowerCase() === field && value.kind !== 'null')
        read = shape.read(value, { name: `Go struct field ${type}.${field}`, text });
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw invalid(
      error.message
        .replace(/ at offset \d+$/, '')
        .replace('unexpected EOF', 'unexpected end of JSON input'),
    );
  }
  return read;
}

function invalid(why: string): ApiError {
  return new ApiError(400, 10025, `invalid JSON: ${why}`);
}
