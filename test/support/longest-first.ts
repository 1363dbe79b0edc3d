// The order of the test files. The longest begin, so that the run does not end with one worker on one long file while the
// others have nothing left. vitest knows how long each took from the last run, and a fresh clone had none: it goes by the
// size of the files then, and some of the longest tests are the shortest files. Those of modules come last: a worker that
// keeps what it has loaded ends with the first file in between that wants a worker of its own.

import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { LONGEST_TESTS } from './longest-tests.ts';

/** What is listed, then the others as vitest sorts them: by project, and within it by what it knows. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const ranks = new Map<string, number>(LONGEST_TESTS.map((path, i) => [path, i]));
    const rank = ({ moduleId }: TestSpecification): number =>
      ranks.get(relative(this.ctx.config.root, moduleId)) ?? LONGEST_TESTS.length;
    return sorted.toSorted((a, b) => rank(a) - rank(b));
  }
}
