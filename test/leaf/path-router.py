# A path between two tun devices: every packet that one of them is given leaves by the other one later, or never. Run by
# netns.ts, with the names of the two devices; a line of JSON on its standard input, such as
# {"up": {"delayMs": 50, "lossPercent": 1, "drop": false}}, changes a direction from then on ("up" is from the first
# device to the second). It says "ready" when both are there, answers each line with counts, and ends with its input.

import fcntl
import json
import os
import random
import select
import struct
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x0001 | 0x1000
PACKET_BYTES_MAX = 65_536
# Packets on their way in one direction: 100 Mbit/s for half a second are 4,000. Beyond it they are lost, as in a router.
HELD_MAX = 20_000
# Packets taken from one device before the other one has its turn.
TURN = 64


def open_tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
    return fd


class Way:
    def __init__(self, source, target):
        self.source = source
        self.target = target
        self.delay_s = 0.0
        self.loss = 0.0
        self.drop = False
        self.late = deque()
        self.packets = 0
        self.lost = 0
        self.bytes = 0

    def change(self, order):
        self.delay_s = order.get("delayMs", self.delay_s * 1000) / 1000
        self.loss = order.get("lossPercent", self.loss * 100) / 100
        self.drop = order.get("drop", self.drop)

    def take(self, now):
        for _ in range(TURN):
            try:
                packet = os.read(self.source, PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            self.packets += 1
            if self.drop or random.random() < self.loss or len(self.late) >= HELD_MAX:
                self.lost += 1
                continue
            # A shorter delay does not let packets overtake each other.
            due = now + self.delay_s
            if self.late:
                due = max(due, self.late[-1][0])
            self.late.append((due, packet))

    def release(self, now):
        while self.late and self.late[0][0] <= now:
            packet = self.late.popleft()[1]
            try:
                os.write(self.target, packet)
                self.bytes += len(packet)
            except OSError:
                # The device is down, or its buffer is full.
                self.lost += 1

    def counts(self):
        return {"packets": self.packets, "lost": self.lost, "bytes": self.bytes}


def main():
    near, far = open_tun(sys.argv[1]), open_tun(sys.argv[2])
    ways = {"up": Way(near, far), "down": Way(far, near)}
    by_source = {way.source: way for way in ways.values()}
    print("ready", flush=True)
    pending = b""
    while True:
        heads = [way.late[0][0] for way in ways.values() if way.late]
        wait = None if not heads else max(0.0, min(heads) - time.monotonic())
        readable, _, _ = select.select([near, far, 0], [], [], wait)
        now = time.monotonic()
        for fd in readable:
            if fd in by_source:
                by_source[fd].take(now)
                continue
            chunk = os.read(0, 4096)
            if chunk == b"":
                return
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                for name, order in json.loads(line).items():
                    ways[name].change(order)
                print(json.dumps({name: way.counts() for name, way in ways.items()}), flush=True)
        for way in ways.values():
            way.release(now)


main()
