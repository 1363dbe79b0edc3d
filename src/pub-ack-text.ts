// The answer to a publish as JSON: a PubAck, or why it was refused (ADR-1 of nats-architecture-and-design).

import type { PubAck, PublishError } from './message.ts';

/** A PubAck up to its sequence. */
export function pubAckBegins(stream: string, domain: string | undefined): string {
  const where = domain === undefined ? '' : `"domain":${JSON.stringify(domain)},`;
  return `{"stream":${JSON.stringify(stream)},${where}"seq":`;
}

/** What a Receipt was given, as text; empty where there is nothing to acknowledge yet. */
export function pubAckText(
  error: PublishError | null,
  ack: PubAck | null,
  domain: string | undefined,
): string {
  if (error !== null) {
    const { code, errCode, message } = error;
    return JSON.stringify({
      error: { code, err_code: errCode, description: message },
      ...(ack === null ? {} : { stream: ack.stream, seq: 0 }),
    });
  }
  if (ack === null) return '';
  let json = `${pubAckBegins(ack.stream, domain)}${ack.seq}`;
  if (ack.duplicate === true) json += ',"duplicate":true';
  if (ack.batch !== undefined)
    json += `,"batch":${JSON.stringify(ack.batch)},"count":${ack.count ?? 0}`;
  return `${json}}`;
}
