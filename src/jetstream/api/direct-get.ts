// DIRECT.GET (ADR-31): messages as they are, with headers that say where they are stored; one, the next ones, or the last
// of many subjects. Nobody is there (503) for a stream that is missing or has no `allow_direct`. One message is answered
// at once; many, and a search, leave in slices between which everybody else has his turn.

import type { Broker } from '../../broker.ts';
import type { Clock } from '../../clock.ts';
import { isPublishSubject } from '../../subject.ts';
import { SubjectFilter } from '../subject-filter.ts';
import { DirectRun } from './direct-run.ts';
import { asksTooMuch } from './api-level.ts';
import { DirectAnswers } from './direct-answers.ts';
import { LastOfMany } from './direct-multi.ts';
import { NextOnes } from './direct-next.ts';
import type { ApiRequest, RawEndpoint } from './endpoint.ts';
import {
  contradicts,
  filterOf,
  readLeniently,
  type GetRequest,
  type GetSource,
} from './get-request.ts';

/** Bytes of one answer where the request names none: half of what a client may have unread. */
const ANSWER_BYTES_DEFAULT = 8 * 1024 * 1024;

export interface DirectGetDeps {
  stream(name: string): GetSource | undefined;
  readonly broker: Broker;
  readonly clock: Clock;
  /**
   * Whether a client has so much unread that an answer of many messages should wait; false once it is gone. Default:
   * never.
   */
  readonly isBusy?: (client: object) => boolean;
}

export function directGetEndpoints(deps: DirectGetDeps): RawEndpoint[] {
  const gets = new DirectGets(deps);
  return [
    { subject: 'DIRECT.GET.*', offer: (request) => gets.offer(request) },
    { subject: 'DIRECT.GET.*.>', offer: (request) => gets.offerLast(request) },
  ];
}

class DirectGets {
  readonly #deps: DirectGetDeps;
  readonly #run: DirectRun;

  constructor(deps: DirectGetDeps) {
    this.#deps = deps;
    this.#run = new DirectRun(deps.clock, deps.isBusy);
  }

  /** The request stands in the body. */
  offer(request: ApiRequest): boolean {
    const place = this.#place(request);
    if (place === undefined) return false;
    const { source, answers } = place;
    if (answers === undefined || this.#levelIsWrong(request, answers)) return true;
    const wanted = request.data.length === 0 ? undefined : readLeniently(request.data);
    if (request.data.length === 0) answers.status('408 Empty Request');
    else if (wanted === undefined) answers.status('408 Malformed Request');
    else if (isEmpty(wanted)) answers.status('408 Empty Request');
    else if (isConfused(wanted)) answers.status('408 Bad Request');
    else this.#answer(source, wanted, answers, request.from);
    return true;
  }

  /** The last message of the subject that ends the request's subject. */
  offerLast(request: ApiRequest): boolean {
    const place = this.#place(request);
    if (place === undefined) return false;
    const { source, answers } = place;
    if (answers === undefined || this.#levelIsWrong(request, answers)) return true;
    const wanted = request.data.length === 0 ? undefined : readLeniently(request.data);
    if (request.data.length > 0 && wanted === undefined) answers.status('408 Malformed Request');
    else if (wanted !== undefined && (!isEmpty(wanted) || asksForMany(wanted)))
      answers.status('408 Bad Request');
    else this.#last(source, request.tokens[1] ?? '', wanted?.noHeaders === true, answers);
    return true;
  }

  /** Undefined: nobody is there. `answers` is undefined where nobody waits for one. */
  #place({
    tokens,
    message: { reply },
  }: ApiRequest): { source: GetSource; answers: DirectAnswers | undefined } | undefined {
    const source = this.#deps.stream(tokens[0] ?? '');
    if (source === undefined || source.config.allowDirect !== true) return undefined;
    const isHeard = reply !== undefined && isPublishSubject(reply);
    return {
      source,
      answers: isHeard ? new DirectAnswers(this.#deps.broker, source.name, reply) : undefined,
    };
  }

  #levelIsWrong({ message }: ApiRequest, answers: DirectAnswers): boolean {
    if (!asksTooMuch(message.headers)) return false;
    answers.status('412 Required Api Level');
    return true;
  }

  #answer(
    source: GetSource,
    wanted: GetRequest,
    answers: DirectAnswers,
    from: object | undefined,
  ): void {
    const { lastFor, multiLast, nextFor, batch, noHeaders } = wanted;
    const bytesMax = wanted.bytesMax === 0 ? ANSWER_BYTES_DEFAULT : wanted.bytesMax;
    if (multiLast.length > 0) {
      const filter = new SubjectFilter(multiLast);
      return this.#run.add(new LastOfMany(source, filter, { ...wanted, bytesMax }, answers), from);
    }
    const seq = wanted.startMs === undefined ? wanted.seq : source.seqAtTime(wanted.startMs);
    if (nextFor === '' && seq === 0) return this.#last(source, lastFor, noHeaders, answers);
    if (nextFor === '' && batch === 0) return answers.one(source.get(seq), noHeaders);
    const filter = filterOf(nextFor);
    const order = { seq, batch, bytesMax, noHeaders };
    this.#run.add(new NextOnes(source, filter, order, answers), from);
  }

  #last(source: GetSource, subject: string, noHeaders: boolean, answers: DirectAnswers): void {
    answers.one(source.lastOf(filterOf(subject)), noHeaders);
  }
}

function isEmpty({ seq, lastFor, nextFor, multiLast, startMs }: GetRequest): boolean {
  return (
    seq === 0 && lastFor === '' && nextFor === '' && multiLast.length === 0 && startMs === undefined
  );
}

function asksForMany({ batch, upToSeq, upToMs }: GetRequest): boolean {
  return batch !== 0 || upToSeq !== 0 || upToMs !== undefined;
}

function isConfused(wanted: GetRequest): boolean {
  const { lastFor, nextFor, multiLast, batch, upToSeq, upToMs } = wanted;
  return (
    contradicts(wanted) ||
    (lastFor !== '' && (batch > 0 || multiLast.length > 0)) ||
    (nextFor !== '' && multiLast.length > 0) ||
    (upToSeq > 0 && upToMs !== undefined)
  );
}
