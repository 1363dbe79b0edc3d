// The mirror that a stream may be: what a client may say of it, with nats-server's rules and words in its order, and how
// it is shown.

import { collide, isFilter, isPublishSubject } from '../../subject.ts';
import { checkMapping, MappingError } from '../publish/subject-transform.ts';
import type { MirrorConfig, StreamConfig } from '../stream-types.ts';
import { ApiError } from './api-error.ts';
import { quoted } from './json.ts';
import { msToTime } from './rfc3339.ts';
import type { StreamConfigRequest } from './stream-config.ts';
import { given, pedanticError, refuseIf } from './stream-refusals.ts';

/** The configuration of a stream of this gateway. */
export type Lookup = (name: string) => StreamConfig | undefined;

const API = '$JS.API';
const BAD_SUBJECT = 'invalid subject';

/** The mirror that is asked for; undefined for none. Throws an ApiError where there can be no such mirror. */
export function mirrorOf(
  request: StreamConfigRequest,
  lookup: Lookup,
): { readonly mirror: MirrorConfig; readonly direct: boolean } | undefined {
  const { mirror } = request;
  if (mirror === undefined) return undefined;
  refuseBeside(request);
  checkFilters(request);
  const direct = checkOrigin(request, lookup);
  const { name = '', external } = mirror;
  const transforms = (mirror.subject_transforms ?? []).map(({ src = '', dest = '' }) => ({
    src,
    dest,
  }));
  return {
    direct,
    mirror: {
      name,
      ...(external === undefined
        ? {}
        : { external: { api: external.api ?? '', ...given('deliver', external.deliver) } }),
      ...given('filterSubject', mirror.filter_subject),
      ...(transforms.length === 0 ? {} : { subjectTransforms: transforms }),
      ...given('startSeq', mirror.opt_start_seq),
      ...given('startTimeMs', mirror.opt_start_time),
    },
  };
}

/** What cannot stand beside a mirror. */
function refuseBeside(request: StreamConfigRequest): void {
  const refuse = (wrong: boolean, errCode: number, text: string): void => {
    if (wrong) throw new ApiError(400, errCode, text);
  };
  const cannot = 'stream mirrors can not';
  refuse((request.first_seq ?? 0) > 0, 10143, `${cannot} have first sequence configured`);
  refuse((request.subjects ?? []).length > 0, 10034, `${cannot} contain subjects`);
  refuse((request.sources ?? []).length > 0, 10031, `${cannot} also contain other sources`);
  refuse(request.allow_msg_counter === true, 10173, `${cannot} also calculate counters`);
  refuse(request.allow_atomic === true, 10198, `${cannot} also use atomic publishing`);
  refuse(request.allow_batched === true, 10209, `${cannot} also use batch publishing`);
  refuse(request.allow_msg_schedules === true, 10186, `${cannot} also schedule messages`);
  const {
    consumer,
    filter_subject: filter = '',
    subject_transforms: maps = [],
  } = request.mirror ?? {};
  refuse(consumer !== undefined, 10213, 'stream mirror consumer config is invalid');
  refuse(
    filter !== '' && maps.length > 0,
    10150,
    'mirror with multiple subject transforms cannot also have a single subject filter',
  );
  refuseIf(
    (request.subject_delete_marker_ttl ?? 0) > 0,
    'subject delete markers forbidden on mirrors',
  );
}

function checkFilters({ mirror = {} }: StreamConfigRequest): void {
  const { filter_subject: filter = '', subject_transforms: maps = [] } = mirror;
  for (const [i, { src = '', dest = '' }] of maps.entries()) {
    if (src !== '' && !isFilter(src))
      throw new ApiError(400, 10151, `mirror transform source: ${BAD_SUBJECT} ${src}`);
    try {
      checkMapping({ src, dest });
    } catch (error) {
      if (!(error instanceof MappingError)) throw error;
      throw new ApiError(400, 10154, `mirror transform: ${error.message}`);
    }
    const overlaps = ({ src: other = '' }, j: number): boolean =>
      i !== j && collide(src === '' ? '>' : src, other === '' ? '>' : other);
    if (maps.some(overlaps))
      throw new ApiError(400, 10152, 'mirror subject filters can not overlap');
  }
  if (filter !== '' && !isFilter(filter))
    throw new ApiError(500, 10049, `subject filter '${filter}' for the mirror ${BAD_SUBJECT}`);
}

/** Whether gets may be asked of the mirror in place of its origin. */
function checkOrigin(request: StreamConfigRequest, lookup: Lookup): boolean {
  const { mirror: { name = '', external } = {}, mirror_direct: direct = false } = request;
  if (external !== undefined) {
    checkExternal(external.api ?? '', external.deliver ?? '');
    return direct;
  }
  if (!/^[^ \t\r\n\f.*>/\\]+$/.test(name))
    throw new ApiError(400, 10142, 'mirrored stream name is invalid');
  const origin = lookup(name);
  checkCycle(request.name ?? '', name, lookup);
  if (origin === undefined) return direct;
  const size = request.max_msg_size ?? 0;
  if (size > 0 && origin.maxMsgBytes !== undefined && size < origin.maxMsgBytes)
    throw new ApiError(400, 10030, 'stream mirror must have max message size >= source');
  const inherited = origin.allowDirect === true;
  if (request.pedantic === true && direct !== inherited)
    throw pedanticError('origin stream has direct get set, mirror has it disabled');
  return inherited;
}

function checkExternal(api: string, deliver: string): void {
  if (deliver !== '' && !isPublishSubject(deliver))
    throw new ApiError(
      400,
      10024,
      `stream external delivery prefix ${deliver} must not contain wildcards`,
    );
  if (api === '') return;
  refuseIf(
    !isPublishSubject(api),
    `stream external api prefix ${quoted(api)} must be a valid subject without wildcards`,
  );
  if (collide(api, API))
    throw new ApiError(
      400,
      10021,
      `stream external api prefix ${api} must not overlap with ${API}`,
    );
}

/** A mirror of itself, by way of others or not. */
function checkCycle(name: string, origin: string, lookup: Lookup): void {
  const visited = new Set([name]);
  for (let next: string | undefined = origin; next !== undefined;) {
    refuseIf(visited.has(next), 'detected cycle');
    visited.add(next);
    const mirror: MirrorConfig | undefined = lookup(next)?.mirror;
    next = mirror?.external === undefined && mirror?.ofHub !== true ? mirror?.name : undefined;
  }
}

/** A mirror in the JSON of a stream's configuration. */
export function wireMirror(mirror: MirrorConfig | undefined): object | undefined {
  if (mirror === undefined) return undefined;
  const { name, startSeq, startTimeMs, filterSubject, subjectTransforms } = mirror;
  return {
    name,
    ...given('opt_start_seq', startSeq),
    ...(startTimeMs === undefined ? {} : { opt_start_time: msToTime(startTimeMs) }),
    ...given('filter_subject', filterSubject),
    ...(subjectTransforms === undefined ? {} : { subject_transforms: subjectTransforms }),
    ...wireExternal(mirror),
  };
}

/** Where the origin of a mirror is; nothing for a stream of this gateway. */
export function wireExternal({ external }: MirrorConfig): object {
  if (external === undefined) return {};
  const { api, deliver = '' } = external;
  return { external: { api, deliver } };
}
