// The two mappings that a stream may have (ADR-8, ADR-30): of what comes in, and of what it republishes.

import { collide, isFilter, SUBJECT_BYTES_MAX } from '../../subject.ts';
import { checkMapping, MappingError, SubjectTransform } from '../publish/subject-transform.ts';
import type { StreamConfig, SubjectMapping } from '../stream-types.ts';
import { ApiError } from './api-error.ts';
import type { StreamConfigRequest } from './stream-config.ts';
import { given, invalidConfig, pedanticError, refuseIf } from './stream-refusals.ts';

/** Throws an ApiError for what maps nothing. One without a destination does nothing, and is given back as it came. */
export function mappingsOf(
  request: StreamConfigRequest,
  subjects: readonly string[],
): Pick<StreamConfig, 'subjectTransform' | 'republish' | 'inert'> {
  const transform = transformOf(request);
  const republish = republishOf(request, subjects, transform);
  const inert = {
    ...(transform?.dest === '' ? { subject_transform: transform } : {}),
    ...(republish?.dest === '' ? { republish: request.republish } : {}),
  };
  return {
    ...given('subjectTransform', transform?.dest === '' ? undefined : transform),
    ...given('republish', republish?.dest === '' ? undefined : republish),
    ...(Object.keys(inert).length === 0 ? {} : { inert }),
  };
}

function transformOf({ subject_transform: wire }: StreamConfigRequest): SubjectMapping | undefined {
  if (wire === undefined) return undefined;
  const mapping = { src: wire.src ?? '', dest: wire.dest ?? '' };
  checkTransform(mapping);
  return mapping;
}

function republishOf(
  { republish, pedantic }: StreamConfigRequest,
  subjects: readonly string[],
  transform: SubjectMapping | undefined,
): NonNullable<StreamConfig['republish']> | undefined {
  if (republish === undefined) return undefined;
  let { src = '', dest = '' } = republish;
  if (src === '') {
    if (pedantic === true) throw pedanticError('republish source can not be empty');
    src = '>';
  }
  // From all to all is no cycle where everything is stored under another subject: then it means that one.
  if (src === '>' && dest === '>' && subjects.length === 1 && transform?.src === subjects[0]) {
    if (pedantic === true) throw pedanticError('implicit republish based on subject transform');
    src = dest = transform?.dest ?? '';
  }
  refuseIf(
    subjects.some((subject) => collide(dest, subject)),
    'stream configuration for republish destination forms a cycle',
  );
  checkRepublish(src, dest);
  return { src, dest, headersOnly: republish.headers_only === true };
}

function checkTransform(mapping: SubjectMapping): void {
  if (mapping.src !== '' && !isFilter(mapping.src))
    throw new ApiError(400, 10155, `stream transform source: invalid subject ${mapping.src}`);
  try {
    checkLength(mapping);
    checkMapping(mapping);
  } catch (error) {
    if (!(error instanceof MappingError)) throw error;
    throw new ApiError(400, 10156, `stream transform: ${error.message}`);
  }
}

function checkRepublish(src: string, dest: string): void {
  try {
    checkLength({ src, dest });
    if (dest !== '') void new SubjectTransform(src, dest);
  } catch (error) {
    if (!(error instanceof MappingError)) throw error;
    throw invalidConfig(
      `stream configuration for republish with transform from '${src}' to '${dest}' not valid`,
    );
  }
}

/** What is longer than any subject is none, and is not looked at: that would take long, too. */
function checkLength({ src, dest }: SubjectMapping): void {
  if (src.length > SUBJECT_BYTES_MAX || dest.length > SUBJECT_BYTES_MAX)
    throw new MappingError('invalid subject');
}
