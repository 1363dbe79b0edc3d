// JSON of which a part is text already: what is large is written in slices, and put in its place as it is.

import { randomBytes } from 'node:crypto';

/** No subject that a client names can be this. */
const MARK = `json-text-${randomBytes(16).toString('hex')}`;

/** The texts of the answer that is being written. */
let texts: string[] = [];

/** A value whose JSON is `text`. */
export class JsonText {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  toJSON(): string {
    texts.push(this.#text);
    return MARK;
  }
}

export function toJson(value: object): string {
  texts = [];
  const json = JSON.stringify(value);
  const found = texts;
  texts = [];
  if (found.length === 0) return json;
  return json
    .split(`"${MARK}"`)
    .reduce((before, behind, i) => `${before}${found[i - 1] ?? ''}${behind}`);
}
