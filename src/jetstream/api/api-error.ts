// An answer of the JetStream API that says no. The numbers and most texts are nats-server's: clients compare both.

/** `code` is HTTP-like, `errCode` names the case (10002 to 10227, as in nats-server's errors.json). */
export class ApiError extends Error {
  override name = 'ApiError';
  readonly code: number;
  readonly errCode: number;

  constructor(code: number, errCode: number, description: string) {
    super(description);
    this.code = code;
    this.errCode = errCode;
  }

  /** As it stands in an answer. */
  toJson(): { code: number; err_code: number; description: string } {
    return { code: this.code, err_code: this.errCode, description: this.message };
  }
}
