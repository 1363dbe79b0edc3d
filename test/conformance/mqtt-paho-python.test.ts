// Debian's paho-mqtt for Python against an agent as the operator runs it. Debian's Python runs it, without other packages.

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { Programs } from '../support/mqtt-programs.ts';

let agent: AgentProcess;
let programs: Programs;

beforeAll(async () => {
  agent = await AgentProcess.create();
  await agent.start();
  programs = new Programs(agent.mqttPort);
});
afterEach(() => programs[Symbol.asyncDispose]());
afterAll(() => agent.dispose());

/** `argv`: port, version. Subscribes with each QoS, publishes with each, says what it hears, and whether all was acknowledged. */
const ROUND_TRIP = `
import sys, threading
import paho.mqtt.client as mqtt
port, version = int(sys.argv[1]), int(sys.argv[2])
ready, done = threading.Event(), threading.Event()
heard = []
def on_connect(client, *rest):
    client.subscribe([("data/py/%d/%d/#" % (version, qos), qos) for qos in range(3)])
def on_subscribe(client, userdata, mid, granted, *rest):
    print("> granted", *[int(getattr(code, "value", code)) for code in granted])
    ready.set()
def on_message(client, userdata, message):
    heard.append("%s %d %d %s" % (message.topic, message.qos, message.retain, message.payload.decode()))
    if len(heard) == 90: done.set()
client = mqtt.Client("py-%d" % version, protocol=version)
client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
client.connect("127.0.0.1", port)
client.loop_start()
assert ready.wait(20)
sent = [client.publish("data/py/%d/%d/%d" % (version, granted, qos), "m%d" % i, qos)
        for granted in range(3) for qos in range(3) for i in range(10)]
for info in sent: info.wait_for_publish(20)
assert all(info.is_published() for info in sent)
assert done.wait(20), heard
for line in heard: print(">", line)
client.disconnect()
client.loop_stop()
`;

test.each([
  ['3.1', 3],
  ['3.1.1', 4],
  ['5.0', 5],
])('paho-mqtt of %s sends and hears every QoS, in order', async (_, version) => {
  const script = await programs.python(ROUND_TRIP, String(version));
  await script.succeeded();
  const expected = [0, 1, 2].flatMap((granted) =>
    [0, 1, 2].flatMap((qos) =>
      Array.from(
        { length: 10 },
        (_each, i) => `data/py/${version}/${granted}/${qos} ${Math.min(granted, qos)} 0 m${i}`,
      ),
    ),
  );
  const [granted, ...messages] = script.messages;
  expect(granted).toBe('granted 0 1 2');
  // Between QoS 0 and the others, and between topics, no order is promised.
  const lane = (line: string): string => line.split(' ').slice(0, 2).join(' ');
  for (const each of new Set(expected.map(lane)))
    expect(messages.filter((line) => lane(line) === each)).toEqual(
      expected.filter((line) => lane(line) === each),
    );
  expect(messages.length).toBe(expected.length);
});

/** `argv`: port. Properties there and back, a retained message, a Will, and reason codes. */
const PROPERTIES = `
import sys, threading
import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.subscribeoptions import SubscribeOptions
port = int(sys.argv[1])
ready, done, connected = threading.Event(), threading.Event(), threading.Event()
count = 0
def on_connect(client, userdata, flags, code, properties):
    print("> connected", code, "assigned" if hasattr(properties, "AssignedClientIdentifier") else "named")
    connected.set()
def on_subscribe(client, userdata, mid, codes, properties): ready.set()
def on_message(client, userdata, message):
    global count
    p = message.properties
    print(">", message.topic, message.qos, message.retain, message.payload.decode(), getattr(p, "ContentType", None),
          getattr(p, "CorrelationData", None), getattr(p, "ResponseTopic", None), getattr(p, "UserProperty", None),
          getattr(p, "SubscriptionIdentifier", None))
    count += 1
    if count == 3: done.set()
def client_of(name):
    client = mqtt.Client(name, protocol=mqtt.MQTTv5)
    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    return client
first = client_of("")
first.connect("127.0.0.1", port)
first.loop_start()
assert connected.wait(20)
p = Properties(PacketTypes.PUBLISH)
p.ContentType, p.CorrelationData, p.ResponseTopic = "text/plain", b"\\x00\\xff", "data/answer"
p.UserProperty = [("b", "2"), ("a", "1"), ("b", "3")]
first.publish("data/pyp/kept", "kept", 2, retain=True, properties=p).wait_for_publish(20)
s = Properties(PacketTypes.SUBSCRIBE)
s.SubscriptionIdentifier = 268435455
first.subscribe("data/pyp/#", options=SubscribeOptions(qos=2, retainAsPublished=True), properties=s)
assert ready.wait(20)
first.publish("data/pyp/live", "live", 1, properties=p).wait_for_publish(20)
connected.clear()
w = Properties(PacketTypes.WILLMESSAGE)
w.UserProperty = ("why", "lost")
second = client_of("pyp-second")
second.will_set("data/pyp/will", "gone", 2, retain=False, properties=w)
second.connect("127.0.0.1", port)
second.loop_start()
assert connected.wait(20)
second._sock_close()
assert done.wait(20)
first.disconnect()
`;

test('paho-mqtt of 5.0 sees properties as they were sent, also of retained messages and Wills', async () => {
  const script = await programs.python(PROPERTIES);
  await script.succeeded();
  const rest = String.raw`text/plain b'\x00\xff' data/answer [('b', '2'), ('a', '1'), ('b', '3')] [268435455]`;
  const [assigned, ...others] = script.messages;
  expect(assigned).toBe('connected Success assigned');
  // A message of QoS 2 is shown when its exchange is over, perhaps behind the next.
  expect(others.toSorted()).toEqual([
    'connected Success named',
    `data/pyp/kept 2 1 kept ${rest}`,
    `data/pyp/live 1 0 live ${rest}`,
    "data/pyp/will 2 0 gone None None None [('why', 'lost')] [268435455]",
  ]);
});
