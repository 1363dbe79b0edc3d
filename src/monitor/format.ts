// How nats-server writes times and names in its monitoring JSON, so that its tools read ours.

/** What Go writes for "never"; NATS clients expect exactly this. */
const ZERO_TIME = '0001-01-01T00:00:00Z';

/** RFC 3339 of a wall-clock time; Go's zero time for null. */
export function formatTime(wallMs: number | null): string {
  return wallMs === null ? ZERO_TIME : new Date(wallMs).toISOString();
}

/** `1y2d3h4m5s`, without the leading units that are 0. */
export function formatUptime(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  const years = Math.floor(days / 365);
  const parts: [number, string][] = [
    [years, `${years}y`],
    [days, `${days % 365}d`],
    [hours, `${hours % 24}h`],
    [minutes, `${minutes % 60}m`],
    [1, `${seconds % 60}s`],
  ];
  return parts.map(([shown, text]) => (shown > 0 ? text : '')).join('');
}

/** Go's durations are nanoseconds. */
export function toNanoseconds(ms: number): number {
  return ms * 1_000_000;
}

/** A copy for JSON in which every key is in snake_case; undefined values are left out. */
export function toSnakeCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toSnakeCase);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, child]) => child !== undefined);
  return Object.fromEntries(
    entries.map(([key, child]) => [
      key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      toSnakeCase(child),
    ]),
  );
}
