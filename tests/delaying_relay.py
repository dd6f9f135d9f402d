"""A link that takes time, where the kernel has no netem: two TAP devices with a delay line between them, in user space.

A process of its own for each node: `python delaying_relay.py NODE-NAMESPACE HUB-NAMESPACE HUB-DEVICE SECONDS`. It makes
`eth0` in the node's namespace and the named device in the hub's, prints a line when both are there, and passes frames
on until it is ended: those from the node after so many seconds, those to it at once. So a round trip between two such
nodes takes twice as long. TCP's own segmentation is handed through (frames of up to 64 KiB), and still a node with a
busy link of 50 Mbit/s takes a tenth of a core: it is for low rates.
"""

from __future__ import annotations

import collections
import ctypes
import fcntl
import os
import select
import struct
import sys
import time

_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_TAP, _NO_PI, _HEADER = 0x0002, 0x1000, 0x4000
_CHECKSUM, _TSO4, _TSO6, _ECN = 1, 2, 4, 8
_LONGEST = 1 << 17
_BUFFER = bytearray(_LONGEST)
_NETWORK_NAMESPACE = 0x40000000


def tap(namespace: str, device: str) -> int:
    """Make a TAP device in a namespace; the descriptor is the cable."""
    with open(f"/run/netns/{namespace}", "rb") as place:
        if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), _NETWORK_NAMESPACE):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    cable = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(cable, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _TAP | _NO_PI | _HEADER))
    fcntl.ioctl(cable, _TUNSETOFFLOAD, _CHECKSUM | _TSO4 | _TSO6 | _ECN)
    return cable


def relay(node: int, hub: int, delay: float) -> None:
    """Pass frames between two cables, for ever."""
    under_way: collections.deque[tuple[float, bytes]] = collections.deque()
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        ready, _, _ = select.select([node, hub], [], [], wait)
        now = time.monotonic()
        if node in ready:
            for frame in _frames(node):
                under_way.append((now + delay, frame))
        if hub in ready:
            for frame in _frames(hub):
                _pass(node, frame)
        while under_way and under_way[0][0] <= now:
            _pass(hub, under_way.popleft()[1])


def _frames(cable: int) -> list[bytes]:
    frames = []
    for _ in range(64):
        try:
            length = os.readv(cable, [_BUFFER])
        except OSError:  # nothing more, or the device is down
            break
        frames.append(bytes(memoryview(_BUFFER)[:length]))
    return frames


def _pass(cable: int, frame: bytes) -> None:
    try:
        os.write(cable, frame)
    except OSError:  # down, or its queue is full: a frame lost, as on any link
        return


if __name__ == "__main__":
    cables = tap(sys.argv[1], "eth0"), tap(sys.argv[2], sys.argv[3])
    print("ready", flush=True)
    relay(*cables, float(sys.argv[4]))
