// Tests that fail against an agent on purpose, by suite: where the standard leaves a choice, or says otherwise. Each pattern is held
// against `name: why it failed`; what no pattern knows is a failure that nobody expects.

export interface Expected {
  readonly pattern: RegExp;
  readonly reason: string;
}

const expect = (pattern: RegExp, reason: string): Expected => ({ pattern, reason });

const CONTROL = 'control characters may be in a text [MQTT-1.5.4-2 forbids U+0000 alone]';
const WILL_SESSION =
  'a Will Delay ends with the session [3.1.3.2.2], which here ends with the connection';
const LEVELS =
  'a topic may have more than 200 levels; what is longer than a subject is refused, and the connection stays';
const ACL = 'what may not be received is refused when it is subscribed to, not silently left out';
const INVALID = 'their broker refuses the Client Identifier `invalid`';

export const EXPECTED: Readonly<Record<string, readonly Expected[]>> = {
  'paho-3': [],
  'paho-5': [
    expect(/^test_subscribe_failure:/, 'Reason Code 0x87, Not authorized, where it wants 0x80'),
  ],
  mosquitto: [
    expect(/^01-bad-initial-packets/, 'measures virtual memory, of which Node reserves gigabytes'),
    expect(/^01-connect-575314/, 'a CONNECT with 5,001 User Properties is refused: 0x97'),
    expect(/^01-connect-max-keepalive/, 'a longer keep-alive of 3.1.1 is no reason to refuse'),
    expect(/^02-subpub-qos0-long-topic|^02-subscribe-long-topic|^03-publish-long-topic/, LEVELS),
    expect(/^03-publish-qos2-dup/, 'a repeated PUBLISH is answered as often as it comes'),
    expect(
      /^04-retain-check-source/,
      'a retained message stays when its publisher loses the right to it',
    ),
    expect(/^07-will-control/, 'a Will that may not be published is refused with CONNACK'),
    expect(/^07-will-delay(-reconnect|-recover)?\.py/, WILL_SESSION),
    expect(
      /^07-will-takeover/,
      'the Will is published also where the session goes on [MQTT-3.1.2-8]',
    ),
    expect(
      /^08-ssl-connect-cert-auth-expired/,
      'the handshake is refused; it looks for the reason in the log of mosquitto',
    ),
    expect(/^09-acl-(access-variants|change|empty-file)/, ACL),
    expect(
      /^11-persistent-subscription-no-local/,
      'Packet Identifiers of deliveries are the broker’s choice',
    ),
    expect(
      /^12-prop-assigned-client-identifier/,
      'the assigned identifier begins otherwise than with `auto-`',
    ),
    expect(
      /^12-prop-maximum-packet-size-publish/,
      'counts one byte less than the standard [2.1.4]',
    ),
    expect(
      /^13-malformed-(un)?subscribe-v5/,
      'Packet Identifier 0 is 0x82, Protocol Error, not 0x81',
    ),
  ],
  'mosquitto-sequences': [
    expect(
      /\| b'\\xe0\\x01\\x8[012]' \| b'\\xe0\\x01\\x8[12]'$/,
      'refused with another of the Reason Codes 0x81 and 0x82',
    ),
    expect(
      /\| b'\\xe0\\x01\\x90' \| b'\\xe0\\x01\\x81'$/,
      'a wildcard in a Topic Name is 0x90, Topic Name invalid',
    ),
    expect(/U\+00|0x00[0-9A-F]{2}:/, CONTROL),
    expect(/CONNECT 14 ok/, 'the reserved bits of a CONNECT of 3.1 must be 0, as in 3.1.1'),
    expect(/proto ver 6/, 'an unknown version is answered as 5.0 says, with 0x84'),
    expect(
      /topic alias > max topic alias/,
      'more Topic Aliases are allowed than the 10 of mosquitto',
    ),
    expect(
      /PUBLISH ALLOWED PROPERTIES subscription-identifier/,
      'no client may send a Subscription Identifier [MQTT-3.3.4-6]',
    ),
    expect(/v5\.0 {3}PUBREC/, 'PUBREL says 0x92, Packet Identifier not found'),
    expect(
      /shared sub with no topic/,
      'refused with a Reason Code in SUBACK, the connection stays',
    ),
  ],
  'mqtt.js': [
    expect(
      /should provide connack packet with connect event/,
      'a client that comes again hears of its session',
    ),
    expect(/should resubscribe when clean=false and sessionPresent=false/, 'there is a session'),
    expect(
      /in-flight QoS 2 pubrel messages .* Packet Identifier not found/,
      'in 5.0 a session without an expiry ends with the connection: PUBREL is answered with 0x92',
    ),
    expect(/invalid clientId/, INVALID),
  ],
};
