// A PUBLISH as a NATS message and back: properties of MQTT 5.0 travel as NATS headers, so that they survive a stream, the hub
// and a queue on the disk. Every set of properties comes back as it was; every header block is shown to MQTT 5.0 clients, the
// lines that mean nothing to MQTT as User Properties. What has no properties has no headers, and costs nothing here.

import { encodeHeaders, type HeaderLines } from '../../src/headers.ts';
import type { Message } from '../../src/message.ts';
import type { Form } from './session/types.ts';
import { isTopicSubject, NameCache, subjectToTopic, TopicError, topicToSubject } from './topic.ts';
import { PacketType } from './wire/packet-type.ts';
import { decodeProperties, encodeProperties } from './wire/properties.ts';
import type { Properties } from './wire/types.ts';
import { encodeName } from './wire/utf8.ts';

const CONTENT_TYPE = 'Content-Type';
/** A Content Type that the plain header cannot hold, percent-encoded. */
const MQTT_CONTENT_TYPE = 'Mqtt-Content-Type';
const FORMAT = 'Mqtt-Payload-Format-Indicator';
/** Seconds. */
const EXPIRY = 'Mqtt-Message-Expiry';
/** `%`, control characters and white space at its ends percent-encoded. */
const RESPONSE_TOPIC = 'Mqtt-Response-Topic';
/** Base64. */
const CORRELATION = 'Mqtt-Correlation-Data';
/** `<name>=<value>`, both percent-encoded. */
const USER_PROPERTY = 'Mqtt-User-Property';

/** Names that mean something to a stream or to us: a device may not set them, but for `Nats-Msg-Id`. */
const RESERVED_NAME = /^(?!Nats-Msg-Id$)(?:[Nn][Aa][Tt][Ss]|[Mm][Qq][Tt][Tt])-|^Content-Type$/;
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** What a header line would lose, or a client of MQTT would hang up for [1.5.4]. */
const UNFIT = /[\p{Cc}\p{Noncharacter_Code_Point}]/u;
const UNFIT_ALL = /[\p{Cc}\p{Noncharacter_Code_Point}]/gu;
const UNSAFE = /[%\p{Cc}\p{Noncharacter_Code_Point}]|^\s+|\s+$/gu;

const EMPTY = Buffer.alloc(0);
/** Seconds that the property can hold. */
const LONGEST_EXPIRY = 0xffff_ffff;

/** Topic Names by subject, as they are sent. */
const topics = new NameCache((subject) => encodeName(subjectToTopic(subject)));

/** By the properties of a form, which many clients get: read once. Null: there is none. */
const responses = new WeakMap<Buffer, string | null>();

/** What toForm reads from headers. */
type Draft = { -readonly [K in keyof Properties]: Properties[K] };

/**
 * The NATS message of a PUBLISH or a Will, to be published to `subject`. Its Response Topic becomes the reply, so that
 * NATS programs can answer a device; a topic under `$` does not: it would have them say what the device may not. `extra`
 * are header lines of ours.
 */
export function toMessage(
  { data, properties }: { readonly data: Buffer; readonly properties: Properties },
  subject: string,
  extra: HeaderLines = [],
): Message {
  const headers = encodeHeaders([...extra, ...toLines(properties)]);
  if (headers === undefined) return { subject, data };
  const { responseTopic } = properties;
  const reply = responseTopic === undefined ? undefined : replyOf(responseTopic);
  return reply === undefined ? { subject, headers, data } : { subject, reply, headers, data };
}

/**
 * What MQTT clients get of a message. `nowMs` is store time: a message that expires does so from then on. Undefined where
 * no PUBLISH can carry it: a header is longer than the 65,535 bytes of an MQTT string.
 */
