// What all clients together have not read yet, and what follows from it for each of them. A packet that is encoded for one
// client alone counts from then on, written or not: three hundred clients that each get a megabyte of their own in one turn
// would be in memory before the first of them is asked whether it reads.

import { Budget, type MqttLimits } from './limits.ts';

export class Output extends Budget {
  readonly #limits: Readonly<MqttLimits>;
  /** Everybody's fair share beyond the maximum. */
  readonly #bytesEnd: number;

  constructor(limits: Readonly<MqttLimits>) {
    super(limits.outputBytesTotalMax);
    this.#limits = limits;
    this.#bytesEnd = this.max + limits.connectionsMax * limits.outputBytesFair;
  }

  /** A client with fewer unread bytes is sent more; 0: nobody is, until others have read. */
  get roomBytes(): number {
    const { outputBytesMax, outputBytesFair } = this.#limits;
    if (this.used < this.max) return outputBytesMax;
    return this.used < this.#bytesEnd ? outputBytesFair : 0;
  }

  /** A client with more unread bytes that does not read on keeps others from theirs, and is closed. */
  get hogBytes(): number {
    const { outputBytesMax, outputBytesFair } = this.#limits;
    if (this.used < this.max) return Infinity;
    return this.used < this.#bytesEnd ? outputBytesMax : outputBytesFair;
  }
}
