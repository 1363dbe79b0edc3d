// The worker thread of WorkerCheckpointer: a connection of its own, opened at the first checkpoint.

import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../assert.ts';
import { checkpoint, type CheckpointOrder, type CheckpointReply } from './checkpointer.ts';
import { openDatabase } from './database.ts';

const port = parentPort;
assert(port !== null && typeof workerData === 'string', 'runs as a worker of WorkerCheckpointer');
let db: ReturnType<typeof openDatabase> | undefined;

port.on('message', (order: CheckpointOrder) => {
  if (order === 'close') {
    db?.close();
    port.close();
    return;
  }
  let reply: CheckpointReply = { error: null };
  try {
    db ??= openDatabase(workerData);
    db.exec(order.first);
    checkpoint(db);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    reply = { error: { message: error instanceof Error ? error.message : String(error), code } };
  }
  port.postMessage(reply);
});
