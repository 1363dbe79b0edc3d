// The words with which a configuration is refused.

import { ApiError } from './api-error.ts';

export function invalidConfig(text: string): ApiError {
  return new ApiError(500, 10052, text);
}

/** What a client that wants to be told (`pedantic`) hears instead of a default. */
export function pedanticError(text: string): ApiError {
  return new ApiError(400, 10157, `pedantic mode: ${text}`);
}

/** Throws the error 10052 with `text` where `wrong`. */
export function refuseIf(wrong: boolean, text: string): void {
  if (wrong) throw invalidConfig(text);
}

/** A field, where it says something. */
export function given<K extends string, V>(key: K, value: V): { [P in K]?: NonNullable<V> } {
  return value === undefined || value === false || value === '' || value === 0
    ? {}
    : ({ [key]: value } as { [P in K]?: NonNullable<V> });
}
