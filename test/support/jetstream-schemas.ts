// Holds answers, advisories and metrics of JetStream against the JSON schemas that nats-io publishes with jsm.go
// (test/fixtures/jetstream-schemas). A message names its schema in its `type`.

import { Ajv, type ValidateFunction } from 'ajv';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = join(import.meta.dirname, '../fixtures/jetstream-schemas');
/** `date-time` of RFC 3339, with the nanoseconds that Go writes. */
const DATE_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;

interface Schema {
  readonly $id: string;
  readonly title: string;
}

const validators = new Map<string, ValidateFunction>();

function load(): void {
  const ajv = new Ajv({ strict: false, allErrors: false, logger: false, validateFormats: true });
  ajv.addFormat('date-time', DATE_TIME);
  for (const kind of ['api', 'advisory', 'metric'])
    for (const name of readdirSync(join(FOLDER, kind))) {
      const schema = JSON.parse(readFileSync(join(FOLDER, kind, name), 'utf8')) as Schema;
      validators.set(
        `io.nats.jetstream.${kind}.v1.${name.replace('.json', '')}`,
        ajv.compile(schema),
      );
    }
}

/** The `type`s that there is a schema for. */
export function schemaTypes(): string[] {
  if (validators.size === 0) load();
  return [...validators.keys()];
}

/** What is wrong with `message` according to the schema of its type; empty for nothing. A type without a schema is a fault. */
export function schemaFaults(message: unknown): string[] {
  if (validators.size === 0) load();
  const type = (message as { type?: unknown } | null)?.type;
  if (typeof type !== 'string') return ['there is no type'];
  const validate = validators.get(type);
  if (validate === undefined) return [`there is no schema for ${type}`];
  if (validate(message)) return [];
  return (validate.errors ?? []).map(
    ({ instancePath, message: text = '', params }) =>
      `${type}: ${instancePath} ${text} ${JSON.stringify(params)}`,
  );
}
