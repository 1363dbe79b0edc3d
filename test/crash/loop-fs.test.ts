// The disk of the power cuts is itself what it claims to be, whatever else runs on the machine.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { canLoop, LoopFs } from '../support/loop-fs.ts';

const DISK_BYTES = 50 * 1024 * 1024;
const possible = canLoop();

test.runIf(possible)(
  'a disk comes back after a power cut, also where another namespace has a copy of its mount',
  async () => {
    await using fs = await LoopFs.create(DISK_BYTES);
    // As `ip netns exec` does it.
    const args = ['--mount', '--propagation', 'slave', 'sh', '-c', 'echo ready; exec sleep 60'];
    const other = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await once(other.stdout, 'data');
      await fs.armCut();
      await fs.cut();
      expect(() => writeFileSync(join(fs.path, 'cut'), '')).toThrow(/EIO/);
      await fs.powerUp();
      writeFileSync(join(fs.path, 'back'), '');
      expect(existsSync(join(fs.path, 'back'))).toBe(true);
    } finally {
      const gone = once(other, 'exit');
      other.kill();
      await gone;
    }
  },
);
