// Loaded by deno before each test file: what NATS_JS_LEAVE_OUT names (a JSON list), or NATS_JS_ONLY (a pattern) does not
// match, is skipped.

interface Definition {
  name: string;
  fn: () => unknown;
  ignore?: boolean;
}
type Register = (first: string | Definition, second?: unknown, third?: unknown) => void;

const deno = (globalThis as unknown as { Deno: { test: Register; env: Map<string, string> } }).Deno;
const leaveOut = new Set(JSON.parse(deno.env.get('NATS_JS_LEAVE_OUT') ?? '[]') as string[]);
const only = new RegExp(deno.env.get('NATS_JS_ONLY') ?? '');
const { test } = deno;

deno.test = Object.assign((first: string | Definition, second?: unknown, third?: unknown) => {
  const name = typeof first === 'string' ? first : first.name;
  if (!leaveOut.has(name) && only.test(name)) return test(first, second, third);
  test({ name, ignore: true, fn: () => {} });
}, test);
