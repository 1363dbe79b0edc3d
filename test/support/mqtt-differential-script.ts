// What a differential script consists of: steps of several clients, each waited out before the next. The same script is
// said to two brokers; `describeStep` is how a report shows it.

import type { RawFilter, RawProperties, RawVersion, RawWill } from './mqtt-raw-encode.ts';

/** Clients are numbers; client 2 is `c2` to the broker unless a step says otherwise. */
export type Step =
  | {
      readonly do: 'connect';
      readonly client: number;
      readonly version: RawVersion;
      readonly clean: boolean;
      readonly clientId?: string;
      readonly will?: RawWill | undefined;
      readonly properties?: RawProperties;
    }
  | {
      readonly do: 'subscribe';
      readonly client: number;
      readonly filters: readonly RawFilter[];
      readonly properties?: RawProperties;
    }
  | { readonly do: 'unsubscribe'; readonly client: number; readonly filters: readonly string[] }
  | {
      readonly do: 'publish';
      readonly client: number;
      readonly topic: string;
      readonly data: string;
      readonly qos: number;
      readonly retain: boolean;
      readonly properties?: RawProperties;
      /** Sent a second time, with DUP, before it is released. QoS 2 only. */
      readonly twice?: boolean;
    }
  /** From now on acknowledgements of deliveries are withheld, or sent at once again, the withheld ones too. */
  | { readonly do: 'hold'; readonly client: number; readonly held: boolean }
  /** Sends one of the withheld acknowledgements. */
  | { readonly do: 'ack'; readonly client: number; readonly which: number }
  | {
      readonly do: 'disconnect';
      readonly client: number;
      readonly code?: number;
      readonly properties?: RawProperties;
    }
  /** The connection breaks. */
  | { readonly do: 'cut'; readonly client: number }
  /** Bytes on the connection that there is; `fresh` opens one and says nothing before. */
  | {
      readonly do: 'raw';
      readonly client: number;
      readonly what: string;
      readonly bytes: Buffer;
      readonly version: RawVersion;
      readonly fresh?: boolean;
    }
  | { readonly do: 'wait'; readonly ms: number };

export type Script = readonly Step[];

export function describeStep(step: Step): string {
  if (step.do === 'wait') return `${step.ms} ms pass`;
  if (step.do === 'raw') {
    const opens = step.fresh === true ? 'opens a connection and ' : '';
    return `c${step.client} ${opens}says ${step.what}: ${step.bytes.subarray(0, 80).toString('hex')}`;
  }
  const { do: verb, client, ...rest } = step;
  return `c${client} ${verb} ${JSON.stringify(rest)}`;
}
