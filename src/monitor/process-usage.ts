// What the agent itself uses of the machine: memory, and the share of a core since it was last asked.

import { availableParallelism } from 'node:os';
import type { Clock } from '../clock.ts';

/** A sample is at least this old before it is replaced: two readers in a row must not get the noise between them. */
const SAMPLE_MS = 1000;

export interface Usage {
  /** Resident memory. */
  readonly memBytes: number;
  /** Of one core: 100 is one core busy all the time. */
  readonly cpuPercent: number;
  readonly cores: number;
}

export class ProcessUsage {
  readonly #clock: Clock;
  readonly #cpuMicros: () => number;
  #sampledAtMs: number;
  #sampledMicros: number;
  #cpuPercent = 0;

  /** `cpuMicros` is the processor time used so far, in microseconds. */
  constructor(clock: Clock, cpuMicros: () => number = processCpuMicros) {
    this.#clock = clock;
    this.#cpuMicros = cpuMicros;
    this.#sampledAtMs = clock.monotonicMs();
    this.#sampledMicros = cpuMicros();
  }

  /** The usage now. The processor share is that of the time since the last sample, a second or more. */
  read(): Usage {
    const nowMs = this.#clock.monotonicMs();
    const elapsedMs = nowMs - this.#sampledAtMs;
    if (elapsedMs >= SAMPLE_MS) {
      const micros = this.#cpuMicros();
      const percent = (micros - this.#sampledMicros) / 10 / elapsedMs;
      this.#cpuPercent = Math.round(percent * 10) / 10;
      this.#sampledAtMs = nowMs;
      this.#sampledMicros = micros;
    }
    return {
      memBytes: process.memoryUsage.rss(),
      cpuPercent: this.#cpuPercent,
      cores: availableParallelism(),
    };
  }
}

function processCpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
