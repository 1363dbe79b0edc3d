// The message as every part of Mangrove passes it on, and what a publisher learns about its storage.

/** A NATS message. `headers` is the raw NATS/1.0 header block, its closing blank line included. */
export interface Message {
  readonly subject: string;
  readonly reply?: string;
  readonly headers?: Buffer;
  readonly data: Buffer;
}

/** What a stream answers to a publish it has stored; the PubAck of JetStream (ADR-1 of nats-architecture-and-design). */
export interface PubAck {
  readonly stream: string;
  readonly seq: number;
  readonly duplicate?: boolean;
  /** Of an atomic batch (ADR-50): its ID, and how many messages were stored; `seq` is the last one's. */
  readonly batch?: string;
  readonly count?: number;
}

/** Why a publish was refused, with JetStream's numbers: `code` is HTTP-like, `err_code` names the case. */
export class PublishError extends Error {
  override name = 'PublishError';
  readonly code: number;
  readonly errCode: number;

  constructor(code: number, errCode: number, description: string) {
    super(description);
    this.code = code;
    this.errCode = errCode;
  }
}

/**
 * Told once how a publish ended: `ack` when an fdatasync covers the message, `error` when nothing was stored, both null
 * when the message was taken into a batch that is not committed yet: the answer is empty then (ADR-50). Beside an
 * error, `ack` may name the stream that refused, with `seq` 0. `quiet` says that the stream wants its publishers to hear
 * nothing at all (`no_ack`).
 * It may run before `publish` returns (a refusal) or much later, but never twice, and never before the disk has it.
 */
export type Receipt = (error: PublishError | null, ack: PubAck | null, quiet?: boolean) => void;
