// Scripts in which time passes: Wills with a delay, sessions and messages that expire. A broker looks at its clocks
// once a second or so; what shall happen after one second has happened after three.
// Two things are not compared: a Will with a delay in a session without expiry, which mosquitto forgets [3.1.3.2.2], and
// silence, which it notices much later than after one and a half times the keep-alive.

import type { Script, Step } from './mqtt-differential-script.ts';
import type { RawProperties, RawWill } from './mqtt-raw-encode.ts';

const LONG: Step = { do: 'wait', ms: 3_500 };

function connect(client: number, rest: Partial<Extract<Step, { do: 'connect' }>> = {}): Step {
  return { do: 'connect', client, version: 5, clean: false, ...rest };
}

/** A session that goes on for so long. */
function expiry(seconds: number): { properties: RawProperties } {
  return { properties: [['sessionExpiryInterval', seconds]] };
}

function will(delaySeconds: number, data: string): { will: RawWill } {
  const properties: RawProperties = [['willDelayInterval', delaySeconds]];
  return { will: { topic: 'will', data, qos: 1, properties } };
}

function subscribe(client: number, filter: string): Step {
  return { do: 'subscribe', client, filters: [{ filter, qos: 1 }] };
}

function publish(client: number, data: string, seconds: number, retain = false): Step {
  const properties: RawProperties = [['messageExpiryInterval', seconds]];
  return { do: 'publish', client, topic: 'a', data, qos: 1, retain, properties };
}

const LISTENING: Script = [connect(3, { clean: true }), subscribe(3, 'will')];

export const TIMED: readonly { readonly name: string; readonly script: Script }[] = [
  {
    name: 'a Will waits for its delay',
    script: [
      ...LISTENING,
      connect(0, { ...expiry(100), ...will(1, 'w1') }),
      { do: 'cut', client: 0 },
      LONG,
    ],
  },
  {
    name: 'a client that comes back has no Will',
    script: [
      ...LISTENING,
      connect(0, { ...expiry(100), ...will(2, 'w1') }),
      { do: 'cut', client: 0 },
      connect(0, expiry(100)),
      LONG,
    ],
  },
  {
    name: 'the end of the session does not wait for the delay of its Will',
    script: [
      ...LISTENING,
      connect(0, { ...expiry(1), ...will(100, 'w1') }),
      { do: 'cut', client: 0 },
      LONG,
    ],
  },
  {
    name: 'DISCONNECT 0x04 leaves a Will with a delay',
    script: [
      ...LISTENING,
      connect(0, { ...expiry(100), ...will(1, 'w1') }),
      { do: 'disconnect', client: 0, code: 4 },
      LONG,
    ],
  },
  {
    name: 'a session ends when its time is over',
    script: [
      connect(0, expiry(1)),
      connect(1, expiry(100)),
      subscribe(0, 'a'),
      { do: 'cut', client: 0 },
      { do: 'cut', client: 1 },
      LONG,
      connect(0, expiry(1)),
      connect(1, expiry(100)),
    ],
  },
  {
    name: 'DISCONNECT shortens the life of a session',
    script: [
      connect(0, expiry(100)),
      connect(1, expiry(100)),
      { do: 'disconnect', client: 0, code: 0, ...expiry(1) },
      { do: 'disconnect', client: 1, code: 0, ...expiry(0) },
      connect(1, expiry(100)),
      LONG,
      connect(0, expiry(100)),
    ],
  },
  {
    name: 'messages for a client that is away expire',
    script: [
      connect(0, expiry(100)),
      subscribe(0, 'a'),
      { do: 'disconnect', client: 0 },
      connect(1),
      publish(1, 'm1', 1),
      publish(1, 'm2', 100),
      LONG,
      connect(0, expiry(100)),
    ],
  },
  {
    name: 'retained messages expire',
    script: [connect(1), publish(1, 'm1', 1, true), LONG, connect(0), subscribe(0, 'a')],
  },
];
