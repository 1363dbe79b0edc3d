// One request to the JetStream API of a mirror's origin: in this gateway, or beyond the link to the hub. Where nobody
// takes it, because the link is down, that is known at once; where nobody answers, after a while.

import type { Broker } from '../../broker.ts';
import type { Cancel, Clock } from '../../clock.ts';
import type { Message } from '../../message.ts';
import { token } from './chance.ts';

/** A slow link has a queue; nats-server waits 30 s. */
const ANSWER_MS = 10_000;

/** What the API says: a JSON object. */
export type Json = Readonly<Record<string, unknown>>;

export type OriginAnswer =
  | { readonly kind: 'answer'; readonly json: Json }
  | {
      readonly kind: 'error';
      readonly code: number;
      readonly errCode: number;
      readonly text: string;
    }
  /** Nobody took the request. */
  | { readonly kind: 'nobody' }
  | { readonly kind: 'silence' };

export interface OriginParts {
  readonly broker: Broker;
  readonly clock: Clock;
  /** Whose order it is; see src/operator.ts. */
  readonly from: object | undefined;
}

/** Asks, and tells `done` once, in a later turn or in this one. The returned function: the answer is wanted no more. */
export function askOrigin(
  { broker, clock, from }: OriginParts,
  request: Pick<Message, 'subject' | 'headers' | 'data'>,
  done: (answer: OriginAnswer) => void,
): Cancel {
  const reply = `$JSC.R.${token()}`;
  let isOver = false;
  const end = (): void => {
    isOver = true;
    unsubscribe();
    stopWaiting();
  };
  const finish = (answer: OriginAnswer): void => {
    if (isOver) return;
    end();
    done(answer);
  };
  const unsubscribe = broker.subscribe(reply, {
    isMirror: true,
    deliver: ({ data }) => finish(readAnswer(data)),
  });
  const stopWaiting = clock.after(ANSWER_MS, () => finish({ kind: 'silence' }));
  if (broker.publish({ ...request, reply }, undefined, from) === 'nobody')
    clock.soon(() => finish({ kind: 'nobody' }));
  return end;
}

function readAnswer(data: Buffer): OriginAnswer {
  const json = parse(data);
  if (json === undefined)
    return { kind: 'error', code: 400, errCode: 10025, text: 'the answer is no JSON' };
  const error = asObject(json['error']);
  if (error === undefined) return { kind: 'answer', json };
  const { code, err_code: errCode, description } = error;
  return {
    kind: 'error',
    code: typeof code === 'number' ? code : 500,
    errCode: typeof errCode === 'number' ? errCode : 0,
    text: typeof description === 'string' ? description : 'unknown error',
  };
}

function parse(data: Buffer): Json | undefined {
  try {
    return asObject(JSON.parse(data.toString('utf8')));
  } catch {
    return undefined;
  }
}

/** A field of an answer, where it is an object. */
export function asObject(value: unknown): Json | undefined {
  return typeof value === 'object' && value !== null ? (value as Json) : undefined;
}

/** A field of an answer, where it is a number that can be counted with. */
export function asCount(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
}

/** When a stream was made, as its STREAM.INFO writes it. */
export function createdOf({ created }: Json): string {
  return typeof created === 'string' ? created : '';
}
