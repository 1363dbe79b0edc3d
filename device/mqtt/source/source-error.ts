// Why a broker is not read at the moment, in words for the log, with what an operator can do about it.

/** The world's error: the link to a broker ended or could not be made. */
export class SourceError extends Error {
  override name = 'SourceError';
  readonly hint: string;
  /** Trying again alone will not help: an operator must act. */
  readonly standing: boolean;
  /** The broker does not have the version of the protocol that we asked for. */
  readonly wrongVersion: boolean;

  constructor(
    text: string,
    {
      hint,
      standing = false,
      wrongVersion = false,
      cause,
    }: { hint: string; standing?: boolean; wrongVersion?: boolean; cause?: unknown },
  ) {
    super(text, { cause });
    this.hint = hint;
    this.standing = standing;
    this.wrongVersion = wrongVersion;
  }
}

const LOGIN = 'check user and password_file, and the users of the broker';
const RIGHTS = 'check what the broker allows this user and client_id';
const CLIENT_ID = 'choose another client_id';
const BUSY = 'look at the broker; the source tries again by itself';
const VERSION = 'set protocol = "3.1.1" or "auto"';

type Answer = readonly [text: string, hint: string, kind?: 'standing' | 'version'];

/** CONNACK of 3.1.1 (table 3.1). */
const RETURN_CODES: Readonly<Record<number, Answer>> = {
  1: ['the broker does not speak this version of MQTT', VERSION, 'version'],
  2: ['the broker refuses the client_id', CLIENT_ID, 'standing'],
  3: ['the broker is not available', BUSY],
  4: ['the broker refuses the user name or password', LOGIN, 'standing'],
  5: ['the broker does not authorize the source', LOGIN, 'standing'],
};

/** Reason Codes of MQTT 5, in CONNACK and DISCONNECT. */
const REASONS: Readonly<Record<number, Answer>> = {
  0x84: ['the broker does not speak this version of MQTT', VERSION, 'version'],
  0x85: ['the broker refuses the client_id', CLIENT_ID, 'standing'],
  0x86: ['the broker refuses the user name or password', LOGIN, 'standing'],
  0x87: ['the broker does not authorize the source', RIGHTS, 'standing'],
  0x88: ['the broker is not available', BUSY],
  0x89: ['the broker is busy', BUSY],
  0x8a: ['the broker has banned the source', RIGHTS, 'standing'],
  0x8b: ['the broker is shutting down', BUSY],
  0x8e: [
    'another client took the session over',
    'give each client of the broker its own client_id',
  ],
  0x97: ['the broker says that a quota is exceeded', RIGHTS],
};

/** The error for a CONNACK that is no welcome. */
export function connackError(code: number, is5: boolean): SourceError {
  const known = is5 && code >= 0x80 ? REASONS[code] : RETURN_CODES[code];
  return answerError(known ?? [`the broker refuses the connection (code ${code})`, BUSY]);
}

/** The error for a DISCONNECT of the broker's. */
export function disconnectError(code: number): SourceError {
  return answerError(REASONS[code] ?? [`the broker ended the connection (code ${code})`, BUSY]);
}

function answerError([text, hint, kind]: Answer): SourceError {
  return new SourceError(text, {
    hint,
    standing: kind !== undefined,
    wrongVersion: kind === 'version',
  });
}

const REACH = 'check url, and that the broker runs';
const TRUST =
  'check the certificate of the broker, ca in [mqtt_source.tls], and the clock of this machine';

/** The error for what the network or TLS reports. */
export function networkError(error: Error): SourceError {
  const code = 'code' in error ? String(error.code) : '';
  const tls = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/.test(code);
  if (tls)
    return new SourceError(`TLS with the broker failed: ${error.message}`, {
      hint: TRUST,
      standing: true,
      cause: error,
    });
  return new SourceError(`the broker cannot be reached: ${code === '' ? error.message : code}`, {
    hint: REACH,
    cause: error,
  });
}
