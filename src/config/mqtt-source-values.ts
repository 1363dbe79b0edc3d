// The kinds of value of an [[mqtt_source]]: where its broker is, what is read from it, and who we are to it.

import { isIPv6 } from 'node:net';
import { Refusal, text, type Kind } from './kinds.ts';
import { isHost } from './values.ts';

/** A Topic Filter must have a subject, and that may have 1,024 bytes. */
const TOPIC_BYTES_MAX = 1024;
/** A Client Identifier: brokers must take 23 bytes, and usually take more. */
const CLIENT_ID_BYTES_MAX = 256;
const MQTT_PORT = 1883;
const MQTTS_PORT = 8883;

export interface BrokerUrl {
  /** IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
}

/** A broker; the port defaults to 1883, with TLS to 8883. */
export const brokerUrl: Kind<BrokerUrl> = text(
  'a broker such as "mqtt://127.0.0.1:1883" or "mqtts://broker.example.com"',
  (found) => {
    const [, scheme = '', rest = ''] = /^([a-z]+):\/\/([^/]*)\/?$/.exec(found) ?? [];
    if (/^wss?$/.test(scheme))
      return new Refusal('WebSocket is not available in this version of Mangrove');
    if (rest.includes('@'))
      return new Refusal('credentials have keys of their own: user, password_file');
    if (scheme !== 'mqtt' && scheme !== 'mqtts') return undefined;
    const tls = scheme === 'mqtts';
    const [, written = '', digits] = /^(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(rest) ?? [];
    const host = written.replace(/^\[|\]$/g, '');
    const port = Number(digits ?? (tls ? MQTTS_PORT : MQTT_PORT));
    if (!(written.startsWith('[') ? isIPv6(host) : isHost(host))) return undefined;
    return port < 1 || port > 65_535 ? undefined : { host, port, tls };
  },
);

/** A Topic Filter, also of a shared subscription. */
export const topicFilter: Kind<string> = text(
  'a topic filter such as "zigbee2mqtt/#" or "tele/+/SENSOR"',
  (found) => {
    const levels = sharedFilter(found).split('/');
    if (found.startsWith('$share/') && !/^\$share\/[^/+#]+\/[^/]/.test(found))
      return new Refusal('a shared subscription is written "$share/<group>/<topic filter>"');
    // oxlint-disable-next-line no-control-regex
    if (found === '' || Buffer.byteLength(found) > TOPIC_BYTES_MAX || /[\0-\x1f\x7f]/.test(found))
      return undefined;
    if (levels.some((level) => level.includes('+') && level !== '+'))
      return new Refusal('"+" stands for a whole level');
    if (levels.some((level, i) => level.includes('#') && (level !== '#' || i < levels.length - 1)))
      return new Refusal('"#" stands for the rest, as the last level');
    if (/(^|[.])[*>](\.|$)/.test(found) || (!found.includes('/') && found.includes('.')))
      return new Refusal('topics are written with "/", and their wildcards are "+" and "#"');
    return found;
  },
);

/** The filter of a shared subscription without its group. */
export function sharedFilter(filter: string): string {
  return filter.replace(/^\$share\/[^/]*\//, '');
}

export const clientId: Kind<string> = text(
  `a client identifier of 1 to ${CLIENT_ID_BYTES_MAX} characters`,
  (found) =>
    isPlain(found) && Buffer.byteLength(found) <= CLIENT_ID_BYTES_MAX ? found : undefined,
);

/** Brokers in the cloud have user names with almost any character. */
export const brokerUser: Kind<string> = text('a user name of 1 to 1024 characters', (found) =>
  isPlain(found) && found.length <= 1024 ? found : undefined,
);

function isPlain(found: string): boolean {
  // oxlint-disable-next-line no-control-regex
  return found !== '' && !/[\0-\x1f\x7f]/.test(found);
}
