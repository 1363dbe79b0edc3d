// A mutant for `node --import`: fdatasync calls back at once and does nothing. The agent then acknowledges what is in the
// page cache only, and whatever claims to notice lost syncs must notice this.

import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

fs.fdatasync = ((_fd: number, done: (error: Error | null) => void): void => {
  setImmediate(done, null);
}) as typeof fs.fdatasync;
syncBuiltinESMExports();
