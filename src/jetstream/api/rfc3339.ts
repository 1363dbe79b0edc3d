// Times as the JetStream API writes them: RFC 3339 with as many digits as say something. What is counted here is
// milliseconds; the text of a client may say more, and is kept where it is to be given back.

/** What Go writes for "never"; NATS clients expect exactly this. */
export const ZERO_TIME = '0001-01-01T00:00:00Z';

const PARTS = /^(.{19})(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)$/;

/** The wall-clock milliseconds of a checked RFC 3339 time, with a fraction as good as a double has it (0.25 µs). */
export function timeToMs(text: string): number {
  const parts = PARTS.exec(text);
  if (parts === null) return Date.parse(text);
  const [, second = '', fraction = '', zone = ''] = parts;
  const ms = Date.parse(`${second}${zone}`);
  return ms + Number(`0.${fraction.slice(0, 9) || '0'}`) * 1000;
}

/** Of wall-clock milliseconds, to the microsecond: a double has no more. */
export function msToTime(ms: number): string {
  const wholeMs = Math.floor(ms);
  const micros = Math.round((ms - wholeMs) * 1000);
  if (micros === 1000) return msToTime(wholeMs + 1);
  const text = new Date(wholeMs).toISOString();
  return withFraction(text.slice(0, -5), text.slice(-4, -1) + String(micros).padStart(3, '0'));
}

/** The same time in UTC, nothing of its digits lost. */
export function toUtc(text: string): string {
  const [, second = '', fraction = '', zone = ''] = PARTS.exec(text) ?? [];
  return withFraction(
    new Date(`${second}${zone}`).toISOString().slice(0, -5),
    fraction.slice(0, 9),
  );
}

function withFraction(second: string, fraction: string): string {
  const digits = fraction.replace(/0+$/, '');
  return digits === '' ? `${second}Z` : `${second}.${digits}Z`;
}
