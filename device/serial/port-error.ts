// Why a port cannot be opened or was lost, with what the operator can do about it. The binding reports open errors as
// text only ("Error: Permission denied, cannot open /dev/ttyUSB0"), so the code is read out of it.

/** The world's error: the port's owner retries it for ever and says `hint`. */
export class PortError extends Error {
  override name = 'PortError';
  /** The system's name of the error (`ENOENT`, `EACCES`, …), `LOST` for an unplugged device, or `UNKNOWN`. */
  readonly code: string;
  readonly hint: string;

  constructor(code: string, message: string, hint: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
    this.hint = hint;
  }
}

const CODES: readonly (readonly [RegExp, string])[] = [
  [/no such file|ENOENT/i, 'ENOENT'],
  [/permission denied|EACCES/i, 'EACCES'],
  [/operation not permitted|EPERM/i, 'EPERM'],
  // A lock that another process holds is reported as "Resource temporarily unavailable Cannot lock port".
  [/cannot lock port|busy/i, 'EBUSY'],
  [/inappropriate ioctl|is a directory/i, 'ENOTTY'],
  [/no such device/i, 'ENODEV'],
  [/input\/output error/i, 'EIO'],
  [/baud rate|invalid argument/i, 'EINVAL'],
];

const HINTS: Readonly<Record<string, string>> = {
  ENOENT:
    'It is not plugged in, or the path is wrong: `ls -l /dev/serial/by-id` lists what is there.',
  EACCES: "Add the agent's user to the group that owns the device (usually `dialout`) and restart.",
  EPERM: "The service may not use this device: allow it in the unit's DeviceAllow=.",
  EBUSY: 'Another program holds it: `fuser -v` on the path names it (ModemManager, a console).',
  ENOTTY: 'The path is not a serial port.',
  ENODEV: 'The driver lost the device: unplug it and plug it in again.',
  EIO: 'The driver cannot talk to the device: unplug it and plug it in again.',
  EINVAL: 'The driver does not take baud_rate, data_bits, stop_bits or parity as configured.',
};

/** The error of an open, with its code and hint. */
export function openError(cause: unknown): PortError {
  const text = cause instanceof Error ? cause.message : String(cause);
  const code = CODES.find(([pattern]) => pattern.test(text))?.[1] ?? 'UNKNOWN';
  const hint = HINTS[code] ?? 'Check the device, its driver (`dmesg`) and its settings.';
  return new PortError(code, text, hint, cause);
}

/** The error of a port that was open and is gone. */
export function lostError(message: string, cause?: unknown): PortError {
  return new PortError(
    'LOST',
    message,
    'Check the plug, the cable and the power of the device.',
    cause,
  );
}
