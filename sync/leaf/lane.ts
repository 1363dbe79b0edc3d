// One lane of what waits to leave: whole lines and small messages gathered in pieces of about a KiB of text, and large messages
// as the buffers they are. First in, first out.

/** Text is gathered into pieces of this size, so that a slow line is given little at a time. */
export const PIECE_BYTES = 1024;

/** Whole lines and messages as latin1 text, or the buffers of one large message. */
export type Piece = string | readonly Buffer[];

export class Lane {
  /** Bytes that wait. */
  bytes = 0;
  #pieces: Piece[] = [];
  #first = 0;
  #open = '';

  get isEmpty(): boolean {
    return this.bytes === 0;
  }

  /** Adds whole lines or messages. */
  push(text: string): void {
    this.bytes += text.length;
    const open = this.#open + text;
    if (open.length < PIECE_BYTES) {
      this.#open = open;
    } else {
      this.#pieces.push(open);
      this.#open = '';
    }
  }

  /** Adds one message as it is; its bytes must not change any more. */
  pushBuffers(buffers: readonly Buffer[]): void {
    if (this.#open !== '') this.#pieces.push(this.#open);
    this.#open = '';
    this.#pieces.push(buffers);
    for (const { length } of buffers) this.bytes += length;
  }

  /** Takes what came first; the lane must not be empty. */
  shift(): Piece {
    const piece = this.#take();
    if (typeof piece === 'string') this.bytes -= piece.length;
    else for (const { length } of piece) this.bytes -= length;
    return piece;
  }

  clear(): void {
    this.bytes = 0;
    this.#open = '';
    this.#pieces = [];
    this.#first = 0;
  }

  #take(): Piece {
    const piece = this.#pieces[this.#first];
    if (piece === undefined) {
      const open = this.#open;
      this.#open = '';
      return open;
    }
    this.#pieces[this.#first++] = '';
    if (this.#first === this.#pieces.length) {
      this.#pieces = [];
      this.#first = 0;
    }
    return piece;
  }
}
