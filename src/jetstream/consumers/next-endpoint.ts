// `CONSUMER.MSG.NEXT`: hands requests for messages to their consumers.

import type { Broker } from '../../broker.ts';
import { asksTooMuch } from '../api/api-level.ts';
import type { ApiRequest, RawEndpoint } from '../api/endpoint.ts';
import type { StreamConsumers } from './consumers.ts';

const EMPTY = Buffer.alloc(0);
const LEVEL = Buffer.from('NATS/1.0 412 Required Api Level\r\n\r\n', 'latin1');

/** What it needs: where messages go, and the consumers of a stream. */
export interface NextDeps {
  readonly broker: Broker;
  readonly consumers: (stream: string) => StreamConsumers | undefined;
}

export function nextEndpoint({ broker, consumers }: NextDeps): RawEndpoint {
  return {
    subject: 'CONSUMER.MSG.NEXT.*.*',
    offer({ tokens: [stream = '', name = ''], data, message }: ApiRequest): boolean {
      const consumer = consumers(stream)?.get(name);
      if (consumer === undefined) return false;
      const { reply, headers } = message;
      if (reply === undefined) return true;
      if (asksTooMuch(headers)) broker.answer({ subject: reply, headers: LEVEL, data: EMPTY });
      else consumer.request(reply, data);
      return true;
    },
  };
}
