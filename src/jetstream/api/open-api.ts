// Puts the JetStream API together: which endpoints there are, and what they work on.

import type { Broker } from '../../broker.ts';
import type { Clock } from '../../clock.ts';
import type { Logger } from '../../log.ts';
import { nextEndpoint } from '../consumers/next-endpoint.ts';
import type { JetStream } from '../jetstream.ts';
import type { Stream } from '../stream.ts';
import { STREAMS_MAX } from '../stream-types.ts';
import { accountEndpoint } from './account.ts';
import { JetStreamApi, type ApiOptions } from './api.ts';
import { clusterEndpoints } from './cluster-endpoints.ts';
import { consumerEndpoints } from './consumer-endpoints.ts';
import { directGetEndpoints, type DirectGetDeps } from './direct-get.ts';
import { messageGetEndpoint } from './message-get.ts';
import { streamEndpoints } from './stream-endpoints.ts';

export { API_LEVEL } from './api-level.ts';

export interface OpenApiOptions extends ApiOptions, Pick<DirectGetDeps, 'isBusy'> {
  /** Of nats-server, as INFO says it. */
  readonly version: string;
}

/** Takes requests on `$JS.API.>` from now on. */
export function openApi(
  jetstream: JetStream,
  { broker, clock, log }: { broker: Broker; clock: Clock; log: Logger },
  options: OpenApiOptions,
): JetStreamApi {
  const { advisories } = jetstream;
  const { domain, serverName, version, isBusy } = options;
  const api = new JetStreamApi({ broker, clock, log, advisories }, options);
  const limits = { ...jetstream.limits, streamsMax: STREAMS_MAX };
  api.add([accountEndpoint(jetstream, api, { domain, limits })]);
  api.add(streamEndpoints(jetstream, { clock, advisories, serverName, domain, version }));
  api.add(clusterEndpoints(jetstream));
  api.add(consumerEndpoints(jetstream, { clock, version }));
  api.add([nextEndpoint({ broker, consumers: (name) => jetstream.consumers(name) })]);
  const stream = jetstream.stream.bind(jetstream);
  api.add([messageGetEndpoint({ stream, clock })]);
  const direct = (name: string): Stream | undefined =>
    stream(name) ?? jetstream.mirrors.standIn(name);
  api.add(directGetEndpoints({ stream: direct, broker, clock, ...(isBusy && { isBusy }) }));
  api.open();
  return api;
}