export function toForm(
  { subject, reply, headers, data }: Message,
  nowMs: number,
): Form | undefined {
  const topic = topics.get(subject);
  if (headers === undefined && reply === undefined)
    return { topic, properties: EMPTY, data, expiresMs: Infinity };
  const draft = headers === undefined ? {} : toProperties(headers);
  if (draft.responseTopic === undefined && reply !== undefined && isAnswerable(reply))
    draft.responseTopic = subjectToTopic(reply);
  const { messageExpiryInterval, ...properties } = draft;
  const expiresMs =
    messageExpiryInterval === undefined ? Infinity : nowMs + messageExpiryInterval * 1000;
  try {
    return { topic, properties: encodeProperties(properties), data, expiresMs };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** The subject that the Response Topic of a message stands for; undefined where it has none, or no subject stands for it. */
export function responseSubject({ properties }: Form): string | undefined {
  if (properties.length === 0) return undefined;
  let subject = responses.get(properties);
  if (subject === undefined) {
    const { responseTopic } = decodeProperties(properties, PacketType.publish);
    subject = (responseTopic === undefined ? undefined : mapped(responseTopic)) ?? null;
    responses.set(properties, subject);
  }
  return subject ?? undefined;
}

function mapped(topic: string): string | undefined {
  try {
    return topicToSubject(topic);
  } catch (error) {
    if (error instanceof TopicError) return undefined;
    throw error;
  }
}

function replyOf(responseTopic: string): string | undefined {
  return responseTopic.startsWith('$') ? undefined : mapped(responseTopic);
}

/** Whether a device that is told the reply could publish there. Nothing under `$` is for devices to publish. */
function isAnswerable(reply: string): boolean {
  return !reply.startsWith('$') && isTopicSubject(reply);
}

function toLines(properties: Properties): [string, string][] {
  const lines: [string, string][] = [];
  const { payloadFormatIndicator, messageExpiryInterval, contentType } = properties;
  if (payloadFormatIndicator !== undefined) lines.push([FORMAT, `${payloadFormatIndicator}`]);
  if (messageExpiryInterval !== undefined) lines.push([EXPIRY, `${messageExpiryInterval}`]);
  if (contentType !== undefined)
    lines.push(
      isPlain(contentType)
        ? [CONTENT_TYPE, contentType]
        : [MQTT_CONTENT_TYPE, percent(contentType)],
    );
  const { responseTopic, correlationData, userProperties } = properties;
  if (responseTopic !== undefined) lines.push([RESPONSE_TOPIC, percent(responseTopic)]);
  if (correlationData !== undefined) lines.push([CORRELATION, correlationData.toString('base64')]);
  for (const [name, value] of userProperties ?? [])
    lines.push(
      NAME.test(name) && !RESERVED_NAME.test(name) && isPlain(value)
        ? [name, value]
        : [USER_PROPERTY, `${encodeURIComponent(name)}=${encodeURIComponent(value)}`],
    );
  return lines;
}

function toProperties(headers: Buffer): Draft {
  const draft: Draft = {};
  const userProperties: [string, string][] = [];
  for (const [name, value] of readLines(headers))
    if (!take(draft, name, value))
      userProperties.push(toUserProperty(name, value) ?? [clean(name), clean(value)]);
  if (userProperties.length > 0) draft.userProperties = userProperties;
  return draft;
}

/** Takes a header that is a property of MQTT; false where it is none, comes again, or means nothing as it is. */
function take(draft: Draft, name: string, value: string): boolean {
  switch (name) {
    case FORMAT:
      if (draft.payloadFormatIndicator !== undefined || !/^[01]$/.test(value)) return false;
      draft.payloadFormatIndicator = value === '1' ? 1 : 0;
      return true;
    case EXPIRY:
      if (draft.messageExpiryInterval !== undefined || !/^\d{1,10}$/.test(value)) return false;
      if (Number(value) > LONGEST_EXPIRY) return false;
      draft.messageExpiryInterval = Number(value);
      return true;
    case CONTENT_TYPE:
    case MQTT_CONTENT_TYPE: {
      const contentType = name === CONTENT_TYPE ? clean(value) : unpercent(value);
      if (draft.contentType !== undefined || contentType === undefined) return false;
      draft.contentType = contentType;
      return true;
    }
    case RESPONSE_TOPIC: {
      const topic = unpercent(value);
      if (draft.responseTopic !== undefined || topic === undefined) return false;
      if (topic === '' || /[+#\0]/.test(topic)) return false; // [MQTT-3.3.2-14]
      draft.responseTopic = topic;
      return true;
    }
    case CORRELATION: {
      const correlationData = Buffer.from(value, 'base64');
      if (draft.correlationData !== undefined || correlationData.toString('base64') !== value)
        return false;
      draft.correlationData = correlationData;
      return true;
    }
    default:
      return false;
  }
}

/** The User Property that was escaped in a header; undefined where it is none. */
function toUserProperty(name: string, value: string): [string, string] | undefined {
  const equals = value.indexOf('=');
  if (name !== USER_PROPERTY || equals < 0) return undefined;
  const key = unpercent(value.slice(0, equals));
  const text = unpercent(value.slice(equals + 1));
  return key === undefined || text === undefined ? undefined : [key, text];
}

/** The lines of a block as `[name, value]`; a status as the headers `Status` and `Description`, as NATS clients show it. */
function readLines(headers: Buffer): [string, string][] {
  const [version = '', ...rest] = headers.toString('utf8').split('\r\n');
  const lines: [string, string][] = [];
  const status = /^NATS\/1\.0\s+(\S+)\s*(.*)$/s.exec(version);
  if (status !== null) {
    const [, code = '', description = ''] = status;
    lines.push(['Status', code]);
    if (description !== '') lines.push(['Description', description.trim()]);
  }
  for (const line of rest) {
    if (line === '') continue;
    const colon = line.indexOf(':');
    if (colon < 0) lines.push([line, '']);
    else lines.push([line.slice(0, colon), line.slice(colon + 1).trim()]);
  }
  return lines;
}

/** Whether a header line brings `value` back as it is. */
function isPlain(value: string): boolean {
  return !UNFIT.test(value) && value.trim() === value;
}

/** Text of NATS as text of MQTT. */
function clean(text: string): string {
  return UNFIT.test(text)
    ? text.replaceAll(UNFIT_ALL, (char) => (/\p{Cc}/u.test(char) ? ' ' : '\ufffd'))
    : text;
}

function percent(text: string): string {
  return text.replaceAll(UNSAFE, encodeURIComponent);
}

/** Undefined where it is not well-formed, or no text of MQTT. */
function unpercent(text: string): string | undefined {
  try {
    const decoded = decodeURIComponent(text);
    return decoded.includes('\0') ? undefined : decoded;
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}
